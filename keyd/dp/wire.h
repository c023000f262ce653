/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The wire: how one worker's sealed packets leave and enter. One interface, two implementations: wire_udp (socket with
 * UDP_SEGMENT and UDP_GRO) and wire_xdp (AF_XDP). Used by the worker that owns it, no locks.
 */
#ifndef MVPN_WIRE_IF_H
#define MVPN_WIRE_IF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../keytab.h"
#include "errqueue.h"

struct wire;

/* whence a payload came, and its outer TOS or traffic class: DSCP and ECN. Nothing here is authenticated. */
struct wire_from {
	struct mvpn_endpoint ep;
	uint8_t tos;
};

/* one received UDP payload; `data` may be overwritten */
typedef void wire_rx_fn(void *arg, uint8_t *data, size_t len, const struct wire_from *from);

struct wire_ops {
	const char *name;
	/*
	 * Room for one UDP payload of at most `len` bytes to `ep`; NULL when there is none even after a kick. The payload is
	 * written there and committed with its true length, or simply not committed. One reservation at a time. `tos` becomes
	 * the outer TOS or traffic class.
	 */
	uint8_t *(*reserve)(struct wire *w, const struct kt_endpoint *ep, size_t len, uint8_t tos);
	void (*commit)(struct wire *w, size_t len);
	void (*flush)(struct wire *w); /* everything committed is on its way */
	/* calls fn for up to `budget` payloads; returns how many, or -errno when the wire is broken */
	int (*receive)(struct wire *w, wire_rx_fn *fn, void *arg, unsigned budget);
	int (*fd)(const struct wire *w); /* for poll(POLLIN) */
	/* before the worker sleeps on fd: anything that must be armed; false: do not sleep, there is work */
	bool (*before_sleep)(struct wire *w);
	void (*stats)(struct wire *w, uint64_t *counters /* DP_C_MAX of them, added to */);
	void (*free)(struct wire *w);
};
struct wire {
	const struct wire_ops *ops;
};

/* sealed payload bytes over the wire's own headers never exceed this */
#define WIRE_PAYLOAD_MAX 9216
/* what fits a frame of the AF_XDP wire; larger ones go by the UDP socket */
#define WIRE_XDP_PAYLOAD_MAX (4096 - 64)

/*
 * Each lane has an outer source port of its own, so that receive-side scaling and equal-cost paths spread lanes and keep each
 * together; all come to the data port. Lane 0 sends from the data port itself, lane i > 0 from the i-th port above it, so that
 * firewalls and flow steering can be told a range; from any other if somebody has that one. Where NAT is on the way (`one_port` of
 * the end point) all of them send from the data port.
 */
struct wire_udp_config {
	uint16_t port; /* the data port; 0 picks one */
	unsigned lane; /* > 0: shares the port that lane 0 has (SO_REUSEPORT); 0: -EADDRINUSE when anybody has it */
};
int wire_udp_new(struct wire **ret, const struct wire_udp_config *c);
uint16_t wire_udp_port(const struct wire *w);
uint16_t wire_udp_source(const struct wire *w); /* the port that it sends from */
/* SO_COOKIE of the sockets that it sends from, at most WIRE_UDP_SOCKETS of them: returns how many */
#define WIRE_UDP_SOCKETS 2
unsigned wire_udp_cookies(const struct wire *w, uint64_t ret[WIRE_UDP_SOCKETS]);
/*
 * Hands over what came back for packets sent: ICMP errors, and what the device has refused as too big. `waiting`: poll() says
 * POLLERR on the error fd; else only what sending itself has met.
 */
typedef void wire_error_fn(void *arg, const struct quote *q);
void wire_udp_errors(struct wire *w, bool waiting, wire_error_fn *fn, void *arg);
int wire_udp_error_fd(const struct wire *w);
/* of n wires that share the port, the (lane % n)-th to have joined gets the packets of a lane: -errno */
int wire_udp_steer(struct wire *w, unsigned n);

/*
 * One AF_XDP socket on (ifindex, queue) with its own UMEM; sends from `source_port`, receives what comes to `udp_port`. Zero-copy
 * only if `zerocopy`.
 * -EBUSY: the queue has a socket, or had one a moment ago; -EMSGSIZE: the device's MTU is beyond FRAME_MTU_MAX (frame.h) and the
 * kernel cannot split packets (before Linux 6.6); -EOPNOTSUPP: no zero-copy, or not for that MTU. Needs CAP_NET_RAW, and
 * CAP_IPC_LOCK or 16 MB of RLIMIT_MEMLOCK. It outlives a device that is set down and up again; receive says -ENXIO when it has
 * gone; reserve takes nothing beyond WIRE_XDP_PAYLOAD_MAX, and -EMSGSIZE follows when the MTU has grown beyond the frames: make a
 * new one.
 */
struct wire_xdp_config {
	unsigned ifindex, queue;
	int xsks_map;
	bool zerocopy, busy_poll;
	bool generic; /* XDP is attached in generic mode, where the kernel may hand over joined datagrams (run.h) */
	uint16_t udp_port, source_port;
};
int wire_xdp_new(struct wire **ret, const struct wire_xdp_config *c);
/* it may send whatever the path takes; else its device is too large for it, or copies: then the UDP socket is the better way */
bool wire_xdp_sends(const struct wire *w);
/*
 * The longest packet, Ethernet and all, that may be steered to a wire made on a device of this MTU: 0 any, for it takes several
 * frames, which Linux 6.6 can. What is longer would be lost: the XDP program leaves it to the stack and the UDP socket.
 */
unsigned wire_xdp_frame_max(unsigned mtu, bool generic);

#endif
