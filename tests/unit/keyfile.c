/* SPDX-License-Identifier: BSD-2-Clause */
/* server.key: of one key as it always was, of two in any step, and nothing that is damaged is taken. */
#include "test.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "../../server/keyfile.h"
#include "crypto.h"

#define A "0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20"
#define B "f102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20"

static int decode(const char *text, struct keyfile *ret)
{
	return keyfile_decode(text, strlen(text), ret);
}

static void every_form(void **state)
{
	static const char *const forms[] = {
		A "\n",
		A "\nserial 1\nnext " B " 1000 2000\n",
		A "\nserial 7\nold " B " 2000\ngone " A "\n",
		A "\nserial 18446744073709551615\ngone " A "\ngone " B "\ngone " A "\ngone " B "\n",
	};
	char text[KEYFILE_MAX_B];
	struct keyfile f;

	for (unsigned i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		assert_int_equal(decode(forms[i], &f), 0);
		assert_int_equal(f.other, i == 1   ? KEYFILE_NEXT
					  : i == 2 ? KEYFILE_OLD
						   : KEYFILE_ALONE);
		assert_int_equal(f.sk[0], 1);
		assert_int_equal(f.other_sk[0], i == 1 || i == 2 ? 0xf1 : 0);
		assert_int_equal(f.until, i == 1 || i == 2 ? 2000 : 0);
		assert_int_equal(keyfile_encode(&f, text), strlen(forms[i]));
		assert_memory_equal(text, forms[i], strlen(forms[i]));
	}
	/* as an editor may leave it */
	assert_int_equal(decode(A, &f), 0);
	assert_int_equal(decode(A "\r\n", &f), 0);
}

static void damaged(void **state)
{
	static const char *const bad[] = {
		"",
		"\n",
		A "0\n",
		"0" A,
		"x" A "\n",
		A " \n",
		A "\n\n",
		A "\n" A "\n",
		A "\nserial 0\n",
		A "\nserial 1 \nx\n",
		A "\nserial 18446744073709551616\n",
		A "\nserial -1\n",
		A "\nold " B " 5\n", /* no serial */
		A "\nserial 1\nold " B "\n",
		A "\nserial 1\nold " B " 0\n",
		A "\nserial 1\nold " B " 5 6\n",
		A "\nserial 1\nnext " B " 5\n",
		A "\nserial 1\nnext " B " 6 5\n",
		A "\nserial 1\nnext " B " 5 6\nold " B " 6\n", /* three keys */
		A "\nserial 1\nlater\n",
		A "\nserial 1\ngone " A "\ngone " A "\ngone " A "\ngone " A "\ngone " A "\n",
	};
	struct keyfile f;

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (decode(bad[i], &f) != -EINVAL)
			fail_msg("taken: %s", bad[i]);
		assert_true(sodium_is_zero((uint8_t *)&f, sizeof(f)));
	}
	assert_int_equal(keyfile_decode(A "\nserial 1\n\0\n", 76, &f), -EINVAL);
}

/* cut anywhere it is read as less, or not at all, and never as another key */
static void cut(void **state)
{
	static const char whole[] = A "\nserial 3\nold " B " 123456\n";
	struct keyfile f, of_cut;

	assert_int_equal(decode(whole, &f), 0);
	for (size_t len = 0; len < sizeof(whole) - 1; len++)
		if (keyfile_decode(whole, len, &of_cut) == 0) {
			assert_memory_equal(f.sk, of_cut.sk, 32);
			assert_true(!of_cut.other || !memcmp(f.other_sk, of_cut.other_sk, 32));
		}
}

static void the_oldest_is_forgotten(void **state)
{
	struct keyfile f = {0};
	uint8_t pk[32] = {0};

	for (unsigned i = 1; i <= CHAN_GONE_MAX + 2; i++) {
		pk[0] = (uint8_t)i;
		keyfile_give_up(&f, pk);
		assert_int_equal(f.gone[0][0], i);
		assert_int_equal(f.ngone, i < CHAN_GONE_MAX ? i : CHAN_GONE_MAX);
	}
	assert_int_equal(f.gone[CHAN_GONE_MAX - 1][0], 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_form),
		cmocka_unit_test(damaged),
		cmocka_unit_test(cut),
		cmocka_unit_test(the_oldest_is_forgotten),
	};

	return MVPN_RUN(tests);
}
