/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * PROTOCOL §3: from a finished handshake to the AEAD key of a packet, and the selectors that are
 * bound on the way.
 */
#include <errno.h>
#include <string.h>

#include <arpa/inet.h>
#include <sodium.h>

#include "crypto.h"
#include "intro_impl.h"

/*
 * "mavp1 ctx" | session_id[16] | A_id[16] | B_id[16] | s_A[32] | s_B[32] | len u16, selectors |
 * len u16, REQ | suite u8 | spi_A u32 | spi_B u32 | layer u8; big-endian
 */
void intro_ctx(uint8_t ret[32], const struct intro_bound *b)
{
	const struct intro_pair *p = b->pair;
	uint16_t selectors_len_be = htons(p->selectors_len), req_len_be = htons(b->req_len);
	uint32_t spi_a_be = htonl(b->spi_a), spi_b_be = htonl(b->spi_b);
	struct mvpn_part parts[] = {
		{"mavp1 ctx", 9},	 {p->session_id, MVPN_ID_LEN},
		{p->a_id, MVPN_ID_LEN},	 {p->b_id, MVPN_ID_LEN},
		{p->a_pk, MVPN_KEY_LEN}, {p->b_pk, MVPN_KEY_LEN},
		{&selectors_len_be, 2},	 {p->selectors, p->selectors_len},
		{&req_len_be, 2},	 {b->req, b->req_len},
		{&b->suite, 1},		 {&spi_a_be, 4},
		{&spi_b_be, 4},		 {b->req + offsetof(struct mvpn_req, layer), 1},
	};

	mvpn_blake2b(ret, 32, NULL, 0, parts, sizeof(parts) / sizeof(parts[0]));
}

void intro_directions(uint8_t ret_ab[32], uint8_t ret_ba[32], const uint8_t k1[32],
		      const uint8_t k2[32], const uint8_t h[32], const uint8_t ctx[32])
{
	struct mvpn_part ab[] = {{"mavp1 data A>B", 14}, {h, 32}, {ctx, 32}};
	struct mvpn_part ba[] = {{"mavp1 data B>A", 14}, {h, 32}, {ctx, 32}};

	mvpn_blake2b(ret_ab, 32, k1, 32, ab, 3);
	mvpn_blake2b(ret_ba, 32, k2, 32, ba, 3);
}

void intro_central_ctx(uint8_t ret[32], const struct intro_pair *p, const uint8_t *req,
		       size_t req_len)
{
	struct mvpn_req head;

	memcpy(&head, req, sizeof(head));
	intro_ctx(ret, &(struct intro_bound){p, req, req_len, 0, ntohl(head.spi_a_be), 0});
}

/*
 * The handshake authenticates both ends in every mode. What is secret in it, its hash too, takes no part in the keys of a
 * central mode: that the server can make them is what the mode is for.
 */
static void central_directions(uint8_t ret_ab[32], uint8_t ret_ba[32], const struct intro_bound *b)
{
	static const uint8_t no_hash[32];
	uint8_t ctx[32];

	intro_central_ctx(ctx, b->pair, b->req, b->req_len);
	intro_directions(ret_ab, ret_ba, b->pair->central, b->pair->central, no_hash, ctx);
}

int intro_derive(struct noise *n, const struct intro_bound *b, uint8_t ret_ab[32],
		 uint8_t ret_ba[32])
{
	uint8_t k1[32], k2[32], h[32], ctx[32];
	int r = noise_split(n, k1, k2, h, NULL);

	if (r < 0)
		return r;
	if (b->pair->central) {
		central_directions(ret_ab, ret_ba, b);
	} else {
		intro_ctx(ctx, b);
		intro_directions(ret_ab, ret_ba, k1, k2, h, ctx);
	}
	sodium_memzero(k1, sizeof(k1));
	sodium_memzero(k2, sizeof(k2));
	return 0;
}

/* ---- lanes and generations ---- */

void intro_lane_first(uint8_t ret_l[32], const uint8_t k_dir[32], unsigned lane)
{
	crypto_kdf_derive_from_key(ret_l, 32, lane, "mavplane", k_dir);
}

int intro_lane_aead(struct aead *ret, unsigned suite, const uint8_t l[32])
{
	uint8_t key[32], iv[16];
	int r;

	crypto_kdf_derive_from_key(key, sizeof(key), 1, "mavpaead", l);
	crypto_kdf_derive_from_key(iv, sizeof(iv), 2, "mavpaead", l);
	ret->suite = 0; /* a suite this machine lacks leaves it so, and unable to seal */
	r = aead_set(ret, suite, key, iv);
	sodium_memzero(key, sizeof(key));
	sodium_memzero(iv, sizeof(iv));
	return r;
}

void intro_lane_next(uint8_t l[32])
{
	uint8_t next[32];

	crypto_kdf_derive_from_key(next, sizeof(next), 3, "mavpaead", l);
	memcpy(l, next, sizeof(next));
	sodium_memzero(next, sizeof(next));
}

/* ---- selectors ---- */

#define PREFIX_B 17
#define SERVICE_B 5

static const uint8_t *get_prefixes(struct mvpn_prefix *ret, unsigned n, const uint8_t *p)
{
	for (unsigned i = 0; i < n; i++, p += PREFIX_B) {
		ret[i].len = p[0];
		memcpy(ret[i].addr.b, p + 1, 16);
		if (!mvpn_prefix_valid(&ret[i]))
			return NULL;
	}
	return p;
}

static const uint8_t *get_services(struct mvpn_service *ret, unsigned n, const uint8_t *p)
{
	for (unsigned i = 0; i < n; i++, p += SERVICE_B)
		ret[i] = (struct mvpn_service){p[0], (uint16_t)(p[1] << 8 | p[2]),
					       (uint16_t)(p[3] << 8 | p[4])};
	return mvpn_services_valid(ret, n) ? p : NULL;
}

/* what follows the prefixes: nothing, or the services, and the classes if there are any; without services there are */
static int get_limits(struct intro_selectors *ret, const uint8_t *p, size_t len)
{
	const uint8_t *end = p + len;

	if (!len)
		return 0;
	if (len < 2 || p[0] > MVPN_SERVICES_MAX || p[1] > MVPN_SERVICES_MAX ||
	    len < 2 + SERVICE_B * (size_t)(p[0] + p[1]))
		return -EINVAL;
	ret->nserv_a = p[0];
	ret->nserv_b = p[1];
	ret->limited = ret->nserv_a + ret->nserv_b;
	p = get_services(ret->serv_a, ret->nserv_a, p + 2);
	if (p)
		p = get_services(ret->serv_b, ret->nserv_b, p);
	if (!p)
		return -EINVAL;
	if (p == end)
		return ret->limited ? 0 : -EINVAL;
	return mvpn_classes_decode(&ret->classes, p, (size_t)(end - p));
}

int intro_selectors_decode(struct intro_selectors *ret, const uint8_t *data, size_t len)
{
	struct intro_selectors s = {0};
	const uint8_t *p;

	if (len < 2 || data[0] > MVPN_SELECTORS_MAX || data[1] > MVPN_SELECTORS_MAX ||
	    len < 2 + PREFIX_B * (size_t)(data[0] + data[1]))
		return -EINVAL;
	s.na = data[0];
	s.nb = data[1];
	p = get_prefixes(s.a, s.na, data + 2);
	if (p)
		p = get_prefixes(s.b, s.nb, p);
	if (!p || get_limits(&s, p, (size_t)(data + len - p)) < 0)
		return -EINVAL;
	*ret = s;
	return 0;
}

static uint8_t *put_prefixes(uint8_t *p, const struct mvpn_prefix *prefix, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		*p++ = prefix[i].len;
		p = mempcpy(p, prefix[i].addr.b, 16);
	}
	return p;
}

static uint8_t *put_services(uint8_t *p, const struct mvpn_service *s, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		*p++ = s[i].proto;
		*p++ = (uint8_t)(s[i].lo >> 8);
		*p++ = (uint8_t)s[i].lo;
		*p++ = (uint8_t)(s[i].hi >> 8);
		*p++ = (uint8_t)s[i].hi;
	}
	return p;
}

int intro_selectors_encode(const struct intro_selectors *s, uint8_t *ret, size_t size)
{
	size_t len;
	uint8_t *p;

	if (s->na > MVPN_SELECTORS_MAX || s->nb > MVPN_SELECTORS_MAX ||
	    (s->limited && (s->nserv_a > MVPN_SERVICES_MAX || s->nserv_b > MVPN_SERVICES_MAX ||
			    s->nserv_a + s->nserv_b == 0)))
		return -EINVAL;
	len = 2 + PREFIX_B * (s->na + s->nb);
	if (s->limited)
		len += SERVICE_B * (s->nserv_a + s->nserv_b);
	if (s->limited || s->classes.n)
		len += 2;
	if (s->classes.n)
		len += mvpn_classes_size(&s->classes);
	if (len > size)
		return -ENOBUFS;
	ret[0] = s->na;
	ret[1] = s->nb;
	p = put_prefixes(put_prefixes(ret + 2, s->a, s->na), s->b, s->nb);
	if (s->limited || s->classes.n) {
		*p++ = s->limited ? (uint8_t)s->nserv_a : 0;
		*p++ = s->limited ? (uint8_t)s->nserv_b : 0;
	}
	if (s->limited)
		p = put_services(put_services(p, s->serv_a, s->nserv_a), s->serv_b, s->nserv_b);
	if (s->classes.n)
		mvpn_classes_encode(&s->classes, p);
	return len;
}
