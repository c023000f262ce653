/* SPDX-License-Identifier: BSD-2-Clause */
#include "levels.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mvpn/auth.h"

struct level {
	uint8_t id[MVPN_ID_LEN], level;
};
_Static_assert(sizeof(struct level) == MVPN_ID_LEN + 1, "as TLV_LEVEL has it");

/* the others with which it is not at the network's level, whether or not they may talk */
static int make(const struct server *s, const struct device *d, struct table *ret)
{
	struct policy_subject self = registry_subject(d);
	struct level *t;
	unsigned lines, n = 0;

	policy_levels(s->policy, &lines);
	t = calloc(lines ? s->reg->size + 1 : 1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	for (uint32_t i = 0; lines && i < s->reg->size; i++) {
		const struct device *other = s->reg->devices[i];
		struct policy_subject o;
		unsigned level;

		if (!other || other == d)
			continue;
		o = registry_subject(other);
		level = policy_level_of(s->policy, &self, &o);
		if (level == MVPN_LEVEL_NETWORK)
			continue;
		memcpy(t[n].id, other->row.id, MVPN_ID_LEN);
		t[n++].level = (uint8_t)level;
	}
	ret->entries = t;
	ret->n = n;
	return 0;
}

const struct table_kind levels_table = {
	.msg = MVPN_MSG_LEVELS, .tlv = MVPN_TLV_LEVEL, .entry_b = sizeof(struct level), .make = make};
