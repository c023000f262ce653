/* SPDX-License-Identifier: BSD-2-Clause */
#include "levels.h"

#include <string.h>

#include "mvpn/auth.h"

/* the others with which it is not at the network's level, whether or not they may talk */
static int make(const struct server *s, const struct device *d, struct table *t)
{
	struct policy_subject self = registry_subject(d);
	uint8_t entry[MVPN_ID_LEN + 1];

	if (!policy_level_about(s->policy, &self))
		return 0;
	for (uint32_t i = 0; i < s->reg->size; i++) {
		const struct device *other = s->reg->devices[i];
		struct policy_subject o;

		if (!other || other == d)
			continue;
		o = registry_subject(other);
		entry[MVPN_ID_LEN] = (uint8_t)policy_level_of(s->policy, &self, &o);
		if (entry[MVPN_ID_LEN] == MVPN_LEVEL_NETWORK)
			continue;
		memcpy(entry, other->row.id, MVPN_ID_LEN);
		table_put(t, MVPN_TLV_LEVEL, entry, sizeof(entry));
	}
	return 0;
}

const struct table_kind levels_table = {
	.what = "the levels", .msg = MVPN_MSG_LEVELS, .make = make};
