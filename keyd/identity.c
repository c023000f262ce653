/* SPDX-License-Identifier: BSD-2-Clause */
#include "identity.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "crypto.h"
#include "fsutil.h"

#define BOOT_FILE "boot_gen"

struct identity *identity_new(void)
{
	struct identity *id = sodium_malloc(sizeof(*id));

	if (id)
		sodium_memzero(id, sizeof(*id));
	return id;
}

void identity_free(struct identity *id)
{
	if (id)
		sodium_free(id);
}

int identity_load(const char *path, const struct passphrase *p, struct identity **ret,
		  struct identity_lock **ret_lock)
{
	struct identity *id = identity_new();
	char *data = NULL;
	size_t len = 0;
	int r = -ENOMEM;

	if (id)
		r = file_read_secret(path, IDENTITY_FILE_MAX_B, &data, &len);
	if (r == -EFBIG)
		r = -EBADMSG;
	if (!r)
		r = identity_decode(data, len, p, id, ret_lock);
	if (data) {
		sodium_memzero(data, len);
		free(data);
	}
	if (r) {
		identity_free(id);
		return r;
	}
	*ret = id;
	return 0;
}

int identity_save(const char *path, const struct identity *id, const struct identity_lock *lock)
{
	uint8_t *data = sodium_malloc(IDENTITY_FILE_MAX_B);
	int r;

	if (!data)
		return -ENOMEM;
	r = file_replace(path, data, identity_encode(id, lock, data), 0600);
	sodium_free(data);
	return r;
}

int passphrase_read(const char *path, struct passphrase **ret)
{
	char *text;
	size_t len;
	int r = file_read_secret(path, PASSPHRASE_MAX_B + 2, &text, &len);

	if (r)
		return r == -EFBIG ? -EINVAL : r;
	r = passphrase_new(ret, text, len);
	sodium_memzero(text, len);
	free(text);
	return r;
}

int boot_gen_next(const char *dir, uint64_t *ret)
{
	char *path = path_join(dir, BOOT_FILE), *text = NULL, *end, line[32];
	uint64_t gen = 0;
	size_t len;
	int r;

	if (!path)
		return -ENOMEM;
	r = file_read(path, 64, &text, &len);
	if (!r) {
		gen = strtoull(text, &end, 10);
		if (end == text || (*end && *end != '\n') || gen == UINT64_MAX)
			r = -EBADMSG;
	} else if (r == -ENOENT) {
		/* A random start: a state directory that was wiped and re-enrolled does not repeat itself. */
		gen = randombytes_random();
		r = 0;
	}
	free(text);
	if (!r) {
		snprintf(line, sizeof(line), "%" PRIu64 "\n", ++gen);
		r = file_replace(path, line, strlen(line), 0600);
	}
	free(path);
	if (!r)
		*ret = gen;
	return r;
}
