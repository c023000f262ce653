/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Messages of the channel between keyd and the server (PROTOCOL §1-§3), carried in the frames of lib/chan.h:
 *
 *   plaintext = type u8 | flags u8 | reqid u16 | TLV (type u16, len u16, value)…      big-endian
 *
 * A TLV type with MVPN_TLV_CRITICAL set that the receiver does not know closes the channel; others are skipped.
 * A TLV of a known type with a wrong length closes it too. C is the device (keyd), S the server.
 */
#ifndef MVPN_AUTH_H
#define MVPN_AUTH_H

#include <stdint.h>

#define MVPN_ID_LEN 16	    /* device id, token id, session id */
#define MVPN_KEY_LEN 32	    /* X25519 keys, PSKs */
#define MVPN_NET_ID_LEN 8
#define MVPN_PROTO_VER 1

enum mvpn_msg {
	/* C→S. First message after the handshake, flags MVPN_REG_*: TLV_NAME (enrolment only), TLV_ADDR… (claimed), TLV_UDP_PORT,
	 * TLV_BOOT_GEN, TLV_SUITES, TLV_VERSION, TLV_MAC… (claimed), TLV_SET (of the last COMMIT, on the only channel), TLV_REV (of the newest),
	 * TLV_DELEGATION (delegated log-in, or enrolment of a key that signs). Sent again, without TLV_NAME and TLV_DELEGATION, when the host's addresses or MAC addresses change. */
	MVPN_MSG_REGISTER = 0x01,
	/* both ways, every MVPN_CHAN_HEARTBEAT_S; the server's carries TLV_TIME, TLV_RETURN */
	MVPN_MSG_HEARTBEAT = 0x02,
	/* both ways, last message before closing: TLV_REASON, TLV_TEXT */
	MVPN_MSG_CLOSE = 0x03,
	/* C→S: a part of what goes with the device's next key: TLV_S_PUB, TLV_VOUCH…, TLV_DELEGATION (its key is on a token, and leaves it); flags MVPN_PFX_*: the first part RESET,
	 * the last COMMIT, which is answered S→C: TLV_S_PUB; TLV_REASON if it is refused. A part without flags adds to it. */
	MVPN_MSG_ROTATE = 0x04,

	/* S→C. Answer to REGISTER: TLV_DEVICE, TLV_NAME, TLV_NET, TLV_STATE, TLV_ADDR… (accepted),
	 * TLV_ADDR_REFUSED…, TLV_MAC… (accepted), TLV_MAC_REFUSED…, TLV_MAX_OFFLINE, TLV_REKEY, TLV_ECHO, TLV_TICKET, TLV_PSK and TLV_PSK_EPOCH:
	 * the next one, until it has been used. */
	MVPN_MSG_WELCOME = 0x08,
	/* S→C. A part of the protected set: TLV_PREFIX…, TLV_GATEWAYS…, TLV_PEER…, TLV_REV, TLV_OPTIONS, TLV_MAX_OFFLINE, TLV_REKEY; flags
	 * MVPN_PFX_*. After REGISTER the
	 * whole set is sent (first part RESET, last part COMMIT); later changes are RESET-less deltas with COMMIT. COMMIT has
	 * TLV_SET; a REGISTER with that, of a state that the server knows, gets the changes since instead of the whole set.
	 * A policy change without prefix changes sends an empty COMMIT with a new TLV_REV: refusals are forgotten. */
	MVPN_MSG_PREFIXES = 0x09,
	/* S→C. A part of what this device may do with frames of other devices: TLV_ETHER…; flags MVPN_PFX_*. Always the
	 * whole: the first part has RESET, the last COMMIT. After REGISTER, and when it changes. */
	MVPN_MSG_ETHER = 0x0a,

	/* S→C. At which level traffic with other devices is sealed, where that is not the network's: TLV_LEVEL…; flags MVPN_PFX_*.
	 * Always the whole, as with ETHER. */
	MVPN_MSG_LEVELS = 0x0b,
	/* S→C: a peer has a new key: TLV_S_PUB, TLV_VOUCH, TLV_DELEGATION (in place of the mac). C→S: heard: TLV_DEVICE, TLV_S_PUB; until then it is told anew
	 * after each WELCOME */
	MVPN_MSG_PIN = 0x0c,
	/* S→C: the key of this server that a device should pin, after WELCOME and when it changes: TLV_KEY_SERIAL, TLV_S_PUB,
	 * TLV_KEY_LEFT, TLV_KEY_IN; flags MVPN_KEY_*. C→S, if it is asked for: pinned: TLV_S_PUB */
	MVPN_MSG_SERVER_KEY = 0x0d,

	/* S→C. Which processes of this device may send what to whom, for each device to which a line with `by` leads: lines, each
	 * TLV_PROCESS_LINE and then its TLV_PROCESS_SERVICE… (none: everything), TLV_PROCESS_BY… (none: all processes) and
	 * TLV_PROCESS_PEER…; flags MVPN_PFX_*. Always the whole, as with ETHER; before the first PREFIXES.
	 * C→S: what was refused: TLV_PROCESS_REFUSED…, each with TLV_PROCESS_RULE if it is known, at most MVPN_PROCESS_REPORT_MAX, and one message a second. */
	MVPN_MSG_PROCESSES = 0x1d,

	/* introduction (PROTOCOL §3) */
	MVPN_MSG_REQUEST = 0x10,    /* C→S: TLV_REQ, TLV_NOISE1; TLV_DEVICE: which one is meant, if several own the destination */
	MVPN_MSG_OFFER = 0x11,	    /* S→C: TLV_SESSION, TLV_SEQ, TLV_REQ, TLV_DEVICE (A), TLV_S_PUB (A's), TLV_DELEGATION (of that, if it has one), TLV_PSK,
				     * TLV_BOOT_GEN (B's), TLV_SELECTORS, TLV_TTL, TLV_ENDPOINT (A's, as S sees it), TLV_NOISE1;
				     * mode central60: TLV_KEY */
	MVPN_MSG_ACCEPT = 0x12,	    /* C→S: TLV_SESSION, TLV_NOISE2 */
	MVPN_MSG_REJECT = 0x13,	    /* C→S: TLV_SESSION, TLV_REASON */
	MVPN_MSG_ANSWER = 0x14,	    /* S→C: TLV_SESSION, TLV_SEQ, TLV_NONCE, TLV_DEVICE (B), TLV_S_PUB (B's), TLV_DELEGATION, TLV_PSK,
				     * TLV_SELECTORS, TLV_TTL, TLV_ENDPOINT (B's), TLV_NOISE2, TLV_BOOT_GEN (A's);
				     * mode central63: TLV_KEY */
	MVPN_MSG_FAIL = 0x15,	    /* S→C: TLV_NONCE, TLV_REASON, TLV_TEXT; BUSY carries TLV_SESSION, MODE TLV_MODE */
	MVPN_MSG_CANCEL = 0x16,	    /* S→C: TLV_SESSION: the offer is void */
	/* both name a TLV_LAYER: of that layer; without one: of all */
	MVPN_MSG_PEER_RESET = 0x17, /* S→C: TLV_DEVICE has restarted: drop its sessions */
	MVPN_MSG_REVOKE = 0x18,	    /* S→C: TLV_DEVICE, TLV_REASON: drop its sessions, answered by an empty ack */
	/* C→S: TLV_SESSION, TLV_REASON: this end has dropped the session. The server forgets it, and what it may have to
	 * revoke, only when both ends have said so. */
	MVPN_MSG_ENDED = 0x19,
	/* C→S, no TLVs: does UDP to the server pass? flags MVPN_UDP_BLOCKED: it does not. Said when it changes, and on each new
	 * channel while it does not. */
	MVPN_MSG_UDP = 0x1b,
	/* C→S: TLV_SESSION, TLV_SPI (by which this end receives): relay it; said anew while it is needed; TLV_DEVICE: the device that
	 * relays it does not answer. S→C: TLV_SESSION, TLV_ENDPOINT (the peer's, as S sees it now); flags MVPN_RELAY_OPEN once both
	 * ends have said so, until then the receiver is asked to; then, if it is not S that relays, TLV_RELAY_BY. Or TLV_SESSION,
	 * TLV_REASON: it is not relayed. TLV_NO_UDP, as in OFFER and ANSWER. */
	MVPN_MSG_RELAY = 0x20,
	/* S→C: pass on the packets of a pair, for MVPN_RELAY_IDLE_S, unless it is said anew: TLV_SESSION, TLV_RELAY_RATE (of the pair),
	 * TLV_RELAY_END for either end; flags MVPN_FORWARD_END, TLV_SESSION: no more. C→S: TLV_SESSION, TLV_REASON: it is refused. */
	MVPN_MSG_FORWARD = 0x1c,
	/* S→C, of a session of layer SOCKET, to both ends: TLV_SESSION, TLV_SELECTORS: without prefixes, what it is for from now on. Said with
	 * each change of the policy and after each WELCOME, whether or not it is what it was. */
	MVPN_MSG_SERVICES = 0x1e,
};

/* NEXT: it is not in use yet, else it is the key. ASK: say when it is pinned */
enum mvpn_key_flags { MVPN_KEY_NEXT = 1, MVPN_KEY_ASK = 2 };
enum mvpn_register_flags { MVPN_REG_PROCESSES = 1, MVPN_REG_SERVICES = 2 }; /* this end knows PROCESSES; SERVICES */
enum mvpn_udp_flags { MVPN_UDP_BLOCKED = 1 };
enum mvpn_relay_flags { MVPN_RELAY_OPEN = 1 };
enum mvpn_forward_flags { MVPN_FORWARD_END = 1 };
enum mvpn_prefixes_flags { MVPN_PFX_RESET = 1, MVPN_PFX_COMMIT = 2 };

#define MVPN_TLV_CRITICAL 0x8000
enum mvpn_tlv {
	MVPN_TLV_NAME = 1,	    /* 1..MVPN_NAME_MAX_B bytes of [A-Za-z0-9._-] */
	MVPN_TLV_ADDR = 2,	    /* addr[16] */
	MVPN_TLV_UDP_PORT = 3,	    /* u16 */
	MVPN_TLV_BOOT_GEN = 4,	    /* u64 */
	MVPN_TLV_SUITES = 5,	    /* u16, bit (suite - 1) */
	MVPN_TLV_VERSION = 6,	    /* text, for the operator only */
	MVPN_TLV_TIME = 7,	    /* u64, server's wall clock, seconds since the epoch */
	MVPN_TLV_REASON = 8,	    /* u16, enum mvpn_reason */
	MVPN_TLV_TEXT = 9,	    /* text for the operator */
	MVPN_TLV_DEVICE = 10,	    /* id[16] */
	MVPN_TLV_NET = 11,	    /* net_id[8] */
	MVPN_TLV_STATE = 12,	    /* u8, enum mvpn_device_state */
	MVPN_TLV_ADDR_REFUSED = 13, /* addr[16] | reason u16 */
	MVPN_TLV_MAX_OFFLINE = 14,  /* u32 seconds */
	MVPN_TLV_REKEY = 15,	    /* u32 seconds */
	MVPN_TLV_PREFIX = 16,	    /* op u8 (1 add, 0 delete) | plen u8 (0..128) | addr[16] | owner id[16] (0: none) */
	MVPN_TLV_PEER = 17,	    /* id[16] | state u8 | name */
	MVPN_TLV_REV = 18,	    /* u64 */
	MVPN_TLV_REQ = 19,	    /* struct mvpn_req, verbatim */
	MVPN_TLV_NOISE1 = 20,	    /* 48 bytes */
	MVPN_TLV_NOISE2 = 21,
	MVPN_TLV_SESSION = 22,	    /* id[16] */
	MVPN_TLV_SEQ = 23,	    /* u64, rises with each session the server opens */
	MVPN_TLV_S_PUB = 24,	    /* X25519 public key */
	MVPN_TLV_PSK = 25,	    /* 32 bytes */
	MVPN_TLV_SELECTORS = 26,    /* see below */
	MVPN_TLV_TTL = 27,	    /* u32 seconds: rekey before then, hard limit twice that */
	MVPN_TLV_ENDPOINT = 28,	    /* addr[16] | port u16 */
	MVPN_TLV_NONCE = 29,	    /* 16 bytes, REQ's */
	MVPN_TLV_OPTIONS = 30,	    /* u32, enum mvpn_options: what the policy sets for the whole network */
	MVPN_TLV_MAC = 32,	    /* mac[6] */
	MVPN_TLV_MAC_REFUSED = 33,  /* mac[6] | reason u16 */
	MVPN_TLV_ETHER = 34,	    /* struct mvpn_ether */
	MVPN_TLV_LAYER = 35,	    /* u8, enum mvpn_layer */
	MVPN_TLV_KEY = 36,	    /* 32 bytes: a session's K, in the central modes alone */
	MVPN_TLV_MODE = 37,	    /* u8, enum mvpn_mode */
	MVPN_TLV_VOUCH = 38,	    /* device id[16] | mac[32]; ROTATE: whom it is for, PIN: whose new key it is about */
	MVPN_TLV_PSK_EPOCH = 39,    /* u32 */
	MVPN_TLV_ECHO = 40,	    /* id u32 | key[32]: the server answers echoes (lib/echo_msg.h) on the channel's UDP port */
	MVPN_TLV_SPI = 41,	    /* u32 */
	MVPN_TLV_RELAY_RATE = 49,   /* u32 kbit/s */
	MVPN_TLV_RELAY_END = 50,    /* struct mvpn_relay_end | its name: to the device that relays */
	MVPN_TLV_RELAY_BY = 51,	    /* struct mvpn_relay_by | its name: to the ends, of the device that relays */
	MVPN_TLV_NO_UDP = 57,	    /* u8, 1; beside ENDPOINT: the peer says that UDP between it and the server is blocked */
	MVPN_TLV_KEY_SERIAL = 52,   /* u64, rises with each change of the server's key that is begun or cancelled */
	MVPN_TLV_KEY_LEFT = 53,	    /* u32 seconds: the one before that is good for so long still; 0: it is gone */
	MVPN_TLV_KEY_IN = 54,	    /* u32 seconds: then the NEXT one will be in use */
	MVPN_TLV_SET = 48,	    /* 32 bytes, the server's: a state of the protected set */
	MVPN_TLV_RETURN = 58,	    /* u32 ms: a channel that is lost is tried again within so long at first (lib/backoff.h) */
	/* line u32 | flags u8, enum mvpn_rule_flags | n u8 | n times as PROCESS_SERVICE | the line, for people: of the policy, lets the two talk,
	 * about these services of the one that does not begin; none: about all */
	MVPN_TLV_RULE = 59,
	MVPN_TLV_DELEGATION = 60,   /* not_after u64 | key[32] | challenge[32] | signature[64]: lib/delegation.h */
	/* plen u8 | addr[16] | flags u8, enum mvpn_gateways_flags | id[16]…: behind the PREFIX of that prefix; its gateways, MVPN_GATEWAYS_MAX
	 * at most, in the order in which they are to be used */
	MVPN_TLV_GATEWAYS = 61,
	MVPN_TLV_TICKET = 64,	    /* MVPN_TICKET_B: known devices pass first when the server is under load (lib/chan.h) */
	MVPN_TLV_PROCESS_REFUSED = 65, /* struct mvpn_process_refused | three texts, each with its NUL: name, program, unit */
	MVPN_TLV_PROCESS_RULE = 62,    /* behind PROCESS_REFUSED: the text of its line, 1..MVPN_RULE_TEXT_B bytes, for people */
	MVPN_TLV_PROCESS_LINE = 68,    /* line u32 of the policy | its text, for people */
	MVPN_TLV_PROCESS_SERVICE = 69, /* proto u8 | first port u16 | last port u16 (lib/service.h) */
	MVPN_TLV_PROCESS_BY = 70,      /* kind u8, enum mvpn_by | value (lib/by.h) */
	MVPN_TLV_PROCESS_PEER = 71,    /* id[16] */
	MVPN_TLV_LEVEL = 72,	    /* id[16] | level u8, enum mvpn_level */
};

/* bits that a receiver does not know are ignored, here */
enum mvpn_gateways_flags {
	MVPN_GATEWAYS_TRANSLATED = 1, /* hosts there see the gateway's address as the source */
};

/* and here; without the TLV: 0 */
enum mvpn_options {
	MVPN_OPT_DSCP_CLEAR = 1,     /* the outer DSCP is 0, not the inner packet's, where no class says something else */
	MVPN_OPT_MULTICAST_DROP = 2, /* multicast and broadcast IP do not pass attached interfaces, but what links need */
};

/*
 * Selectors: count_a u8 | count_b u8 | (plen u8 | addr[16])×count_a | …×count_b: the inner prefixes that A (the
 * initiator) and B (the responder) own. If the policy lets the two exchange certain services only, there follow
 * count_a u8 | count_b u8 | (proto u8 | first port u16 | last port u16)×count_a | …×count_b: those that A offers to B, and B to A
 * (lib/service.h), one at least. If it sets a DSCP or a limit, the counts are there (0 and 0: everything may be exchanged), and the
 * classes follow (lib/class.h). Both ends get the same bytes; they are bound into the session keys.
 */
#define MVPN_SELECTORS_MAX_B                                                                       \
	(2 + 2 * 17 * MVPN_SELECTORS_MAX + 2 + 2 * 5 * MVPN_SERVICES_MAX + 4 +                     \
	 9 * MVPN_CLASSES_MAX + 2 * 6 * MVPN_SERVICES_MAX)

enum mvpn_device_state {
	MVPN_DEV_PENDING = 1, /* enrolled, awaits approval: a channel but no authority */
	MVPN_DEV_ACTIVE = 2,
	MVPN_DEV_SUSPENDED = 3,
	MVPN_DEV_REVOKED = 4,
};

enum mvpn_reason {
	MVPN_R_NONE = 0,
	MVPN_R_DENIED = 1,	  /* no policy rule allows it */
	MVPN_R_PEER_OFFLINE = 2,  /* the other device has no channel */
	MVPN_R_PEER_SILENT = 3,	  /* it did not answer the offer in time */
	MVPN_R_BUSY = 4,	  /* an introduction of this pair is under way */
	MVPN_R_UNKNOWN_DST = 5,	  /* no device owns the destination */
	MVPN_R_REVOKED = 6,
	MVPN_R_PENDING = 7,	  /* the device awaits approval */
	MVPN_R_SUSPENDED = 8,
	MVPN_R_TOKEN_EXPIRED = 9,
	MVPN_R_TOKEN_USED = 10,
	MVPN_R_TOKEN_REVOKED = 11,
	MVPN_R_NAME_TAKEN = 12,
	MVPN_R_ADDR_NOT_OWNED = 13, /* neither the channel's source nor given by an admin */
	MVPN_R_ADDR_TAKEN = 14,	    /* another device owns it */
	MVPN_R_BAD_MESSAGE = 15,
	MVPN_R_STALE_BOOT = 16,	    /* the message was for an earlier life of this device */
	MVPN_R_PIN = 17,	    /* the peer's key is not the one pinned */
	MVPN_R_LOCAL_POLICY = 18,
	MVPN_R_SHUTDOWN = 19,
	MVPN_R_REPLACED = 20,	    /* a newer channel of the same device, or a rekeyed session */
	MVPN_R_LIMIT = 21,	    /* a bound was reached */
	MVPN_R_NO_SUITE = 22,	    /* no common cipher suite or version */
	MVPN_R_EXPIRED = 23,	    /* lifetime over */
	MVPN_R_INTERNAL = 24,
	MVPN_R_POLICY_CHANGED = 25, /* a session that the new policy forbids */
	MVPN_R_MAC_TAKEN = 26,	    /* another device holds it */
	MVPN_R_MAC_INVALID = 27,    /* zero or a group address: no interface's own */
	MVPN_R_MODE = 28,	    /* the policy sets another mode for this pair: TLV_MODE */
	MVPN_R_MODE_REFUSED = 29,   /* a device does not take part in a central mode */
	MVPN_R_KEY_AWAY = 30,	    /* the device's key is on a token that is not there */
	MVPN_R_DELEGATION = 31,	    /* no key of a token vouches for the device's key (any more) */
	MVPN_R_STREAM_REFUSED = 32, /* no application takes the connection there */
	MVPN_R_STREAM_ADDRESS = 33, /* from no address of the one device, or to none that the other one owns */
	MVPN_R_SELECTORS = 34,	    /* the policy lets the two exchange something else than the session is for */
	MVPN_R_PROCESS = 35,	    /* the policy tells processes apart, and one of the two cannot */
	MVPN_R_RELAY = 36,	    /* no device relays the pair, nor the server; or the device that was asked does not */
	MVPN_R_SERVER_KEY = 37,	    /* the server has given up the key that is pinned */
	MVPN_R_SERVICE = 38,	    /* a stream to a service that the policy does not name any more */
	MVPN_R_STREAM_UNREACHABLE = 39, /* no way leads from there to the destination */
	MVPN_R_MAX,
};
/* one line for the operator, in the order of enum mvpn_reason: lib/reason.c, mvpn_reason_name(), mvpn_reason_text() */
const char *mvpn_reason_name(unsigned reason); /* "denied"; "unknown" beyond the end */
const char *mvpn_reason_text(unsigned reason); /* what happened and what to do */

/* data-plane cipher suites; bit (suite - 1) in masks */
enum mvpn_suite { MVPN_CHACHA20_POLY1305 = 1, MVPN_AES256_GCM = 2 };
/* where the policy wants traffic between two devices sealed, TLV_LEVEL */
enum mvpn_level {
	MVPN_LEVEL_SOCKET = 1,	/* TCP in streams, and not as packets; the rest as packets */
	MVPN_LEVEL_NETWORK = 3, /* everything as packets */
	MVPN_LEVEL_EITHER = 4,	/* TCP in streams where it can be, else as packets */
	MVPN_LEVEL_BOTH = 5,	/* as SOCKET, and what carries streams sealed as packets once more */
};
/* "socket", "network", "socket|network", "socket+network"; lib/reason.c */
const char *mvpn_level_name(unsigned level);
enum mvpn_layer { MVPN_LAYER_SOCKET = 1, MVPN_LAYER_TRANSPORT = 2, MVPN_LAYER_NETWORK = 3, MVPN_LAYER_LINK = 4 };
/* where a session's key comes from: both ends, or the export key of A's channel or of B's, which the server knows too */
enum mvpn_mode { MVPN_MODE_E2E = 0, MVPN_MODE_CENTRAL60 = 1, MVPN_MODE_CENTRAL63 = 2, MVPN_MODES };
const char *mvpn_mode_name(unsigned mode); /* "end-to-end", "central60", "central63"; lib/reason.c */

/* REQ (PROTOCOL §3), forwarded verbatim; the Noise prologue is "mavp1 peer\0" ‖ REQ */
struct mvpn_req {
	uint8_t ver, mode, layer, flags;
	uint8_t net_id[8];
	uint8_t a_id[16];
	uint8_t nonce[16];
	uint8_t af, proto;
	uint16_t dport_be;
	uint8_t dst[16]; /* layer LINK: the device's id, and af, proto, dport are 0 */
	uint32_t spi_a_be;
	uint8_t lanes, suites; /* u16 lanes|suites */
	uint16_t udpport_be;
	uint64_t boot_gen_be;
	uint8_t replaces[16]; /* session being rekeyed, else 0 */
	uint8_t ncand, zero[3];
	/* followed by ncand × struct mvpn_candidate */
} __attribute__((packed));
struct mvpn_candidate {
	uint8_t addr[16];
	uint16_t port_be;
	uint8_t kind, zero;
} __attribute__((packed));
#define MVPN_CANDIDATES_MAX 8

/*
 * Frames to and from one MAC address of another device. mac zero: whatever has no entry of its own and this type is
 * protected, and dropped (there were more entries than MVPN_FRAMES_MAX).
 */
struct mvpn_ether {
	uint8_t mac[6];
	uint16_t type_be; /* ETHER_ANY: every type that has no entry of its own */
	uint8_t flags;	  /* enum mvpn_frame_flags; neither: dropped both ways */
	uint8_t zero;
	uint8_t owner[16]; /* zero: nobody */
} __attribute__((packed));

/*
 * The key is for echoes (lib/echo_msg.h) between that end and the device that relays, with the end's SPI as their id: so the device
 * learns where the end is, and nobody else can say so. It opens no packet.
 */
struct mvpn_relay_end {
	uint8_t device[MVPN_ID_LEN];
	uint32_t spi_be; /* by which it receives */
	uint8_t key[MVPN_KEY_LEN];
} __attribute__((packed));
struct mvpn_relay_by {
	uint8_t device[MVPN_ID_LEN];
	uint8_t addr[16]; /* its data port, as S sees it */
	uint16_t port_be;
	uint8_t key[MVPN_KEY_LEN];
} __attribute__((packed));

enum mvpn_rule_flags {
	MVPN_RULE_A = 1, /* A may begin */
	MVPN_RULE_B = 2,
};
#define MVPN_RULE_HEAD_B 6
#define MVPN_RULE_TEXT_B 160

/* alike: the same but for pid and count */
struct mvpn_process_refused {
	uint8_t dst[16], peer[MVPN_ID_LEN];
	uint16_t port_be;
	uint8_t proto, why; /* enum mvpn_refused of mvpn/maps.h */
	uint32_t line_be, pid_be, uid_be; /* pid 0: not known, as uid then */
	uint32_t count_be;
} __attribute__((packed));
#define MVPN_PROCESS_REFUSED_TEXT_B (16 + 256 + 124)

#define MVPN_TLV_ECHO_B 36
#define MVPN_TLV_DELEGATION_B 136
#define MVPN_DELEGATION_TEXT_B 113 /* what the key on the token signs */
#define MVPN_TLV_GATEWAYS_HEAD_B 18
#define MVPN_TICKET_B 56 /* opaque to the device */
#define MVPN_TLV_VOUCH_B (MVPN_ID_LEN + 32)

_Static_assert(sizeof(struct mvpn_ether) == 26, "ETHER is 26 bytes");
_Static_assert(sizeof(struct mvpn_process_refused) == 52, "PROCESS_REFUSED is 52 bytes before its texts");
_Static_assert(sizeof(struct mvpn_relay_end) == 52, "RELAY_END is 52 bytes before its name");
_Static_assert(sizeof(struct mvpn_relay_by) == 66, "RELAY_BY is 66 bytes before its name");
_Static_assert(sizeof(struct mvpn_req) == 100, "REQ is 100 bytes before its candidates");
_Static_assert(sizeof(struct mvpn_candidate) == 20, "candidate is 20 bytes");

#endif
