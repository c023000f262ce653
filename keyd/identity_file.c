/* SPDX-License-Identifier: BSD-2-Clause */
#include "identity_file.h"

#include <endian.h>
#include <errno.h>
#include <sodium.h>
#include <stddef.h>
#include <string.h>

#include "crypto.h"
#include "identity.h"

/* fixed size, so that a cut one is noticed before its checksum */
struct plain {
	char magic[8];
	uint8_t key[32]; /* secret; with a token its public half */
	uint8_t psk[32];
	uint32_t psk_epoch_be;
	uint8_t server_pk[32];
	uint8_t net_id[8];
	uint8_t device_id[16];
	char server[256];
	char name[64];
	uint8_t check[16]; /* BLAKE2b-128 of all before: against damage, not against an attacker */
} __attribute__((packed));

/* of a device that is about to change its key; its head is as the plain one, with another magic */
struct rotating {
	struct plain head;
	uint8_t next[32];  /* secret; public, if it is on a token */
	uint8_t check[16]; /* of all before */
} __attribute__((packed));

/* authenticated with the box that follows it */
struct head {
	char magic[8];
	uint32_t kdf_be; /* 1: Argon2id, version 1.3 */
	uint32_t passes_be, kib_be;
	uint8_t salt[crypto_pwhash_SALTBYTES];
} __attribute__((packed));

/* with the box of one of the others */
struct sealed {
	struct head head;
	uint8_t box[sizeof(struct rotating) + MVPN_BOX_OVERHEAD];
} __attribute__((packed));
#define SEALED_B(inside) (sizeof(struct head) + MVPN_BOX_OVERHEAD + sizeof(struct inside))

_Static_assert(sizeof(struct plain) == 468, "an identity's plain form");
_Static_assert(sizeof(struct rotating) == 516, "an identity's form with a next key");
_Static_assert(sizeof(struct head) == 36, "what stands before a sealed one");
_Static_assert(sizeof(struct sealed) <= IDENTITY_FILE_MAX_B, "every form fits");

static const char PLAIN[8] = "MVPNID1", TOKEN[8] = "MVPNIDT", DELEGATES[8] = "MVPNIDD",
		  SEALED[8] = "MVPNID2", ROTATING[8] = "MVPNID3", MOVING[8] = "MVPNID4", LEAVING[8] = "MVPNID5";
#define KDF_ARGON2ID 1
/* bounds of what a file may ask of us before it is authenticated */
#define PASSES_MAX 16
#define KIB_MIN 8
#define KIB_MAX (1U << 20)

const struct identity_cost identity_cost_default = {crypto_pwhash_OPSLIMIT_MODERATE,
						    crypto_pwhash_MEMLIMIT_MODERATE / 1024};

struct identity_lock {
	struct head head;
	uint8_t key[32];
};

/* ---- passphrase ---- */

int passphrase_new(struct passphrase **ret, const char *text, size_t len)
{
	struct passphrase *p;

	if (len && text[len - 1] == '\n')
		len--;
	if (len && text[len - 1] == '\r')
		len--;
	if (!len || len > sizeof(p->text) || memchr(text, 0, len) || memchr(text, '\n', len))
		return -EINVAL;
	p = sodium_malloc(sizeof(*p));
	if (!p)
		return -ENOMEM;
	sodium_memzero(p, sizeof(*p));
	p->len = len;
	memcpy(p->text, text, len);
	*ret = p;
	return 0;
}

void passphrase_free(struct passphrase *p)
{
	sodium_free(p);
}

/* ---- lock ---- */

static int lock_derive(struct identity_lock **ret, const struct head *head,
		       const struct passphrase *p)
{
	struct identity_lock *lock = sodium_malloc(sizeof(*lock));

	if (!lock)
		return -ENOMEM;
	lock->head = *head;
	if (crypto_pwhash(lock->key, sizeof(lock->key), p->text, p->len, head->salt,
			  be32toh(head->passes_be), (size_t)be32toh(head->kib_be) * 1024,
			  crypto_pwhash_ALG_ARGON2ID13)) {
		sodium_free(lock);
		return -ENOMEM; /* the parameters are within its bounds */
	}
	*ret = lock;
	return 0;
}

int identity_lock_new(struct identity_lock **ret, const struct passphrase *p,
		      const struct identity_cost *cost)
{
	struct head head = {
		.kdf_be = htobe32(KDF_ARGON2ID),
		.passes_be = htobe32(cost->passes),
		.kib_be = htobe32(cost->kib),
	};

	memcpy(head.magic, SEALED, sizeof(SEALED));
	randombytes_buf(head.salt, sizeof(head.salt));
	return lock_derive(ret, &head, p);
}

void identity_lock_free(struct identity_lock *lock)
{
	sodium_free(lock);
}

/* ---- file ---- */

static void file_check(const void *f, size_t len, uint8_t ret[16])
{
	struct mvpn_part part = {f, len};

	mvpn_blake2b(ret, 16, NULL, 0, &part, 1);
}

static int plain_decode(const struct plain *f, const char magic[8], struct identity *id)
{
	uint8_t check[16];

	file_check(f, offsetof(struct plain, check), check);
	id->has_next = id->next_signs = false;
	id->on_token = !memcmp(f->magic, TOKEN, sizeof(TOKEN));
	id->delegates = !memcmp(f->magic, DELEGATES, sizeof(DELEGATES)) || !memcmp(f->magic, LEAVING, sizeof(LEAVING));
	if (memcmp(f->magic, magic, sizeof(f->magic)) || memcmp(f->check, check, sizeof(check)) ||
	    f->server[sizeof(f->server) - 1] || f->name[sizeof(f->name) - 1])
		return -EBADMSG;
	memcpy(id->psk, f->psk, 32);
	id->psk_epoch = be32toh(f->psk_epoch_be);
	memcpy(id->server_pk, f->server_pk, 32);
	memcpy(id->net_id, f->net_id, 8);
	memcpy(id->device_id, f->device_id, 16);
	memcpy(id->server, f->server, sizeof(id->server));
	memcpy(id->name, f->name, sizeof(id->name));
	memcpy(id->delegates ? id->token_pk : id->on_token ? id->pk : id->sk, f->key, 32);
	return id->on_token || id->delegates ? 0 : mvpn_x25519_public(id->pk, id->sk);
}

static int rotating_decode(const struct rotating *f, struct identity *id)
{
	bool moving = !memcmp(f, MOVING, sizeof(MOVING)), leaving = !memcmp(f, LEAVING, sizeof(LEAVING));
	uint8_t check[16];
	int r;

	file_check(f, offsetof(struct rotating, check), check);
	if (memcmp(f->check, check, sizeof(check)))
		return -EBADMSG;
	r = plain_decode(&f->head, moving ? MOVING : leaving ? LEAVING : ROTATING, id);
	if (r)
		return r;
	id->has_next = true;
	id->next_signs = moving;
	if (moving) {
		memcpy(id->next_pk, f->next, 32);
		return 0;
	}
	memcpy(id->next_sk, f->next, 32);
	return mvpn_x25519_public(id->next_pk, id->next_sk);
}

/* what is not sealed, or no longer */
static int open_decode(const void *data, size_t len, struct identity *id)
{
	if (len == sizeof(struct rotating))
		return rotating_decode(data, id);
	if (len != sizeof(struct plain))
		return -EBADMSG;
	return plain_decode(data,
			    !memcmp(data, TOKEN, sizeof(TOKEN))		? TOKEN
			    : !memcmp(data, DELEGATES, sizeof(DELEGATES)) ? DELEGATES
									  : PLAIN,
			    id);
}

static bool head_ok(const struct head *h)
{
	uint32_t passes = be32toh(h->passes_be), kib = be32toh(h->kib_be);

	return !memcmp(h->magic, SEALED, sizeof(SEALED)) && be32toh(h->kdf_be) == KDF_ARGON2ID &&
	       passes >= 1 && passes <= PASSES_MAX && kib >= KIB_MIN && kib <= KIB_MAX;
}

static int sealed_decode(const struct sealed *f, size_t len, const struct passphrase *p,
			 struct identity *id, struct identity_lock **ret_lock)
{
	size_t box = len - sizeof(f->head);
	struct identity_lock *lock = NULL;
	uint8_t *inside;
	int r;

	if (!head_ok(&f->head))
		return -EBADMSG;
	if (!p)
		return -ENOKEY;
	inside = sodium_malloc(box - MVPN_BOX_OVERHEAD);
	r = inside ? lock_derive(&lock, &f->head, p) : -ENOMEM;
	if (!r && mvpn_box_open(inside, f->box, box, &f->head, sizeof(f->head), lock->key))
		r = -EKEYREJECTED;
	if (!r)
		r = open_decode(inside, box - MVPN_BOX_OVERHEAD, id);
	sodium_free(inside);
	if (r)
		identity_lock_free(lock);
	else
		*ret_lock = lock;
	return r;
}

int identity_decode(const void *data, size_t len, const struct passphrase *p, struct identity *ret,
		    struct identity_lock **ret_lock)
{
	int r;

	if (len == SEALED_B(plain) || len == SEALED_B(rotating))
		return sealed_decode(data, len, p, ret, ret_lock);
	r = open_decode(data, len, ret);
	if (!r)
		*ret_lock = NULL;
	return r;
}

static void plain_encode(const struct identity *id, struct plain *f)
{
	sodium_memzero(f, sizeof(*f));
	memcpy(f->magic,
	       id->next_signs  ? MOVING
	       : id->has_next  ? id->delegates ? LEAVING : ROTATING
	       : id->delegates ? DELEGATES
	       : id->on_token  ? TOKEN
			       : PLAIN,
	       sizeof(f->magic));
	memcpy(f->key, id->delegates ? id->token_pk : id->on_token ? id->pk : id->sk, 32);
	memcpy(f->psk, id->psk, 32);
	f->psk_epoch_be = htobe32(id->psk_epoch);
	memcpy(f->server_pk, id->server_pk, 32);
	memcpy(f->net_id, id->net_id, 8);
	memcpy(f->device_id, id->device_id, 16);
	memcpy(f->server, id->server, sizeof(f->server));
	memcpy(f->name, id->name, sizeof(f->name));
	file_check(f, offsetof(struct plain, check), f->check);
}

/* what is then sealed, or not; returns the length */
static size_t open_encode(const struct identity *id, struct rotating *f)
{
	plain_encode(id, &f->head);
	if (!id->has_next)
		return sizeof(f->head);
	memcpy(f->next, id->next_signs ? id->next_pk : id->next_sk, 32);
	file_check(f, offsetof(struct rotating, check), f->check);
	return sizeof(*f);
}

size_t identity_encode(const struct identity *id, const struct identity_lock *lock,
		       uint8_t ret[static IDENTITY_FILE_MAX_B])
{
	struct sealed *s = (struct sealed *)ret;
	struct rotating inside;
	size_t len;

	if (!lock)
		return open_encode(id, (struct rotating *)ret);
	len = open_encode(id, &inside);
	s->head = lock->head;
	mvpn_box_seal(s->box, (uint8_t *)&inside, len, &s->head, sizeof(s->head), lock->key);
	sodium_memzero(&inside, sizeof(inside));
	return sizeof(s->head) + MVPN_BOX_OVERHEAD + len;
}
