/* SPDX-License-Identifier: BSD-2-Clause */
#include "echo_msg.h"

#include <endian.h>
#include <errno.h>
#include <sodium.h>
#include <string.h>

#include "crypto.h"

/* what is sealed */
struct body {
	uint8_t addr[16];
	uint16_t port_be;
	uint8_t zero[6];
	uint8_t cookie[ECHO_COOKIE_B];
} __attribute__((packed));

_Static_assert(sizeof(struct mvpn_hdr) + sizeof(struct body) + MVPN_TAG_LEN == MVPN_ECHO_B,
	       "an echo fills its size");

/* a question's and its answer's differ by the type */
static void nonce_of(const struct mvpn_hdr *h, uint8_t ret[12])
{
	memset(ret, 0, 12);
	ret[0] = h->type;
	memcpy(ret + 4, &h->counter, 8);
}

void echo_seal(uint8_t ret[static MVPN_ECHO_B], enum mvpn_type type, const struct echo_msg *m,
	       const uint8_t key[static ECHO_KEY_B])
{
	struct mvpn_hdr h = {.type = (uint8_t)type,
			     .spi = htobe32(m->id),
			     .counter = htobe64(m->counter)};
	struct body b = {.port_be = htobe16(m->seen.port)};
	uint8_t nonce[12];

	memcpy(b.addr, m->seen.addr.b, sizeof(b.addr));
	memcpy(b.cookie, m->cookie, sizeof(b.cookie));
	nonce_of(&h, nonce);
	memcpy(ret, &h, sizeof(h));
	mvpn_chapoly_seal(ret + sizeof(h), (const uint8_t *)&b, sizeof(b), &h, sizeof(h), nonce,
			  key);
}

bool echo_look(const uint8_t *data, size_t len, enum mvpn_type type, uint32_t *ret_id)
{
	struct mvpn_hdr h;

	if (len != MVPN_ECHO_B)
		return false;
	memcpy(&h, data, sizeof(h));
	if (h.type != type || h.lane || h.gen || !h.spi)
		return false;
	*ret_id = be32toh(h.spi);
	return true;
}

int echo_open(struct echo_msg *ret, const uint8_t data[static MVPN_ECHO_B],
	      const uint8_t key[static ECHO_KEY_B])
{
	struct mvpn_hdr h;
	struct body b;
	uint8_t nonce[12];

	memcpy(&h, data, sizeof(h));
	nonce_of(&h, nonce);
	if (mvpn_chapoly_open((uint8_t *)&b, data + sizeof(h), MVPN_ECHO_B - sizeof(h), &h,
			      sizeof(h), nonce, key))
		return -EBADMSG;
	if (!sodium_is_zero(b.zero, sizeof(b.zero)))
		return -EBADMSG;
	ret->id = be32toh(h.spi);
	ret->counter = be64toh(h.counter);
	memcpy(ret->seen.addr.b, b.addr, sizeof(b.addr));
	ret->seen.port = be16toh(b.port_be);
	memcpy(ret->cookie, b.cookie, sizeof(b.cookie));
	return 0;
}
