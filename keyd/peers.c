/* SPDX-License-Identifier: BSD-2-Clause */
#include "peers.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control.h"
#include "crypto.h"
#include "fsutil.h"
#include "gateways.h"
#include "identity.h"
#include "log.h"
#include "prefixes.h"
#include "sessions.h"

#define KEPT_FILE "protected"
#define KEPT_MAX (256U << 20)
#define KEPT_SLACK 1000 /* lines of changes that a short file may have */
#define GONE UINT32_MAX /* no owner */

static struct peer *find(struct keyd *k, const uint8_t id[MVPN_ID_LEN], uint8_t layer)
{
	struct hnode *n;

	for (n = htab_first(&k->peers_by_id, htab_hash(&k->peers_by_id, id, MVPN_ID_LEN)); n;
	     n = htab_next(n)) {
		struct peer *p = container_of(n, struct peer, by_id);

		if (p->layer == layer && !memcmp(p->id, id, MVPN_ID_LEN))
			return p;
	}
	return NULL;
}

struct peer *peer_by_id(struct keyd *k, const uint8_t id[MVPN_ID_LEN])
{
	return find(k, id, MVPN_LAYER_NETWORK);
}

bool peer_is_revoked(struct keyd *k, const struct peer *p)
{
	const struct peer *twin = peer_by_id(k, p->id);

	return twin && twin->state == MVPN_DEV_REVOKED;
}

struct peer *peer_layer_by_id(struct keyd *k, const uint8_t id[MVPN_ID_LEN], uint8_t layer)
{
	return find(k, id, layer);
}

const char *peer_layer_name(const struct peer *p)
{
	return p->layer == MVPN_LAYER_LINK     ? "link"
	       : p->layer == MVPN_LAYER_SOCKET ? "socket"
					       : "network";
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

static struct peer *ensure(struct keyd *k, const uint8_t id[MVPN_ID_LEN], uint8_t layer)
{
	struct peer *p = find(k, id, layer);

	if (p)
		return p;
	p = peers_grow(k) ? calloc(1, sizeof(*p)) : NULL;
	if (!p)
		goto fail;
	memcpy(p->id, id, MVPN_ID_LEN);
	p->layer = layer;
	p->index = k->npeers +
		   1; /* peers are never forgotten in one life of keyd: indices are dense */
	if (!kt_peer_get(k->kt, p->index))
		goto fail;
	htab_add(&k->peers_by_id, &p->by_id, htab_hash(&k->peers_by_id, id, MVPN_ID_LEN));
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

struct peer *peer_ensure(struct keyd *k, const uint8_t id[MVPN_ID_LEN])
{
	return ensure(k, id, MVPN_LAYER_NETWORK);
}

struct peer *peer_layer_ensure(struct keyd *k, const uint8_t id[MVPN_ID_LEN], uint8_t layer)
{
	const struct peer *twin = find(k, id, MVPN_LAYER_NETWORK);
	bool known = find(k, id, layer);
	struct peer *p = ensure(k, id, layer);

	if (p && !known && twin) {
		memcpy(p->name, twin->name, sizeof(p->name));
		p->state = twin->state;
	}
	return p;
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
		if (k->peers[i]->layer == MVPN_LAYER_NETWORK && !strcmp(k->peers[i]->name, what) &&
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

/* ---- what a peer owns ---- */

/* `p` has come into (n 1) or gone from (-1) that owner's hands */
void peer_owns(struct keyd *k, const struct mvpn_prefix *p, uint32_t owner, int n)
{
	struct peer *peer = owner == KEYD_SELF ? NULL : peer_by_index(k, owner);

	if (!peer)
		return;
	peer->prefixes += (unsigned)n;
	if (n > 0) {
		peer->any = p->addr;
		peer->any_known = true;
	} else if (mvpn_addr_eq(&peer->any, &p->addr)) {
		peer->any_known = false;
	}
}

static int count_prefix(void *arg, const struct mvpn_prefix *p, uint32_t owner)
{
	peer_owns(arg, p, owner, 1);
	return 0;
}

void peers_recount(struct keyd *k)
{
	uint32_t i;

	for (i = 1; i <= k->npeers; i++) {
		k->peers[i]->prefixes = 0;
		k->peers[i]->any_known = false;
	}
	lpm_each(k->prefixes, count_prefix, k);
}

struct any_of {
	struct peer *p;
};

static int any_found(void *arg, const struct mvpn_prefix *prefix, uint32_t owner)
{
	struct any_of *a = arg;

	if (owner != a->p->index)
		return 0;
	a->p->any = prefix->addr;
	a->p->any_known = true;
	return 1;
}

const struct mvpn_addr *peer_address(struct keyd *k, struct peer *p)
{
	struct any_of a;

	if (p->layer == MVPN_LAYER_SOCKET) /* prefixes are the network's */
		p = peer_ensure(k, p->id) ?: p;
	a.p = p;
	/* the one we knew has gone to another: rare, so they are simply gone through */
	if (!p->any_known && p->prefixes)
		lpm_each(k->prefixes, any_found, &a);
	return &p->any;
}

/* ---- the kept set ---- */

/* one line; `gone` as owner takes back an earlier one */
static int kept_line(struct keyd *k, FILE *f, const struct mvpn_prefix *p, uint32_t owner)
{
	struct peer *peer = owner == KEYD_SELF ? NULL : peer_by_index(k, owner);
	char text[MVPN_ADDRSTRLEN], id[2 * MVPN_ID_LEN + 1] = "none";

	if (owner == GONE)
		strcpy(id, PEERS_KEPT_GONE);
	else if (owner == KEYD_SELF)
		strcpy(id, "self");
	else if (peer)
		mvpn_hex(id, peer->id, MVPN_ID_LEN);
	return fprintf(f, "%s %s %s\n", mvpn_prefix_str(p, text), id,
		       peer ? peer_label(peer) : "-") < 0;
}

struct kept_ctx {
	struct keyd *k;
	FILE *f;
};

static int kept_all(void *arg, const struct mvpn_prefix *p, uint32_t owner)
{
	struct kept_ctx *c = arg;

	return kept_line(c->k, c->f, p, owner);
}

static int kept_changed(void *arg, const struct mvpn_prefix *p, uint32_t unused)
{
	struct kept_ctx *c = arg;
	uint32_t owner;

	return kept_line(c->k, c->f, p, lpm_get(c->k->prefixes, p, &owner) ? owner : GONE);
}

/* Changes are added to the file while that is shorter than writing all of it anew, so that the work is that of the changes. */
void peers_save(struct keyd *k)
{
	char *path = path_join(k->state_dir, KEPT_FILE), *text = NULL;
	unsigned changed = k->unsaved ? lpm_count(k->unsaved) : 0;
	bool add = k->unsaved && k->kept_lines &&
		   k->kept_lines + changed <= 2 * lpm_count(k->prefixes) + KEPT_SLACK;
	size_t len = 0;
	struct kept_ctx c = {k, open_memstream(&text, &len)};
	int r = -ENOMEM;

	loop_timer_disarm(k->save_protected);
	if (c.f && path)
		r = lpm_each(add ? k->unsaved : k->prefixes, add ? kept_changed : kept_all, &c)
			    ? -ENOMEM
			    : 0;
	if (c.f && fclose(c.f) && !r)
		r = -ENOMEM;
	if (!r)
		r = add ? file_append(path, text, len) : file_replace(path, text, len, 0600);
	/* after a failure the file is in doubt: all of it next time */
	k->kept_lines = r ? 0 : add ? k->kept_lines + changed : lpm_count(k->prefixes);
	lpm_free(k->unsaved);
	k->unsaved = NULL;
	if (r || lpm_new(&k->unsaved))
		k->kept_lines = 0;
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
	/* a line that a crash has cut is not there */
	if (!r)
		for (; len && text[len - 1] != '\n'; len--)
			text[len - 1] = 0;
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

	if (!strcmp(owner, PEERS_KEPT_GONE)) {
		lpm_del(k->prefixes, p);
		return 0;
	}
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
	int r = htab_init(&k->peers_by_id);

	if (!r)
		r = gateways_init(k);
	if (!r)
		r = lpm_new(&k->prefixes);
	if (r)
		return r;
	kt_set_prefixes(k->kt, k->prefixes);
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
	prefixes_write(k);
	r = pins_load(k->state_dir, &k->pins_kept, pin_seen, k);
	if (r)
		log_err("cannot read the pinned keys in %s (%s): a changed key of a peer would not "
			"be noticed now",
			k->state_dir, strerror(-r));
	peers_recount(k);
	return 0;
}

void peers_free(struct keyd *k)
{
	uint32_t i;

	if (k->save_protected && loop_timer_armed(k->save_protected))
		peers_save(k);
	loop_timer_free(k->save_protected);
	gateways_free(k);
	for (i = 1; i <= k->npeers; i++) {
		free(k->peers[i]->guard);
		free(k->peers[i]->translations);
		free(k->peers[i]);
	}
	free(k->peers);
	htab_free(&k->peers_by_id);
	lpm_free(k->unsaved);
	lpm_free(k->incoming);
}
