/* SPDX-License-Identifier: BSD-2-Clause */
#include "delegation.h"

#include <endian.h>
#include <errno.h>
#include <sodium.h>
#include <string.h>

#include "chan.h"

struct wire {
	uint64_t not_after_be;
	uint8_t key[32], challenge[32], signature[64];
} __attribute__((packed));

struct text {
	char label[17]; /* its NUL counts */
	uint8_t net_id[MVPN_NET_ID_LEN], device_id[MVPN_ID_LEN], s[32], challenge[32];
	uint64_t not_after_be;
} __attribute__((packed));

_Static_assert(sizeof(struct wire) == MVPN_TLV_DELEGATION_B, "DELEGATION on the wire");
_Static_assert(sizeof(struct text) == MVPN_DELEGATION_TEXT_B, "what is signed");

static const char LABEL[17] = "mavp1 delegation";

int delegation_challenge(const struct chan *c, const uint8_t s[32], uint8_t ret[32])
{
	return chan_export(c, "mavp1 delegation", s, ret);
}

int delegation_device_id(const struct chan *c, const uint8_t s[32], uint8_t ret[MVPN_ID_LEN])
{
	uint8_t id[32];
	int r = chan_export(c, "mavp1 device id", s, id);

	if (!r)
		memcpy(ret, id, MVPN_ID_LEN);
	return r;
}

void delegation_text(uint8_t ret[static MVPN_DELEGATION_TEXT_B], const struct delegation *d,
		     const struct delegation_of *of)
{
	struct text *t = (struct text *)ret;

	memcpy(t->label, LABEL, sizeof(LABEL));
	memcpy(t->net_id, of->net_id, sizeof(t->net_id));
	memcpy(t->device_id, of->device_id, sizeof(t->device_id));
	memcpy(t->s, of->s, sizeof(t->s));
	memcpy(t->challenge, d->challenge, sizeof(t->challenge));
	t->not_after_be = htobe64(d->not_after);
}

void delegation_encode(uint8_t ret[static MVPN_TLV_DELEGATION_B], const struct delegation *d)
{
	struct wire *w = (struct wire *)ret;

	w->not_after_be = htobe64(d->not_after);
	memcpy(w->key, d->key, sizeof(w->key));
	memcpy(w->challenge, d->challenge, sizeof(w->challenge));
	memcpy(w->signature, d->signature, sizeof(w->signature));
}

int delegation_decode(struct delegation *ret, const void *data, size_t len)
{
	const struct wire *w = data;

	if (len != sizeof(*w))
		return -EPROTO;
	ret->not_after = be64toh(w->not_after_be);
	memcpy(ret->key, w->key, sizeof(ret->key));
	memcpy(ret->challenge, w->challenge, sizeof(ret->challenge));
	memcpy(ret->signature, w->signature, sizeof(ret->signature));
	return 0;
}

void delegation_last(struct delegation *d)
{
	d->not_after = UINT64_MAX;
	memset(d->challenge, 0, sizeof(d->challenge));
}

bool delegation_is_last(const struct delegation *d)
{
	return d->not_after == UINT64_MAX && sodium_is_zero(d->challenge, sizeof(d->challenge));
}

int delegation_verify(const struct delegation *d, const struct delegation_of *of)
{
	uint8_t text[MVPN_DELEGATION_TEXT_B];

	delegation_text(text, d, of);
	return crypto_sign_verify_detached(d->signature, text, sizeof(text), d->key) ? -EBADMSG : 0;
}
