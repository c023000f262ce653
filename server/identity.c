/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "crypto.h"
#include "fsutil.h"
#include "identity.h"

#define KEY_FILE "server.key"
#define STORE_KEY_FILE "store.key"
#define KEY_TEXT_B (2 * MVPN_KEY_LEN + 1) /* hex and a newline */

static int write_key(const char *dir, const char *name, const uint8_t key[32])
{
	char text[KEY_TEXT_B + 1];
	char *path = path_join(dir, name);
	int r;

	if (!path)
		return -ENOMEM;
	mvpn_hex(text, key, MVPN_KEY_LEN);
	text[KEY_TEXT_B - 1] = '\n';
	r = file_replace(path, text, KEY_TEXT_B, 0600);
	sodium_memzero(text, sizeof(text));
	free(path);
	return r;
}

static int read_key(const char *dir, const char *name, uint8_t ret[32])
{
	char *path = path_join(dir, name), *text = NULL;
	size_t len = 0;
	int r;

	if (!path)
		return -ENOMEM;
	r = file_read_secret(path, 4096, &text, &len);
	free(path);
	if (r < 0)
		return r;
	while (len && (text[len - 1] == '\n' || text[len - 1] == '\r'))
		text[--len] = '\0';
	r = mvpn_unhex(ret, MVPN_KEY_LEN, text) < 0 ? -EINVAL : 0;
	sodium_memzero(text, len);
	free(text);
	return r;
}

int identity_create(const char *state_dir)
{
	uint8_t *keys = sodium_malloc(2 * MVPN_KEY_LEN), pk[32];
	char *path = path_join(state_dir, KEY_FILE);
	int r = -ENOMEM;

	if (!keys || !path)
		goto out;
	r = -EEXIST;
	if (!access(path, F_OK))
		goto out;
	r = dir_make(state_dir, 0700);
	if (r < 0)
		goto out;
	mvpn_keypair(keys, pk);
	randombytes_buf(keys + 32, 32);
	/* the key that init checks for is written last: an interrupted init can be repeated */
	r = write_key(state_dir, STORE_KEY_FILE, keys + 32);
	if (r == 0)
		r = write_key(state_dir, KEY_FILE, keys);
out:
	free(path);
	sodium_free(keys);
	return r;
}

int identity_load(const char *state_dir, struct identity *ret)
{
	struct identity id = {0};
	struct mvpn_part part = {id.pk, sizeof(id.pk)};
	uint8_t hash[32];
	int r = -ENOMEM;

	id.sk = sodium_malloc(MVPN_KEY_LEN);
	id.store_key = sodium_malloc(MVPN_KEY_LEN);
	if (!id.sk || !id.store_key)
		goto fail;
	r = read_key(state_dir, KEY_FILE, id.sk);
	if (r < 0)
		goto fail;
	r = read_key(state_dir, STORE_KEY_FILE, id.store_key);
	if (r < 0)
		goto fail;
	r = mvpn_x25519_public(id.pk, id.sk);
	if (r < 0)
		goto fail;
	r = mvpn_blake2b(hash, sizeof(hash), NULL, 0, &part, 1);
	if (r < 0)
		goto fail;
	memcpy(id.net_id, hash, sizeof(id.net_id));
	*ret = id;
	return 0;
fail:
	identity_free(&id);
	return r;
}

void identity_free(struct identity *id)
{
	sodium_free(id->sk);
	sodium_free(id->store_key);
	memset(id, 0, sizeof(*id));
}

bool name_valid(const char *name, size_t len)
{
	if (!len || len > MVPN_NAME_MAX_B || name[0] == '-' || name[0] == '.')
		return false;
	for (size_t i = 0; i < len; i++) {
		char c = name[i];

		if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
		      c == '.' || c == '_' || c == '-'))
			return false;
	}
	return true;
}
