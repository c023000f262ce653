/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crypto.h"
#include "fsutil.h"
#include "../../keyd/identity.h"
#include "../../keyd/pins.h"
#include "test.h"

static char dir[] = "/tmp/mvpn-identity.XXXXXX";

static int setup(void **state)
{
	strcpy(dir + sizeof(dir) - 7, "XXXXXX");
	return !mkdtemp(dir);
}

static int teardown(void **state)
{
	static const char *const files[] = {"identity", "boot_gen", "pins"};
	unsigned i;

	for (i = 0; i < 3; i++) {
		char *path = path_join(dir, files[i]);

		unlink(path);
		free(path);
	}
	return rmdir(dir);
}

static char *file(void)
{
	static char path[64];

	snprintf(path, sizeof(path), "%s/identity", dir);
	return path;
}

/* plain, or without a passphrase at hand */
static int load(struct identity **ret)
{
	struct identity_lock *lock = NULL;
	int r = identity_load(file(), NULL, ret, &lock);

	assert_null(lock);
	return r;
}

static struct identity *somebody(void)
{
	struct identity *id = identity_new();

	assert_non_null(id);
	mvpn_keypair(id->sk, id->pk);
	randombytes_buf(id->psk, 32);
	randombytes_buf(id->server_pk, 32);
	id->psk_epoch = 7;
	strcpy(id->server, "192.0.2.1:7468");
	strcpy(id->name, "alpha");
	return id;
}

static void test_round_trip(void **state)
{
	struct identity *id = somebody(), *back;
	char *path = file();
	struct stat st;

	assert_int_equal(load(&back), -ENOENT);
	assert_int_equal(identity_save(file(), id, NULL), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(load(&back), 0);
	assert_memory_equal(back->sk, id->sk, 32);
	assert_memory_equal(back->pk, id->pk, 32);
	assert_memory_equal(back->psk, id->psk, 32);
	assert_int_equal(back->psk_epoch, 7);
	assert_string_equal(back->server, id->server);
	assert_string_equal(back->name, "alpha");
	identity_free(back);
	identity_free(id);
}

/* the file of a device whose key is on a token has no secret one, and says so */
static void test_key_on_a_token(void **state)
{
	struct identity *id = somebody(), *back;
	uint8_t nothing[32] = {0};
	char *data;
	size_t len;

	id->on_token = true;
	assert_int_equal(identity_save(file(), id, NULL), 0);
	assert_int_equal(file_read_secret(file(), 4096, &data, &len), 0);
	assert_null(memmem(data, len, id->sk, 32));
	assert_int_equal(load(&back), 0);
	assert_true(back->on_token);
	assert_memory_equal(back->pk, id->pk, 32);
	assert_memory_equal(back->sk, nothing, 32);
	free(data);
	identity_free(back);

	/* nor has one whose token vouches: it does not even know the key in use */
	id->on_token = false;
	id->delegates = true;
	memset(id->token_pk, 7, sizeof(id->token_pk));
	assert_int_equal(identity_save(file(), id, NULL), 0);
	assert_int_equal(file_read_secret(file(), 4096, &data, &len), 0);
	assert_null(memmem(data, len, id->sk, 32));
	assert_null(memmem(data, len, id->pk, 32));
	assert_int_equal(load(&back), 0);
	assert_true(back->delegates && !back->on_token);
	assert_memory_equal(back->token_pk, id->token_pk, 32);
	assert_memory_equal(back->sk, nothing, 32);
	free(data);
	identity_free(back);
	identity_free(id);
}

/* a next key is kept beside the present one, in the one file */
static void test_next_key(void **state)
{
	struct identity *id = somebody(), *back;
	uint8_t nothing[32] = {0};

	id->has_next = true;
	mvpn_keypair(id->next_sk, id->next_pk);
	assert_int_equal(identity_save(file(), id, NULL), 0);
	assert_int_equal(load(&back), 0);
	assert_true(back->has_next);
	assert_memory_equal(back->sk, id->sk, 32);
	assert_memory_equal(back->next_sk, id->next_sk, 32);
	assert_memory_equal(back->next_pk, id->next_pk, 32);
	assert_string_equal(back->name, "alpha");
	identity_free(back);
	/* one that is on a token: the file has its public half only */
	id->next_signs = true;
	assert_int_equal(identity_save(file(), id, NULL), 0);
	assert_int_equal(load(&back), 0);
	assert_true(back->has_next && back->next_signs && !back->delegates);
	assert_memory_equal(back->sk, id->sk, 32);
	assert_memory_equal(back->next_pk, id->next_pk, 32);
	assert_memory_equal(back->next_sk, nothing, 32);
	identity_free(back);
	/* and the other way */
	id->next_signs = false;
	id->delegates = true;
	memset(id->token_pk, 9, 32);
	assert_int_equal(identity_save(file(), id, NULL), 0);
	assert_int_equal(load(&back), 0);
	assert_true(back->has_next && !back->next_signs && back->delegates);
	assert_memory_equal(back->token_pk, id->token_pk, 32);
	assert_memory_equal(back->next_sk, id->next_sk, 32);
	assert_memory_equal(back->next_pk, id->next_pk, 32);
	assert_memory_equal(back->sk, nothing, 32);
	identity_free(back);
	id->delegates = false;
	id->has_next = id->next_signs = false;
	assert_int_equal(identity_save(file(), id, NULL), 0);
	assert_int_equal(load(&back), 0);
	assert_false(back->has_next);
	assert_memory_equal(back->next_sk, nothing, 32);
	identity_free(back);
	identity_free(id);
}

/* every byte of the file counts, and so does its length */
static void damage_is_noticed(bool has_next)
{
	struct identity *id = somebody(), *back = NULL;
	char *path = file(), *data;
	size_t len, i;

	id->has_next = has_next;
	mvpn_keypair(id->next_sk, id->next_pk);
	assert_int_equal(identity_save(file(), id, NULL), 0);
	assert_int_equal(file_read_secret(path, 4096, &data, &len), 0);
	for (i = 0; i < len; i += 11) {
		data[i] ^= 1;
		assert_int_equal(file_replace(path, data, len, 0600), 0);
		assert_int_equal(load(&back), -EBADMSG);
		data[i] ^= 1;
	}
	assert_int_equal(file_replace(path, data, len - 1, 0600), 0);
	assert_int_equal(load(&back), -EBADMSG);
	assert_null(back);
	free(data);
	identity_free(id);
}

static void test_damage_is_noticed(void **state)
{
	damage_is_noticed(false);
	damage_is_noticed(true);
}

static void test_readable_by_others_is_refused(void **state)
{
	struct identity *id = somebody(), *back;
	char *path = file();

	assert_int_equal(identity_save(file(), id, NULL), 0);
	assert_int_equal(chmod(path, 0640), 0);
	assert_int_equal(load(&back), -EPERM);
	identity_free(id);
}

/* ---- sealed ---- */

static const struct identity_cost cheap = {1, 64};

static struct passphrase *phrase(const char *text)
{
	struct passphrase *p = NULL;

	assert_int_equal(passphrase_new(&p, text, strlen(text)), 0);
	return p;
}

static void test_passphrases(void **state)
{
	static const struct {
		const char *text;
		size_t len, want; /* 0: refused */
	} cases[] = {
		{"secret", 6, 6},     {"secret\n", 7, 6}, {"secret\r\n", 8, 6},
		{" a b ", 5, 5},      {"\xff\xfe", 2, 2}, {"", 0, 0},
		{"\n", 1, 0},	      {"\r\n", 2, 0},	  {"a\nb", 3, 0},
		{"secret\n\n", 8, 0}, {"a\0b", 3, 0},
	};
	char longest[PASSPHRASE_MAX_B + 1];
	struct passphrase *p;

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		p = NULL;
		assert_int_equal(passphrase_new(&p, cases[i].text, cases[i].len),
				 cases[i].want ? 0 : -EINVAL);
		if (p)
			assert_int_equal(p->len, cases[i].want);
		passphrase_free(p);
	}
	memset(longest, 'x', sizeof(longest));
	assert_int_equal(passphrase_new(&p, longest, sizeof(longest)), -EINVAL);
	assert_int_equal(passphrase_new(&p, longest, sizeof(longest) - 1), 0);
	passphrase_free(p);
}

static void sealed(bool has_next)
{
	struct identity *id = somebody(), *back = NULL;
	struct passphrase *right = phrase("correct horse"), *wrong = phrase("correct horsf");
	struct identity_lock *lock = NULL, *again = NULL;
	char *data, *other;
	size_t len, i, at;

	id->has_next = has_next;
	mvpn_keypair(id->next_sk, id->next_pk);
	assert_int_equal(identity_lock_new(&lock, right, &cheap), 0);
	assert_int_equal(identity_save(file(), id, lock), 0);
	assert_int_equal(file_read_secret(file(), 4096, &data, &len), 0);
	assert_null(memmem(data, len, id->sk, 32));
	assert_null(memmem(data, len, id->next_sk, 32));
	assert_null(memmem(data, len, id->psk, 32));
	assert_null(memmem(data, len, "alpha", 5));

	assert_int_equal(load(&back), -ENOKEY);
	assert_int_equal(identity_load(file(), wrong, &back, &again), -EKEYREJECTED);
	assert_null(back);
	assert_null(again);
	assert_int_equal(identity_load(file(), right, &back, &again), 0);
	assert_memory_equal(back->sk, id->sk, 32);
	assert_memory_equal(back->pk, id->pk, 32);
	assert_string_equal(back->name, "alpha");
	assert_true(back->has_next == has_next);
	if (has_next)
		assert_memory_equal(back->next_pk, id->next_pk, 32);

	/* the lock that came with it writes it anew, never with the same nonce */
	assert_int_equal(identity_save(file(), back, again), 0);
	assert_int_equal(file_read_secret(file(), 4096, &other, &at), 0);
	assert_int_equal(at, len);
	assert_memory_equal(data, other, 36);
	assert_memory_not_equal(data + 36, other + 36, 24);
	free(other);
	identity_free(back);
	identity_lock_free(again);
	again = NULL;
	assert_int_equal(identity_load(file(), right, &back, &again), 0);
	identity_free(back);
	identity_lock_free(again);
	back = NULL;
	again = NULL;

	/* every byte is authenticated, those of the head too; what it may ask for is bounded */
	for (i = 0; i < len; i += i < 36 ? 1 : 11) {
		int r;

		data[i] ^= 1;
		assert_int_equal(file_replace(file(), data, len, 0600), 0);
		r = identity_load(file(), right, &back, &again);
		assert_true(r == -EBADMSG || r == -EKEYREJECTED);
		assert_null(back);
		data[i] ^= 1;
	}
	data[16] = 0x7f; /* memory: 2 TiB */
	assert_int_equal(file_replace(file(), data, len, 0600), 0);
	assert_int_equal(identity_load(file(), right, &back, &again), -EBADMSG);
	assert_int_equal(file_replace(file(), data, len - 1, 0600), 0);
	assert_int_equal(identity_load(file(), right, &back, &again), -EBADMSG);
	free(data);
	identity_lock_free(lock);
	passphrase_free(right);
	passphrase_free(wrong);
	identity_free(id);
}

static void test_sealed(void **state)
{
	sealed(false);
	sealed(true);
}

/* a passphrase that a plain file does not need is not an error, and does not seal it */
static void test_plain_with_a_passphrase(void **state)
{
	struct identity *id = somebody(), *back = NULL;
	struct identity_lock *lock = NULL;
	struct passphrase *p = phrase("x");

	assert_int_equal(identity_save(file(), id, NULL), 0);
	assert_int_equal(identity_load(file(), p, &back, &lock), 0);
	assert_null(lock);
	passphrase_free(p);
	identity_free(back);
	identity_free(id);
}

static void test_passphrase_files(void **state)
{
	struct passphrase *p = NULL;

	assert_int_equal(passphrase_read(file(), &p), -ENOENT);
	assert_int_equal(file_replace(file(), "secret\n", 7, 0644), 0);
	assert_int_equal(passphrase_read(file(), &p), -EPERM);
	assert_int_equal(file_replace(file(), "secret\n", 7, 0600), 0);
	assert_int_equal(passphrase_read(file(), &p), 0);
	assert_int_equal(p->len, 6);
	passphrase_free(p);
	p = NULL;
	assert_int_equal(file_replace(file(), "two\nlines\n", 10, 0600), 0);
	assert_int_equal(passphrase_read(file(), &p), -EINVAL);
	assert_null(p);
}

static void test_boot_gen_rises_and_lasts(void **state)
{
	char *path = path_join(dir, "boot_gen");
	uint64_t a, b, c = 0;

	assert_int_equal(boot_gen_next(dir, &a), 0);
	assert_int_equal(boot_gen_next(dir, &b), 0);
	assert_true(b == a + 1);
	assert_int_equal(file_replace(path, "soup\n", 5, 0600), 0);
	assert_int_equal(boot_gen_next(dir, &c), -EBADMSG);
	assert_true(c == 0);
	free(path);
}

struct seen {
	uint8_t id[16], pk[32];
	unsigned n;
};

static int pin_seen(void *arg, const uint8_t id[16], const uint8_t pk[32])
{
	struct seen *p = arg;

	memcpy(p->id, id, 16);
	memcpy(p->pk, pk, 32);
	p->n++;
	return 0;
}

/* the last pin of a device counts; a line cut by a crash is skipped, not fatal */
static void test_pins(void **state)
{
	uint8_t id[16] = {1}, first[32] = {2}, second[32] = {3};
	char *path = path_join(dir, "pins");
	struct seen seen = {.n = 0};
	struct pins_kept kept;
	int fd;

	assert_int_equal(pins_load(dir, &kept, pin_seen, &seen), 0);
	assert_int_equal(seen.n, 0);
	assert_int_equal(pins_append(dir, &kept, id, first, false), 0);
	assert_int_equal(pins_append(dir, &kept, id, second, true), 0);
	fd = open(path, O_WRONLY | O_APPEND);
	assert_true(write(fd, "0102", 4) == 4);
	close(fd);
	assert_int_equal(pins_append(dir, &kept, id, first, false), 0);
	assert_int_equal(pins_append(dir, &kept, id, second, true), 0);
	assert_int_equal(pins_load(dir, &kept, pin_seen, &seen), 0);
	assert_int_equal(seen.n, 1);
	assert_memory_equal(seen.id, id, 16);
	assert_memory_equal(seen.pk, second, 32);
	assert_int_equal(kept.lines, 5);
	free(path);
}

static off_t pins_size(void)
{
	char *path = path_join(dir, "pins");
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	free(path);
	return st.st_size;
}

/* keys that change again and again leave a short file; what cannot be written stays as it is, and counts */
static void test_pins_are_few(void **state)
{
	struct pins_kept kept = {0};
	struct seen seen = {.n = 0};
	uint8_t id[16] = {1}, pk[32];
	char text[64];

	for (unsigned i = 0; i < 5000; i++) {
		id[0] = i % 7;
		memset(pk, (int)i, sizeof(pk));
		assert_int_equal(pins_append(dir, &kept, id, pk, false), 0);
		assert_true(pins_size() < 1200 * 100);
	}
	assert_int_equal(kept.ids, 7);
	assert_int_equal(pins_load(dir, &kept, pin_seen, &seen), 0);
	assert_int_equal(seen.n, 7);
	assert_int_equal(seen.id[0], 6);
	assert_int_equal(seen.pk[0], (uint8_t)4997);
	/* a crash while it was written anew leaves a part beside it, which nobody takes for the file */
	snprintf(text, sizeof(text), "%s/pins.AbCdEf", dir);
	assert_int_equal(file_replace(text, "0100", 4, 0600), 0);
	seen.n = 0;
	assert_int_equal(pins_load(dir, &kept, pin_seen, &seen), 0);
	assert_int_equal(seen.n, 7);
	unlink(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_round_trip, setup, teardown),
		cmocka_unit_test_setup_teardown(test_key_on_a_token, setup, teardown),
		cmocka_unit_test_setup_teardown(test_next_key, setup, teardown),
		cmocka_unit_test_setup_teardown(test_damage_is_noticed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_readable_by_others_is_refused, setup, teardown),
		cmocka_unit_test(test_passphrases),
		cmocka_unit_test_setup_teardown(test_sealed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_plain_with_a_passphrase, setup, teardown),
		cmocka_unit_test_setup_teardown(test_passphrase_files, setup, teardown),
		cmocka_unit_test_setup_teardown(test_boot_gen_rises_and_lasts, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pins, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pins_are_few, setup, teardown),
	};

	if (mvpn_crypto_init() < 0)
		return 1;
	return MVPN_RUN(tests);
}
