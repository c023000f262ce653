/* SPDX-License-Identifier: BSD-2-Clause */
/* What the two files of the AF_XDP wire share: wire_xdp.c moves packets, wire_xdp_open.c makes and ends the wire. */
#ifndef MVPN_WIRE_XDP_H
#define MVPN_WIRE_XDP_H

#include <xdp/xsk.h>

#include "wire.h"

#define PAYLOAD_OFFSET_B 64 /* of a TX frame: headers end where a cache line begins */
#define RX_BATCH 64
#define RUN_MAX_B (65535 + 14 + 2 * 4) /* an IP packet, Ethernet, two VLAN tags */

/* <linux/if_xdp.h> of kernel 6.6 */
#ifndef XDP_USE_SG
#define XDP_USE_SG (1 << 4)
#define XDP_PKT_CONTD (1 << 0)
#endif

struct wire_xdp {
	struct wire wire;
	struct xsk_umem *umem;
	struct xsk_socket *xsk;
	struct xsk_ring_prod fill, tx;
	struct xsk_ring_cons comp, rx;
	uint8_t *area;
	size_t area_b;
	unsigned ifindex;
	uint32_t frame_b, nrx, ntx; /* bytes of a frame; frames each way */
	uint16_t udp_port, source_port;
	bool zerocopy, busy_poll;
	bool sg;   /* a packet may take several frames */
	bool runs; /* and may hold several datagrams */
	int fd;
	int broken; /* -errno of the device's end; nothing is done any more */

	/* RX of packets from several frames, `sg` only */
	uint8_t *gather; /* RUN_MAX_B */
	size_t gathered; /* what has come of one, whether it fits or not */
	size_t run;	 /* size of the datagrams of the last run */

	/* TX */
	uint64_t *free; /* stack of frame addresses */
	unsigned nfree;
	unsigned written; /* descriptors in the TX ring that the kernel has not been shown */
	unsigned sleeps_refused;
	struct { /* the reservation; payload NULL: none */
		uint8_t *payload;
		size_t head_len, max;
	} now;
	_Atomic uint64_t refused; /* too long for a frame or the path, or not for this device */
};

static inline struct wire_xdp *of(struct wire *w)
{
	return (struct wire_xdp *)w;
}

extern const struct wire_ops wire_xdp_ops;
/* frames for the kernel to receive into: never fails, the fill ring is twice as large as there are receive frames */
void wire_xdp_refill(struct wire_xdp *x, const uint64_t *addr, unsigned n);
void wire_xdp_free(struct wire *w);

#endif
