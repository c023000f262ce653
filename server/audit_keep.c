/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Checkpoints of the audit trail, and forgetting its oldest events. A checkpoint is the hash of one event under a MAC whose
 * key is not in the store: who can write the store, but has not the server's keys, cannot make a whole new chain, nor take the
 * beginning away and call it forgotten.
 */
#include <endian.h>
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "audit.h"
#include "crypto.h"

#define PRUNE_STEP 5000 /* events forgotten at a time: some ten milliseconds, in which the server does nothing else */

static int mac_of(const struct audit *a, const struct store_checkpoint *c,
		  uint8_t ret[STORE_HASH_LEN])
{
	static const char label[] = "mvpn audit key", what[] = "mvpn audit checkpoint";
	uint64_t n[2] = {htobe64(c->seq), htobe64((uint64_t)c->at)};
	uint8_t key[32], forgotten = c->forgotten;
	struct mvpn_part key_part = {label, sizeof(label)};
	struct mvpn_part parts[4] = {{what, sizeof(what)},
				     {n, sizeof(n)},
				     {&forgotten, 1},
				     {c->hash, STORE_HASH_LEN}};
	int r = mvpn_blake2b(key, sizeof(key), a->key, 32, &key_part, 1);

	if (r == 0)
		r = mvpn_blake2b(ret, STORE_HASH_LEN, key, sizeof(key), parts, 4);
	sodium_memzero(key, sizeof(key));
	return r;
}

bool audit_checkpoint_good(const struct audit *a, const struct store_checkpoint *c)
{
	uint8_t mac[STORE_HASH_LEN];

	return a->key && mac_of(a, c, mac) == 0 && !sodium_memcmp(mac, c->mac, sizeof(mac));
}

static int add(struct audit *a, struct store_checkpoint *c)
{
	int r;

	c->at = time(NULL);
	r = mac_of(a, c, c->mac);
	return r < 0 ? r : store_checkpoint_put(a->st, c);
}

int audit_checkpoint(struct audit *a)
{
	struct store_checkpoint c = {.seq = a->seq};

	if (!a->seq)
		return 0;
	memcpy(c.hash, a->hash, sizeof(c.hash));
	return add(a, &c);
}

/* the oldest events that go */
struct prune {
	struct store_checkpoint last; /* of them */
	uint64_t below, newest;
	int64_t before;
	unsigned n;
};

#define ENOUGH 1

static int look(void *arg, const struct store_audit *row)
{
	struct prune *p = arg;

	/* the newest stays whatever its age: it is the chain's end */
	if (p->n == PRUNE_STEP || row->seq >= p->newest || (row->seq >= p->below && row->at >= p->before))
		return ENOUGH;
	p->last.seq = row->seq;
	memcpy(p->last.hash, row->hash, sizeof(p->last.hash));
	p->n++;
	return 0;
}

int audit_prune(struct audit *a, uint64_t keep, int64_t before)
{
	struct prune p = {.last.forgotten = true,
			  .below = a->seq > keep ? a->seq - keep + 1 : 0,
			  .newest = a->seq,
			  .before = before};
	int r = store_audit_each(a->st, 1, look, &p);

	if (r < 0 || !p.n)
		return r < 0 ? r : 0;
	r = add(a, &p.last);
	if (r == 0)
		r = store_audit_forget(a->st, p.last.seq);
	a->forgets++;
	if (r == 0)
		r = audit_add(a, "server", "audit-forget",
			      json_pack("{s:I, s:i}", "through", (json_int_t)p.last.seq, "count",
					(int)p.n));
	return r < 0 ? r : (int)p.n;
}

bool audit_prune_goes_on(int pruned)
{
	return pruned == PRUNE_STEP;
}
