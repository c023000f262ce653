/* SPDX-License-Identifier: BSD-2-Clause */
#include "translate.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "attach.h"
#include "gateways.h"
#include "log.h"
#include "peers.h"

/* of a device whose flows are translated here */
struct translations {
	unsigned flows, now; /* as counted last; and this time so far */
	uint64_t made;	     /* that `now` goes beyond */
	uint64_t refused,
		refused_ms; /* packets that would have begun one more; and when it was seen that there were more of them */
};

struct behind {
	struct keyd *k;
	struct shim_behind list[2 * MVPN_TRANSLATE_IFACES_MAX];
	unsigned n, ifaces;
	bool full;
};

/* the first one of each family is what hosts see */
static int add(void *arg, unsigned ifindex, const struct mvpn_addr *addr)
{
	struct behind *b = arg;
	bool known = false;
	struct nl_link l;

	if (ifindex == dp_tap_ifindex(b->k->dp) || attached_index(b->k, ifindex))
		return 0;
	for (unsigned i = 0; i < b->n; i++) {
		if (b->list[i].ifindex != ifindex)
			continue;
		known = true;
		if (mvpn_addr_is_v4(&b->list[i].addr) == mvpn_addr_is_v4(addr))
			return 0;
	}
	if (nl_link_get_index(b->k->nl, ifindex, &l))
		return 0;
	if (!known && b->ifaces == MVPN_TRANSLATE_IFACES_MAX) {
		b->full = true;
		return 0;
	}
	b->ifaces += !known;
	b->list[b->n++] =
		(struct shim_behind){.ifindex = ifindex, .raw = !l.has_mac, .addr = *addr};
	return 0;
}

/* before anything else is opened */
static void untranslated(struct keyd *k, bool yes)
{
	struct mvpn_config c;

	if (k->untranslated == yes)
		return;
	k->untranslated = yes;
	if (shim_get_config(k->shim, &c))
		return; /* the next breath tells it */
	c.flags = yes ? c.flags | MVPN_CONFIG_UNTRANSLATED
		      : c.flags & (uint8_t)~MVPN_CONFIG_UNTRANSLATED;
	shim_config(k->shim, &c);
}

static void failed(struct keyd *k, const char *why)
{
	untranslated(k, true);
	log_ratelimited(
		LOG_L_ERR,
		"the policy wants sources translated behind this gateway, and they cannot be: "
		"%s; what goes there is dropped",
		why);
}

static void begin(struct keyd *k)
{
	struct behind b = {.k = k};
	char *error = NULL;
	int r = shim_translate_start(k->shim, &error);

	if (r == 0)
		r = nl_addr_list(k->nl, add, &b);
	if (r == 0)
		r = shim_translate_most(k->shim, (unsigned)k->conf.max_translations);
	if (r == 0)
		r = shim_translate_set(k->shim, b.list, b.n);
	if (r)
		failed(k, error ? error : strerror(-r));
	else if (b.full)
		failed(k, "there are more interfaces than it can be done on");
	else
		untranslated(k, false);
	free(error);
	k->translating = true;
}

/* ---- whose flows they are ---- */

static void begun(void *arg, uint32_t peer, const struct mvpn_share *share)
{
	struct keyd *k = arg;
	struct peer *p = peer_by_index(k, peer);
	struct translations *t;

	if (p && !p->translations)
		p->translations = calloc(1, sizeof(*p->translations));
	if (!p ||
	    !p->translations) { /* nobody's: it is not counted, and so does not come to an end */
		shim_share_counted(k->shim, peer, NULL);
		return;
	}
	t = p->translations;
	t->made = share->made;
	if (share->refused > t->refused) {
		t->refused_ms = mono_ms();
		log_ratelimited(
			LOG_L_WARN,
			"%s has as many translated flows as one device may (%u), and what would "
			"begin another one is dropped: see what it does, or raise [limits] "
			"max_translations in keyd.conf",
			peer_label(p), (unsigned)k->conf.max_translations);
	}
	t->refused = share->refused;
}

static void one_of(void *arg, const struct mvpn_flow_key *flow)
{
	struct keyd *k = arg;
	struct mvpn_addr src;
	struct peer *p;
	uint32_t owner;

	k->translations_now++;
	memcpy(src.b, flow->src, sizeof(src.b));
	p = lpm_lookup(k->prefixes, &src, &owner) ? peer_by_index(k, owner) : NULL;
	if (p && !p->translations)
		p->translations = calloc(1, sizeof(*p->translations));
	if (p && p->translations)
		p->translations->now++;
}

static void counted(struct keyd *k)
{
	for (uint32_t i = 1; i <= k->npeers; i++) {
		struct translations *t = k->peers[i]->translations;
		struct mvpn_share_counted c;

		if (!t)
			continue;
		c = (struct mvpn_share_counted){.made = t->made, .flows = t->now};
		t->flows = t->now;
		t->now = 0;
		shim_share_counted(k->shim, i, &c);
	}
	k->translations = k->translations_now;
	k->translations_now = 0;
}

static void none(struct keyd *k)
{
	for (uint32_t i = 1; i <= k->npeers; i++) {
		free(k->peers[i]->translations);
		k->peers[i]->translations = NULL;
	}
	k->translations = k->translations_now = 0;
	k->translations_begun = false;
}

void translate_refresh(struct keyd *k)
{
	if (gateways_translate(k) && k->nifaces) {
		begin(k);
	} else if (k->translating || !k->translate_seen) {
		/* programs of an earlier life, too */
		shim_translate_stop(k->shim);
		untranslated(k, false);
		k->translating = false;
		none(k);
	}
	k->translate_seen = true;
}

void translate_tick(struct keyd *k)
{
	/* programs that could not be attached may be now */
	if (k->untranslated)
		translate_refresh(k);
	if (!k->translating)
		return;
	if (!k->translations_begun)
		shim_shares_each(k->shim, begun, k);
	k->translations_begun =
		!shim_translate_sweep(k->shim, MVPN_TRANSLATE_SWEEP, mono_ns(), one_of, k);
	if (!k->translations_begun)
		counted(k);
}

json_t *translate_share(const struct peer *p)
{
	const struct translations *t = p->translations;

	return t ? json_pack("{s:i, s:I}", "flows", (int)t->flows, "refused",
			     (json_int_t)t->refused)
		 : json_null();
}

bool translate_refused(struct keyd *k, const char **ret_who)
{
	uint64_t now = mono_ms();

	for (uint32_t i = 1; i <= k->npeers; i++) {
		const struct translations *t = k->peers[i]->translations;

		if (!t || !t->refused_ms || now > t->refused_ms + MVPN_TRANSLATE_REFUSED_MS)
			continue;
		*ret_who = peer_label(k->peers[i]);
		return true;
	}
	return false;
}

void translate_count(struct keyd *k)
{
	uint64_t n[MVPN_T_MAX];

	if (!k->translating || shim_translate_counters(k->shim, n))
		return;
	k->counters[KC_TRANSLATED] = n[MVPN_T_TRANSLATED];
	k->counters[KC_UNTRANSLATABLE] = n[MVPN_T_UNTRANSLATABLE];
	k->counters[KC_TRANSLATIONS_FULL] = n[MVPN_T_FULL];
	k->counters[KC_FRAGMENTS_REFUSED] = n[MVPN_T_FRAGMENT_REFUSED];
	k->counters[KC_FRAGMENTS_ALONE] = n[MVPN_T_FRAGMENT_ALONE];
	k->counters[KC_TRANSLATIONS_REFUSED] = n[MVPN_T_SHARE];
}

json_t *translate_show(struct keyd *k, const struct mvpn_flow_key *f)
{
	struct mvpn_flow_key back = {.sport = f->dport, .dport = f->sport, .proto = f->proto};
	struct mvpn_translation t;
	struct mvpn_endpoint e;
	char text[MVPN_ADDRSTRLEN];

	memcpy(back.src, f->dst, 16);
	memcpy(back.dst, f->src, 16);
	if (shim_translation_get(k->shim, f, &t) && shim_translation_get(k->shim, &back, &t))
		return json_null();
	memcpy(e.addr.b, t.addr, sizeof(e.addr.b));
	e.port = ntohs(t.port);
	return json_string(mvpn_endpoint_str(&e, text));
}
