/* SPDX-License-Identifier: BSD-2-Clause */
#include "session_rules.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "dp/packet.h"
#include "mvpn/auth.h"
#include "mvpn/limits.h"
#include "service.h"

/* as they came: length u16 | value of the TLV */
struct session_rules {
	uint64_t policy_rev;
	bool initiator;
	size_t len;
	uint8_t tlvs[];
};

static const uint8_t *text_of(const uint8_t *rule)
{
	return rule + MVPN_RULE_HEAD_B + rule[5] * MVPN_SERVICE_B;
}

bool session_rules_good(const struct chan_msg *m)
{
	struct chan_tlv t;
	unsigned n = 0;
	size_t pos = 0;

	while (chan_tlv_next(m, &pos, &t)) {
		if (t.type != MVPN_TLV_RULE)
			continue;
		if (++n > MVPN_RULES_MAX || t.value[5] > MVPN_SERVICES_MAX || text_of(t.value) > t.value + t.len)
			return false;
		for (const uint8_t *c = text_of(t.value); c < t.value + t.len; c++)
			if (*c < ' ' || *c == 0x7f)
				return false;
	}
	return true;
}

struct session_rules *session_rules_new(const struct chan_msg *m, bool initiator)
{
	struct session_rules *r;
	struct chan_tlv t;
	size_t pos = 0, len = 0;

	while (chan_tlv_next(m, &pos, &t))
		len += t.type == MVPN_TLV_RULE ? 2U + t.len : 0;
	r = len ? calloc(1, sizeof(*r) + len) : NULL;
	if (!r)
		return NULL;
	chan_get_u64(m, MVPN_TLV_REV, &r->policy_rev);
	r->initiator = initiator;
	for (pos = 0; chan_tlv_next(m, &pos, &t);) {
		if (t.type != MVPN_TLV_RULE)
			continue;
		put16(r->tlvs + r->len, t.len);
		memcpy(r->tlvs + r->len + 2, t.value, t.len);
		r->len += 2U + t.len;
	}
	return r;
}

static bool has(const uint8_t *rule, uint8_t proto, int port)
{
	for (unsigned i = 0; i < rule[5]; i++) {
		struct mvpn_service s;

		mvpn_service_decode(&s, rule + MVPN_RULE_HEAD_B + i * MVPN_SERVICE_B);
		if (!proto || mvpn_services_have(&s, 1, proto, (uint16_t)port))
			return true;
	}
	return !rule[5];
}

static bool is_about(const struct session_rules *r, const uint8_t *rule, uint8_t proto, int here, int there)
{
	unsigned we = r->initiator ? MVPN_RULE_A : MVPN_RULE_B, peer = r->initiator ? MVPN_RULE_B : MVPN_RULE_A;

	return (rule[4] & we && there >= 0 && has(rule, proto, there)) ||
	       (rule[4] & peer && here >= 0 && has(rule, proto, here));
}

uint32_t session_rules_line(const struct session_rules *r, uint8_t proto, int here, int there, const char **ret_text,
			    size_t *ret_len)
{
	uint16_t len;

	if (proto == IPPROTO_ICMPV6)
		proto = IPPROTO_ICMP;
	for (size_t at = 0; r && at < r->len; at += 2U + len) {
		const uint8_t *rule = r->tlvs + at + 2;

		len = (uint16_t)get16(r->tlvs + at);
		if (!is_about(r, rule, proto, here, there))
			continue;
		*ret_text = (const char *)text_of(rule);
		*ret_len = (size_t)(rule + len - text_of(rule));
		return get32(rule);
	}
	return 0;
}

json_t *session_rules_show(const struct session_rules *r, uint8_t proto, int here, int there)
{
	const char *text = NULL;
	size_t len = 0;
	uint32_t line = session_rules_line(r, proto, here, there, &text, &len);
	json_t *o = NULL;

	if (line)
		o = json_pack("{s:I, s:s%, s:I}", "line", (json_int_t)line, "text", text, len, "policy_rev",
			      (json_int_t)r->policy_rev);
	return o ? o : json_null(); /* none, or the text is no UTF-8 */
}
