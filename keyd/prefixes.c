/* SPDX-License-Identifier: BSD-2-Clause */
/* The protected prefixes as the server tells them (PREFIXES), and their way into the table of the fast path and the BPF map. */
#include "prefixes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "control.h"
#include "gateways.h"
#include "log.h"
#include "options.h"
#include "peers.h"
#include "sessions.h"

#define SAVE_AFTER_MS 500 /* a burst of changes is written once */
/* when there are more prefixes than max_prefixes, the rest is covered (and dropped) by networks of these lengths */
#define COVER_LEN_4 (96 + 16)
#define COVER_LEN_6 32
/* values in keyd->incoming that are no owners */
#define GONE UINT32_MAX
#define UNCHANGED (UINT32_MAX - 1)

/* ---- the protected set in the maps ---- */

/* No room for p: drop the whole network round it rather than let p pass in clear. */
static void protect_cover(struct keyd *k, const struct mvpn_prefix *p)
{
	struct mvpn_prefix cover = *p;
	unsigned len = mvpn_addr_is_v4(&p->addr) ? COVER_LEN_4 : COVER_LEN_6;
	char text[MVPN_ADDRSTRLEN], wide[MVPN_ADDRSTRLEN];
	unsigned i;
	int r;

	if (cover.len > len)
		cover.len = len;
	for (i = cover.len; i < 128; i++)
		cover.addr.b[i / 8] &= ~(0x80 >> (i % 8));
	r = shim_protect(k->shim, &cover, MVPN_PEER_NONE, 0);
	if (r) {
		memset(&cover, 0, sizeof(cover));
		r = shim_protect(k->shim, &cover, MVPN_PEER_NONE, 0);
	}
	k->prefixes_overflow = true;
	k->counters[KC_MAP_FULL]++;
	if (r) {
		log_err("%s is NOT protected, it passes in CLEAR: the BPF map `protected` takes "
			"nothing more: %s",
			mvpn_prefix_str(p, text), strerror(-r));
		return;
	}
	log_ratelimited(LOG_L_ERR,
			"more protected prefixes than max_prefixes=%llu: %s has no entry of its "
			"own, so all of %s is "
			"dropped; raise [limits] max_prefixes in keyd.conf or protect fewer, wider "
			"prefixes",
			(unsigned long long)k->conf.max_prefixes, mvpn_prefix_str(p, text),
			mvpn_prefix_str(&cover, wide));
}

/* a million take seconds, in which keyd must not pass for dead: a breath between so many, a tenth of a second or so */
#define BREATH_PREFIXES 16384

static void protect_one(struct keyd *k, const struct mvpn_prefix *p, uint32_t owner, uint32_t count)
{
	bool self = owner == KEYD_SELF;
	int r = -ENOSPC;

	if (++k->prefixes_written % BREATH_PREFIXES == 0)
		shim_breathe(k->shim);
	if (count <= k->conf.max_prefixes)
		r = shim_protect(k->shim, p, self ? MVPN_PEER_NONE : owner,
				 self ? MVPN_PROT_LOCAL | gateways_flags(k, p) : 0);
	if (r)
		protect_cover(k, p);
}

struct sync_ctx {
	struct keyd *k;
	const struct lpm *other;
	uint32_t count;
	bool all; /* covers may have overwritten entries: write every one */
};

static int sync_add(void *arg, const struct mvpn_prefix *p, uint32_t owner)
{
	struct sync_ctx *c = arg;
	uint32_t had;

	c->count++;
	if (!c->other || !lpm_get(c->other, p, &had) || had != owner || c->all)
		protect_one(c->k, p, owner, c->count);
	return 0;
}

static int sync_del(void *arg, const struct mvpn_prefix *p, uint32_t owner)
{
	struct sync_ctx *c = arg;

	if (!lpm_get(c->other, p, &owner))
		shim_unprotect(c->k->shim, p);
	return 0;
}

/* an entry that is in no set: the cover of an overflow that is over */
static int cover_del(void *arg, const struct mvpn_prefix *p, const struct mvpn_protected *v)
{
	struct keyd *k = arg;
	uint32_t owner;

	if (!lpm_get(k->prefixes, p, &owner))
		shim_unprotect(k->shim, p);
	return 0;
}

void prefixes_write(struct keyd *k)
{
	struct sync_ctx c = {.k = k};

	lpm_each(k->prefixes, sync_add, &c);
}

/* ---- PREFIXES ---- */

static bool prefix_good(uint8_t len, const uint8_t *addr)
{
	struct mvpn_prefix p = {.len = len};

	memcpy(p.addr.b, addr, 16);
	return mvpn_prefix_valid(&p);
}

/* chan.h has looked at the sizes. A name goes into a file of lines and words. */
static bool part_good(const struct chan_tlv *t)
{
	const uint8_t *v = t->value;
	size_t name = t->len - (MVPN_ID_LEN + 1U);

	switch (t->type) {
	case MVPN_TLV_PREFIX:
		return v[0] <= 1 && prefix_good(v[1], v + 2);
	case MVPN_TLV_GATEWAYS:
		return (t->len - MVPN_TLV_GATEWAYS_HEAD_B) % MVPN_ID_LEN == 0 && prefix_good(v[0], v + 1);
	case MVPN_TLV_PEER:
		return !name || mvpn_name_valid((const char *)v + MVPN_ID_LEN + 1, name);
	}
	return true;
}

/* before any of it is taken up */
static bool parts_good(const struct chan_msg *m)
{
	struct chan_tlv t;
	size_t pos = 0;

	while (chan_tlv_next(m, &pos, &t))
		if (!part_good(&t))
			return false;
	return true;
}

static int apply_prefix(struct keyd *k, const uint8_t *v)
{
	static const uint8_t nobody[MVPN_ID_LEN];
	struct mvpn_prefix p = {.len = v[1]};
	const uint8_t *owner = v + 18;
	uint32_t index = MVPN_PEER_NONE;
	struct peer *peer;

	memcpy(p.addr.b, v + 2, 16);
	gateways_forget(k, &p);
	if (!v[0]) {
		if (!k->incoming_all)
			return lpm_set(k->incoming, &p, GONE);
		lpm_del(k->incoming, &p);
		return 0;
	}
	if (k->id && !memcmp(owner, k->id->device_id, MVPN_ID_LEN)) {
		index = KEYD_SELF;
	} else if (memcmp(owner, nobody, MVPN_ID_LEN)) {
		peer = peer_ensure(k, owner);
		index = peer ? peer->index : MVPN_PEER_NONE;
	}
	return lpm_set(k->incoming, &p, index);
}

static int apply_gateways(struct keyd *k, const uint8_t *v, size_t len)
{
	struct mvpn_prefix p;
	uint32_t owner;
	int r = gateways_told(k, v, len, &p, &owner);

	if (r == -ENOSPC)
		return 0;
	return r ? r : lpm_set(k->incoming, &p, owner);
}

static void peer_told(struct keyd *k, struct peer *p, const uint8_t *v, size_t len)
{
	/* that is for good: only a store from before it, or another server, says otherwise */
	if (p->state == MVPN_DEV_REVOKED && v[MVPN_ID_LEN] != MVPN_DEV_REVOKED) {
		log_ratelimited(LOG_L_ERR, "the server says that %s is %s, which was REVOKED before: was its store restored from an old copy? It stays refused "
			"here until keyd is started anew; revoke it again on the server (`mvpnctl server device revoke`)",
			peer_label(p), v[MVPN_ID_LEN] == MVPN_DEV_ACTIVE ? "active" : "known");
		return;
	}
	if (v[MVPN_ID_LEN] == MVPN_DEV_ACTIVE && p->state != MVPN_DEV_ACTIVE)
		peer_undeny(k,
			    p); /* approved, or no longer suspended: a refusal of before is void */
	p->state = v[MVPN_ID_LEN];
	memset(p->name, 0, sizeof(p->name));
	memcpy(p->name, v + MVPN_ID_LEN + 1, len - MVPN_ID_LEN - 1);
	/* REVOKE has cut them already; should it ever be missing, this says the same */
	if (p->state == MVPN_DEV_REVOKED || p->state == MVPN_DEV_SUSPENDED) {
		sessions_drop_peer(k, p,
				   p->state == MVPN_DEV_REVOKED ? MVPN_R_REVOKED : MVPN_R_SUSPENDED,
				   true);
		introduce_abort(k, p);
	}
}

static void apply_peer(struct keyd *k, const uint8_t *v, size_t len)
{
	struct peer *p;

	if (k->id && !memcmp(v, k->id->device_id, MVPN_ID_LEN))
		return;
	p = peer_ensure(k, v);
	if (p)
		peer_told(k, p, v, len);
	p = peer_layer_by_id(k, v, MVPN_LAYER_LINK);
	if (p)
		peer_told(k, p, v, len);
	p = peer_layer_by_id(k, v, MVPN_LAYER_SOCKET);
	if (p)
		peer_told(k, p, v, len);
}

/* the whole set anew */
static void commit_all(struct keyd *k)
{
	struct sync_ctx c = {.k = k, .other = k->prefixes, .all = k->prefixes_overflow};
	struct lpm *old = k->prefixes;

	/* first protect what is new, then let go what is not protected any more */
	k->prefixes_overflow = false;
	lpm_each(k->incoming, sync_add, &c);
	c.other = k->incoming;
	lpm_each(old, sync_del, &c);
	k->prefixes = k->incoming;
	k->incoming = NULL;
	kt_set_prefixes(k->kt, k->prefixes); /* frees the old one */
	if (c.all && !k->prefixes_overflow)
		shim_protected_each(k->shim, cover_del, k);
	peers_recount(k);
	sessions_prefixes_changed(k);
	k->kept_lines = 0;
}

struct delta {
	struct keyd *k;
	int r;
};

/* each change in the table of the fast path; what changes nothing is marked so */
static int delta_table(void *arg, const struct mvpn_prefix *p, uint32_t owner)
{
	struct delta *d = arg;
	struct keyd *k = d->k;
	uint32_t had = GONE;
	int r = 0;

	lpm_get(k->prefixes, p, &had);
	if (had == owner)
		return lpm_set(k->incoming, p, UNCHANGED);
	if (owner == GONE)
		lpm_del(k->prefixes, p);
	else
		r = lpm_set(k->prefixes, p, owner);
	if (r) { /* the shim protects it all the same: it is dropped there until the next try */
		d->r = r;
		return 0;
	}
	if (had != GONE)
		peer_owns(k, p, had, -1);
	if (owner != GONE)
		peer_owns(k, p, owner, 1);
	/* what could not be noted is written with all the rest */
	if (!k->unsaved || lpm_set(k->unsaved, p, 0))
		k->kept_lines = 0;
	return 0;
}

static int delta_protect(void *arg, const struct mvpn_prefix *p, uint32_t owner)
{
	struct delta *d = arg;

	if (owner != GONE && owner != UNCHANGED)
		protect_one(d->k, p, owner, lpm_count(d->k->prefixes));
	return 0;
}

static int delta_unprotect(void *arg, const struct mvpn_prefix *p, uint32_t owner)
{
	struct delta *d = arg;

	if (owner == GONE)
		shim_unprotect(d->k->shim, p);
	return 0;
}

static int delta_sessions(void *arg, const struct mvpn_prefix *p, uint32_t owner)
{
	struct delta *d = arg;

	if (owner != GONE && owner != UNCHANGED)
		sessions_prefix_new(d->k, p, owner);
	return 0;
}

/*
 * A change of some prefixes costs as much as these. Everything that is new is protected before anything is let go: a prefix that
 * narrows is never without protection.
 */
static int commit_delta(struct keyd *k)
{
	struct sync_ctx all = {.k = k};
	struct delta d = {.k = k};

	lpm_each(k->incoming, delta_table, &d);
	lpm_each(k->incoming, delta_protect, &d);
	lpm_each(k->incoming, delta_unprotect, &d);
	/* covers may have overwritten entries, and may not be needed any more */
	if (k->prefixes_overflow) {
		k->prefixes_overflow = false;
		lpm_each(k->prefixes, sync_add, &all);
		if (!k->prefixes_overflow)
			shim_protected_each(k->shim, cover_del, k);
	}
	if (k->nsessions)
		lpm_each(k->incoming, delta_sessions, &d);
	lpm_free(k->incoming);
	k->incoming = NULL;
	if (d.r)
		log_err("cannot take up all changes of the protected prefixes: %s; what is missing "
			"is dropped",
			strerror(-d.r));
	return d.r;
}

static int commit(struct keyd *k)
{
	int r = 0;

	if (k->incoming_all)
		commit_all(k);
	else
		r = commit_delta(k);
	gateways_committed(k);
	if (!loop_timer_armed(k->save_protected))
		loop_timer_arm(k->save_protected, SAVE_AFTER_MS);
	k->prefixes_known = true;
	control_state_changed(k);
	return r;
}

void prefixes_lost(struct keyd *k)
{
	lpm_free(k->incoming);
	k->incoming = NULL;
	gateways_lost(k);
}

int peers_message(struct keyd *k, const struct chan_msg *m)
{
	struct chan_tlv t;
	size_t pos = 0;
	uint32_t options = 0;
	uint64_t rev;
	int r = 0;

	if (!parts_good(m))
		return -EPROTO;
	if (m->flags & MVPN_PFX_RESET) {
		prefixes_lost(k);
		gateways_reset(k);
		k->incoming_all = true;
		k->set_known = false;
		r = lpm_new(&k->incoming);
	} else if (!k->incoming) {
		k->incoming_all = false;
		r = lpm_new(&k->incoming);
	}
	while (!r && chan_tlv_next(m, &pos, &t)) {
		if (t.type == MVPN_TLV_PREFIX)
			r = apply_prefix(k, t.value);
		else if (t.type == MVPN_TLV_GATEWAYS)
			r = apply_gateways(k, t.value, t.len);
		else if (t.type == MVPN_TLV_PEER)
			apply_peer(k, t.value, t.len);
	}
	if (r || !(m->flags & MVPN_PFX_COMMIT))
		return r;
	chan_get_u32(m, MVPN_TLV_OPTIONS, &options); /* a server that knows none sends none */
	options_set(k, options);
	options_times(k, m);
	if (chan_get_u64(m, MVPN_TLV_REV, &rev) && rev != k->policy_rev) {
		if (rev < k->policy_rev)
			log_warn("the server's policy is revision %llu now, and was %llu before: its store was restored from an old copy; who "
				 "runs it must revoke and apply anew what came after that",
				 (unsigned long long)rev, (unsigned long long)k->policy_rev);
		k->policy_rev = rev;
		sessions_policy_changed(k);
	}
	r = commit(k);
	k->set_known = !r && chan_get_bytes(m, MVPN_TLV_SET, k->set, sizeof(k->set));
	return r;
}
