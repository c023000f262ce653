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

static int write_file(const char *dir, const char *name, const char *text, size_t len)
{
	char *path = path_join(dir, name);
	int r = path ? file_replace(path, text, len, 0600) : -ENOMEM;

	free(path);
	return r;
}

static int write_key(const char *dir, const char *name, const uint8_t key[32])
{
	char text[KEY_TEXT_B + 1];
	int r;

	mvpn_hex(text, key, MVPN_KEY_LEN);
	text[KEY_TEXT_B - 1] = '\n';
	r = write_file(dir, name, text, KEY_TEXT_B);
	sodium_memzero(text, sizeof(text));
	return r;
}

static int read_keys(const char *dir, const char *name, struct keyfile *ret)
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
	r = keyfile_decode(text, len, ret);
	sodium_memzero(text, len);
	free(text);
	return r;
}

static int read_key(const char *dir, const char *name, uint8_t ret[32])
{
	struct keyfile *f = keyfile_new();
	int r = f ? read_keys(dir, name, f) : -ENOMEM;

	if (r == 0)
		memcpy(ret, f->sk, 32);
	keyfile_free(f);
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

int identity_use(struct identity *id, const struct keyfile *f)
{
	struct chan_keys chan = {0};
	int r;

	/* the one that is asked for most is tried first */
	*id->keys = *f;
	r = chan_keys_add(&chan, id->keys->sk);
	if (r == 0 && f->other)
		r = chan_keys_add(&chan, id->keys->other_sk);
	for (unsigned i = 0; i < f->ngone && r == 0; i++)
		r = chan_keys_gone(&chan, f->gone[i]);
	if (r < 0)
		return r;
	id->chan = chan;
	id->pk = id->chan.key[0].pk;
	id->other_pk = f->other ? id->chan.key[1].pk : NULL;
	return 0;
}

int identity_keys_save(const char *state_dir, const struct keyfile *f)
{
	char text[KEYFILE_MAX_B];
	int r = write_file(state_dir, KEY_FILE, text, keyfile_encode(f, text));

	sodium_memzero(text, sizeof(text));
	return r;
}

int identity_load(const char *state_dir, struct identity *ret)
{
	struct keyfile *f = keyfile_new();
	struct mvpn_part part;
	uint8_t hash[32];
	int r = -ENOMEM;

	*ret = (struct identity){.keys = keyfile_new(), .store_key = sodium_malloc(MVPN_KEY_LEN)};
	if (f && ret->keys && ret->store_key)
		r = read_keys(state_dir, KEY_FILE, f);
	if (r == 0)
		r = read_key(state_dir, STORE_KEY_FILE, ret->store_key);
	if (r == 0)
		r = identity_use(ret, f);
	if (r == 0) {
		part = (struct mvpn_part){ret->pk, MVPN_KEY_LEN};
		r = mvpn_blake2b(hash, sizeof(hash), NULL, 0, &part, 1);
	}
	keyfile_free(f);
	if (r < 0)
		identity_free(ret);
	else
		memcpy(ret->net_id, hash, sizeof(ret->net_id));
	return r;
}

void identity_free(struct identity *id)
{
	keyfile_free(id->keys);
	sodium_free(id->store_key);
	memset(id, 0, sizeof(*id));
}
