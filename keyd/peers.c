/* SPDX-License-Identifier: BSD-2-Clause */
#include "peers.h"

#include <errno.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control.h"
#include "crypto.h"
#include "fsutil.h"
#include "identity.h"
#include "log.h"
#include "sessions.h"

#define KEPT_FILE "protected"
#define KEPT_MAX (256U << 20)
#define SAVE_AFTER_MS 500 /* a burst of changes is written once */
/* when there are more prefixes than max_prefixes, the rest is covered (and dropped) by networks of these lengths */
#define COVER_LEN_4 (96 + 16)
#define COVER_LEN_6 32

static int by_id(const void *a, const void *b)
{
	return memcmp(((const struct peer *)a)->id, ((const struct peer *)b)->id, MVPN_ID_LEN);
}

struct peer *peer_by_id(struct keyd *k, const uint8_t id[MVPN_ID_LEN])
{
	struct peer key, **found;

	memcpy(key.id, id, MVPN_ID_LEN);
	found = tfind(&key, &k->peers_by_id, by_id);
	return found ? *found : NULL;
}

struct peer *peer_by_index(struct keyd *k, uint32_t index)
{
	return index < k->peers_size ? k->peers[index] : NULL;
}

static bool peers_grow(struct keyd *k)
{
	uint32_t size = k->peers_size ? k->peers_size * 2 : 64;
	struct peer **peers;

	if (k->npeers + 1 < k->peers_size)
		return true;
	if (size > MVPN_PEERS_MAX)
		size = MVPN_PEERS_MAX;
	if (k->npeers + 1 >= size)
		return false;
	peers = reallocarray(k->peers, size, sizeof(*peers));
	if (!peers)
		return false;
	memset(peers + k->peers_size, 0, (size - k->peers_size) * sizeof(*peers));
	k->peers = peers;
	k->peers_size = size;
	return true;
}

struct peer *peer_ensure(struct keyd *k, const uint8_t id[MVPN_ID_LEN])
{
	struct peer *p = peer_by_id(k, id);

	if (p)
		return p;
	p = peers_grow(k) ? calloc(1, sizeof(*p)) : NULL;
	if (!p)
		goto fail;
	memcpy(p->id, id, MVPN_ID_LEN);
	p->index = k->npeers +
		   1; /* peers are never forgotten in one life of keyd: indices are dense */
	if (!kt_peer_get(k->kt, p->index) || !tsearch(p, &k->peers_by_id, by_id))
		goto fail;
	k->peers[p->index] = p;
	k->npeers++;
	return p;
fail:
	free(p);
	log_ratelimited(
		LOG_L_ERR,
		"cannot take up another peer (%u known, limit %u): its prefixes are dropped",
		k->npeers, MVPN_PEERS_MAX - 1);
	return NULL;
}

const char *peer_label(const struct peer *p)
{
	return p->name[0] ? p->name : "?";
}

struct peer *peer_find(struct keyd *k, const char *what)
{
	uint8_t id[MVPN_ID_LEN];
	struct peer *found = NULL;
	struct mvpn_addr a;
	uint32_t i, index;

	/* a device that was enrolled anew has the name of its dead predecessor */
	for (i = 1; i <= k->npeers; i++)
		if (!strcmp(k->peers[i]->name, what) &&
		    (!found || found->state == MVPN_DEV_REVOKED))
			found = k->peers[i];
	if (found)
		return found;
	if (!mvpn_unhex(id, sizeof(id), what))
		return peer_by_id(k, id);
	if (!mvpn_addr_parse(&a, what) && lpm_lookup(k->prefixes, &a, &index))
		return peer_by_index(k, index);
	return NULL;
}

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

static void protect_one(struct keyd *k, const struct mvpn_prefix *p, uint32_t owner, uint32_t count)
{
	bool self = owner == KEYD_SELF;
	int r = -ENOSPC;

	if (count <= k->conf.max_prefixes)
		r = shim_protect(k->shim, p, self ? MVPN_PEER_NONE : owner,
				 self ? MVPN_PROT_LOCAL : 0);
	if (r)
		protect_cover(k, p);
}

struct sync_ctx {
	struct keyd *k;
	const struct lpm *other;
	struct lpm *out;
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

static int publish_one(void *arg, const struct mvpn_prefix *p, uint32_t owner)
{
	struct sync_ctx *c = arg;

	return owner == KEYD_SELF ? 0 : lpm_set(c->out, p, owner);
}

/* the key table gets its own copy, without our own prefixes: nothing for them is ever captured */
static int publish(struct keyd *k)
{
	struct sync_ctx c = {.k = k};
	int r = lpm_new(&c.out);

	if (!r) {
		r = lpm_each(k->prefixes, publish_one, &c);
		if (r)
			lpm_free(c.out);
		else
			r = kt_set_prefixes(k->kt, c.out); /* takes it, or frees it */
	}
	if (r)
		log_err("cannot publish %u protected prefixes to the fast path: %s; the old set "
			"stays in force",
			lpm_count(k->prefixes), strerror(-r));
	return r;
}

static int count_prefix(void *arg, const struct mvpn_prefix *p, uint32_t owner)
{
	struct keyd *k = arg;
	struct peer *peer = owner == KEYD_SELF ? NULL : peer_by_index(k, owner);

	if (peer) {
		peer->any = p->addr;
		peer->prefixes++;
	}
	return 0;
}

static void recount(struct keyd *k)
{
	uint32_t i;

	for (i = 1; i <= k->npeers; i++)
		k->peers[i]->prefixes = 0;
	lpm_each(k->prefixes, count_prefix, k);
}

/* ---- the kept set ---- */

struct kept_ctx {
	struct keyd *k;
	FILE *f;
};

static int kept_line(void *arg, const struct mvpn_prefix *p, uint32_t owner)
{
	struct kept_ctx *c = arg;
	struct peer *peer = owner == KEYD_SELF ? NULL : peer_by_index(c->k, owner);
	char text[MVPN_ADDRSTRLEN], id[2 * MVPN_ID_LEN + 1] = "none";

	if (owner == KEYD_SELF)
		strcpy(id, "self");
	else if (peer)
		mvpn_hex(id, peer->id, MVPN_ID_LEN);
	return fprintf(c->f, "%s %s %s\n", mvpn_prefix_str(p, text), id,
		       peer ? peer_label(peer) : "-") < 0;
}

void peers_save(struct keyd *k)
{
	char *path = path_join(k->state_dir, KEPT_FILE), *text = NULL;
	size_t len = 0;
	struct kept_ctx c = {k, open_memstream(&text, &len)};
	int r = -ENOMEM;

	loop_timer_disarm(k->save_protected);
	if (c.f && path)
		r = lpm_each(k->prefixes, kept_line, &c) ? -ENOMEM : 0;
	if (c.f && fclose(c.f) && !r)
		r = -ENOMEM;
	if (!r)
		r = file_replace(path, text, len, 0600);
	if (r)
		log_err("cannot keep the protected prefixes in %s/" KEPT_FILE
			": %s; after a reboot the guard would protect an "
			"older set until keyd is connected",
			k->state_dir, strerror(-r));
	free(text);
	free(path);
}

static void save_timer(void *arg)
{
	peers_save(arg);
}

int peers_kept_each(const char *state_dir,
		    int (*fn)(void *arg, const struct mvpn_prefix *p, const char *owner,
			      const char *name),
		    void *arg)
{
	char *path = path_join(state_dir, KEPT_FILE), *text = NULL, *line, *save = NULL, *field;
	struct mvpn_prefix p;
	size_t len;
	int r;

	if (!path)
		return -ENOMEM;
	r = file_read(path, KEPT_MAX, &text, &len);
	free(path);
	for (line = r ? NULL : strtok_r(text, "\n", &save); line && !r;
	     line = strtok_r(NULL, "\n", &save)) {
		char *prefix = strtok_r(line, " ", &field), *owner = strtok_r(NULL, " ", &field);
		char *name = strtok_r(NULL, " ", &field);

		if (!prefix || !owner || !name || mvpn_prefix_parse(&p, prefix))
			r = -EBADMSG;
		else
			r = fn(arg, &p, owner, name);
	}
	free(text);
	return r;
}

static int kept_load(void *arg, const struct mvpn_prefix *p, const char *owner, const char *name)
{
	struct keyd *k = arg;
	uint8_t id[MVPN_ID_LEN];
	struct peer *peer;
	uint32_t index = MVPN_PEER_NONE;

	if (!strcmp(owner, "self")) {
		index = KEYD_SELF;
	} else if (!mvpn_unhex(id, sizeof(id), owner)) {
		peer = peer_ensure(k, id);
		if (peer) {
			index = peer->index;
			snprintf(peer->name, sizeof(peer->name), "%s", name);
		}
	}
	return lpm_set(k->prefixes, p, index);
}

/* An entry of an earlier life that the kept file does not name stays protected, by nobody, until the server speaks. */
static int orphan(void *arg, const struct mvpn_prefix *p, const struct mvpn_protected *v)
{
	struct keyd *k = arg;
	uint32_t owner;

	if (lpm_get(k->prefixes, p, &owner))
		return 0;
	return lpm_set(k->prefixes, p, MVPN_PEER_NONE);
}

static int pin_seen(void *arg, const uint8_t id[16], const uint8_t pk[32])
{
	struct peer *p = peer_ensure(arg, id);

	if (p) {
		memcpy(p->pin, pk, 32);
		p->pinned = true;
	}
	return 0;
}

int peers_init(struct keyd *k)
{
	struct sync_ctx c = {.k = k};
	int r = lpm_new(&k->prefixes);

	if (!r)
		r = loop_timer_new(k->loop, save_timer, k, &k->save_protected);
	if (r)
		return r;
	r = peers_kept_each(k->state_dir, kept_load, k);
	if (r && r != -ENOENT)
		log_err("%s/" KEPT_FILE " is damaged (%s): what the pinned maps protect stays "
			"protected, the rest when the "
			"server is reached",
			k->state_dir, strerror(-r));
	r = shim_protected_each(k->shim, orphan, k);
	if (r)
		return r;
	lpm_each(k->prefixes, sync_add, &c);
	r = pin_load(k->state_dir, pin_seen, k);
	if (r)
		log_err("cannot read the pinned keys in %s (%s): a changed key of a peer would not "
			"be noticed now",
			k->state_dir, strerror(-r));
	recount(k);
	return publish(k);
}

void peers_free(struct keyd *k)
{
	uint32_t i;

	if (k->save_protected && loop_timer_armed(k->save_protected))
		peers_save(k);
	loop_timer_free(k->save_protected);
	for (i = 1; i <= k->npeers; i++) {
		tdelete(k->peers[i], &k->peers_by_id, by_id);
		free(k->peers[i]);
	}
	free(k->peers);
	lpm_free(k->prefixes);
	lpm_free(k->incoming);
}

/* ---- PREFIXES ---- */

static int apply_prefix(struct keyd *k, const uint8_t *v)
{
	static const uint8_t nobody[MVPN_ID_LEN];
	struct mvpn_prefix p = {.len = v[1]};
	const uint8_t *owner = v + 18;
	uint32_t index = MVPN_PEER_NONE;
	struct peer *peer;

	memcpy(p.addr.b, v + 2, 16);
	if (v[0] > 1 || !mvpn_prefix_valid(&p))
		return -EPROTO;
	if (!v[0]) {
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

static int apply_peer(struct keyd *k, const uint8_t *v, size_t len)
{
	struct peer *p;

	if (len < MVPN_ID_LEN + 1 || len > MVPN_ID_LEN + 1 + MVPN_NAME_MAX_B)
		return -EPROTO;
	if (k->id && !memcmp(v, k->id->device_id, MVPN_ID_LEN))
		return 0;
	p = peer_ensure(k, v);
	if (!p)
		return 0;
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
	return 0;
}

static void commit(struct keyd *k)
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
	lpm_free(old);
	if (c.all && !k->prefixes_overflow)
		shim_protected_each(k->shim, cover_del, k);
	recount(k);
	publish(k);
	sessions_prefixes_changed(k);
	if (!loop_timer_armed(k->save_protected))
		loop_timer_arm(k->save_protected, SAVE_AFTER_MS);
	k->prefixes_known = true;
	control_state_changed(k);
}

int peers_message(struct keyd *k, const struct chan_msg *m)
{
	struct chan_tlv t;
	size_t pos = 0;
	uint64_t rev;
	int r = 0;

	if (m->flags & MVPN_PFX_RESET) {
		lpm_free(k->incoming);
		k->incoming = NULL;
		r = lpm_new(&k->incoming);
	} else if (!k->incoming) {
		/* a change is made to a copy and taken over as a whole: a prefix that narrows is never without protection */
		r = lpm_clone(k->prefixes, &k->incoming);
	}
	while (!r && chan_tlv_next(m, &pos, &t)) {
		if (t.type == MVPN_TLV_PREFIX)
			r = apply_prefix(k, t.value);
		else if (t.type == MVPN_TLV_PEER)
			r = apply_peer(k, t.value, t.len);
	}
	if (r || !(m->flags & MVPN_PFX_COMMIT))
		return r;
	if (chan_get_u64(m, MVPN_TLV_REV, &rev) && rev != k->policy_rev) {
		k->policy_rev = rev;
		sessions_policy_changed(k);
	}
	commit(k);
	return 0;
}
