/* SPDX-License-Identifier: BSD-2-Clause */
#include "stream.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <netinet/in.h>
#include <sodium.h>
#include <string.h>

#include "crypto.h"
#include "intro.h"

#define MAGIC 0x6d767331U /* "mvs1" */
#define PROBE 1		  /* of flags */
#define DATAGRAM_HEAD_MIN_B 14

/* OPEN, as it is on the wire: AAD, then what is sealed */
struct head {
	uint32_t magic_be, spi_be;
	uint64_t number_be;
} __attribute__((packed));
struct body {
	uint8_t proto, flags;
	uint16_t zero, sport_be, dport_be;
	uint8_t src[16], dst[16];
} __attribute__((packed));
_Static_assert(sizeof(struct head) == 16, "the AEAD's additional data");
_Static_assert(sizeof(struct head) + sizeof(struct body) + STREAM_TAG_B == STREAM_OPEN_B, "OPEN");

static const uint8_t protos[] = {
	[STREAM_CONNECTION] = IPPROTO_TCP, [STREAM_DATAGRAMS] = IPPROTO_UDP, [STREAM_PROBE] = 0};

static int open_key(struct aead *ret, const struct stream_session *s)
{
	struct mvpn_part parts[] = {{"mavp1 stream open", 17}, {s->id, MVPN_ID_LEN}};
	uint8_t l[32];
	int r;

	mvpn_blake2b(l, sizeof(l), s->k_opener, 32, parts, 2);
	r = intro_lane_aead(ret, s->suite, l);
	sodium_memzero(l, sizeof(l));
	return r;
}

int stream_open_seal(uint8_t ret[static STREAM_OPEN_B], const struct stream_session *s,
		     uint32_t spi, uint64_t number, enum stream_kind kind,
		     const struct stream_tuple *t)
{
	struct head h = {htonl(MAGIC), htonl(spi), htobe64(number)};
	struct body b = {.proto = protos[kind], .flags = kind == STREAM_PROBE ? PROBE : 0};
	struct aead a;
	int r = open_key(&a, s);

	if (r < 0)
		return r;
	if (kind == STREAM_CONNECTION) {
		b.sport_be = htons(t->src.port);
		b.dport_be = htons(t->dst.port);
		memcpy(b.src, t->src.addr.b, 16);
		memcpy(b.dst, t->dst.addr.b, 16);
	}
	memcpy(ret, &h, sizeof(h));
	aead_seal(&a, number, &h, (const uint8_t *)&b, sizeof(b), ret + sizeof(h));
	sodium_memzero(&a, sizeof(a));
	return 0;
}

bool stream_open_head(const uint8_t open[static STREAM_OPEN_B], uint32_t *ret_spi,
		      uint64_t *ret_number)
{
	struct head h;

	memcpy(&h, open, sizeof(h));
	*ret_spi = ntohl(h.spi_be);
	*ret_number = be64toh(h.number_be);
	return h.magic_be == htonl(MAGIC);
}

/* names it a connection that can be? */
static bool is_connection(const struct stream_tuple *t)
{
	return t->src.port && t->dst.port &&
	       mvpn_addr_is_v4(&t->src.addr) == mvpn_addr_is_v4(&t->dst.addr);
}

static int kind_of(const struct body *b, const struct stream_tuple *t)
{
	static const struct stream_tuple none;
	bool named = memcmp(t, &none, sizeof(none)) != 0;

	if (b->zero)
		return -EPROTO;
	if (b->proto == IPPROTO_TCP && !b->flags && is_connection(t))
		return STREAM_CONNECTION;
	if (b->proto == IPPROTO_UDP && !b->flags && !named)
		return STREAM_DATAGRAMS;
	return !b->proto && b->flags == PROBE && !named ? STREAM_PROBE : -EPROTO;
}

int stream_open_open(const uint8_t open[static STREAM_OPEN_B], const struct stream_session *s,
		     enum stream_kind *ret_kind, struct stream_tuple *ret)
{
	struct stream_tuple t = {};
	struct aead a;
	struct body b;
	uint64_t number;
	uint32_t spi;
	bool ok;
	int kind;

	if (!stream_open_head(open, &spi, &number) || open_key(&a, s) < 0)
		return -EBADMSG;
	ok = aead_open(&a, number, open, open + sizeof(struct head),
		       STREAM_OPEN_B - sizeof(struct head), (uint8_t *)&b);
	sodium_memzero(&a, sizeof(a));
	if (!ok)
		return -EBADMSG;
	memcpy(t.src.addr.b, b.src, 16);
	memcpy(t.dst.addr.b, b.dst, 16);
	t.src.port = ntohs(b.sport_be);
	t.dst.port = ntohs(b.dport_be);
	kind = kind_of(&b, &t);
	if (kind < 0)
		return kind;
	*ret_kind = (enum stream_kind)kind;
	*ret = t;
	return 0;
}

/* ---- records ---- */

static int dir_set(struct stream_dir *d, const struct stream_session *s, bool by_opener,
		   const uint8_t *open, const uint8_t *nonce)
{
	struct mvpn_part parts[] = {{by_opener ? "mavp1 stream >" : "mavp1 stream <", 14},
				    {s->id, MVPN_ID_LEN},
				    {open, STREAM_OPEN_B},
				    {nonce, STREAM_NONCE_B}};

	mvpn_blake2b(d->chain, sizeof(d->chain), by_opener ? s->k_opener : s->k_acceptor, 32, parts,
		     4);
	d->next = 0;
	d->over = false;
	return intro_lane_aead(&d->aead, s->suite, d->chain);
}

int stream_dirs(struct stream_dir *tx, struct stream_dir *rx, bool opener,
		const struct stream_session *s, const uint8_t open[static STREAM_OPEN_B],
		const uint8_t nonce[static STREAM_NONCE_B])
{
	int r = dir_set(tx, s, opener, open, nonce);

	return r < 0 ? r : dir_set(rx, s, !opener, open, nonce);
}

/* Both ends count alike: after so many records the key's successor takes its place, and the key is gone. */
static void advance(struct stream_dir *d)
{
	unsigned suite = d->aead.suite;

	if (++d->next % MVPN_STREAM_REKEY_RECORDS)
		return;
	intro_lane_next(d->chain);
	intro_lane_aead(&d->aead, suite, d->chain);
}

static void head_put(uint8_t aad[16], unsigned type, size_t len)
{
	memset(aad, 0, 16);
	aad[0] = (uint8_t)type;
	aad[1] = (uint8_t)(len >> 16);
	aad[2] = (uint8_t)(len >> 8);
	aad[3] = (uint8_t)len;
}

size_t stream_seal(struct stream_dir *d, enum stream_record type, const void *data, size_t len,
		   uint8_t *ret)
{
	uint8_t aad[16];

	head_put(aad, type, len + STREAM_TAG_B);
	memcpy(ret, aad, STREAM_HEAD_B);
	aead_seal(&d->aead, d->next, aad, data, len, ret + STREAM_HEAD_B);
	advance(d);
	d->over = type == STREAM_FINAL || type == STREAM_ABORT;
	return len + STREAM_OVERHEAD_B;
}

/* of what is sealed in it */
static bool length_fits(unsigned type, size_t len)
{
	switch (type) {
	case STREAM_REPLY:
	case STREAM_ABORT:
		return len == 2;
	case STREAM_DATA:
		return len >= 1 && len <= MVPN_STREAM_DATA_MAX_B;
	case STREAM_DATAGRAM:
		return len >= DATAGRAM_HEAD_MIN_B && len <= MVPN_STREAM_DATA_MAX_B;
	case STREAM_FINAL:
		return len == 0;
	}
	return false;
}

int stream_record_len(const uint8_t head[static STREAM_HEAD_B])
{
	size_t len = (size_t)head[1] << 16 | head[2] << 8 | head[3];

	if (len < STREAM_TAG_B || !length_fits(head[0], len - STREAM_TAG_B))
		return -EPROTO;
	return (int)(STREAM_HEAD_B + len);
}

int stream_unseal(struct stream_dir *d, const uint8_t *record, size_t len,
		  enum stream_record *ret_type, uint8_t *ret)
{
	uint8_t aad[16];

	if (len < STREAM_OVERHEAD_B || stream_record_len(record) != (int)len ||
	    (d->over && record[0] != STREAM_ABORT))
		return -EPROTO;
	head_put(aad, record[0], len - STREAM_HEAD_B);
	if (!aead_open(&d->aead, d->next, aad, record + STREAM_HEAD_B, len - STREAM_HEAD_B, ret))
		return -EBADMSG;
	advance(d);
	*ret_type = record[0];
	d->over |= record[0] == STREAM_FINAL || record[0] == STREAM_ABORT;
	return (int)(len - STREAM_OVERHEAD_B);
}

/* ---- datagrams ---- */

size_t stream_datagram_put(uint8_t ret[static STREAM_DATAGRAM_HEAD_MAX_B],
			   const struct stream_tuple *t)
{
	bool v4 = mvpn_addr_is_v4(&t->src.addr);
	size_t len = v4 ? 4 : 16;
	uint16_t ports[2] = {htons(t->src.port), htons(t->dst.port)};

	ret[0] = v4 ? 4 : 6;
	ret[1] = 0;
	memcpy(ret + 2, ports, 4);
	memcpy(ret + 6, t->src.addr.b + 16 - len, len);
	memcpy(ret + 6 + len, t->dst.addr.b + 16 - len, len);
	return 6 + 2 * len;
}

int stream_datagram_get(const uint8_t *data, size_t len, struct stream_tuple *ret)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
	size_t alen = len && data[0] == 4 ? 4 : 16;
	struct stream_tuple t = {};
	uint16_t ports[2];

	if (len < 6 + 2 * alen || data[1] || (data[0] != 4 && data[0] != 6))
		return -EPROTO;
	memcpy(t.src.addr.b, mapped, 16 - alen);
	memcpy(t.dst.addr.b, mapped, 16 - alen);
	memcpy(ports, data + 2, 4);
	memcpy(t.src.addr.b + 16 - alen, data + 6, alen);
	memcpy(t.dst.addr.b + 16 - alen, data + 6 + alen, alen);
	t.src.port = ntohs(ports[0]);
	t.dst.port = ntohs(ports[1]);
	if (!is_connection(&t) || (alen == 16 && mvpn_addr_is_v4(&t.src.addr)))
		return -EPROTO;
	*ret = t;
	return (int)(6 + 2 * alen);
}
