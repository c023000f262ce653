/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The fast path as keyd's main thread sees it: start it, give it wires, tell it things, hear from it, read its counters.
 * Packets are moved by worker threads; no function here touches a packet.
 */
#ifndef MVPN_DP_H
#define MVPN_DP_H

#include <stdbool.h>
#include <stdint.h>

#include "../keytab.h"
#include "mvpn/wire.h"

struct dp;

struct dp_config {
	const char *tap_name; /* "mvpn0" */
	uint16_t udp_port;
	unsigned workers; /* to begin with; 0: as many as pay on this machine */
	bool busy_poll; /* AF_XDP preferred busy polling */
	unsigned spin_us; /* a worker that had work looks at most so long for more before it sleeps; 0: never */
	bool latency;	  /* always that long, and MVPN_LATENCY_SPIN_US at least, whether it pays or not */
};

/* makes the tap and the UDP sockets, with workers that run at once. */
int dp_new(struct dp **ret, struct keytab *kt, const struct dp_config *c);
void dp_free(struct dp *dp); /* stops the workers, removes the tap */
unsigned dp_tap_ifindex(const struct dp *dp);
/* the device for Ethernet frames, made with a queue for each worker. -errno: there is none, as before */
int dp_frames_open(struct dp *dp, const char *name, unsigned *ret_ifindex);
void dp_frames_close(struct dp *dp);
unsigned dp_workers(const struct dp *dp); /* lanes to offer */
/* n workers at least, nothing if there are so many: each with a queue of the tap and a UDP socket. Sessions keep the lanes that they
 * have. -EINVAL over MVPN_WORKERS_MAX; on error nothing has changed. */
int dp_workers_grow(struct dp *dp, unsigned n);
bool dp_tap_steered(const struct dp *dp); /* flows keep to their tap queue, by a program; else the kernel may move them */
/* cookies of the UDP sockets, for the BPF map own_sockets; returns how many (they change when workers change) */
#define DP_SOCKETS_MAX (2 * MVPN_WORKERS_MAX)
unsigned dp_socket_cookies(const struct dp *dp, uint64_t *ret, unsigned max);

/*
 * AF_XDP sockets on every one of nqueues RX queues of an interface, for which our XDP program is attached already (`generic`: in
 * that mode); one worker a queue (more workers are made if needed, and stay). Tries zero-copy, then copy. Puts the sockets into xsks_map.
 * On error nothing has changed: -EOPNOTSUPP, -ENOBUFS …, -EBUSY: a queue has a socket. One that was closed a moment ago still
 * counts, for about a second: try again until DP_XSK_BUSY_MS have passed. Never waits.
 */
#define DP_XSK_BUSY_MS 3000
#define DP_XSK_RETRY_MS 50
struct dp_xsk_config {
	unsigned ifindex, nqueues;
	int xsks_map;
	bool generic;
};
struct dp_xsk_info {
	bool zerocopy;
	bool sends; /* what is sent goes through it, too; else through the UDP socket */
};
int dp_xsk_add(struct dp *dp, const struct dp_xsk_config *c, struct dp_xsk_info *ret);
void dp_xsk_del(struct dp *dp, unsigned ifindex);

/* ---- events to the main thread ---- */
enum dp_event_type {
	DP_EV_WANT = 1,	 /* a packet for `peer` is held: a session is needed */
	DP_EV_CONFIRMED, /* first authenticated packet on the session */
	DP_EV_ENDPOINT,	 /* authenticated packet with the highest counter came from elsewhere: `from` */
	DP_EV_TRAFFIC,	 /* the first packet to `peer` at or after its watch_ns */
	DP_EV_PONG,	 /* answer to our PING: `token`, `at_ns` of its arrival */
	DP_EV_CLOSE,	 /* the peer has dropped this session */
	DP_EV_REACH,	 /* the peer, a gateway, reaches a prefix or does not: `token` */
	DP_EV_REKEY,	 /* the session nears a bound: failed opens, lanes that other workers need */
	DP_EV_TOO_BIG,	 /* an ICMP error or the device says so of packets to `peer`; `mtu` would fit, 0 unknown */
	DP_EV_ECHO,	 /* what may be an answer to an echo, of the server or of a device that relays: `data` */
	DP_EV_ASKED,	 /* what may be a question of an end for which this device relays: `data`, `from` */
	DP_EV_ERROR,	 /* a wire failed: `ifindex` (0: tap or UDP), `error` -errno */
};
struct dp_event {
	enum dp_event_type type;
	uint32_t peer;
	uint32_t rx_spi; /* names the session; it may be gone by now */
	struct mvpn_endpoint from;
	uint64_t token, at_ns;
	unsigned ifindex, mtu;
	int error;
	uint8_t data[MVPN_ECHO_B];
};
int dp_event_fd(const struct dp *dp); /* readable when there are events */
bool dp_next_event(struct dp *dp, struct dp_event *ret); /* false: none left (and the fd is drained) */

/* ---- commands; each is queued to a worker and wakes it: 0 or -ENOBUFS ---- */
/* CTRL packet on a session (CONFIRM, PING, CLOSE, REACH; PONG is the fast path's own), with `pad` zero bytes after it. CLOSE waits until
 * it is sent (DP_CLOSE_WAIT_MS at most), so that the session may be removed right after; with too large a pad -EMSGSIZE. Padded ones, which are
 * probes, leave half of the queue to commands that must not be lost. */
#define DP_CLOSE_WAIT_MS 20
unsigned dp_payload_max(void); /* of the outer UDP, sealed */
int dp_send_ctrl(struct dp *dp, uint32_t rx_spi, enum mvpn_ctrl_type type, uint64_t token, unsigned pad);
/* the same, but not to where the peer is known to be */
int dp_send_ctrl_to(struct dp *dp, uint32_t rx_spi, enum mvpn_ctrl_type type, uint64_t token,
		    const struct mvpn_endpoint *to);
/* as it is, from the data port; at most DP_PLAIN_MAX bytes */
#define DP_PLAIN_MAX MVPN_ECHO_B
int dp_send_plain(struct dp *dp, const struct mvpn_endpoint *to, const void *data, size_t len);
/* the same at once, in this thread, for what is between us and the peer alone (opener.h): an IPv4 address */
int dp_send_opener(struct dp *dp, const struct mvpn_endpoint *to, bool one_link, const void *data,
		   size_t len);
/* `peer` has (or will not get) a session: send its held packets, or drop them and, if `prohibited`, answer each flow with ICMP
 * administratively prohibited */
int dp_flush_held(struct dp *dp, uint32_t peer);
int dp_drop_held(struct dp *dp, uint32_t peer, bool prohibited);

/* ---- counters ---- */
enum dp_counter {
	DP_C_TAP_RX,	    /* super-packets read from the tap */
	DP_C_TAP_TX,	    /* written to the tap (after coalescing) */
	DP_C_TX_PACKETS,    /* sealed packets handed to a wire */
	DP_C_TX_BYTES,	    /* inner bytes of them */
	DP_C_RX_PACKETS,    /* opened and accepted */
	DP_C_RX_BYTES,
	DP_C_HELD,	    /* packets held */
	DP_C_HELD_SENT,
	DP_C_HELD_DROP_FULL,
	DP_C_HELD_DROP_TIMEOUT,
	DP_C_HELD_DROP_DENIED,
	DP_C_DROP_NO_PEER,  /* out: destination owned by nobody */
	DP_C_DROP_BAD_SRC,  /* out: inner source is not ours by the session's selectors */
	DP_C_DROP_LEVEL,    /* out: TCP, which the policy has sealed at the socket; answered likewise */
	DP_C_DROP_SERVICE,  /* out: not among the session's services; answered with ICMP prohibited */
	DP_C_DROP_LIMIT,    /* out: over the class's limit, and as much waits as may */
	DP_C_SHAPED,	    /* out: had to wait for the class's limit */
	DP_C_DROP_TOO_BIG,  /* out: answered with ICMP too-big, unless it is an Ethernet frame */
	DP_C_DROP_MALFORMED_TAP,
	DP_C_DROP_WIRE_FULL, /* out: no room in the ring or socket */
	DP_C_DROP_TAP_FULL, /* in: the tap refused */
	DP_C_RX_SHORT,	    /* in: too short for a header */
	DP_C_RX_BAD_TYPE,
	DP_C_RX_PUNCH,	    /* what a peer behind NAT sends to open its way: nothing to open */
	DP_C_RX_ECHO,	    /* answers of the server, and of devices that relay */
	DP_C_RX_QUESTION,   /* of ends for which this device relays */
	DP_C_PASSED,	    /* what it has relayed: sealed packets of others, passed on as they came */
	DP_C_PASSED_BYTES,  /* of their UDP payloads */
	DP_C_PASS_LIMITED,  /* over the pair's rate */
	DP_C_PASS_REFUSED,  /* from elsewhere than the pair's other end, or before it is known where the ends are */
	DP_C_RX_UNKNOWN_SPI,
	DP_C_RX_AUTH_FAIL,
	DP_C_RX_REPLAY,
	DP_C_RX_RELAYED,    /* in: at a queue whose worker does not own the lane, handed over */
	DP_C_RX_RELAY_FULL, /* in: likewise, and the owner lagged too far behind */
	DP_C_LANES_MOVED,   /* lanes that have got another owner */
	DP_C_RX_BAD_INNER,  /* authentic, but inner source or destination is outside the selectors, or not IP */
	DP_C_RX_LEVEL,	    /* authentic, but TCP, which the policy has sealed at the socket: the peer should have refused it */
	DP_C_RX_SERVICE,    /* authentic, but not among the session's services: the peer should have refused it */
	DP_C_RX_LIMIT,	    /* authentic, but clearly over the class's limit: the peer should not have sent it */
	DP_C_RX_ECN_CE,	    /* in: marked on the way, the mark was handed to the inner packet (RFC 6040) */
	DP_C_RX_ECN_DROP,   /* in: marked on the way, inner packet not capable of ECN: dropped */
	DP_C_RX_ECN_ODD,    /* in: inner and outer ECN that no peer sends together */
	DP_C_TX_FRAMES,	    /* of DP_C_TX_PACKETS: Ethernet frames */
	DP_C_RX_FRAMES,
	DP_C_ICMP_SENT,	    /* synthetic too-big and prohibited */
	DP_C_ICMP_TOO_BIG,  /* from the path, about a packet that was sent lately: it is probed */
	DP_C_ICMP_IGNORED,  /* other ICMP errors, or about no packet of ours */
	DP_C_EVENT_LOST,
	DP_C_XSK_RX_DROPPED, /* XDP_STATISTICS, summed */
	DP_C_XSK_RX_RING_FULL,
	DP_C_XSK_FILL_EMPTY,
	DP_C_XSK_RX_INVALID,
	DP_C_XSK_TX_INVALID,
	DP_C_XSK_TX_EMPTY, /* the kernel looked for something to send and found nothing: no loss */
	DP_C_MAX,
};
extern const char *const dp_counter_names[DP_C_MAX]; /* "tap_rx", … */
void dp_counters(struct dp *dp, uint64_t ret[DP_C_MAX]);

#endif
