/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * In the order things happen: A's request, B's answer, A's check of it. The key derivation is
 * intro_keys.c.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <endian.h>
#include <sodium.h>

#include "crypto.h"
#include "intro.h"
#include "intro_impl.h"
#include "noise.h"

#define PROLOGUE "mavp1 peer" /* its NUL counts */
#define MSG2_OVERHEAD_B (32 + 48 + 16)

/* what message 2 carries; candidates follow */
struct payload2 {
	uint8_t session_id[16];
	uint32_t spi_b_be;
	uint8_t lanes, suite;
	uint16_t udpport_be;
	uint64_t boot_gen_be;
	uint8_t selectors_hash[32];
	uint8_t ncand;
} __attribute__((packed));
#define PAYLOAD2_MAX_B \
	(sizeof(struct payload2) + MVPN_CANDIDATES_MAX * sizeof(struct mvpn_candidate))

_Static_assert(sizeof(struct payload2) == 65, "payload of message 2 before its candidates");
_Static_assert(MSG2_OVERHEAD_B + PAYLOAD2_MAX_B <= INTRO_MSG2_MAX_B, "the longest message 2 fits");

struct intro_a {
	struct noise *noise; /* all that is secret is in there */
	uint8_t pk[32];
	size_t req_len;
	uint8_t req[INTRO_REQ_MAX_B];
};

static size_t put_candidates(uint8_t *p, const struct intro_self *self)
{
	for (unsigned i = 0; i < self->ncand; i++) {
		struct mvpn_candidate c = {.port_be = htons(self->cand[i].port)};

		memcpy(c.addr, self->cand[i].addr.b, sizeof(c.addr));
		memcpy(p + i * sizeof(c), &c, sizeof(c));
	}
	return self->ncand * sizeof(struct mvpn_candidate);
}

/* only those that can be sent to; the caller has checked n and the length */
static void get_candidates(struct intro_keys *ret, const uint8_t *p, unsigned n)
{
	ret->ncand = 0;
	for (unsigned i = 0; i < n; i++) {
		struct mvpn_endpoint *e = &ret->cand[ret->ncand];
		struct mvpn_candidate c;

		memcpy(&c, p + i * sizeof(c), sizeof(c));
		memcpy(e->addr.b, c.addr, sizeof(c.addr));
		e->port = ntohs(c.port_be);
		if (e->port && !sodium_is_zero(c.addr, sizeof(c.addr)))
			ret->ncand++;
	}
}

static bool self_ok(const struct intro_self *self)
{
	return self->spi && self->lanes >= 1 && self->lanes <= MVPN_LANES_MAX &&
	       self->ncand <= MVPN_CANDIDATES_MAX;
}

static int handshake_new(struct noise **ret, const struct intro_self *self, const uint8_t *rs,
			 const uint8_t *req, size_t req_len)
{
	uint8_t prologue[sizeof(PROLOGUE) + INTRO_REQ_MAX_B];
	struct noise_config config = {
		.pattern = NOISE_KXPSK2,
		.initiator = !rs,
		.prologue = prologue,
		.prologue_len = sizeof(PROLOGUE) + req_len,
		.s = self->s,
		.s_pub = self->s_pub,
		.rs = rs,
	};

	memcpy(prologue, PROLOGUE, sizeof(PROLOGUE));
	memcpy(prologue + sizeof(PROLOGUE), req, req_len);
	return noise_new(ret, &config);
}

static int own_public(uint8_t ret[32], const struct intro_self *self)
{
	if (!self->s_pub)
		return mvpn_x25519_public(ret, self->s);
	memcpy(ret, self->s_pub, 32);
	return 0;
}

/* Whether p names this end by its own key, REQ's initiator, and two devices, and has K if REQ's mode needs it. */
static bool pair_ok(const struct intro_pair *p, const uint8_t *req, const uint8_t own_pk[32],
		    const uint8_t named_pk[32])
{
	return p->selectors_len <= UINT16_MAX &&
	       memcmp(p->a_id, req + offsetof(struct mvpn_req, a_id), MVPN_ID_LEN) == 0 &&
	       memcmp(p->a_id, p->b_id, MVPN_ID_LEN) != 0 && memcmp(own_pk, named_pk, 32) == 0 &&
	       memcmp(p->a_pk, p->b_pk, 32) != 0 &&
	       (req[offsetof(struct mvpn_req, mode)] != MVPN_MODE_E2E) == (p->central != NULL);
}

static void hash_selectors(uint8_t ret[32], const struct intro_pair *p)
{
	mvpn_blake2b(ret, 32, NULL, 0, &(struct mvpn_part){p->selectors, p->selectors_len}, 1);
}

/* ---- A: REQUEST ---- */

int intro_a_start(struct intro_a **ret, const struct mvpn_req *tmpl, const struct intro_self *self,
		  uint8_t ret_req[static INTRO_REQ_MAX_B], size_t *ret_req_len,
		  uint8_t ret_msg1[static INTRO_MSG1_B])
{
	struct mvpn_req req = *tmpl;
	struct mvpn_addr dst;
	struct intro_a *a;
	int r;

	req.suites = self->suites & aead_suites();
	if (!self_ok(self) || !req.suites)
		return -EINVAL;
	a = calloc(1, sizeof(*a));
	if (!a)
		return -ENOMEM;
	memcpy(dst.b, req.dst, sizeof(dst.b));
	req.ver = MVPN_PROTO_VER;
	req.flags = 0;
	randombytes_buf(req.nonce, sizeof(req.nonce));
	req.af = req.layer == MVPN_LAYER_LINK ? 0 : mvpn_addr_is_v4(&dst) ? 4 : 6;
	req.spi_a_be = htonl(self->spi);
	req.lanes = self->lanes;
	req.udpport_be = htons(self->udpport);
	req.boot_gen_be = htobe64(self->boot_gen);
	req.ncand = self->ncand;
	memset(req.zero, 0, sizeof(req.zero));
	memcpy(a->req, &req, sizeof(req));
	a->req_len = sizeof(req) + put_candidates(a->req + sizeof(req), self);

	r = intro_req_check(a->req, a->req_len);
	if (r == 0)
		r = own_public(a->pk, self);
	if (r == 0)
		r = handshake_new(&a->noise, self, NULL, a->req, a->req_len);
	if (r == 0)
		r = noise_write(a->noise, NULL, 0, ret_msg1, INTRO_MSG1_B);
	if (r < 0) {
		intro_a_free(a);
		return r;
	}
	memcpy(ret_req, a->req, a->req_len);
	*ret_req_len = a->req_len;
	*ret = a;
	return 0;
}

void intro_a_set_dh(struct intro_a *a, const uint8_t peer[32], const uint8_t dh[32])
{
	noise_set_dh(a->noise, peer, dh);
}

void intro_a_free(struct intro_a *a)
{
	if (!a)
		return;
	noise_free(a->noise);
	free(a);
}

int intro_req_check(const uint8_t *data, size_t len)
{
	struct mvpn_req req;

	if (len < sizeof(req))
		return -EINVAL;
	memcpy(&req, data, sizeof(req));
	if (req.ver != MVPN_PROTO_VER || req.mode >= MVPN_MODES ||
	    req.layer < MVPN_LAYER_SOCKET || req.layer > MVPN_LAYER_LINK || req.flags)
		return -EINVAL;
	if (req.layer == MVPN_LAYER_LINK && (req.af || req.proto || req.dport_be))
		return -EINVAL;
	if (req.lanes < 1 || req.lanes > MVPN_LANES_MAX || req.ncand > MVPN_CANDIDATES_MAX)
		return -EINVAL;
	if (!sodium_is_zero(req.zero, sizeof(req.zero)))
		return -EINVAL;
	return len == sizeof(req) + req.ncand * sizeof(struct mvpn_candidate) ? 0 : -EINVAL;
}

/* ---- B: OFFER in, ACCEPT out ---- */

static int choose_suite(unsigned a, unsigned b)
{
	unsigned both = a & b & aead_suites();

	if (both & 1U << (MVPN_AES256_GCM - 1))
		return MVPN_AES256_GCM;
	return both & 1U << (MVPN_CHACHA20_POLY1305 - 1) ? MVPN_CHACHA20_POLY1305
							 : -EPROTONOSUPPORT;
}

static int write_msg2(struct noise *n, const struct intro_pair *p, const struct intro_self *self,
		      unsigned suite, uint8_t *ret_msg2)
{
	struct payload2 head = {
		.spi_b_be = htonl(self->spi),
		.lanes = self->lanes,
		.suite = suite,
		.udpport_be = htons(self->udpport),
		.boot_gen_be = htobe64(self->boot_gen),
		.ncand = self->ncand,
	};
	uint8_t payload[PAYLOAD2_MAX_B];
	size_t len = sizeof(head);

	memcpy(head.session_id, p->session_id, sizeof(head.session_id));
	hash_selectors(head.selectors_hash, p);
	memcpy(payload, &head, sizeof(head));
	len += put_candidates(payload + sizeof(head), self);
	return noise_write(n, payload, len, ret_msg2, INTRO_MSG2_MAX_B);
}

int intro_b_accept(const uint8_t *req_bytes, size_t req_len, const uint8_t *msg1, size_t msg1_len,
		   const struct intro_pair *p, const struct intro_self *self,
		   uint8_t ret_msg2[static INTRO_MSG2_MAX_B], size_t *ret_msg2_len,
		   struct intro_keys *ret)
{
	struct intro_keys keys = {0};
	struct noise *n = NULL;
	struct mvpn_req req;
	uint8_t pk[32];
	int r, suite;

	if (!self_ok(self))
		return -EINVAL;
	if (intro_req_check(req_bytes, req_len) < 0 || msg1_len != INTRO_MSG1_B)
		return -EBADMSG;
	memcpy(&req, req_bytes, sizeof(req));
	if (own_public(pk, self) < 0 || !pair_ok(p, req_bytes, pk, p->b_pk) ||
	    !req.spi_a_be)
		return -EBADMSG;
	suite = choose_suite(req.suites, self->suites);
	if (suite < 0)
		return suite;

	r = handshake_new(&n, self, p->a_pk, req_bytes, req_len);
	if (r < 0)
		return r;
	noise_set_psk(n, p->psk);
	if (!self->s && self->dh)
		noise_set_dh(n, msg1, self->dh);
	r = noise_read(n, msg1, msg1_len, NULL, 0);
	if (r >= 0)
		r = write_msg2(n, p, self, suite, ret_msg2);
	if (r < 0)
		goto out;
	*ret_msg2_len = r;
	keys.suite = suite;
	keys.tx_lanes = self->lanes;
	keys.rx_lanes = req.lanes;
	keys.peer_spi = ntohl(req.spi_a_be);
	keys.peer_udpport = ntohs(req.udpport_be);
	keys.peer_boot_gen = be64toh(req.boot_gen_be);
	get_candidates(&keys, req_bytes + sizeof(req), req.ncand);
	r = intro_derive(
		n, &(struct intro_bound){p, req_bytes, req_len, suite, keys.peer_spi, self->spi},
		keys.rx, keys.tx);
	if (r == 0)
		*ret = keys;
out:
	noise_free(n);
	sodium_memzero(&keys, sizeof(keys));
	return r;
}

/* ---- A: ANSWER in ---- */

/* 0 when message 2 is about this session, these selectors, and what A has offered */
static int check_msg2(const struct payload2 *head, size_t len, const struct mvpn_req *req,
		      const struct intro_pair *p)
{
	uint8_t hash[32];

	hash_selectors(hash, p);
	if (memcmp(head->session_id, p->session_id, sizeof(head->session_id)) != 0 ||
	    memcmp(head->selectors_hash, hash, sizeof(hash)) != 0)
		return -EBADMSG;
	if (!head->spi_b_be || head->lanes < 1 || head->lanes > MVPN_LANES_MAX ||
	    head->ncand > MVPN_CANDIDATES_MAX ||
	    len != sizeof(*head) + head->ncand * sizeof(struct mvpn_candidate))
		return -EBADMSG;
	if (head->suite < 1 || head->suite > 8 || !(req->suites & 1U << (head->suite - 1)))
		return -EPROTONOSUPPORT;
	return 0;
}

static int read_msg2(struct intro_a *a, const struct intro_pair *p, const uint8_t *msg2, size_t len,
		     uint8_t payload[static PAYLOAD2_MAX_B])
{
	uint8_t pk[32];
	int r;

	if (len < MSG2_OVERHEAD_B + sizeof(struct payload2) ||
	    len > MSG2_OVERHEAD_B + PAYLOAD2_MAX_B)
		return -EBADMSG;
	noise_set_psk(a->noise, p->psk);
	r = noise_read_static(a->noise, msg2, len, pk);
	if (r == -ENOKEY)
		return r;
	if (r < 0 || memcmp(pk, p->b_pk, sizeof(pk)) != 0)
		return -EBADMSG;
	r = noise_read(a->noise, msg2, len, payload, PAYLOAD2_MAX_B);
	return r < 0 ? -EBADMSG : r;
}

int intro_a_finish(struct intro_a *a, const struct intro_pair *p, const uint8_t *msg2, size_t len,
		   struct intro_keys *ret)
{
	struct intro_keys keys = {0};
	uint8_t payload[PAYLOAD2_MAX_B];
	struct payload2 head;
	struct mvpn_req req;
	int r;

	if (!pair_ok(p, a->req, a->pk, p->a_pk))
		return -EBADMSG;
	r = read_msg2(a, p, msg2, len, payload);
	if (r < 0)
		return r;
	memcpy(&head, payload, sizeof(head));
	memcpy(&req, a->req, sizeof(req));
	r = check_msg2(&head, r, &req, p);
	if (r < 0)
		return r;
	keys.suite = head.suite;
	keys.tx_lanes = req.lanes;
	keys.rx_lanes = head.lanes;
	keys.peer_spi = ntohl(head.spi_b_be);
	keys.peer_udpport = ntohs(head.udpport_be);
	keys.peer_boot_gen = be64toh(head.boot_gen_be);
	get_candidates(&keys, payload + sizeof(head), head.ncand);
	r = intro_derive(a->noise,
			 &(struct intro_bound){p, a->req, a->req_len, head.suite,
					       ntohl(req.spi_a_be), keys.peer_spi},
			 keys.tx, keys.rx);
	if (r == 0)
		*ret = keys;
	sodium_memzero(&keys, sizeof(keys));
	return r;
}
