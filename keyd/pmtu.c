/* SPDX-License-Identifier: BSD-2-Clause */
#include "pmtu.h"

#include <string.h>

const char *const pmtu_state_names[] = {
	[PMTU_IDLE] = "idle",	[PMTU_BURST] = "probing", [PMTU_SEARCH] = "searching",
	[PMTU_FOUND] = "found", [PMTU_CONFIRM] = "found", [PMTU_SILENT] = "silent",
};

/*
 * What paths usually carry: the least that IPv4 hosts must take and IPv6 links must carry, common tunnels (WireGuard's 1420,
 * PPPoE's 1492), Ethernet, jumbo frames.
 */
static const unsigned rungs[] = {576, 1280, 1400, 1420, 1492, 1500, 4352, 9000};
#define RUNGS (sizeof(rungs) / sizeof(rungs[0]))

/* ---- probes: everything that is to be known of one comes back in its token ---- */
static uint64_t token_make(const struct pmtu *p, unsigned size, uint64_t now)
{
	return PMTU_TOKEN | (uint64_t)(p->run & 0x7fffffff) << 32 |
	       (uint64_t)(size & 0xffff) << 16 | (now & 0xffff);
}

static void probe(struct pmtu *p, unsigned size, uint64_t now)
{
	p->send(p->arg, size, token_make(p, size, now));
}

static unsigned timeout(const struct pmtu *p)
{
	unsigned ms = 3 * p->rtt_ms + MVPN_PMTU_MARGIN_MS;

	return !p->rtt_ms		       ? MVPN_PMTU_FIRST_MS
	       : ms < MVPN_PMTU_TIMEOUT_MIN_MS ? MVPN_PMTU_TIMEOUT_MIN_MS
	       : ms > MVPN_PMTU_TIMEOUT_MAX_MS ? MVPN_PMTU_TIMEOUT_MAX_MS
					       : ms;
}

static void rtt_sample(struct pmtu *p, uint64_t token, uint64_t now)
{
	unsigned ms = (uint16_t)(now - token);

	if (!ms)
		ms = 1;
	p->rtt_ms = p->rtt_ms ? (7 * p->rtt_ms + ms + 4) / 8 : ms;
}

/* ---- at rest ---- */
static void rest(struct pmtu *p, enum pmtu_state state, uint64_t watch_ms)
{
	p->state = state;
	p->due_ms = PMTU_NEVER;
	p->watch_ms = watch_ms;
	p->fresh = false;
	p->hint = 0;
}

static void found(struct pmtu *p, uint64_t now)
{
	if (p->raising) {
		p->raise_ms = now + p->raise_gap_ms;
		p->raise_gap_ms *= 2;
		if (p->raise_gap_ms > MVPN_PMTU_RAISE_MAX_S * 1000ULL)
			p->raise_gap_ms = MVPN_PMTU_RAISE_MAX_S * 1000ULL;
	}
	p->raising = false;
	p->silent_gap_ms = MVPN_PMTU_SILENT_S * 1000ULL;
	rest(p, PMTU_FOUND, now + MVPN_PMTU_CONFIRM_S * 1000ULL);
}

static void silent(struct pmtu *p, uint64_t now)
{
	uint64_t gap = p->silent_gap_ms;

	p->silent_gap_ms = 2 * gap < MVPN_PMTU_SILENT_MAX_S * 1000ULL
				   ? 2 * gap
				   : MVPN_PMTU_SILENT_MAX_S * 1000ULL;
	rest(p, PMTU_SILENT, now + gap);
}

/* another size than before: larger ones are tried soon, then ever more rarely */
static void use(struct pmtu *p, unsigned mtu, uint64_t now)
{
	if (mtu == p->mtu)
		return;
	p->mtu = mtu;
	p->raise_gap_ms = MVPN_PMTU_RAISE_S * 1000ULL;
	p->raise_ms = now + p->raise_gap_ms;
}

/* ---- burst ---- */
static void burst_send(struct pmtu *p, uint64_t now)
{
	unsigned thrice = p->raising || p->fresh ? p->link : p->mtu;

	/* spread over the burst, so that no one gap in the path swallows all three */
	probe(p, thrice, now);
	for (unsigned i = 0; i < RUNGS; i++) {
		if (rungs[i] >= p->min && rungs[i] < p->link && rungs[i] != thrice)
			probe(p, rungs[i], now);
		if (i == RUNGS / 2)
			probe(p, thrice, now);
	}
	if (p->hint)
		probe(p, p->hint, now);
	if (p->mtu != thrice)
		probe(p, p->mtu, now);
	if (p->link != thrice)
		probe(p, p->link, now);
	probe(p, thrice, now);
}

static void burst(struct pmtu *p, uint64_t now)
{
	p->run++;
	p->best = p->tries = 0;
	p->state = PMTU_BURST;
	p->watch_ms = PMTU_NEVER;
	p->due_ms = now + timeout(p);
	burst_send(p, now);
}

/* ---- search: p->best passes, p->high does not ---- */
static unsigned candidate(const struct pmtu *p)
{
	if (p->high > p->link)
		return p->link; /* three may be lost where a queue has overflowed: once more, alone */
	if (p->hint > p->best && p->hint < p->high)
		return p->hint;
	for (unsigned i = 0; i < RUNGS; i++)
		if (rungs[i] > p->best && rungs[i] < p->high)
			return rungs[i];
	return p->best + (p->high - p->best) / 2;
}

/* the tries of one size follow each other closely: many sizes are to be tried, and a false no costs little */
static void search_probe(struct pmtu *p, uint64_t now)
{
	bool last = p->tries + 1 == MVPN_PMTU_TRIES;

	p->due_ms = now + (last ? timeout(p) : timeout(p) / MVPN_PMTU_TRIES);
	probe(p, p->trying, now);
}

static void search_next(struct pmtu *p, uint64_t now)
{
	if (p->best >= p->link || p->high - p->best <= 1) {
		use(p, p->best, now);
		found(p, now);
		return;
	}
	p->trying = candidate(p);
	p->tries = 0;
	search_probe(p, now);
}

static void search(struct pmtu *p, uint64_t now)
{
	p->state = PMTU_SEARCH;
	p->raising = true;
	p->high = p->link + 1;
	search_next(p, now);
}

/* what the burst has shown */
static void settle(struct pmtu *p, uint64_t now)
{
	bool shrunk = p->best < p->mtu;

	use(p, p->best, now);
	if (p->best < p->link && (p->fresh || p->raising || shrunk))
		search(p, now);
	else
		found(p, now);
}

static void burst_timer(struct pmtu *p, uint64_t now)
{
	if (p->best) {
		settle(p, now);
	} else if (++p->tries >= MVPN_PMTU_BURSTS) {
		silent(p, now);
	} else {
		p->due_ms = now + ((uint64_t)timeout(p) << p->tries);
		burst_send(p, now);
	}
}

/* the first answer tells the round-trip time: the others are due */
static void burst_answer(struct pmtu *p, bool first, uint64_t now)
{
	if (p->best >= p->link)
		settle(p, now);
	else if (first)
		p->due_ms = now + (p->fresh ? p->rtt_ms / 2 + MVPN_PMTU_SETTLE_MS : timeout(p));
}

/* ---- what happens ---- */
void pmtu_init(struct pmtu *p, pmtu_send_fn *send, void *arg, uint32_t run)
{
	memset(p, 0, sizeof(*p));
	p->send = send;
	p->arg = arg;
	p->run = run;
	pmtu_stop(p);
}

void pmtu_start(struct pmtu *p, unsigned min, unsigned link, bool same, uint64_t now)
{
	p->min = min;
	p->link = link;
	p->fresh = true;
	p->raising = false;
	p->hint = 0;
	p->silent_gap_ms = MVPN_PMTU_SILENT_S * 1000ULL;
	if (!same)
		p->rtt_ms = 0;
	use(p, same && p->mtu && p->mtu < link ? p->mtu : link, now);
	burst(p, now);
}

void pmtu_stop(struct pmtu *p)
{
	rest(p, PMTU_IDLE, PMTU_NEVER);
	p->run++;
}

void pmtu_answer(struct pmtu *p, uint64_t token, uint64_t now)
{
	unsigned size = token >> 16 & 0xffff;
	bool first = !p->best;

	if (p->state == PMTU_IDLE || (token ^ token_make(p, 0, 0)) >> 32 || size > p->link)
		return;
	rtt_sample(p, token, now);
	if (size > p->best)
		p->best = size;
	if (size > p->mtu)
		use(p, size, now);
	switch (p->state) {
	case PMTU_BURST:
		burst_answer(p, first, now);
		break;
	case PMTU_SEARCH:
		if (p->best >= p->high) /* so late that it counted as lost */
			p->high = p->link;
		if (size >= p->trying)
			search_next(p, now);
		break;
	case PMTU_CONFIRM:
		if (size >= p->mtu)
			found(p, now);
		break;
	case PMTU_SILENT: /* it was slow, not silent */
		burst(p, now);
		break;
	default:
		break;
	}
}

void pmtu_hint(struct pmtu *p, unsigned size, uint64_t now)
{
	if (p->state == PMTU_IDLE || size >= p->link)
		return;
	p->hint = size >= p->min ? size : 0;
	if (p->state == PMTU_BURST || p->state == PMTU_SEARCH || now < p->hint_ms)
		return;
	p->hint_ms = now + MVPN_PMTU_HINT_GAP_MS;
	burst(p, now);
}

void pmtu_traffic(struct pmtu *p, uint64_t now)
{
	if ((p->state != PMTU_FOUND && p->state != PMTU_SILENT) || now < p->watch_ms)
		return;
	p->raising = p->mtu < p->link && now >= p->raise_ms;
	if (p->raising || p->state == PMTU_SILENT) {
		burst(p, now);
		return;
	}
	p->state = PMTU_CONFIRM;
	p->run++;
	p->tries = 0;
	p->watch_ms = PMTU_NEVER;
	p->due_ms = now + timeout(p);
	probe(p, p->mtu, now);
}

void pmtu_timer(struct pmtu *p, uint64_t now)
{
	if (now < p->due_ms)
		return;
	switch (p->state) {
	case PMTU_BURST:
		burst_timer(p, now);
		return;
	case PMTU_SEARCH:
		if (++p->tries >= MVPN_PMTU_TRIES) {
			p->high = p->trying;
			search_next(p, now);
		} else {
			search_probe(p, now);
		}
		return;
	case PMTU_CONFIRM:
		if (++p->tries >= MVPN_PMTU_TRIES) {
			burst(p, now);
			return;
		}
		p->due_ms = now + timeout(p);
		probe(p, p->mtu, now);
		return;
	default:
		p->due_ms = PMTU_NEVER;
	}
}
