/* SPDX-License-Identifier: BSD-2-Clause */
#include "class.h"

#include <netinet/in.h>

#include "permit.h"

static struct kt_class *by_index(const struct kt_session *s, int i)
{
	if (i == MVPN_CLASS_NONE)
		i = s->classes->is.rest;
	return i == MVPN_CLASS_PLAIN ? NULL : &s->classes->of[i];
}

struct kt_class *class_packet(const struct kt_session *s, const struct packet *p, bool out)
{
	const struct mvpn_classes *c = &s->classes->is;
	unsigned to = s->classes->local ^ out; /* the end that it goes to */
	struct permit_flow f;
	int i;

	if (permit_flow(p, &f)) {
		i = mvpn_classes_find(c, to, f.proto, f.dport);
		if (i == MVPN_CLASS_NONE)
			i = mvpn_classes_find(c, !to, f.proto, f.sport);
		return by_index(s, i);
	}
	i = mvpn_classes_find_proto(c, to, f.proto);
	if (i == MVPN_CLASS_NONE)
		i = mvpn_classes_find_proto(c, !to, f.proto);
	return by_index(s, i);
}

struct kt_class *class_frame(const struct kt_session *s, uint16_t type)
{
	return by_index(s, mvpn_classes_find(&s->classes->is, 0, 0, type));
}

/* ---- limits ---- */

static uint64_t cost_ns(const struct kt_class *c, uint64_t bytes)
{
	return bytes * 8000000 / c->rate_kbit;
}

/* takes the tokens if there are any; `least`: more than fit into a bucket are not kept */
static bool take(struct kt_bucket *b, uint64_t cost, uint64_t least, uint64_t now, bool must)
{
	uint64_t was = atomic_load_explicit(&b->empty_ns, memory_order_relaxed), from;

	do {
		if (!must && was > now)
			return false;
		from = was > least ? was : least;
	} while (!atomic_compare_exchange_weak_explicit(
		&b->empty_ns, &was, from + cost, memory_order_relaxed, memory_order_relaxed));
	return true;
}

static uint64_t back(uint64_t now, uint64_t ns)
{
	return now > ns ? now - ns : 0;
}

void class_sent(struct kt_class *c, uint64_t bytes, uint64_t now)
{
	take(&c->tx, cost_ns(c, bytes), back(now, cost_ns(c, c->burst_b)), now, true);
}

/*
 * A sender that obeys sends a burst, one super-packet of each worker beyond it, and then the rate. The way may hold all that back for
 * a while and let it go at once.
 */
bool class_received(struct kt_class *c, uint64_t bytes, uint64_t now)
{
	uint64_t most =
		cost_ns(c, c->burst_b + MVPN_LIMIT_SLACK_B) + MVPN_LIMIT_SLACK_MS * 1000000ULL;

	bytes -= bytes / MVPN_LIMIT_SLACK_PART;
	if (take(&c->rx, cost_ns(c, bytes), back(now, most), now, false))
		return true;
	atomic_fetch_add_explicit(&c->rx.dropped, 1, memory_order_relaxed);
	return false;
}

uint32_t class_queue_max(const struct kt_class *c)
{
	uint64_t b = (uint64_t)c->rate_kbit * MVPN_LIMIT_QUEUE_MS / 8;

	return b < MVPN_LIMIT_QUEUE_MIN_B ? MVPN_LIMIT_QUEUE_MIN_B
	       : b > MVPN_LIMIT_QUEUE_B	  ? MVPN_LIMIT_QUEUE_B
					  : (uint32_t)b;
}
