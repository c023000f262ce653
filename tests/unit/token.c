/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The golden token and PSK come from an independent model: Python's hashlib.blake2b and
 * base64.b32encode.
 */
#include "test.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "crypto.h"
#include "token.h"

#define GOLDEN                                                                                     \
	"mavp1_"                                                                                   \
	"AEAQEAYEAUDAOCAQCEJBGFAVCYLRQGI2DMOB2HQ7EAQSEIZEEUTCOKBJFIVSYLJOF4YDCMRTGQ2TMNZYHE5D"     \
	"WPB5HY7UAQKCINCEKRSHJBEUUS2MJVHE6UCRKJJVIVKWK5MFSWS3LROV4XYAAAAAAADLJHJAA5TQNYXGK6DBNVYG" \
	"YZJONZSXIORXGQ3DQLOEY2AQ"

static void count_up(uint8_t *ret, uint8_t from, size_t len)
{
	for (size_t i = 0; i < len; i++)
		ret[i] = from + i;
}

static struct mvpn_token golden(void)
{
	struct mvpn_token t = {.expiry = 1800000000, .server = "vpn.example.net:7468"};

	count_up(t.net_id, 1, 8);
	count_up(t.token_id, 0x10, 16);
	count_up(t.secret, 0x20, 32);
	count_up(t.server_pk, 0x40, 32);
	return t;
}

static void golden_both_ways(void **state)
{
	struct mvpn_token t = golden(), back;
	char text[MVPN_TOKEN_MAX];

	assert_int_equal(mvpn_token_encode(&t, text), 0);
	assert_string_equal(text, GOLDEN);
	assert_int_equal(mvpn_token_decode(&back, GOLDEN), 0);
	assert_memory_equal(&back, &t, sizeof(t));
}

static void space_and_case_do_not_matter(void **state)
{
	struct mvpn_token t;
	char text[MVPN_TOKEN_MAX];

	snprintf(text, sizeof(text), " \n\t%s\r\n", GOLDEN);
	assert_int_equal(mvpn_token_decode(&t, text), 0);
	for (char *p = text; *p; p++)
		*p = tolower((unsigned char)*p);
	assert_int_equal(mvpn_token_decode(&t, text), 0);
}

static void longest(void **state)
{
	struct mvpn_token t = golden(), back;
	char text[MVPN_TOKEN_MAX];

	memset(t.server, 'a', sizeof(t.server));
	memcpy(t.server + sizeof(t.server) - 3, ":1", 3);
	assert_int_equal(mvpn_token_encode(&t, text), 0);
	assert_int_equal(mvpn_token_decode(&back, text), 0);
	assert_memory_equal(&back, &t, sizeof(t));
	memset(t.server, 'a', sizeof(t.server)); /* no NUL */
	assert_int_equal(mvpn_token_encode(&t, text), -EINVAL);
}

static void server_must_be_host_and_port(void **state)
{
	static const char *const bad[] = {
		"",	   "host",   ":1",	 "host:",	"host:a",
		"host:1 ", "h st:1", "host\n:1", "h\xc3\xa4:1", "host:-1"};
	static const char *const good[] = {"host:1", "10.0.0.1:7468", "[fd00::1]:7468"};
	struct mvpn_token t = golden();
	char text[MVPN_TOKEN_MAX];

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		strcpy(t.server, bad[i]);
		assert_int_equal(mvpn_token_encode(&t, text), -EINVAL);
	}
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		strcpy(t.server, good[i]);
		assert_int_equal(mvpn_token_encode(&t, text), 0);
	}
}

static void not_a_token(void **state)
{
	static const char *const bad[] = {
		"",	      "mavp1",	    "mavp2_AEAQ",      "xavp1_AEAQ",
		"mavp1-AEAQ", "mavp1_AE!Q", "mavp1_AEAQ AEAQ", "AEAQ"};
	struct mvpn_token t = golden(), before = t;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(mvpn_token_decode(&t, bad[i]),
				 strncmp(bad[i], "mavp1_", 6) ? -EINVAL : -EBADMSG);
	assert_memory_equal(&t, &before, sizeof(t)); /* untouched */
}

static void cut_anywhere(void **state)
{
	char text[] = GOLDEN;
	struct mvpn_token t;

	for (size_t len = strlen(text); len-- > 0;) {
		int r;

		text[len] = '\0';
		r = mvpn_token_decode(&t, text);
		assert_int_equal(r, len < 6 ? -EINVAL : -EBADMSG);
	}
}

static void mistyped_anywhere(void **state)
{
	char text[] = GOLDEN;
	struct mvpn_token t;

	for (size_t i = 6; text[i]; i++) {
		char c = text[i];
		int r;

		text[i] = c == 'A' ? 'B' : 'A';
		r = mvpn_token_decode(&t, text);
		assert_int_equal(r, -EBADMSG);
		text[i] = c;
	}
}

/* a well-formed token, checksum and all, with byte `at` set: what a later version might send */
static int decode_with(size_t at, uint8_t value)
{
	uint8_t bin[400];
	char text[MVPN_TOKEN_MAX] = "mavp1_";
	struct mvpn_token t;
	int len = mvpn_base32_decode(bin, sizeof(bin), GOLDEN + 6);

	assert_true(len > 4);
	bin[at] = value;
	mvpn_blake2b(bin + len - 4, 4, NULL, 0, &(struct mvpn_part){bin, len - 4}, 1);
	mvpn_base32_encode(text + 6, sizeof(text) - 6, bin, len);
	return mvpn_token_decode(&t, text);
}

static void later_versions_and_flags(void **state)
{
	assert_int_equal(decode_with(0, 1), 0);
	assert_int_equal(decode_with(0, 2), -EPROTONOSUPPORT);
	assert_int_equal(decode_with(89, 1),
			 -EPROTONOSUPPORT); /* flags: a lock, which must not be ignored */
	assert_int_equal(decode_with(98, '\0'), -EINVAL); /* first letter of the server's name */
}

static void psk_golden(void **state)
{
	uint8_t secret[32], psk[32];
	char hex[65];

	count_up(secret, 0, 32);
	mvpn_token_psk(psk, secret);
	mvpn_hex(hex, psk, 32);
	assert_string_equal(hex,
			    "3ce8447f1560c976ae291490a644adeb87d8b384945f14a55a1ca2605b2a6a8f");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(golden_both_ways),  cmocka_unit_test(space_and_case_do_not_matter),
		cmocka_unit_test(longest),	     cmocka_unit_test(server_must_be_host_and_port),
		cmocka_unit_test(not_a_token),	     cmocka_unit_test(cut_anywhere),
		cmocka_unit_test(mistyped_anywhere), cmocka_unit_test(later_versions_and_flags),
		cmocka_unit_test(psk_golden),
	};

	if (mvpn_crypto_init() < 0)
		return 1;
	return MVPN_RUN(tests);
}
