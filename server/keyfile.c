/* SPDX-License-Identifier: BSD-2-Clause */
#include "keyfile.h"

#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypto.h"

#define HEX_B (2 * MVPN_KEY_LEN)
#define LINE_MAX_B 160

struct keyfile *keyfile_new(void)
{
	struct keyfile *f = sodium_malloc(sizeof(*f));

	if (f)
		sodium_memzero(f, sizeof(*f));
	return f;
}

void keyfile_free(struct keyfile *f)
{
	sodium_free(f);
}

/* ---- reading ---- */

/* the next field of a line: *p goes behind it and its blank; false: there is none, or another one than that word */
static bool word(const char **p, const char *w)
{
	size_t len = strlen(w);

	if (strncmp(*p, w, len) || (*p)[len] != ' ')
		return false;
	*p += len + 1;
	return true;
}

static bool key(const char **p, uint8_t ret[MVPN_KEY_LEN])
{
	char hex[HEX_B + 1];
	bool ok = strnlen(*p, HEX_B) == HEX_B && ((*p)[HEX_B] == ' ' || !(*p)[HEX_B]);

	if (ok) {
		memcpy(hex, *p, HEX_B);
		hex[HEX_B] = '\0';
		ok = mvpn_unhex(ret, MVPN_KEY_LEN, hex) == 0;
		*p += HEX_B + ((*p)[HEX_B] == ' ');
	}
	sodium_memzero(hex, sizeof(hex));
	return ok;
}

static bool number(const char **p, uint64_t max, uint64_t *ret)
{
	char *end;

	if (**p < '0' || **p > '9')
		return false;
	errno = 0;
	*ret = strtoull(*p, &end, 10);
	if (errno || *ret > max || (*end && *end != ' '))
		return false;
	*p = end + (*end == ' ');
	return true;
}

static bool moment(const char **p, int64_t *ret)
{
	uint64_t v;
	bool ok = number(p, INT64_MAX, &v) && v;

	*ret = ok ? (int64_t)v : 0;
	return ok;
}

static bool line_decode(const char *p, unsigned n, struct keyfile *ret)
{
	if (n == 0)
		return key(&p, ret->sk) && !*p;
	if (word(&p, "serial"))
		return n == 1 && number(&p, UINT64_MAX, &ret->serial) && ret->serial && !*p;
	if (ret->serial && word(&p, "next") && !ret->other) {
		ret->other = KEYFILE_NEXT;
		return key(&p, ret->other_sk) && moment(&p, &ret->active_at) &&
		       moment(&p, &ret->until) && !*p && ret->active_at <= ret->until;
	}
	if (ret->serial && word(&p, "old") && !ret->other) {
		ret->other = KEYFILE_OLD;
		return key(&p, ret->other_sk) && moment(&p, &ret->until) && !*p;
	}
	return ret->serial && word(&p, "gone") && ret->ngone < CHAN_GONE_MAX &&
	       key(&p, ret->gone[ret->ngone++]) && !*p;
}

int keyfile_decode(const char *text, size_t len, struct keyfile *ret)
{
	const char *end = text + len, *p = text;
	char line[LINE_MAX_B];
	bool ok = true;

	sodium_memzero(ret, sizeof(*ret));
	for (unsigned n = 0; ok && (p < end || !n); n++) {
		const char *nl = memchr(p, '\n', (size_t)(end - p));
		size_t size = (size_t)((nl ? nl : end) - p);

		ok = size < sizeof(line) && !memchr(p, '\0', size);
		if (!ok)
			break;
		memcpy(line, p, size);
		if (size && line[size - 1] == '\r')
			size--;
		line[size] = '\0';
		ok = (!size || line[size - 1] != ' ') && line_decode(line, n, ret);
		p = nl ? nl + 1 : end;
	}
	sodium_memzero(line, sizeof(line));
	if (ok)
		return 0;
	sodium_memzero(ret, sizeof(*ret));
	return -EINVAL;
}

/* ---- writing ---- */

static size_t put(char *ret, const char *before, const uint8_t k[MVPN_KEY_LEN])
{
	size_t len = strlen(before);

	memcpy(ret, before, len);
	mvpn_hex(ret + len, k, MVPN_KEY_LEN);
	return len + HEX_B;
}

size_t keyfile_encode(const struct keyfile *f, char ret[static KEYFILE_MAX_B])
{
	char *p = ret, *end = ret + KEYFILE_MAX_B;

	p += put(p, "", f->sk);
	*p++ = '\n';
	if (!f->serial)
		return (size_t)(p - ret);
	p += snprintf(p, (size_t)(end - p), "serial %" PRIu64 "\n", f->serial);
	if (f->other == KEYFILE_NEXT) {
		p += put(p, "next ", f->other_sk);
		p += snprintf(p, (size_t)(end - p), " %" PRId64 " %" PRId64 "\n", f->active_at,
			      f->until);
	} else if (f->other == KEYFILE_OLD) {
		p += put(p, "old ", f->other_sk);
		p += snprintf(p, (size_t)(end - p), " %" PRId64 "\n", f->until);
	}
	for (unsigned i = 0; i < f->ngone; i++) {
		p += put(p, "gone ", f->gone[i]);
		*p++ = '\n';
	}
	return (size_t)(p - ret);
}

_Static_assert((HEX_B + 1) + 32 + (HEX_B + 64) + CHAN_GONE_MAX * (HEX_B + 6) < KEYFILE_MAX_B,
	       "every form fits");

void keyfile_give_up(struct keyfile *f, const uint8_t pk[32])
{
	unsigned n = f->ngone < CHAN_GONE_MAX ? f->ngone : CHAN_GONE_MAX - 1;

	memmove(f->gone[1], f->gone[0], n * sizeof(f->gone[0]));
	memcpy(f->gone[0], pk, sizeof(f->gone[0]));
	f->ngone = n + 1;
}
