/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Ethernet frames on their way through the fast path, whole and unchanged. Out: from the frame tap to the session of the
 * peer that has the destination address. In: only what that very peer may send to one of our addresses, then to the frame tap.
 */
#ifndef MVPN_DP_ETHER_H
#define MVPN_DP_ETHER_H

#include "mvpn/ether.h"
#include "packet.h"

struct worker;
struct kt_peer;
struct kt_session;

#define ETHER_HEAD_B 14
#define ETHER_ADDR_B 6
#define ETHER_TAG_B 4
#define ETHER_TAGS_MAX \
	4 /* as egress lets by: one in the packet's metadata, three in its bytes (bpf/parse.h) */

/* in a held packet's virtio_net_hdr.flags: it is a frame. The kernel has no such flag. */
#define ETHER_HELD 0x80

struct ether {
	const uint8_t *dst, *src;
	uint16_t type; /* behind all VLAN tags, host order */
};

/* -EINVAL: no whole header, too many tags, or a type that is never sealed as a frame */
static inline int ether_parse(struct ether *e, const uint8_t *data, size_t len)
{
	size_t at = 2 * ETHER_ADDR_B;

	if (len < ETHER_HEAD_B)
		return -EINVAL;
	e->dst = data;
	e->src = data + ETHER_ADDR_B;
	e->type = get16(data + at);
	for (unsigned i = 0; i < ETHER_TAGS_MAX; i++) {
		if (e->type != ETHER_VLAN && e->type != ETHER_QINQ)
			break;
		at += ETHER_TAG_B;
		if (at + 2 > len)
			return -EINVAL;
		e->type = get16(data + at);
	}
	return ether_never(e->type) ? -EINVAL : 0;
}

/* a frame of len bytes at w->packet. `peer`: it was held for that one, else NULL */
void ether_out(struct worker *w, size_t len, const struct kt_peer *peer);
/* may the peer of this session send us that frame? */
bool ether_in(struct worker *w, const struct kt_session *s, const uint8_t *data, size_t len,
	      uint16_t *ret_type);

#endif
