/* SPDX-License-Identifier: BSD-2-Clause */
#include "class_json.h"

#include <stdio.h>

static const char *range_str(const struct mvpn_service *of, char buf[static MVPN_SERVICESTRLEN])
{
	if (of->proto)
		return mvpn_service_str(of, buf);
	snprintf(buf, MVPN_SERVICESTRLEN, "0x%04x", of->lo);
	return buf;
}

static json_t *ranges_json(const struct mvpn_classes *c, unsigned end, unsigned class)
{
	char text[MVPN_SERVICESTRLEN];
	json_t *list = json_array();

	for (unsigned i = 0; i < c->nranges[end]; i++)
		if (c->ranges[end][i].class == class)
			json_array_append_new(list,
					      json_string(range_str(&c->ranges[end][i].of, text)));
	return list;
}

json_t *mvpn_classes_json(const struct mvpn_classes *c, unsigned first_end, const char *first,
			  const char *second)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < c->n; i++) {
		const struct mvpn_class *of = &c->list[i];
		const char *dscp = NULL;
		char text[MVPN_CLASSSTRLEN], name[8];

		if (of->dscp != MVPN_DSCP_NETWORK)
			dscp = mvpn_dscp_name(of->dscp, name);
		json_array_append_new(
			list, json_pack("{s:s, s:s?, s:o, s:o, s:o, s:o, s:b}", "class",
					mvpn_class_str(of, text), "dscp", dscp, "limit_kbit",
					of->rate_kbit ? json_integer(of->rate_kbit) : json_null(),
					"burst_b",
					of->rate_kbit ? json_integer(of->burst_b) : json_null(),
					first, ranges_json(c, first_end, i), second,
					ranges_json(c, !first_end, i), "rest", c->rest == i));
	}
	return list;
}
