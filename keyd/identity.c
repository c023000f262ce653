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
#define PIN_FILE "pins"
#define PIN_FILE_MAX (64U << 20)

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

int pin_load(const char *dir, int (*fn)(void *arg, const uint8_t id[16], const uint8_t pk[32]),
	     void *arg)
{
	char *path = path_join(dir, PIN_FILE), *text = NULL, *line, *save = NULL;
	uint8_t id[16], pk[32];
	size_t len;
	int r;

	if (!path)
		return -ENOMEM;
	r = file_read(path, PIN_FILE_MAX, &text, &len);
	free(path);
	if (r)
		return r == -ENOENT ? 0 : r;
	for (line = strtok_r(text, "\n", &save); line && !r; line = strtok_r(NULL, "\n", &save)) {
		if (strlen(line) != 32 + 1 + 64 || line[32] != ' ')
			continue; /* a line cut by a crash: that peer is pinned anew */
		line[32] = 0;
		if (!mvpn_unhex(id, 16, line) && !mvpn_unhex(pk, 32, line + 33))
			r = fn(arg, id, pk);
	}
	free(text);
	return r;
}

int pin_append(const char *dir, const uint8_t id[16], const uint8_t pk[32], bool durable)
{
	char *path = path_join(dir, PIN_FILE), line[1 + 32 + 1 + 64 + 1 + 1];
	int fd, r = 0;

	if (!path)
		return -ENOMEM;
	line[0] = '\n'; /* whatever a crash has left before it */
	mvpn_hex(line + 1, id, 16);
	line[33] = ' ';
	mvpn_hex(line + 34, pk, 32);
	line[98] = '\n';
	fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	free(path);
	if (fd < 0)
		return -errno;
	if (write(fd, line, 99) != 99)
		r = errno ? -errno : -EIO;
	if (!r && durable && fdatasync(fd))
		r = -errno;
	close(fd);
	return r;
}
