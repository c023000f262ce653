/* SPDX-License-Identifier: BSD-2-Clause */
#include "services.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "channel.h"
#include "crypto.h"
#include "log.h"
#include "processes.h"

/* what the policy says of the two, and no prefixes; true: there is more than fits */
static bool fill(const struct policy *p, const struct device *a, const struct device *b,
		 unsigned layer, struct intro_selectors *ret)
{
	struct policy_subject sa = registry_subject(a), sb = registry_subject(b);
	struct policy_services sv;

	ret->na = ret->nb = 0;
	if (layer == MVPN_LAYER_LINK) {
		ret->limited = false;
		return policy_frame_classes(p, &sa, &sb, &ret->classes) < 0;
	}
	policy_services_of(p, &sa, &sb, &sv);
	ret->limited = !sv.all;
	ret->nserv_a = sv.nsrc;
	ret->nserv_b = sv.ndst;
	memcpy(ret->serv_a, sv.src, sv.nsrc * sizeof(*sv.src));
	memcpy(ret->serv_b, sv.dst, sv.ndst * sizeof(*sv.dst));
	ret->classes.n = sv.classes.n;
	if (sv.classes.n)
		ret->classes = sv.classes;
	return sv.overflow || sv.classes_overflow;
}

static uint64_t name_of(const struct intro_selectors *sel)
{
	uint8_t bytes[MVPN_SELECTORS_MAX_B], hash[16];
	uint64_t name;
	int len;

	if (!sel->limited && !sel->classes.n)
		return 0;
	len = intro_selectors_encode(sel, bytes, sizeof(bytes));
	if (len < 0) /* nothing is allowed: such a session is cut, not renewed */
		return 1;
	mvpn_blake2b(hash, sizeof(hash), NULL, 0, &(struct mvpn_part){bytes, (size_t)len}, 1);
	memcpy(&name, hash, sizeof(name));
	return name | 1;
}

uint64_t services_name(const struct policy *p, const struct device *a, const struct device *b,
		       unsigned layer)
{
	struct intro_selectors sel;

	fill(p, a, b, layer, &sel);
	return name_of(&sel);
}

uint64_t services_select(struct server *s, const struct device *a, const struct device *b,
			 unsigned layer, struct intro_selectors *sel)
{
	if (fill(s->policy, a, b, layer, sel)) {
		count(s, services_cut);
		log_ratelimited(LOG_L_WARN,
				"the policy names more than %d ranges of ports, or more than %d different DSCPs "
				"and limits, between %s and %s: the rest is refused, or has none; join them",
				MVPN_SERVICES_MAX, MVPN_CLASSES_MAX, a->row.name, b->row.name);
	}
	return name_of(sel);
}

bool services_tell(struct server *s, const struct store_session *row, const struct conn *only)
{
	const struct device *end[2] = {registry_by_id(s->reg, row->a), registry_by_id(s->reg, row->b)};
	uint8_t bytes[MVPN_SELECTORS_MAX_B];
	struct intro_selectors sel;
	int len;

	for (unsigned i = 0; i < 2; i++)
		if (!end[i] || (end[i]->conn && !end[i]->conn->knows_services))
			return false;
	if (row->layer != MVPN_LAYER_SOCKET || processes_beyond(s->policy, end[0], end[1]))
		return false;
	fill(s->policy, end[0], end[1], row->layer, &sel);
	len = intro_selectors_encode(&sel, bytes, sizeof(bytes));
	for (unsigned i = 0; i < 2 && len > 0; i++) {
		struct conn *c = end[i]->conn;

		if (!c || (only && c != only))
			continue;
		chan_begin(&s->buf, MVPN_MSG_SERVICES, 0, 0);
		chan_put(&s->buf, MVPN_TLV_SESSION, row->id, sizeof(row->id));
		chan_put(&s->buf, MVPN_TLV_SELECTORS, bytes, (size_t)len);
		conn_send(c, &s->buf);
		count(s, services_told);
	}
	return len > 0;
}

static json_t *list_json(const struct mvpn_service *list, unsigned n)
{
	char text[MVPN_SERVICESTRLEN];
	json_t *o = json_array();

	for (unsigned i = 0; i < n; i++)
		json_array_append_new(o, json_string(mvpn_service_str(&list[i], text)));
	return o;
}

json_t *services_json(const struct policy_services *sv, const char *src, const char *dst)
{
	if (sv->all)
		return json_null();
	return json_pack("{s:o, s:o}", src, list_json(sv->src, sv->nsrc), dst,
			 list_json(sv->dst, sv->ndst));
}

int services_diff(struct server *s, const struct policy *old, const struct policy *new,
		  void (*fn)(void *arg, const struct policy_pairs *pairs), void *arg)
{
	struct policy_subject *devices = calloc(s->reg->count + 1UL, sizeof(*devices));
	unsigned n = 0;
	int r;

	if (!devices)
		return -ENOMEM;
	for (uint32_t i = 0; i < s->reg->size; i++)
		if (s->reg->devices[i] && s->reg->devices[i]->row.state == MVPN_DEV_ACTIVE)
			devices[n++] = registry_subject(s->reg->devices[i]);
	r = policy_pairs_diff(old, new, devices, n, fn, arg);
	free(devices);
	return r;
}
