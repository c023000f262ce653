/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A packet's class (lib/class.h), and what follows from it: the outer DSCP, and whether its limit lets it go now. Both ends find the
 * same one: the sender shapes to the rate, the receiver drops what is clearly beyond it.
 */
#ifndef MVPN_DP_CLASS_H
#define MVPN_DP_CLASS_H

#include "../keytab.h"
#include "ecn.h"
#include "packet.h"

/* s->classes is not NULL; out: we send it. NULL: none */
struct kt_class *class_packet(const struct kt_session *s, const struct packet *p, bool out);
/* of a frame of this EtherType */
struct kt_class *class_frame(const struct kt_session *s, uint16_t type);

/* the outer TOS or traffic class of a packet with this one; `network`: the outer DSCP is the inner one if the class says nothing */
static inline uint8_t class_tos(const struct kt_class *c, uint8_t inner, bool network)
{
	if (!c || c->dscp == MVPN_DSCP_NETWORK)
		return network ? inner : inner & ECN_MASK;
	return c->dscp == MVPN_DSCP_COPY ? inner : (uint8_t)(c->dscp << 2 | (inner & ECN_MASK));
}

/* ---- limits: c->rate_kbit is not 0 ---- */
/* when something may go: now or before, if there are tokens. What goes then may be more than there are: that delays what follows. */
static inline uint64_t class_open_ns(const struct kt_class *c)
{
	return atomic_load_explicit(&c->tx.empty_ns, memory_order_relaxed);
}
/* so many bytes of inner packets have gone */
void class_sent(struct kt_class *c, uint64_t bytes, uint64_t now_ns);
/* one has come: false if it is beyond what a sender that obeys could have sent, however the way has bunched it */
bool class_received(struct kt_class *c, uint64_t bytes, uint64_t now_ns);
/* how many bytes may wait for tokens: no more delay than a sender's congestion control stands */
uint32_t class_queue_max(const struct kt_class *c);

#endif
