/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Bytes of the fuzzer as a sequence of messages. A message: type, flags, how many TLVs; a TLV: type, kind, and with a kind of at least
 * SAID_LITERAL a length and so many bytes. With another kind the target says what the value is, for ids and keys are not to be guessed.
 * What the input does not have any more is zero.
 */
#ifndef MVPN_TESTS_SAID_H
#define MVPN_TESTS_SAID_H

#include <stdlib.h>
#include <string.h>

#include "chan_impl.h"

#define SAID_LITERAL 0xc0
#define SAID_VALUE_MAX_B 2048
#define SAID_TYPES 73 /* of TLVs, and some that nobody knows */

struct said {
	const uint8_t *p;
	size_t left;
};

static inline uint8_t said_u8(struct said *s)
{
	if (!s->left)
		return 0;
	s->left--;
	return *s->p++;
}

static inline void said_bytes(struct said *s, uint8_t *ret, size_t len)
{
	size_t n = len < s->left ? len : s->left;

	memcpy(ret, s->p, n);
	memset(ret + n, 0, len - n);
	s->p += n;
	s->left -= n;
}

static inline void said_number(uint8_t *ret, uint64_t v, size_t len)
{
	while (len--) {
		ret[len] = (uint8_t)v;
		v >>= 8;
	}
}

/* the value of a TLV, at most SAID_VALUE_MAX_B; returns its length */
typedef size_t said_value_fn(void *arg, struct said *s, unsigned type, unsigned kind, uint8_t *ret);

/* malloc'ed; false: it would not pass chan_next(), and is not handed on either */
static inline bool said_message(struct said *s, uint8_t type, said_value_fn *fn, void *arg, uint8_t **ret, struct chan_msg *ret_m)
{
	struct chan_buf b = {0};
	uint8_t value[SAID_VALUE_MAX_B], flags = said_u8(s);
	bool good;

	chan_begin(&b, type, flags, 0);
	for (unsigned n = said_u8(s); n && s->left; n--) {
		unsigned tlv = said_u8(s) % (SAID_TYPES + 3), kind = said_u8(s);
		size_t len = kind < SAID_LITERAL ? fn(arg, s, tlv, kind, value) : said_u8(s);

		if (kind >= SAID_LITERAL)
			said_bytes(s, value, len);
		chan_put(&b, (uint16_t)tlv, value, len);
	}
	*ret = malloc(b.len); /* the sanitizer sees what lies behind it */
	good = *ret && !b.error;
	if (good) {
		memcpy(*ret, b.data, b.len);
		good = !chan_msg_check(*ret, b.len);
		*ret_m = (struct chan_msg){type, flags, 0, *ret + CHAN_MSG_HEAD_B, b.len - CHAN_MSG_HEAD_B};
	}
	chan_buf_free(&b);
	return good;
}

#endif
