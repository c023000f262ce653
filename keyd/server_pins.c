/* SPDX-License-Identifier: BSD-2-Clause */
#include "server_pins.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "crypto.h"
#include "mvpn/limits.h"

struct file {
	char magic[8];
	uint8_t base[32], key[32], other[32];
	uint64_t serial_be;
	uint64_t until_be, active_be;
	uint8_t check[16]; /* BLAKE2b-128 of all before: against damage */
} __attribute__((packed));

_Static_assert(sizeof(struct file) == SERVER_PINS_FILE_B, "the pins of the server on the disk");

static const char MAGICS[][8] = {
	[PINS_ALONE] = "MVPNSK1", [PINS_NEXT] = "MVPNSKN", [PINS_OLD] = "MVPNSKO"};

void server_pins_set(struct server_pins *p, const uint8_t base[32], const uint8_t key[32],
		     uint64_t serial)
{
	struct server_pins now = {.serial = serial};

	memcpy(now.base, base, 32);
	memcpy(now.key, key, 32);
	*p = now;
}

/* ---- file ---- */

static void file_check(const struct file *f, uint8_t ret[16])
{
	mvpn_blake2b(ret, 16, NULL, 0, &(struct mvpn_part){f, sizeof(*f) - sizeof(f->check)}, 1);
}

size_t server_pins_encode(const struct server_pins *p, uint8_t ret[static SERVER_PINS_FILE_B])
{
	struct file f = {.serial_be = htobe64(p->serial),
			 .until_be = htobe64((uint64_t)p->until),
			 .active_be = htobe64((uint64_t)p->active_at)};

	memcpy(f.magic, MAGICS[p->what], sizeof(f.magic));
	memcpy(f.base, p->base, 32);
	memcpy(f.key, p->key, 32);
	memcpy(f.other, p->other, 32);
	file_check(&f, f.check);
	memcpy(ret, &f, sizeof(f));
	return sizeof(f);
}

int server_pins_decode(const void *data, size_t len, struct server_pins *ret)
{
	struct file f;
	uint8_t check[16], what = 0;

	if (len != sizeof(f))
		return -EBADMSG;
	memcpy(&f, data, sizeof(f));
	file_check(&f, check);
	while (what <= PINS_OLD && memcmp(f.magic, MAGICS[what], sizeof(f.magic)))
		what++;
	if (what > PINS_OLD || memcmp(check, f.check, sizeof(check)))
		return -EBADMSG;
	*ret = (struct server_pins){.what = what,
				    .serial = be64toh(f.serial_be),
				    .until = (int64_t)be64toh(f.until_be),
				    .active_at = (int64_t)be64toh(f.active_be)};
	memcpy(ret->base, f.base, 32);
	memcpy(ret->key, f.key, 32);
	memcpy(ret->other, f.other, 32);
	return 0;
}

/* ---- the server's word ---- */

static void put_other(struct server_pins *p, enum pins_other what, const uint8_t pk[32],
		      const struct server_word *w, int64_t now)
{
	p->what = what;
	memcpy(p->other, pk, 32);
	p->until = now + (w->left_s < MVPN_SERVER_KEY_DUAL_S ? w->left_s : MVPN_SERVER_KEY_DUAL_S);
	p->active_at = what == PINS_NEXT ? now + w->in_s : 0;
}

static void drop_other(struct server_pins *p)
{
	p->what = PINS_ALONE;
	memset(p->other, 0, sizeof(p->other));
	p->until = p->active_at = 0;
}

/* it is the key from now on, the one before goes on beside it */
static void promote(struct server_pins *p, const struct server_word *w, int64_t now)
{
	uint8_t before[32];

	memcpy(before, p->key, 32);
	memcpy(p->key, w->pk, 32);
	p->serial = w->serial;
	drop_other(p);
	if (w->left_s)
		put_other(p, PINS_OLD, before, w, now);
}

static enum pins_verdict hear_next(struct server_pins *p, const struct server_word *w, bool by_key,
				   int64_t now)
{
	if (!memcmp(w->pk, p->key, 32) || (p->what == PINS_NEXT && !memcmp(w->pk, p->other, 32)))
		return PINS_SAME;
	if (!by_key || w->serial <= p->serial || !w->left_s)
		return PINS_REFUSED;
	put_other(p, PINS_NEXT, w->pk, w, now);
	p->serial = w->serial;
	return PINS_CHANGED;
}

/* the one in use is the one that we have */
static enum pins_verdict hear_key(struct server_pins *p, const struct server_word *w, bool by_key)
{
	bool cancelled = p->what == PINS_NEXT && w->serial > p->serial,
	     over = p->what == PINS_OLD && !w->left_s;

	if (!by_key || (!cancelled && !over && w->serial == p->serial))
		return PINS_SAME;
	if (cancelled || over)
		drop_other(p);
	p->serial = w->serial;
	return PINS_CHANGED;
}

enum pins_verdict server_pins_hear(struct server_pins *p, const struct server_word *w,
				   const uint8_t by[32], int64_t now)
{
	bool by_key = !memcmp(by, p->key, 32);

	if (w->serial < p->serial)
		return PINS_REFUSED;
	if (w->next)
		return hear_next(p, w, by_key, now);
	if (!memcmp(w->pk, p->key, 32))
		return hear_key(p, w, by_key);
	/* what was announced, on a channel of either; anything else only the pinned key may say, and a later time than the last */
	if (!(p->what == PINS_NEXT && !memcmp(w->pk, p->other, 32)) &&
	    (!by_key || w->serial <= p->serial))
		return PINS_REFUSED;
	promote(p, w, now);
	return PINS_CHANGED;
}

bool server_pins_expire(struct server_pins *p, int64_t now)
{
	if (p->what == PINS_ALONE || now < p->until)
		return false;
	if (p->what == PINS_NEXT)
		memcpy(p->key, p->other, 32);
	drop_other(p);
	return true;
}
