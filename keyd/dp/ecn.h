/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Explicit congestion notification through the tunnel (RFC 6040): going in, the outer field is a copy of the inner one ("normal
 * mode"); coming out, the two become one, so that the ends hear of congestion on the way between them.
 */
#ifndef MVPN_ECN_H
#define MVPN_ECN_H

#include "packet.h"

enum ecn { ECN_NOT_ECT = 0, ECN_ECT1 = 1, ECN_ECT0 = 2, ECN_CE = 3 };
#define ECN_MASK 3
#define ECN_DROP 0x80 /* the ends do not understand a mark, so the loss has to be it */
#define ECN_ODD 0x40  /* no tunnel entry sends this pair: somebody on the way has changed it */

/* RFC 6040 §4.2, figure 4: what the inner field becomes, with ECN_DROP and ECN_ODD */
static inline uint8_t ecn_leave(uint8_t inner, uint8_t outer)
{
	static const uint8_t becomes[4][4] = {
		[ECN_NOT_ECT] = {[ECN_NOT_ECT] = ECN_NOT_ECT,
				 [ECN_ECT0] = ECN_NOT_ECT | ECN_ODD,
				 [ECN_ECT1] = ECN_NOT_ECT | ECN_ODD,
				 [ECN_CE] = ECN_NOT_ECT | ECN_ODD | ECN_DROP},
		[ECN_ECT0] = {[ECN_NOT_ECT] = ECN_ECT0,
			      [ECN_ECT0] = ECN_ECT0,
			      [ECN_ECT1] = ECN_ECT1,
			      [ECN_CE] = ECN_CE},
		[ECN_ECT1] = {[ECN_NOT_ECT] = ECN_ECT1,
			      [ECN_ECT0] = ECN_ECT1 | ECN_ODD,
			      [ECN_ECT1] = ECN_ECT1,
			      [ECN_CE] = ECN_CE},
		[ECN_CE] = {[ECN_NOT_ECT] = ECN_CE,
			    [ECN_ECT0] = ECN_CE,
			    [ECN_ECT1] = ECN_CE | ECN_ODD,
			    [ECN_CE] = ECN_CE},
	};

	return becomes[inner & ECN_MASK][outer & ECN_MASK];
}

/* TOS or traffic class: DSCP and ECN */
static inline uint8_t packet_tos(const struct packet *p)
{
	return p->v4 ? p->data[IP4_TOS] : (uint8_t)(p->data[0] << 4 | p->data[1] >> 4);
}

/* an IPv4 header's sum is brought along, not made anew: one that was wrong stays wrong (RFC 1624) */
static inline void packet_set_ecn(struct packet *p, enum ecn ecn)
{
	uint8_t *d = p->data;
	uint16_t before, after, sum;

	if (!p->v4) {
		d[1] = (uint8_t)((d[1] & ~(ECN_MASK << 4)) | ecn << 4);
		return;
	}
	memcpy(&before, d, 2);
	d[IP4_TOS] = (uint8_t)((d[IP4_TOS] & ~ECN_MASK) | ecn);
	memcpy(&after, d, 2);
	memcpy(&sum, d + IP4_CHECK, 2);
	sum_store(d + IP4_CHECK,
		  (uint16_t)~sum_fold((uint64_t)(uint16_t)~sum + (uint16_t)~before + after));
}

#endif
