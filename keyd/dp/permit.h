/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * May a packet pass by this session? Where the policy has TCP sealed above TCP, none of TCP does but, at both levels, what carries those
 * streams from keyd to keyd. And a session may be for certain services only. Both ends ask: the sender before it seals, the receiver after it has
 * opened. Nothing is remembered of any packet:
 *
 *   - to a service: protocol and destination port are among the receiver's
 *   - from a service, the answer: protocol and source port are among the sender's; a TCP segment that begins a connection is no answer
 *   - ICMP errors: the packet they quote could have gone the other way; other ICMP as its kind says
 *   - a later fragment has no ports: by its protocol alone. Without its first one, which has, it is never put together
 */
#ifndef MVPN_PERMIT_H
#define MVPN_PERMIT_H

#include "../keytab.h"
#include "packet.h"

enum permitted { PERMITTED, NOT_A_SERVICE, NOT_AT_THIS_LEVEL };
/* what names a packet's flow, for who judges by that alone */
struct permit_flow {
	uint8_t proto; /* ICMP stands for that of either family */
	uint16_t sport, dport; /* 0 if the protocol has none */
};
/* false: a later fragment, or cut before its ports, so that only the protocol is known */
bool permit_flow(const struct packet *p, struct permit_flow *ret);

/* out: we send it */
enum permitted permit_packet(const struct kt_session *s, const struct packet *p, bool out);

static inline enum permitted permit(const struct kt_session *s, const struct packet *p, bool out)
{
	return s->limited || atomic_load_explicit(&s->level, memory_order_relaxed)
		       ? permit_packet(s, p, out)
		       : PERMITTED;
}

#endif
