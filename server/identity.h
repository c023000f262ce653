/* SPDX-License-Identifier: BSD-2-Clause */
/* The server's long-term X25519 key and the key that seals secrets in the store: files 0600 in the state directory. */
#ifndef SERVER_IDENTITY_H
#define SERVER_IDENTITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mvpn/auth.h"
#include "mvpn/limits.h"

struct identity {
	uint8_t *sk;	    /* 32, sodium_malloc'ed */
	uint8_t *store_key; /* 32, sodium_malloc'ed */
	uint8_t pk[MVPN_KEY_LEN];
	uint8_t net_id
		[MVPN_NET_ID_LEN]; /* first 8 bytes of BLAKE2b-256(pk) of the key made by init */
	char name[MVPN_NAME_MAX_B + 1]; /* of the network, for people */
};

/* -EEXIST if there is one already: never overwritten */
int identity_create(const char *state_dir);
/* -ENOENT not initialised; -EPERM a key file that others may read; -EINVAL damaged. name and net_id come from the store. */
int identity_load(const char *state_dir, struct identity *ret);
void identity_free(struct identity *id); /* wipes */
/* 1..MVPN_NAME_MAX_B bytes of [A-Za-z0-9._-], not starting with '-' or '.' */
bool name_valid(const char *name, size_t len);

#endif
