/* SPDX-License-Identifier: BSD-2-Clause */
/* Whether the chain of the audit trail holds, from what was forgotten last to its end, some rows at a time. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "audit.h"

#define STEP_ROWS 250 /* some 0.4 ms, in which the server does nothing else */

struct audit_verify {
	struct audit *a;
	struct store_checkpoint *points; /* by seq */
	unsigned n, size, next;
	unsigned rows; /* of this step */
	uint64_t forgets; /* a->forgets when it began */
	uint64_t seq;
	uint8_t prev[STORE_HASH_LEN];
};

#define STEP_OVER 1

static int collect_point(void *arg, const struct store_checkpoint *c)
{
	struct audit_verify *v = arg;

	if (v->n == v->size) {
		unsigned size = v->size ? v->size * 2 : 64;
		struct store_checkpoint *p = realloc(v->points, size * sizeof(*p));

		if (!p)
			return -ENOMEM;
		v->points = p;
		v->size = size;
	}
	v->points[v->n++] = *c;
	return 0;
}

/* what was forgotten ends with a checkpoint that says so; the chain begins behind it */
static int begin(struct audit_verify *v)
{
	const struct store_checkpoint *c;
	int r;

	v->n = v->next = 0;
	v->seq = 0;
	memset(v->prev, 0, sizeof(v->prev));
	v->forgets = v->a->forgets;
	r = store_checkpoint_each(v->a->st, collect_point, v);
	c = v->points;
	if (r < 0 || !v->n || !c->forgotten)
		return r;
	v->seq = c->seq;
	memcpy(v->prev, c->hash, sizeof(v->prev));
	v->next = 1;
	return audit_checkpoint_good(v->a, c) ? 0 : -EBADMSG;
}

static int verify_row(void *arg, const struct store_audit *row)
{
	struct audit_verify *v = arg;
	const struct store_checkpoint *c = v->next < v->n ? &v->points[v->next] : NULL;
	uint8_t hash[STORE_HASH_LEN];
	int r;

	if (v->rows == STEP_ROWS)
		return STEP_OVER;
	v->rows++;
	r = audit_row_hash(row, hash);
	if (r < 0)
		return r;
	v->seq++;
	if (row->seq != v->seq || memcmp(row->prev, v->prev, sizeof(v->prev)) ||
	    memcmp(row->hash, hash, sizeof(hash)))
		return -EBADMSG;
	memcpy(v->prev, hash, sizeof(hash));
	if (!c || c->seq != row->seq)
		return 0;
	v->next++;
	return !c->forgotten && !memcmp(c->hash, hash, sizeof(hash)) &&
			       audit_checkpoint_good(v->a, c)
		       ? 0
		       : -EBADMSG;
}

int audit_verify_new(struct audit *a, struct audit_verify **ret)
{
	struct audit_verify *v = calloc(1, sizeof(*v));

	if (!v)
		return -ENOMEM;
	v->a = a;
	v->forgets = a->forgets - 1; /* the first step begins */
	*ret = v;
	return 0;
}

void audit_verify_free(struct audit_verify *v)
{
	if (!v)
		return;
	free(v->points);
	free(v);
}

int audit_verify_step(struct audit_verify *v, uint64_t *ret_seq)
{
	const struct audit *a = v->a;
	int r = v->forgets == a->forgets ? 0 : begin(v);

	v->rows = 0;
	if (r == 0)
		r = store_audit_each(a->st, v->seq + 1, verify_row, v);
	/* the newest rows may have been cut off: what is in memory, or a checkpoint, knows better */
	if (r == 0 && (v->seq != a->seq || memcmp(v->prev, a->hash, sizeof(v->prev)) || v->next < v->n)) {
		v->seq++;
		r = -EBADMSG;
	}
	if (r == -EBADMSG)
		*ret_seq = v->seq;
	return r;
}
