/* SPDX-License-Identifier: BSD-2-Clause */
#include "ether.h"

#include "mvpn/maps.h"
#include "worker.h"

/* as hold.h wants it: the addresses and nothing else make a flow */
static struct packet as_packet(const struct ether *e, uint8_t *data, size_t len)
{
	return (struct packet){.data = data,
			       .len = (uint32_t)len,
			       .src = mvpn_mac_addr(e->src),
			       .dst = mvpn_mac_addr(e->dst)};
}

void ether_out(struct worker *w, size_t len, const struct kt_peer *held_for)
{
	const struct frametab *t = kt_frames(w->kt);
	struct frame_right right;
	struct kt_peer *peer;
	struct packet p;
	struct ether e;

	if (len > PACKET_MAX_B || ether_parse(&e, w->packet, len) < 0) {
		count(w, DP_C_DROP_MALFORMED_TAP, 1);
		return;
	}
	/* the table may have changed since egress looked at it, or since the frame was held */
	if (!t || !frametab_find(t, e.dst, e.type, &right) || !(right.flags & MVPN_FRAME_TX) ||
	    right.peer == MVPN_PEER_NONE || (held_for && held_for->index != right.peer) ||
	    !(peer = kt_lookup_peer(w->kt, right.peer))) {
		count(w, DP_C_DROP_NO_PEER, 1);
		return;
	}
	if (!frametab_is_local(t, e.src)) {
		count(w, DP_C_DROP_BAD_SRC, 1);
		return;
	}
	p = as_packet(&e, w->packet, len);
	seal_frame(w, peer, &p, e.type);
}

bool ether_in(struct worker *w, const struct kt_session *s, const uint8_t *data, size_t len,
	      uint16_t *ret_type)
{
	const struct frametab *t = kt_frames(w->kt);
	struct frame_right right;
	struct ether e;

	if (!t || ether_parse(&e, data, len) < 0 || !frametab_is_local(t, e.dst) ||
	    !frametab_find(t, e.src, e.type, &right) || right.peer != s->peer ||
	    !(right.flags & MVPN_FRAME_RX))
		return false;
	*ret_type = e.type;
	return true;
}
