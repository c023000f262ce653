/* SPDX-License-Identifier: BSD-2-Clause */
/* The key on a PKCS#11 token, SoftHSM's, which lives in a directory of this test. */
#include <errno.h>
#include <ftw.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../keyd/hsm_p11.h"
#include "crypto.h"
#include "test.h"

#define MODULE "/usr/lib/softhsm/libsofthsm2.so"
#define URI(object) "pkcs11:token=mvpn-test;object=" object "?module-path=" MODULE

/* SoftHSM 2.6.1 loses an OpenSSL string at each derivation; libcrypto is used by nothing else here, so this hides no leak of ours */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
	return "leak:libcrypto.so";
}

static char dir[] = "/tmp/mvpn-hsm.XXXXXX", text[HSM_TEXT_MAX_B];

static int setup(void **state)
{
	char path[64];
	FILE *f;

	if (access(MODULE, R_OK))
		return 0; /* each test skips */
	if (mvpn_crypto_init() || !mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/tokens", dir);
	mkdir(path, 0700);
	snprintf(path, sizeof(path), "%s/conf", dir);
	f = fopen(path, "w");
	if (!f)
		return -1;
	fprintf(f, "directories.tokendir = %s/tokens\nobjectstore.backend = file\nlog.level = ERROR\n",
		dir);
	fclose(f);
	setenv("SOFTHSM2_CONF", path, 1);
	return system("softhsm2-util --init-token --free --label mvpn-test --pin 1234 --so-pin 5678 "
		      ">/dev/null");
}

static int unlink_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	return remove(path);
}

static int teardown(void **state)
{
	return strstr(dir, "XXXXXX") ? 0 : nftw(dir, unlink_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void need_softhsm(void)
{
	if (access(MODULE, R_OK)) {
		print_message("skipped: softhsm2 is missing (make deps)\n");
		skip();
	}
}

static uint32_t use; /* of the last key opened */

static int open_for(struct p11 **p, const char *uri, enum hsm_use want, bool make, uint8_t pk[32])
{
	*text = 0;
	return p11_open(p, uri, "1234", 4, make, want, pk, &use, text);
}

/* one for X25519 */
static int open_key(struct p11 **p, const char *uri, const char *pin, bool make, uint8_t pk[32])
{
	*text = 0;
	return p11_open(p, uri, pin, pin ? strlen(pin) : 0, make, HSM_COMPUTES, pk, &use, text);
}

/* made once, found again, and what it computes is X25519 */
static void test_make_and_use(void **state)
{
	uint8_t pk[32], again[32], sk[32], peer[32], here[32], there[32];
	struct p11 *p = NULL;

	need_softhsm();
	assert_int_equal(open_key(&p, URI("first"), "1234", false, pk), -ENOENT);
	assert_null(p);
	assert_int_equal(open_key(&p, URI("first"), "1234", true, pk), 0);
	mvpn_keypair(sk, peer);
	assert_int_equal(p11_dh(p, peer, there, text), 0);
	assert_int_equal(mvpn_x25519(here, sk, pk), 0);
	assert_memory_equal(here, there, 32);
	assert_int_equal(p11_check(p, text), 0);
	p11_free(p);
	assert_int_equal(open_key(&p, URI("first"), "1234", true, again), 0);
	assert_memory_equal(pk, again, 32);
	p11_free(p);
	assert_int_equal(open_key(&p, URI("second"), "1234", true, again), 0);
	assert_memory_not_equal(pk, again, 32);
	p11_free(p);
}

/* a token that can sign makes such a key, unless it is told otherwise; a key is what it is from then on */
static void test_make_and_sign(void **state)
{
	uint8_t pk[32], again[32], signature[64], message[MVPN_DELEGATION_TEXT_B] = "message";
	struct p11 *p = NULL;

	need_softhsm();
	assert_int_equal(open_for(&p, URI("signer"), HSM_ANY, true, pk), 0);
	assert_int_equal(use, HSM_SIGNS);
	assert_int_equal(p11_sign(p, message, sizeof(message), signature, text), 0);
	assert_int_equal(crypto_sign_verify_detached(signature, message, sizeof(message), pk), 0);
	assert_int_equal(p11_check(p, text), 0);
	p11_free(p);
	p = NULL;
	assert_int_equal(open_for(&p, URI("signer"), HSM_COMPUTES, true, again), -EIO);
	assert_non_null(strstr(text, "does not derive"));
	assert_null(p);
	assert_int_equal(open_for(&p, URI("signer"), HSM_SIGNS, false, again), 0);
	assert_memory_equal(pk, again, 32);
	p11_free(p);
	p = NULL;

	assert_int_equal(open_for(&p, URI("computer"), HSM_COMPUTES, true, pk), 0);
	assert_int_equal(use, HSM_COMPUTES);
	p11_free(p);
	p = NULL;
	assert_int_equal(open_for(&p, URI("computer"), HSM_SIGNS, true, again), -EIO);
	assert_null(p);
	assert_int_equal(open_for(&p, URI("computer"), HSM_ANY, true, again), 0);
	assert_int_equal(use, HSM_COMPUTES);
	assert_memory_equal(pk, again, 32);
	p11_free(p);
}

static void test_what_is_wrong_is_said(void **state)
{
	static const struct {
		const char *uri, *pin;
		int r;
		const char *text;
	} cases[] = {
		{URI("first"), "9999", -EACCES, "does not take the PIN"},
		{URI("first"), NULL, -EACCES, "needs a PIN"},
		{"pkcs11:token=nowhere;object=x?module-path=" MODULE, "1234", -ENODEV, "no token"},
		{"pkcs11:token=mvpn-test?module-path=" MODULE, "1234", -EIO, "names no key"},
		{"pkcs11:object=x?module-path=" MODULE "&pin-value=1234", NULL, -EIO, "holds a PIN"},
		{"pkcs11:object=x?module-path=/nonexistent.so", "1234", -EIO, "cannot load"},
		{"soup", "1234", -EIO, "cannot be read"},
		{"pkcs11:object=x;colour=red", "1234", -EIO, "does not know"},
	};
	uint8_t pk[32];

	need_softhsm();
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct p11 *p = NULL;

		assert_int_equal(open_key(&p, cases[i].uri, cases[i].pin, false, pk), cases[i].r);
		assert_null(p);
		if (!strstr(text, cases[i].text))
			fail_msg("%s: \"%s\"", cases[i].uri, text);
	}
}

/* the token's directory is moved away: as if it were taken out */
static void test_taken_out(void **state)
{
	uint8_t pk[32], peer[32], sk[32], dh[32];
	char from[64], to[64];
	struct p11 *p = NULL;

	need_softhsm();
	assert_int_equal(open_key(&p, URI("first"), "1234", true, pk), 0);
	snprintf(from, sizeof(from), "%s/tokens", dir);
	snprintf(to, sizeof(to), "%s/pocket", dir);
	assert_int_equal(rename(from, to), 0);
	assert_int_equal(p11_check(p, text), -ENODEV);
	mvpn_keypair(sk, peer);
	assert_true(p11_dh(p, peer, dh, text) < 0);
	p11_free(p);
	assert_int_equal(mkdir(from, 0700), 0);
	assert_int_equal(open_key(&p, URI("first"), "1234", true, pk), -ENODEV);
	assert_int_equal(rmdir(from), 0);
	assert_int_equal(rename(to, from), 0);
	assert_int_equal(open_key(&p, URI("first"), "1234", false, pk), 0);
	p11_free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_make_and_use),
		cmocka_unit_test(test_make_and_sign),
		cmocka_unit_test(test_what_is_wrong_is_said),
		cmocka_unit_test(test_taken_out),
	};

	return MVPN_RUN_FIXTURE(tests, setup, teardown);
}
