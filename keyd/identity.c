/* SPDX-License-Identifier: BSD-2-Clause */
#include "identity.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stddef.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "crypto.h"
#include "fsutil.h"

#define IDENTITY_FILE "identity"
#define BOOT_FILE "boot_gen"
#define PIN_FILE "pins"
#define PIN_FILE_MAX (64U << 20)

/* the file: fixed size, so that a cut one is noticed before its checksum */
struct identity_file {
	char magic[8];
	uint8_t sk[32], psk[32];
	uint32_t psk_epoch_be;
	uint8_t server_pk[32];
	uint8_t net_id[8];
	uint8_t device_id[16];
	char server[256];
	char name[64];
	uint8_t check[16]; /* BLAKE2b-128 of all before: against damage, not against an attacker */
} __attribute__((packed));
static const char MAGIC[8] = "MVPNID1";

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

static void file_check(const struct identity_file *f, uint8_t ret[16])
{
	struct mvpn_part part = {f, offsetof(struct identity_file, check)};

	mvpn_blake2b(ret, 16, NULL, 0, &part, 1);
}

static int identity_decode(const struct identity_file *f, struct identity *id)
{
	uint8_t check[16];

	file_check(f, check);
	if (memcmp(f->magic, MAGIC, sizeof(MAGIC)) || memcmp(f->check, check, sizeof(check)) ||
	    f->server[sizeof(f->server) - 1] || f->name[sizeof(f->name) - 1])
		return -EBADMSG;
	memcpy(id->sk, f->sk, 32);
	memcpy(id->psk, f->psk, 32);
	id->psk_epoch = be32toh(f->psk_epoch_be);
	memcpy(id->server_pk, f->server_pk, 32);
	memcpy(id->net_id, f->net_id, 8);
	memcpy(id->device_id, f->device_id, 16);
	memcpy(id->server, f->server, sizeof(id->server));
	memcpy(id->name, f->name, sizeof(id->name));
	return mvpn_x25519_public(id->pk, id->sk);
}

int identity_load(const char *dir, struct identity **ret)
{
	char *path = path_join(dir, IDENTITY_FILE), *data = NULL;
	struct identity *id = identity_new();
	size_t len = 0;
	int r = -ENOMEM;

	if (path && id)
		r = file_read_secret(path, sizeof(struct identity_file) + 1, &data, &len);
	if (!r)
		r = len == sizeof(struct identity_file) ? identity_decode((void *)data, id)
							: -EBADMSG;
	if (data) {
		sodium_memzero(data, len);
		free(data);
	}
	free(path);
	if (r) {
		identity_free(id);
		return r;
	}
	*ret = id;
	return 0;
}

int identity_save(const char *dir, const struct identity *id)
{
	struct identity_file *f = sodium_malloc(sizeof(*f));
	char *path = path_join(dir, IDENTITY_FILE);
	int r = -ENOMEM;

	if (f && path) {
		sodium_memzero(f, sizeof(*f));
		memcpy(f->magic, MAGIC, sizeof(MAGIC));
		memcpy(f->sk, id->sk, 32);
		memcpy(f->psk, id->psk, 32);
		f->psk_epoch_be = htobe32(id->psk_epoch);
		memcpy(f->server_pk, id->server_pk, 32);
		memcpy(f->net_id, id->net_id, 8);
		memcpy(f->device_id, id->device_id, 16);
		memcpy(f->server, id->server, sizeof(f->server));
		memcpy(f->name, id->name, sizeof(f->name));
		file_check(f, f->check);
		r = file_replace(path, f, sizeof(*f), 0600);
	}
	free(path);
	if (f)
		sodium_free(f);
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

int pin_append(const char *dir, const uint8_t id[16], const uint8_t pk[32])
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
	close(fd);
	return r;
}
