/* SPDX-License-Identifier: BSD-2-Clause */
#include "echo_ends.h"

#include <sodium.h>
#include <string.h>

#include "mvpn/limits.h"

static bool same(const struct mvpn_endpoint *x, const struct mvpn_endpoint *y)
{
	return x->port == y->port && mvpn_addr_eq(&x->addr, &y->addr);
}

/* ---- who answers ---- */

void echo_place_init(struct echo_place *p, uint64_t now_ms)
{
	*p = (struct echo_place){.at_ms = now_ms, .tokens = MVPN_ECHO_RATE * 1000};
}

static bool may(struct echo_place *p, uint64_t now_ms)
{
	uint64_t full = MVPN_ECHO_RATE * 1000;

	p->tokens += (now_ms - p->at_ms) * MVPN_ECHO_RATE;
	p->at_ms = now_ms;
	if (p->tokens > full)
		p->tokens = full;
	if (p->tokens < 1000)
		return false;
	p->tokens -= 1000;
	return true;
}

bool echo_place_answer(struct echo_place *p, uint8_t data[static MVPN_ECHO_B],
		       const struct mvpn_endpoint *from, const uint8_t key[static ECHO_KEY_B],
		       uint64_t now_ms)
{
	struct echo_msg m;

	if (echo_open(&m, data, key) || m.counter <= p->counter || !may(p, now_ms))
		return false;
	p->counter = m.counter;
	if (!same(&p->asked, from)) {
		p->asked = *from;
		randombytes_buf(p->cookie, sizeof(p->cookie));
	} else if (!sodium_memcmp(m.cookie, p->cookie, sizeof(p->cookie))) {
		p->proven = *from;
	}
	m.seen = *from;
	memcpy(m.cookie, p->cookie, sizeof(m.cookie));
	echo_seal(data, MVPN_ECHO_REPLY, &m, key);
	return true;
}

/* ---- who asks ---- */

void echo_ask(struct echo_asker *a, uint8_t ret[static MVPN_ECHO_B])
{
	struct echo_msg m = {.id = a->id, .counter = ++a->counter};

	memcpy(m.cookie, a->cookie, sizeof(m.cookie));
	echo_seal(ret, MVPN_ECHO, &m, a->key);
}

enum echo_heard echo_answered(struct echo_asker *a, const uint8_t data[static MVPN_ECHO_B],
			      struct mvpn_endpoint *ret_seen)
{
	struct echo_msg m;
	bool proven;

	if (!a->id || echo_open(&m, data, a->key) || m.counter != a->counter || !m.seen.port)
		return ECHO_BAD; /* forged, or to a question that has been repeated since */
	proven = !memcmp(m.cookie, a->cookie, sizeof(m.cookie));
	memcpy(a->cookie, m.cookie, sizeof(a->cookie));
	*ret_seen = m.seen;
	return proven ? ECHO_PROVEN : ECHO_NEW_COOKIE;
}
