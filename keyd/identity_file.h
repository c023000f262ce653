/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What an identity is on the disk, as bytes: plain, or sealed with a key that Argon2id makes from a passphrase. No I/O. The
 * layout of both is in docs/protocol.md.
 */
#ifndef MVPN_IDENTITY_FILE_H
#define MVPN_IDENTITY_FILE_H

#include "keyd.h"

#define IDENTITY_FILE_MAX_B 1024
#define PASSPHRASE_MAX_B 1024

/* locked, undumped memory; free wipes, NULL is fine */
struct passphrase {
	size_t len;
	char text[PASSPHRASE_MAX_B];
};
/* One line end after it does not count. -EINVAL: empty, too long, of several lines, or with a NUL */
int passphrase_new(struct passphrase **ret, const char *text, size_t len);
void passphrase_free(struct passphrase *p);

/* what guessing one passphrase costs */
struct identity_cost {
	uint32_t passes, kib;
};
extern const struct identity_cost identity_cost_default;

/* The key that seals a file, with the salt and the cost that it was made with: kept, so that a file can be written again without
 * the passphrase. In locked memory; free wipes, NULL is fine. */
struct identity_lock;
/* takes about a second of CPU time and 256 MiB with the default cost; -ENOMEM */
int identity_lock_new(struct identity_lock **ret, const struct passphrase *p,
		      const struct identity_cost *cost);
void identity_lock_free(struct identity_lock *lock);

/*
 * *ret_lock is NULL after a plain file. -EBADMSG damaged, -ENOKEY sealed and p is NULL, -EKEYREJECTED the passphrase is wrong
 * (or somebody has changed the file), -ENOMEM.
 */
int identity_decode(const void *data, size_t len, const struct passphrase *p, struct identity *ret,
		    struct identity_lock **ret_lock);
/* plain if lock is NULL; returns the length */
size_t identity_encode(const struct identity *id, const struct identity_lock *lock,
		       uint8_t ret[static IDENTITY_FILE_MAX_B]);

#endif
