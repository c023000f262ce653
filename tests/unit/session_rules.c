/* SPDX-License-Identifier: BSD-2-Clause */
/* Lines of the policy that come with an introduction: which one a flow is by, and what is none. */
#include "test.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "../../keyd/session_rules.h"
#include "mvpn/auth.h"
#include "mvpn/limits.h"

static uint8_t bytes[8192];
static size_t len;

static void tlv(uint16_t type, const void *value, size_t n)
{
	const uint8_t head[] = {(uint8_t)(type >> 8), (uint8_t)type, (uint8_t)(n >> 8), (uint8_t)n};

	memcpy(bytes + len, head, sizeof(head));
	memcpy(bytes + len + sizeof(head), value, n);
	len += sizeof(head) + n;
}

static struct chan_msg msg(void)
{
	return (struct chan_msg){.type = MVPN_MSG_ANSWER, .tlvs = bytes, .len = len};
}

/* A begins SSH at B; both anything by ICMP; B begins port 80 to 89 at A */
static void three(void)
{
	len = 0;
	tlv(MVPN_TLV_REV, "\0\0\0\0\0\0\0\7", 8);
	tlv(MVPN_TLV_RULE, "\0\0\0\1\1\1\6\0\26\0\26ssh", 14);
	tlv(MVPN_TLV_RULE, "\0\0\1\2\3\1\1\0\0\377\377icmp", 15);
	tlv(MVPN_TLV_RULE, "\0\0\0\3\2\1\6\0\120\0\131web", 14);
}

static void assert_line(const struct session_rules *r, uint8_t proto, int here, int there, int line)
{
	json_t *o = session_rules_show(r, proto, here, there);

	assert_int_equal(json_integer_value(json_object_get(o, "line")), line);
	assert_int_equal(json_is_null(o), line == 0);
	json_decref(o);
}

static void a_flow_is_by_the_first_that_lets_it(void **state)
{
	struct session_rules *a, *b;
	struct chan_msg m;
	json_t *o;

	three();
	m = msg();
	assert_true(session_rules_good(&m));
	a = session_rules_new(&m, true);
	b = session_rules_new(&m, false);
	assert_line(a, IPPROTO_TCP, 40000, 22, 1);
	assert_line(a, IPPROTO_TCP, 22, 40000, 0);
	assert_line(b, IPPROTO_TCP, 22, 40000, 1);
	assert_line(b, IPPROTO_TCP, -1, 22, 0);
	assert_line(b, IPPROTO_TCP, -1, 85, 3);
	assert_line(a, IPPROTO_TCP, 85, 40000, 3);
	assert_line(a, IPPROTO_UDP, 40000, 22, 0);
	assert_line(a, IPPROTO_ICMP, 0, 0, 0x102);
	assert_line(b, IPPROTO_ICMPV6, 0, 0, 0x102);
	assert_line(a, 0, -1, 0, 1);
	o = session_rules_show(a, IPPROTO_TCP, -1, 22);
	assert_string_equal(json_string_value(json_object_get(o, "text")), "ssh");
	assert_int_equal(json_integer_value(json_object_get(o, "policy_rev")), 7);
	json_decref(o);
	free(a);
	free(b);
}

static void a_line_without_services_is_about_all(void **state)
{
	struct session_rules *r;
	struct chan_msg m;

	len = 0;
	tlv(MVPN_TLV_RULE, "\0\0\0\5\1\0all", 9);
	m = msg();
	assert_true(session_rules_good(&m));
	r = session_rules_new(&m, true);
	assert_line(r, 47, -1, 0, 5);
	assert_line(r, IPPROTO_UDP, 53, 9, 5);
	free(r);
}

static void none_is_none(void **state)
{
	struct chan_msg m;

	len = 0;
	tlv(MVPN_TLV_REV, "\0\0\0\0\0\0\0\7", 8);
	m = msg();
	assert_true(session_rules_good(&m));
	assert_null(session_rules_new(&m, true));
	assert_line(NULL, IPPROTO_TCP, 1, 2, 0);
}

static void malformed_ones_are_refused(void **state)
{
	static const struct {
		const char *value;
		size_t len;
	} bad[] = {
		{"\0\0\0\1\1\1\6\0\26\0", 10}, /* half a service */
		{"\0\0\0\1\1\101", 6},	   /* sixty-five of them */
		{"\0\0\0\1\1\0al\nl", 10},
	};
	struct chan_msg m;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		len = 0;
		tlv(MVPN_TLV_RULE, bad[i].value, bad[i].len);
		m = msg();
		assert_false(session_rules_good(&m));
	}
	len = 0;
	for (unsigned i = 0; i <= MVPN_RULES_MAX; i++)
		tlv(MVPN_TLV_RULE, "\0\0\0\5\1\0all", 9);
	m = msg();
	assert_false(session_rules_good(&m));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_flow_is_by_the_first_that_lets_it),
		cmocka_unit_test(a_line_without_services_is_about_all),
		cmocka_unit_test(none_is_none),
		cmocka_unit_test(malformed_ones_are_refused),
	};

	return MVPN_RUN(tests);
}
