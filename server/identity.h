/* SPDX-License-Identifier: BSD-2-Clause */
/* The server's long-term X25519 keys, one or, while it is changed, two, and the key that seals secrets in the store: files 0600 in the state directory. */
#ifndef SERVER_IDENTITY_H
#define SERVER_IDENTITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "chan.h"
#include "keyfile.h"
#include "mvpn/auth.h"
#include "mvpn/limits.h"

struct identity {
	struct keyfile *keys;
	uint8_t *store_key; /* 32, sodium_malloc'ed */
	const uint8_t *pk;	 /* public half of the present key */
	const uint8_t *other_pk; /* of the next one or the one before, as keys->other says; NULL: none */
	struct chan_keys chan; /* both, for the channels */
	uint8_t net_id
		[MVPN_NET_ID_LEN]; /* first 8 bytes of BLAKE2b-256(pk) of the key made by init */
	char name[MVPN_NAME_MAX_B + 1]; /* of the network, for people */
};

/* -EEXIST if there is one already: never overwritten */
int identity_create(const char *state_dir);
/* -ENOENT not initialised; -EPERM a key file that others may read; -EINVAL damaged. name and net_id come from the store. *ret must
 * stay where it is */
int identity_load(const char *state_dir, struct identity *ret);
void identity_free(struct identity *id); /* wipes */
/* on the disk; not in use before identity_use */
int identity_keys_save(const char *state_dir, const struct keyfile *f);
int identity_use(struct identity *id, const struct keyfile *f); /* -EINVAL no keys */

#endif
