/* SPDX-License-Identifier: BSD-2-Clause */
#include "pass.h"

#include "echo_msg.h"
#include "forward.h"

static bool same(const struct mvpn_endpoint *x, const struct mvpn_endpoint *y)
{
	return x->port == y->port && mvpn_addr_eq(&x->addr, &y->addr);
}

/* as any router with a full queue, or too small a link: lost. The outer DSCP and ECN go on. */
static void pass(struct worker *w, const struct fwd_entry *e, const uint8_t *data, size_t len,
		 uint8_t tos)
{
	struct kt_endpoint there = {.to = e->to, .one_port = true};
	uint8_t *room;

	if (!fwd_may(&e->account->rate, len, e->rate_kbit, w->now)) {
		count(w, DP_C_PASS_LIMITED, 1);
		atomic_fetch_add_explicit(&e->account->limited, 1, memory_order_relaxed);
		return;
	}
	room = w->udp->ops->reserve(w->udp, &there, len, tos);
	if (!room) {
		count(w, DP_C_DROP_WIRE_FULL, 1);
		return;
	}
	memcpy(room, data, len);
	w->udp->ops->commit(w->udp, len);
	count(w, DP_C_PASSED, 1);
	count(w, DP_C_PASSED_BYTES, len);
	/* several workers may serve one pair */
	atomic_fetch_add_explicit(&e->account->packets, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&e->account->bytes, len, memory_order_relaxed);
}

bool pass_sealed(struct worker *w, uint32_t spi, const uint8_t *data, size_t len,
		 const struct wire_from *from)
{
	const struct fwd_entry *e;
	unsigned n = fwdtab_find(kt_forwards(w->kt), spi, &e), i;

	for (i = 0; i < n; i++)
		if (e[i].to.port && same(&e[i].from, &from->ep)) {
			pass(w, &e[i], data, len, from->tos);
			return true;
		}
	count(w, DP_C_PASS_REFUSED, n > 0);
	return n > 0;
}

/* anybody who has seen an SPI can send what looks like a question with it: the main thread must not be kept busy by that */
static bool may_ask(struct worker *w, const struct fwd_entry *e)
{
	_Atomic uint64_t *heard = &e->account->heard_ns[e->end];
	uint64_t was = atomic_load_explicit(heard, memory_order_relaxed);

	return w->now - was >= MVPN_ECHO_HEAR_MS * 1000000ULL &&
	       atomic_compare_exchange_strong(heard, &was, w->now);
}

bool pass_question(struct worker *w, const uint8_t *data, const struct wire_from *from)
{
	struct dp_event event = {.type = DP_EV_ASKED, .from = from->ep};
	const struct fwd_entry *e;
	uint32_t id;
	unsigned n = echo_look(data, MVPN_ECHO_B, MVPN_ECHO, &id)
			     ? fwdtab_find(kt_forwards(w->kt), id, &e)
			     : 0;

	for (unsigned i = 0; i < n; i++)
		if (may_ask(w, &e[i])) {
			memcpy(event.data, data, sizeof(event.data));
			worker_event(w, &event);
			break;
		}
	count(w, DP_C_RX_QUESTION, n > 0);
	return n > 0;
}
