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
#include "test.h"

static char dir[] = "/tmp/mvpn-identity.XXXXXX";

static int setup(void **state)
{
	strcpy(dir + sizeof(dir) - 7, "XXXXXX");
	return mvpn_crypto_init() || !mkdtemp(dir);
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
	char *path = path_join(dir, "identity");
	struct stat st;

	assert_int_equal(identity_load(dir, &back), -ENOENT);
	assert_int_equal(identity_save(dir, id), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(identity_load(dir, &back), 0);
	assert_memory_equal(back->sk, id->sk, 32);
	assert_memory_equal(back->pk, id->pk, 32);
	assert_memory_equal(back->psk, id->psk, 32);
	assert_int_equal(back->psk_epoch, 7);
	assert_string_equal(back->server, id->server);
	assert_string_equal(back->name, "alpha");
	identity_free(back);
	identity_free(id);
	free(path);
}

/* every byte of the file counts, and so does its length */
static void test_damage_is_noticed(void **state)
{
	struct identity *id = somebody(), *back = NULL;
	char *path = path_join(dir, "identity"), *data;
	size_t len, i;

	assert_int_equal(identity_save(dir, id), 0);
	assert_int_equal(file_read_secret(path, 4096, &data, &len), 0);
	for (i = 0; i < len; i += 13) {
		data[i] ^= 1;
		assert_int_equal(file_replace(path, data, len, 0600), 0);
		assert_int_equal(identity_load(dir, &back), -EBADMSG);
		data[i] ^= 1;
	}
	assert_int_equal(file_replace(path, data, len - 1, 0600), 0);
	assert_int_equal(identity_load(dir, &back), -EBADMSG);
	assert_null(back);
	free(data);
	free(path);
	identity_free(id);
}

static void test_readable_by_others_is_refused(void **state)
{
	struct identity *id = somebody(), *back;
	char *path = path_join(dir, "identity");

	assert_int_equal(identity_save(dir, id), 0);
	assert_int_equal(chmod(path, 0640), 0);
	assert_int_equal(identity_load(dir, &back), -EPERM);
	identity_free(id);
	free(path);
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

struct pins {
	uint8_t id[16], pk[32];
	unsigned n;
};

static int pin_seen(void *arg, const uint8_t id[16], const uint8_t pk[32])
{
	struct pins *p = arg;

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
	struct pins seen = {.n = 0};
	int fd;

	assert_int_equal(pin_load(dir, pin_seen, &seen), 0);
	assert_int_equal(seen.n, 0);
	assert_int_equal(pin_append(dir, id, first), 0);
	assert_int_equal(pin_append(dir, id, second), 0);
	fd = open(path, O_WRONLY | O_APPEND);
	assert_true(write(fd, "0102", 4) == 4);
	close(fd);
	assert_int_equal(pin_append(dir, id, first), 0);
	assert_int_equal(pin_append(dir, id, second), 0);
	assert_int_equal(pin_load(dir, pin_seen, &seen), 0);
	assert_int_equal(seen.n, 4);
	assert_memory_equal(seen.id, id, 16);
	assert_memory_equal(seen.pk, second, 32);
	free(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_round_trip, setup, teardown),
		cmocka_unit_test_setup_teardown(test_damage_is_noticed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_readable_by_others_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_boot_gen_rises_and_lasts, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pins, setup, teardown),
	};

	return MVPN_RUN(tests);
}
