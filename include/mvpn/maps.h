/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Structs shared by the BPF programs and user space: the values of the pinned, BTF-typed maps under
 * /sys/fs/bpf/mvpn/v4/. They hold references and counters, never key bytes. Host byte order unless the type says __be.
 * An address is always 16 bytes, IPv4 as ::ffff:a.b.c.d (RFC 4291 §2.5.5.2), so one table serves both families.
 * A change of any layout here is a new pin directory version.
 */
#ifndef MVPN_MAPS_H
#define MVPN_MAPS_H

#ifdef __bpf__
#include "vmlinux.h"
#else
#include <linux/types.h>
#endif
#include "mvpn/by.h"
#include "mvpn/limits.h"

/* protected: BPF_MAP_TYPE_HASH; the longest prefix of the destination (egress) or source (ingress guard) counts */
struct mvpn_lpm_key {
	__u8 addr[16];	 /* host bits zero */
	__u32 prefixlen; /* 0..128; an IPv4 /24 is 120 */
};
struct mvpn_protected {
	__u32 peer;  /* index into `keys`; MVPN_PEER_NONE: protected, but nobody owns it */
	__u32 flags; /* enum mvpn_protected_flags */
};
#define MVPN_PEER_NONE 0
enum mvpn_protected_flags {
	MVPN_PROT_LOCAL = 1, /* this host's own prefix: never captured, spoofed when it arrives in clear */
	MVPN_PROT_TRANSLATED = 2, /* with LOCAL: hosts behind this gateway see its address, not the devices' */
};


/*
 * prefix_lengths: BPF_MAP_TYPE_ARRAY: which lengths `protected` may have near an address, so that only those are looked up. Bit n of
 * word w is the length 128 - 64 w - n. The entry of an address is that of its first 16 bits (IPv4) or of a hash of its first 32
 * (IPv6), and has the lengths of at least so many bits; shorter ones are in an entry for each family. A bit is set before
 * the first prefix of its length comes, and may outlive the last: that only costs a look-up.
 */
#define MVPN_LENGTH_WORDS 3
struct mvpn_lengths {
	__u64 bits[MVPN_LENGTH_WORDS];
};
#define MVPN_LENGTHS_NEAR 65536
#define MVPN_LENGTHS_SHORT_V4 MVPN_LENGTHS_NEAR
#define MVPN_LENGTHS_SHORT_V6 (MVPN_LENGTHS_NEAR + 1)
#define MVPN_LENGTHS_ENTRIES (MVPN_LENGTHS_NEAR + 2)
#define MVPN_LENGTHS_NEAR_V4 112 /* least length that is near: /16, and of IPv6 /32 */
#define MVPN_LENGTHS_NEAR_V6 32
/* of an address in host order, most significant half first */
static inline __u32 mvpn_lengths_entry(__u64 hi, __u64 lo)
{
	if (!hi && lo >> 32 == 0xffff)
		return (__u32)lo >> 16;
	return ((__u32)(hi >> 32) * 0x9e3779b1U) >> 16; /* Fibonacci hashing (Knuth, vol. 3, 6.4) */
}

/* keys: BPF_MAP_TYPE_HASH, u32 peer index -> what the egress shim may do with a packet for that peer */
enum mvpn_key_state {
	MVPN_KEY_NONE = 0,   /* no session: event, and hold */
	MVPN_KEY_ARMED = 1,  /* a session transmits */
	MVPN_KEY_DENIED = 2, /* policy refused: drop here */
};
struct mvpn_key {
	__u32 state; /* enum mvpn_key_state */
	__u32 spi;   /* the peer's SPI we transmit to, 0 when none: lets an operator match bpftool with `sessions` */
	__u32 epoch; /* counts rekeys with that peer */
	__u16 lanes; /* of the session: egress chooses among them */
	__u16 mtu;   /* the largest inner packet that its path takes now, 0 unknown: for TCP's MSS */
};

/*
 * ---- the socket level ----
 * levels: BPF_MAP_TYPE_HASH, u32 peer index -> where connections to that peer, which is at the socket level, are diverted to
 */
struct mvpn_diversion {
	__u8 local4[16], local6[16]; /* this host's address that stands in for the destination's, zero: none of that family */
	__u32 socket_peer; /* index into `keys` of the peer at layer socket */
	__be16 port;	   /* that keyd listens on */
	__u16 flags;	   /* enum mvpn_diversion_flags */
};
enum mvpn_diversion_flags {
	MVPN_DIVERSION_LAYERED = 1, /* what carries its streams is sealed as packets once more */
	MVPN_DIVERSION_EITHER = 2,  /* what goes round the socket is sealed as packets */
};
/* an end of a connection: key and value of `diverted` and `delivered`, and value of the socket storage `true_peers` */
struct mvpn_end {
	__u8 addr[16];
	__be16 port;
	__u16 zero;
};
/* packet_talks: BPF_MAP_TYPE_LRU_HASH, a remote end -> u64 time of the last UDP packet that it has sent, round the socket */
/*
 * kept_ports: BPF_MAP_TYPE_HASH -> u32 1: ports of keyd's that applications' sockets send to. Nobody else may bind them, and after
 * keyd's death neither.
 */
struct mvpn_kept_port {
	__be16 port;
	__u8 proto;
	__u8 zero;
};
/* ring syns: a SYN that waits for what keyd says */
struct mvpn_syn {
	struct mvpn_end from, at; /* the application's end, and keyd's that it goes to */
	__u8 len;		  /* of `tcp`, by its own word */
	__u8 zero[3];
	__u8 tcp[60]; /* header and options */
};
/*
 * diverted: BPF_MAP_TYPE_LRU_HASH, a connection's own end -> where it was going to, for keyd
 * answered: BPF_MAP_TYPE_LRU_HASH, a connection's own end -> sequence number of its SYN, which passes
 * delivered: as `diverted`, an end of keyd's -> whom it stands in for, for the socket that accepts it
 * datagram_ports: BPF_MAP_TYPE_QUEUE of u32, UDP ports of keyd's that stand for nobody yet
 * port_of_end, end_of_port: BPF_MAP_TYPE_HASH, a remote end -> u32 port that stands for it, and back; ports in network order
 * own_addresses: BPF_MAP_TYPE_HASH, mvpn_arrival_key -> u32 1: those of this host that the server has accepted
 * true_peers: BPF_MAP_TYPE_SK_STORAGE, what getpeername() is to say
 * own_streams: BPF_MAP_TYPE_SK_STORAGE u32, TCP sockets of keyd's: what they send is sealed already, and passes unless it is layered
 */

/* config: BPF_MAP_TYPE_ARRAY of one */
struct mvpn_config {
	__u64 alive_ns;	   /* CLOCK_MONOTONIC at keyd's last breath; older than MVPN_ALIVE_S: drop, counted */
	__u32 tap_ifindex; /* 0: keyd is not running */
	__u16 udp_port;	   /* data port, host order */
	__u8 lanes;	   /* that the next session will have */
	__u8 flags;	   /* enum mvpn_config_flags */
};
enum mvpn_config_flags {
	MVPN_CONFIG_MULTICAST_DROP = 1, /* the policy lets no multicast or broadcast pass */
	MVPN_CONFIG_UNTRANSLATED = 2, /* what is to be translated cannot be: it is dropped when it has been opened */
};

/*
 * ---- who may send ----
 * What `by` in the policy asks of a process is a trait: its unit is this, its uid is that. This device numbers them: bit n of 64.
 *
 *   guards     BPF_MAP_TYPE_HASH, u32 peer index -> which processes may send what there; no entry: all may everything
 *   uids, exes, groups   BPF_MAP_TYPE_HASH -> which traits a uid, a program and a control group have
 *   processes  BPF_MAP_TYPE_ARRAY of one: which numbering of traits is in force
 *   sock_process  BPF_MAP_TYPE_SK_STORAGE: whose socket it is
 */
struct mvpn_guard_line {
	__u64 traits[MVPN_BY_KINDS]; /* one at least of each kind; 0: of that kind nothing is asked */
	__u32 line;		     /* of the policy's text */
	__u16 lo, hi;		     /* destination port, host order; 0 and 65535 where the protocol has none */
	__u8 proto;		     /* 0: all; IPPROTO_ICMP: both families' */
	__u8 flags;		     /* enum mvpn_guard_flags */
	__u8 zero[6];
};
enum mvpn_guard_flags { MVPN_GUARD_NOBODY = 1 }; /* what it asks cannot be told here: nobody has it */
struct mvpn_guard {
	__u32 n, zero;
	struct mvpn_guard_line lines[MVPN_GUARD_LINES];
};
struct mvpn_exe {
	__u64 inode;
	__u32 dev; /* as the kernel numbers file systems: major << 20 | minor */
	__u32 zero;
};
struct mvpn_group_key {
	__u32 under;		      /* node of the group that it is in, 0: the root; MVPN_GROUP_UNIT: in slices alone */
	char name[MVPN_GROUP_NAME_B]; /* of its directory, to the end filled with zeroes */
};
#define MVPN_GROUP_UNIT 0xffffffff
struct mvpn_group {
	__u64 traits;
	__u32 node;
	__u32 zero;
};
struct mvpn_processes {
	__u64 generation; /* rises with each change of the numbering: CLOCK_MONOTONIC; 0: no line says `by` */
	__u64 oldest;	  /* what sockets know since an earlier one is void */
};
/*
 * vouched: BPF_MAP_TYPE_LRU_HASH, struct mvpn_flow_key -> what the socket in a container that has just sent such a packet is; also with
 * the source zero, for what leaves by an address of this host's (SNAT keeps the port if nobody else has it)
 */
struct mvpn_vouched {
	__u64 traits, generation;
	__u64 at_ns; /* good for MVPN_VOUCHED_NS: the packet is on its way */
};
struct mvpn_process {
	__u64 traits;
	__u64 generation; /* when it was looked at */
	__u64 cgroup, inode;
	__u32 dev, uid, pid;
	__u16 flags; /* enum mvpn_socket_flags */
	__u16 unit;  /* level of the first of its groups that is no slice, from the root; or of the last, 0: the root */
};
/* what a walk through the streams of applications here reads: each one's end, and whose it is */
struct mvpn_stream_owner {
	struct mvpn_end self;
	__u32 zero;
	struct mvpn_process who; /* zero: nobody's that is known */
};

/* what a walk for certain sockets reads: a process that has one of them open */
struct mvpn_holder {
	__u64 cookie, cgroup;
	__u32 pid, uid;
	char comm[16];
	char exe[MVPN_EXE_PATH_B]; /* the program's path as keyd's root has it, "" of a kernel thread, or longer than that */
};

/* exempt: BPF_MAP_TYPE_HASH -> u32; end points of authentication servers (TCP), at either end of a packet */
struct mvpn_exempt {
	__u8 addr[16];
	__be16 port;
	__u8 proto;
	__u8 zero;
};

/* own_sockets: BPF_MAP_TYPE_HASH u64 socket cookie -> u32; packets of these sockets are ours, sealed already */

/* in skb->cb[0]: egress has judged this packet and let it by, so what the last hook finds protected became so since */
#define MVPN_LET_BY 0x6d76706e

/* in place of a socket's, which the kernel counts from 1: it has packed what a socket sent into a packet of its own */
#define MVPN_COOKIE_TUNNEL (~0ULL)

/* flows: BPF_MAP_TYPE_LRU_HASH */
struct mvpn_flow_key {
	__u8 src[16];
	__u8 dst[16];
	__be16 sport; /* 0 where the protocol has no ports */
	__be16 dport;
	__u8 proto;
	__u8 zero[3];
};
struct mvpn_flow {
	__u64 packets; /* a GSO super-packet counts as its segments */
	__u64 bytes;
	__u64 bytes_in; /* of what was opened and came the other way; that alone makes no flow */
	__u64 first_ns; /* CLOCK_MONOTONIC */
	__u64 last_ns;
	__u32 peer;
	__u32 verdict; /* enum mvpn_counter of the last packet */
	__u64 cookie;  /* of the socket that sent the last packet of one; 0: none of this host; MVPN_COOKIE_TUNNEL */
	__u32 rule;    /* line of the policy that lets its process send, or does not; 0: no line says `by` */
	__u32 zero;
};

/*
 * ---- sources that a gateway translates (bpf/translate.bpf.c) ----
 * translated: BPF_MAP_TYPE_HASH, a device's flow to a host behind this gateway -> what the host sees
 * returning: BPF_MAP_TYPE_HASH, the flow of the answers, as it comes -> the device's flow
 * An ICMP echo has its identifier in place of the device's port, and 0 in the other's.
 */
struct mvpn_translation {
	__u8 addr[16];
	__be16 port;
	__u8 state; /* enum mvpn_translation_state */
	__u8 zero[5];
	__u64 last_ns; /* CLOCK_MONOTONIC of the last packet, either way */
};
enum mvpn_translation_state {
	MVPN_TRANSLATION_ANSWERED = 1,
	MVPN_TRANSLATION_FIN_OUT = 2, /* TCP: the device has said that it is through, the host, or one has reset it */
	MVPN_TRANSLATION_FIN_IN = 4,
	MVPN_TRANSLATION_RESET = 8,
};
/*
 * fragments_out, fragments_in: BPF_MAP_TYPE_LRU_HASH; datagrams that come in fragments. A device (out, by its index) and a host behind the
 * gateway (in, by its address) has MVPN_FRAGMENTS_EACH of them, in which a datagram's identification chooses its own: nobody needs another's.
 * fragment_ids: BPF_MAP_TYPE_LRU_HASH; an identification that a host behind sees has one device's datagram
 */
struct mvpn_fragments_key {
	__u8 from[16];
	__u32 slot;
};
struct mvpn_fragments {
	__u8 src[16], dst[16]; /* as they come */
	__u8 to[16];	       /* what becomes of the one that is translated */
	__u64 since_ns;	       /* CLOCK_MONOTONIC */
	__u64 head;	       /* of the first fragment; see struct part */
	__be32 id, as;	       /* as it comes, and as it goes on */
	__u32 got;	       /* bytes, so far */
	__u16 first_end, low;  /* where the first one ends, and the first of the others begins; 0: not seen */
	__u16 total;	       /* 0: the last one was not seen */
	__u8 proto;
	__u8 refused;
	__u8 zero[4];
};
struct mvpn_fragment_id {
	__u8 dst[16];
	__be32 id;
	__u8 proto;
	__u8 zero[3];
};
struct mvpn_fragment_holder {
	__u8 src[16];
	__u64 since_ns;
	__be32 id;
	__u32 zero;
};
/*
 * A device, by its index, has so many flows: what keyd has counted, and what was made since it began to.
 * shares: BPF_MAP_TYPE_HASH, by the program; shares_counted: likewise, by keyd; translate_most: BPF_MAP_TYPE_ARRAY of one u32, how many
 * one device may have
 */
struct mvpn_share {
	__u64 made;    /* flows, ever */
	__u64 refused; /* packets that would have made another one */
};
struct mvpn_share_counted {
	__u64 made; /* when the count began */
	__u32 flows;
	__u32 zero;
};
/* translate_counters: BPF_MAP_TYPE_PERCPU_ARRAY of u64, packets (a GSO super-packet counts as one) */
enum mvpn_translate_counter {
	MVPN_T_TRANSLATED,     /* either way */
	MVPN_T_UNTRANSLATABLE, /* dropped: another protocol, an ICMP error about nothing known */
	MVPN_T_FULL,	       /* dropped: no room for another flow, no free port, or no address on the interface */
	MVPN_T_FRAGMENT_REFUSED, /* dropped: cut through a header, over another one, of a datagram of which one was refused */
	MVPN_T_FRAGMENT_ALONE, /* in, left to this host: not the first one, which was not seen */
	MVPN_T_SHARE,	       /* dropped: another flow of a device that has as many as one may */
	MVPN_T_MAX,
};
/* translate_as: BPF_MAP_TYPE_HASH, an interface and family -> the address that hosts behind it see */
struct mvpn_translate_iface {
	__u32 ifindex;
	__u32 v4;
};

/* events: BPF_MAP_TYPE_RINGBUF */
struct mvpn_event {
	__u64 at_ns;
	struct mvpn_flow_key flow;
	__u32 peer;
	__u32 reason; /* enum mvpn_counter; MVPN_EVENT_SOCKET: no packet yet, somebody wants to send one */
	__u32 ifindex; /* 0 of a socket, as `len` and the flow's source */
	__u32 len;
};
#define MVPN_EVENT_SOCKET 0x10000

/* refusals: BPF_MAP_TYPE_RINGBUF; what `by` has refused */
enum mvpn_refused {
	MVPN_REFUSED_CALL = 1,	/* connect() or sendmsg() failed with EPERM */
	MVPN_REFUSED_PACKET,	/* of a socket that its process had already */
	MVPN_REFUSED_NO_SOCKET, /* forwarded, or by a packet socket, or the kernel's own */
	MVPN_REFUSED_STREAM,	/* at the socket level, of a connection that was open: it was reset */
	MVPN_REFUSED_SERVICE,	/* likewise, for no line names its service any more; `line` is the one that did */
};
struct mvpn_refusal {
	__u64 at_ns;
	__u64 count; /* alike since the last one that was told, this one with them */
	struct mvpn_flow_key flow;
	__u64 cgroup, inode; /* with dev, of the program; 0: not known, as what follows */
	__u32 peer, line, why, pid, uid, dev;
	char comm[16], exe[64], unit[MVPN_GROUP_NAME_B]; /* exe: the file's name without its path */
	__u32 zero;
};
/* refused: BPF_MAP_TYPE_LRU_HASH; when it was told last, and how often it happened since */
struct mvpn_refused_key {
	__u32 peer, pid;
	__be16 port;
	__u8 proto, why;
};
struct mvpn_refused_state {
	__u64 told_ns, count;
};

/* whose sockets the socket shim looks at: those of keyd's network namespace; all; or all if keyd's is the first one, the host's */
enum mvpn_namespaces { MVPN_NETNS_AUTO, MVPN_NETNS_OWN, MVPN_NETNS_ALL };

/*
 * sockets: BPF_MAP_TYPE_LRU_HASH, u64 socket cookie -> who it is that talks to a protected destination, from the socket shim; and of
 * TCP, from the transport shim, what became of it.
 */
struct mvpn_socket {
	__u64 since_ns;	 /* CLOCK_MONOTONIC: connect(), first datagram, established */
	__u64 ended_ns;	 /* TCP: closed; 0 not yet. What follows was then so: while it lives the kernel is asked */
	__u64 bytes_in;	 /* payload received */
	__u64 bytes_out; /* payload acknowledged */
	__u64 cgroup;	 /* id: the number of its directory */
	__u32 pid;	 /* as the host numbers processes; 0: not known */
	__u32 uid;
	__u32 srtt_us; /* of TCP */
	__u32 flags;   /* enum mvpn_socket_flags */
	char comm[16];
};
enum mvpn_socket_flags {
	MVPN_SOCKET_ACCEPTED = 1, /* the other end opened the connection */
	MVPN_SOCKET_ELSEWHERE = 2, /* in sock_process: of a container, whose packets this host forwards */
};

/* sock_last: BPF_MAP_TYPE_SK_STORAGE; the protected destination that a datagram socket has sent to last */
struct mvpn_sock_last {
	__u8 addr[16];
	__u64 at_ns; /* when it was looked up; good for MVPN_SOCK_LAST_NS */
};

/* spis: BPF_MAP_TYPE_ARRAY of MVPN_SPI_SLOTS u32: slot (low MVPN_SPI_SLOT_BITS of an SPI) -> the whole SPI, 0 none */

/*
 * frames: BPF_MAP_TYPE_HASH; Ethernet frames that are no IP packets, by the peer's address: their destination (egress) or
 * source (ingress guard)
 */
struct mvpn_frame_key {
	__u8 mac[6];  /* zero: every address that has no entry for the type */
	__be16 type; /* ETHER_ANY: every type that has no entry for the address */
};
struct mvpn_frame {
	__u32 peer;  /* index into `keys`: a peer for frames has one of its own; MVPN_PEER_NONE: nobody */
	__u32 flags; /* enum mvpn_frame_flags (ether.h) */
};

/* frame_tap: BPF_MAP_TYPE_ARRAY of one */
struct mvpn_frame_tap {
	__u32 ifindex; /* where frames are handed to the fast path; 0: nowhere */
	__u32 zero;
};

/* arrivals: BPF_MAP_TYPE_HASH of addresses of this host, all zero for every other one -> where what was opened arrives */
struct mvpn_arrival_key {
	__u8 addr[16];
};
struct mvpn_arrival {
	__u32 ifindex;
	__u8 mac[6];
	__u8 ethernet; /* 0: a device without link header */
	__u8 attached; /* the guard is there */
};

/*
 * Several networks on one host, each with a keyd, a shim and pins of its own. What they must know of one another is in maps that
 * all of them have pinned in one place; an entry says whose it is. A claim is never there without the prefix being in `protected` of its
 * network, nor `attached` without its programs being on the interface: what one leaves to another, that one protects.
 *
 *   network     BPF_MAP_TYPE_ARRAY of one, not shared: which one this is; 0: it is alone, and nothing below is looked at
 *   claims      BPF_MAP_TYPE_LPM_TRIE -> u32 network: of several with a prefix around an address the narrowest has it
 *   attached    BPF_MAP_TYPE_HASH -> u32 1: a network's programs are on an interface, and its claims hold there
 *   data_ports  BPF_MAP_TYPE_HASH u16 (network order) -> u32 network: UDP ports of sealed packets
 *   host        BPF_MAP_TYPE_ARRAY of one: u32, the mark of what was opened; random, 0: not made yet
 *   own_sockets and exempt, too
 */
struct mvpn_claim_key {
	__u32 prefixlen; /* 0..128; an IPv4 /24 is 120 */
	__u8 addr[16];
};
struct mvpn_attached_key {
	__u32 ifindex, network; /* 0 as the interface: attached anywhere, for sockets, which have none */
};

/* ports: BPF_MAP_TYPE_HASH -> u32 ifindex of the attached interface that has this MAC address */
struct mvpn_port_key {
	__u8 mac[6];
	__u8 zero[2];
};

/* ifaces: BPF_MAP_TYPE_HASH, for user space alone: what attaching has done, so that detaching undoes just that */
struct mvpn_iface_key {
	char name[16];
};
struct mvpn_iface {
	__u32 ifindex;
	__u32 flags; /* enum mvpn_iface_flags */
	__u64 defer_hard_irqs; /* with DEFERS: the device's settings before */
	__u64 gro_flush_ns;
};
enum mvpn_iface_flags {
	MVPN_IFACE_MADE_CLSACT = 1, /* the clsact qdisc is ours to remove */
	MVPN_IFACE_DEFERS = 2,	    /* its interrupts are deferred for busy polling */
};

/* counters: BPF_MAP_TYPE_PERCPU_ARRAY of u64, packets. Names in the same order: MVPN_COUNTER_NAMES. */
enum mvpn_counter {
	MVPN_C_PASS_UNPROTECTED,    /* egress: not protected, untouched */
	MVPN_C_PASS_NEVER,	    /* egress: ARP, neighbour discovery, DHCP, non-IP that no rule names */
	MVPN_C_PASS_OWN,	    /* egress: our own sealed packets; either way: TCP of keyd's that carries streams */
	MVPN_C_PASS_SERVER,	    /* either way: channel to a server */
	MVPN_C_TO_TAP,		    /* egress: protected and armed, handed to the fast path */
	MVPN_C_TO_TAP_HELD,	    /* egress: protected, no session yet, handed to the fast path to be held */
	MVPN_C_DROP_DENIED,	    /* egress: policy refused */
	MVPN_C_DROP_NO_OWNER,	    /* egress: protected and owned by no device, or forwarded to those behind this gateway, to whom no other way leads;
				     * frames opened for an address that no interface has */
	MVPN_C_DROP_KEYD_DOWN,	    /* egress: keyd is not running */
	MVPN_C_DROP_MALFORMED,	    /* either way: protected or unknowable because the header is cut or absurd */
	MVPN_C_INGRESS_CLEAR,	    /* guard: cleartext that claims to come from a protected peer: dropped */
	MVPN_C_LEAK,		    /* last hook: a protected packet about to leave in clear: dropped. Must stay 0 */
	MVPN_C_EVENT_LOST,	    /* event ring full */
	MVPN_C_WIRE_REDIRECT,	    /* XDP: our port and a known SPI, to the XSKMAP */
	MVPN_C_WIRE_UNKNOWN_SPI,    /* XDP: our port, SPI unknown: passed to the UDP socket, which counts it as bad */
	MVPN_C_WIRE_PASS,	    /* XDP: anything else */
	MVPN_C_DROP_MULTICAST,	    /* either way: multicast or broadcast, which the policy does not let pass */
	MVPN_C_DROP_PROCESS,	    /* egress: the policy lets other processes alone send it */
	MVPN_C_REFUSE_PROCESS,	    /* socket shim: connect() or sendmsg() that failed for the same reason */
	MVPN_C_MAX,
};

#define MVPN_COUNTER_NAMES                                                                         \
	{                                                                                          \
		"pass_unprotected", "pass_never", "pass_own", "pass_server", "to_tap",             \
		"to_tap_held", "drop_denied", "drop_no_owner", "drop_keyd_down",                   \
		"drop_malformed", "ingress_clear", "leak", "event_lost", "wire_redirect",          \
		"wire_unknown_spi", "wire_pass", "drop_multicast", "drop_process",                 \
		"refuse_process"                                                           \
	}

_Static_assert(sizeof(struct mvpn_lpm_key) == 20, "LPM key has no padding");
_Static_assert(sizeof(struct mvpn_claim_key) == 20, "LPM key has no padding");
_Static_assert(sizeof(struct mvpn_attached_key) == 8, "map key has no padding");
_Static_assert(sizeof(struct mvpn_lengths) == 24, "map value");
_Static_assert(sizeof(struct mvpn_protected) == 8, "map value");
_Static_assert(sizeof(struct mvpn_key) == 16, "map value");
_Static_assert(sizeof(struct mvpn_config) == 16, "map value");
_Static_assert(sizeof(struct mvpn_diversion) == 40, "map value");
_Static_assert(sizeof(struct mvpn_end) == 20, "map key has no padding");
_Static_assert(sizeof(struct mvpn_kept_port) == 4, "map key has no padding");
_Static_assert(sizeof(struct mvpn_syn) == 104, "ring record");
_Static_assert(sizeof(struct mvpn_guard_line) == 48, "map value");
_Static_assert(sizeof(struct mvpn_exe) == 16, "map key has no padding");
_Static_assert(sizeof(struct mvpn_group_key) == 128, "map key has no padding");
_Static_assert(sizeof(struct mvpn_group) == 16, "map value");
_Static_assert(sizeof(struct mvpn_vouched) == 24, "map value");
_Static_assert(sizeof(struct mvpn_process) == 48, "socket storage");
_Static_assert(sizeof(struct mvpn_stream_owner) == 72, "record of a walk");
_Static_assert(sizeof(struct mvpn_holder) == 40 + MVPN_EXE_PATH_B, "record of a walk");
_Static_assert(sizeof(struct mvpn_refusal) == 304, "ring record");
_Static_assert(sizeof(struct mvpn_refused_key) == 12, "map key has no padding");
_Static_assert(sizeof(struct mvpn_exempt) == 20, "map key has no padding");
_Static_assert(sizeof(struct mvpn_translation) == 32, "map value");
_Static_assert(sizeof(struct mvpn_translate_iface) == 8, "map key has no padding");
_Static_assert(sizeof(struct mvpn_flow_key) == 40, "map key has no padding");
_Static_assert(sizeof(struct mvpn_flow) == 64, "map value");
_Static_assert(sizeof(struct mvpn_event) == 64, "ring record");
_Static_assert(sizeof(struct mvpn_socket) == 72, "map value");
_Static_assert(sizeof(struct mvpn_sock_last) == 24, "socket storage");
_Static_assert(sizeof(struct mvpn_frame_key) == 8, "map key has no padding");
_Static_assert(sizeof(struct mvpn_frame) == 8, "map value");
_Static_assert(sizeof(struct mvpn_frame_tap) == 8, "map value");
_Static_assert(sizeof(struct mvpn_port_key) == 8, "map key has no padding");
_Static_assert(sizeof(struct mvpn_arrival_key) == 16, "map key has no padding");
_Static_assert(sizeof(struct mvpn_arrival) == 12, "map value");
_Static_assert(sizeof(struct mvpn_iface_key) == 16, "map key has no padding");
_Static_assert(sizeof(struct mvpn_iface) == 24, "map value");

#endif
