/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "crypto.h"
#include "gate.h"
#include "log.h"
#include "psk.h"

#define CROWDED_PART 8 /* with more than this part of half_open in use nobody goes on unproven */
#define WORK_BITS_MIN 12 /* some 1 ms of one core: several times what a handshake costs us */
#define HARDER_MS 100	 /* while too many have worked, one bit more after so long ... */
#define EASIER_MS 2000	 /* ... and one less after so long without that */
#define MORE_BITS 2	   /* for one who has worked in vain, since others came first: four times the work */
#define DEVICE_GAP_MS 1000 /* of one device pass by ticket one in so long ... */
#define DEVICE_BURST 5	   /* ... and so many at once: it may crash, roam, and be called from two networks */

static const char ticket_label[] = "mvpn ticket";

/* handshakes left, in 1/1000 */
struct budget {
	uint64_t at_ms, tokens;
};

struct gate {
	struct budget unproven, worked;
	unsigned bits;
	uint64_t bits_ms; /* when they were changed last, or last too few */
	uint8_t *key;	  /* 32, of tickets */
};

static bool take(struct budget *b, uint64_t a_second, uint64_t now)
{
	b->tokens += (now - b->at_ms) * a_second;
	b->at_ms = now;
	if (b->tokens > a_second * 1000)
		b->tokens = a_second * 1000;
	if (b->tokens < 1000)
		return false;
	b->tokens -= 1000;
	return true;
}

static bool crowded(const struct server *s)
{
	return s->half_open > s->conf->half_open / CROWDED_PART;
}

static void harder(struct gate *g, uint64_t now)
{
	if (now - g->bits_ms < HARDER_MS)
		return;
	g->bits_ms = now;
	if (g->bits < CHAN_WORK_BITS_MAX)
		g->bits++;
}

static void easier(struct gate *g, uint64_t now)
{
	uint64_t steps = (now - g->bits_ms) / EASIER_MS;

	if (!steps)
		return;
	g->bits_ms = now;
	g->bits = g->bits > WORK_BITS_MIN + steps ? g->bits - (unsigned)steps : WORK_BITS_MIN;
}

static bool device_may(struct device *d, uint64_t now)
{
	if (d->pass_ms < now)
		d->pass_ms = now;
	if (d->pass_ms - now >= DEVICE_BURST * DEVICE_GAP_MS)
		return false;
	d->pass_ms += DEVICE_GAP_MS;
	return true;
}

static bool ticket_passes(struct server *s, const struct chan_proof *p, uint64_t now)
{
	uint8_t id[MVPN_ID_LEN], psk[MVPN_KEY_LEN];
	struct device *d = NULL;
	bool good;

	if (mvpn_box_open(id, p->ticket, MVPN_TICKET_B, ticket_label, sizeof(ticket_label),
			  s->gate->key) == 0)
		d = registry_by_id(s->reg, id);
	/* who is removed, revoked or suspended is a stranger */
	if (!d || (d->row.state != MVPN_DEV_ACTIVE && d->row.state != MVPN_DEV_PENDING) ||
	    !psk_of_epoch(s, d, p->psk_epoch, psk))
		return false;
	good = chan_proof_by(p, psk);
	sodium_memzero(psk, sizeof(psk));
	return good && device_may(d, now);
}

static bool passes(struct conn *c, const struct chan_proof *p, uint64_t now)
{
	struct server *s = c->s;
	struct gate *g = s->gate;
	bool ok;

	if (!p)
		return !c->must_prove && !crowded(s) && take(&g->unproven, s->conf->handshakes_unproven, now);
	if (p->ticket) {
		ok = ticket_passes(s, p, now);
		if (ok)
			count(s, proved_ticket);
		else
			count(s, ticket_refused);
		return ok;
	}
	ok = take(&g->worked, s->conf->handshakes_worked, now);
	if (ok)
		count(s, proved_work);
	else
		harder(g, now);
	return ok;
}

int gate_ask(void *arg, const struct chan_proof *p)
{
	struct conn *c = arg;
	struct server *s = c->s;
	uint64_t now = mono_ms();
	unsigned bits;

	easier(s->gate, now);
	if (passes(c, p, now)) {
		conn_passes(c, p);
		return 0;
	}
	count(s, challenged);
	log_ratelimited(LOG_L_INFO, "more handshakes%s than go on unproven: tickets, or %u bits of work, are "
				    "asked for",
			c->must_prove ? " of one source" : "", s->gate->bits);
	bits = s->gate->bits;
	if (p && !p->ticket && bits < p->bits + MORE_BITS)
		bits = p->bits + MORE_BITS;
	if (bits > CHAN_WORK_BITS_MAX)
		bits = CHAN_WORK_BITS_MAX;
	return (int)bits | (p ? 0 : CHAN_DEMAND_TICKET);
}

void gate_welcome(struct conn *c, struct chan_buf *b)
{
	uint8_t ticket[MVPN_TICKET_B];

	if (mvpn_box_seal(ticket, c->dev->row.id, MVPN_ID_LEN, ticket_label, sizeof(ticket_label),
			  c->s->gate->key) == 0)
		chan_put(b, MVPN_TLV_TICKET, ticket, sizeof(ticket));
	gate_put_return(c->s, b);
}

void gate_put_return(const struct server *s, struct chan_buf *b)
{
	chan_put_u32(b, MVPN_TLV_RETURN, (uint32_t)((s->nconns - s->half_open) * 1000ULL / MVPN_CHAN_RETURN_PER_S));
}

int gate_new(struct server *s)
{
	struct gate *g = calloc(1, sizeof(*g));
	struct mvpn_part label = {ticket_label, sizeof(ticket_label)};

	if (!g)
		return -ENOMEM;
	s->gate = g;
	g->bits = WORK_BITS_MIN;
	g->unproven.at_ms = g->worked.at_ms = mono_ms();
	g->unproven.tokens = s->conf->handshakes_unproven * 1000;
	g->worked.tokens = s->conf->handshakes_worked * 1000;
	/* of what outlives a restart: that is when all come at once */
	g->key = sodium_malloc(32);
	return g->key ? mvpn_blake2b(g->key, 32, s->id.store_key, 32, &label, 1) : -ENOMEM;
}

void gate_free(struct gate *g)
{
	if (!g)
		return;
	sodium_free(g->key);
	free(g);
}
