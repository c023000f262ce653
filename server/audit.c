/* SPDX-License-Identifier: BSD-2-Clause */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "audit.h"
#include "crypto.h"

int audit_open(struct audit *a, struct store *st)
{
	int r;

	a->st = st;
	a->seq = 0;
	memset(a->hash, 0, sizeof(a->hash));
	r = store_audit_last(st, &a->seq, a->hash);
	return r == -ENOENT ? 0 : r;
}

int audit_row_hash(const struct store_audit *row, uint8_t ret[STORE_HASH_LEN])
{
	uint64_t n[2] = {htobe64(row->seq), htobe64((uint64_t)row->at)};
	const char *text[3] = {row->actor, row->event, row->json};
	uint32_t len[3];
	struct mvpn_part parts[8] = {{row->prev, STORE_HASH_LEN}, {n, sizeof(n)}};

	for (int i = 0; i < 3; i++) {
		len[i] = htobe32((uint32_t)strlen(text[i]));
		parts[2 + 2 * i] = (struct mvpn_part){&len[i], 4};
		parts[3 + 2 * i] = (struct mvpn_part){text[i], strlen(text[i])};
	}
	return mvpn_blake2b(ret, STORE_HASH_LEN, NULL, 0, parts, 8);
}

int audit_add(struct audit *a, const char *actor, const char *event, json_t *detail)
{
	struct store_audit row = {
		.seq = a->seq + 1, .at = time(NULL), .actor = actor, .event = event};
	char *json;
	int r = -ENOMEM;

	if (detail && !strcmp(actor, "admin")) {
		json_object_set_new(detail, "uid", json_integer(a->uid));
		if (a->comment)
			json_object_set_new(detail, "comment", json_string(a->comment));
	}
	json = detail ? json_dumps(detail, JSON_COMPACT | JSON_SORT_KEYS) : strdup("{}");
	json_decref(detail);
	if (!json)
		return r;
	row.json = json;
	memcpy(row.prev, a->hash, sizeof(row.prev));
	r = audit_row_hash(&row, row.hash);
	if (r == 0)
		r = store_audit_add(a->st, &row);
	if (r == 0) {
		a->seq = row.seq;
		memcpy(a->hash, row.hash, sizeof(a->hash));
	}
	free(json);
	return r;
}

json_t *audit_json(const struct store_audit *row)
{
	char hash[2 * STORE_HASH_LEN + 1];
	json_t *detail = json_loads(row->json, 0, NULL);

	mvpn_hex(hash, row->hash, STORE_HASH_LEN);
	return json_pack("{s:I, s:I, s:s, s:s, s:o, s:s}", "seq", (json_int_t)row->seq, "at",
			 (json_int_t)row->at, "actor", row->actor, "event", row->event, "detail",
			 detail ? detail : json_object(), "hash", hash);
}

struct page {
	json_t *list;
	unsigned limit;
};

#define PAGE_FULL 1

static int list_row(void *arg, const struct store_audit *row)
{
	struct page *p = arg;

	if (json_array_size(p->list) == p->limit)
		return PAGE_FULL;
	return json_array_append_new(p->list, audit_json(row)) == 0 ? 0 : -ENOMEM;
}

int audit_list(struct audit *a, uint64_t seq, unsigned limit, json_t **ret)
{
	struct page p = {json_array(), limit};
	int r = p.list ? store_audit_each(a->st, seq, list_row, &p) : -ENOMEM;

	if (r < 0)
		json_decref(p.list);
	else
		*ret = p.list;
	return r < 0 ? r : 0;
}
