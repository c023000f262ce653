/* SPDX-License-Identifier: BSD-2-Clause */
#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include <sodium.h>

#include "crypto.h"
#include "token.h"

#define PREFIX "mavp1_"
#define PREFIX_LEN 6
#define CHECKSUM_B 4
/* ver, net_id, token_id, secret, S, flags, expiry, then the server's name and the checksum */
#define FIXED_B (1 + MVPN_NET_ID_LEN + 16 + 32 + 32 + 1 + 8)
#define BINARY_MAX_B (FIXED_B + MVPN_TOKEN_SERVER_MAX + CHECKSUM_B)

_Static_assert(PREFIX_LEN + (BINARY_MAX_B * 8 + 4) / 5 < MVPN_TOKEN_MAX, "the longest token fits");

static void checksum(uint8_t ret[CHECKSUM_B], const uint8_t *data, size_t len)
{
	mvpn_blake2b(ret, CHECKSUM_B, NULL, 0, &(struct mvpn_part){data, len}, 1);
}

/* "host:port": no white space or control characters, something on both sides of the last colon */
static bool server_ok(const char *s, size_t len)
{
	const char *colon = memrchr(s, ':', len);

	if (!colon || colon == s || colon == s + len - 1)
		return false;
	for (const char *p = colon + 1; p < s + len; p++) {
		if (*p < '0' || *p > '9')
			return false;
	}
	for (size_t i = 0; i < len; i++) {
		if (s[i] <= ' ' || s[i] > '~')
			return false;
	}
	return true;
}

int mvpn_token_encode(const struct mvpn_token *t, char ret[static MVPN_TOKEN_MAX])
{
	uint8_t bin[BINARY_MAX_B], *p = bin;
	size_t server_len = strnlen(t->server, sizeof(t->server));
	int r;

	if (server_len == sizeof(t->server) || !server_ok(t->server, server_len))
		return -EINVAL;
	*p++ = MVPN_PROTO_VER;
	p = mempcpy(p, t->net_id, sizeof(t->net_id));
	p = mempcpy(p, t->token_id, sizeof(t->token_id));
	p = mempcpy(p, t->secret, sizeof(t->secret));
	p = mempcpy(p, t->server_pk, sizeof(t->server_pk));
	*p++ = 0; /* flags */
	for (int shift = 56; shift >= 0; shift -= 8)
		*p++ = t->expiry >> shift;
	p = mempcpy(p, t->server, server_len);
	checksum(p, bin, p - bin);
	p += CHECKSUM_B;
	memcpy(ret, PREFIX, PREFIX_LEN);
	r = mvpn_base32_encode(ret + PREFIX_LEN, MVPN_TOKEN_MAX - PREFIX_LEN, bin, p - bin);
	sodium_memzero(bin, sizeof(bin));
	return r < 0 ? r : 0;
}

static const uint8_t *take(void *ret, const uint8_t *p, size_t len)
{
	memcpy(ret, p, len);
	return p + len;
}

/* bin has passed its checksum */
static int parse(struct mvpn_token *ret, const uint8_t *bin, size_t len)
{
	const uint8_t *p = bin;
	struct mvpn_token t = {0};
	size_t server_len = len - FIXED_B;
	int r = -EINVAL;

	if (*p++ != MVPN_PROTO_VER)
		return -EPROTONOSUPPORT;
	p = take(t.net_id, p, sizeof(t.net_id));
	p = take(t.token_id, p, sizeof(t.token_id));
	p = take(t.secret, p, sizeof(t.secret));
	p = take(t.server_pk, p, sizeof(t.server_pk));
	if (*p++ != 0) {
		/* a flag asks for something (a lock) that this version cannot honour */
		r = -EPROTONOSUPPORT;
		goto out;
	}
	for (unsigned i = 0; i < 8; i++)
		t.expiry = t.expiry << 8 | *p++;
	if (server_len >= sizeof(t.server) || !server_ok((const char *)p, server_len))
		goto out;
	memcpy(t.server, p, server_len);
	*ret = t;
	r = 0;
out:
	sodium_memzero(&t, sizeof(t));
	return r;
}

int mvpn_token_decode(struct mvpn_token *ret, const char *text)
{
	char trimmed[MVPN_TOKEN_MAX];
	uint8_t bin[BINARY_MAX_B], sum[CHECKSUM_B];
	size_t len;
	int r, n;

	while (isspace((unsigned char)*text))
		text++;
	len = strlen(text);
	while (len && isspace((unsigned char)text[len - 1]))
		len--;
	if (len < PREFIX_LEN || len >= sizeof(trimmed) ||
	    strncasecmp(text, PREFIX, PREFIX_LEN) != 0)
		return -EINVAL;
	memcpy(trimmed, text + PREFIX_LEN, len - PREFIX_LEN);
	trimmed[len - PREFIX_LEN] = '\0';
	n = mvpn_base32_decode(bin, sizeof(bin), trimmed);
	/* too few bytes for a token or not whole base32: it was cut, or mistyped */
	r = -EBADMSG;
	if (n < FIXED_B + CHECKSUM_B)
		goto out;
	checksum(sum, bin, n - CHECKSUM_B);
	if (sodium_memcmp(sum, bin + n - CHECKSUM_B, CHECKSUM_B) != 0)
		goto out;
	r = parse(ret, bin, n - CHECKSUM_B);
out:
	sodium_memzero(trimmed, sizeof(trimmed));
	sodium_memzero(bin, sizeof(bin));
	return r;
}

void mvpn_token_psk(uint8_t ret[32], const uint8_t secret[32])
{
	mvpn_blake2b(ret, 32, NULL, 0, (struct mvpn_part[]){{"mavp1 enrol", 11}, {secret, 32}}, 2);
}
