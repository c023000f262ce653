/* SPDX-License-Identifier: BSD-2-Clause */
/* What keyd keeps on disk below --state: who it is, its boot generation, and small lists that outlive it. */
#ifndef MVPN_IDENTITY_H
#define MVPN_IDENTITY_H

#include "identity_file.h"
#include "keyd.h"

/* locked, undumped memory for an identity; free wipes */
struct identity *identity_new(void);
void identity_free(struct identity *id);

/* does it need the token, for X25519 or to vouch? */
static inline bool identity_on_token(const struct identity *id)
{
	return id->on_token || id->delegates;
}

/* what this device is known by: pk, or the key that vouches for it */
static inline const uint8_t *identity_key(const struct identity *id)
{
	return id->delegates ? id->token_pk : id->pk;
}

/* 0, -ENOENT none there, -EPERM readable by others, and as identity_decode() */
int identity_load(const char *path, const struct passphrase *p, struct identity **ret,
		  struct identity_lock **ret_lock);
int identity_save(const char *path, const struct identity *id, const struct identity_lock *lock);
/* -EPERM readable by others, and as passphrase_new() */
int passphrase_read(const char *path, struct passphrase **ret);
/* adds one to the stored number, durably, and returns it: no two lives of keyd have the same */
int boot_gen_next(const char *dir, uint64_t *ret);

#endif
