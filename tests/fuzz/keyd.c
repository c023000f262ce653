/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Any messages of the server to a keyd that is on-line (tests/sim/pair.h), in any order, while it is introduced to its peer and time
 * passes. Whatever comes, a message that is refused as malformed has changed nothing that is in force.
 */
#include <errno.h>
#include <sodium.h>

#include "../../keyd/attach.h"
#include "../../keyd/conn.h"
#include "../../keyd/ether.h"
#include "../../keyd/identity.h"
#include "../../keyd/keystore.h"
#include "../../keyd/peers.h"
#include "../../keyd/forwards.h"
#include "../../keyd/processes.h"
#include "../../keyd/sessions.h"
#include "../sim/pair.h"
#include "crypto.h"
#include "said.h"
#include "spi.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t types[] = {
	MVPN_MSG_WELCOME, MVPN_MSG_HEARTBEAT, MVPN_MSG_CLOSE,	    MVPN_MSG_PREFIXES,	 MVPN_MSG_ETHER,  MVPN_MSG_LEVELS,
	MVPN_MSG_PROCESSES, MVPN_MSG_ROTATE,  MVPN_MSG_SERVER_KEY, MVPN_MSG_PIN,	 MVPN_MSG_OFFER,  MVPN_MSG_ANSWER,
	MVPN_MSG_FAIL,	  MVPN_MSG_CANCEL,    MVPN_MSG_PEER_RESET, MVPN_MSG_REVOKE,	 MVPN_MSG_RELAY,  0x7f,
};
#define TYPES (sizeof(types) / sizeof(types[0]))
/* what happens besides, behind the types in the first byte */
enum { TIME_PASSES = TYPES, TALKS, ROTATES, FORWARDS, SERVES, THINGS };

static struct attachment iface = {.name = "eth9", .ifindex = 9, .up = true, .mac = {2, 0, 0, 0, 0, 9}};
static struct pair p;

int __wrap_keystore_save(struct keyd *k, const struct identity *id);
int __wrap_keystore_save(struct keyd *k, const struct identity *id)
{
	return 0;
}

/* ---- values ---- */

static size_t id_of(struct said *s, unsigned kind, uint8_t *ret)
{
	const struct keyd *k = &p.node[A].k;
	const struct peer *peer = node_peer(&p.node[A]);

	memset(ret, 0, MVPN_ID_LEN);
	if (kind % 4 == 0)
		memcpy(ret, p.node[B].id, MVPN_ID_LEN);
	else if (kind % 4 == 1)
		memcpy(ret, k->id->device_id, MVPN_ID_LEN);
	else if (kind % 4 == 2)
		ret[0] = said_u8(s) % 8; /* 0: nobody */
	else if (peer && peer->sessions)
		memcpy(ret, peer->sessions->id, MVPN_ID_LEN);
	return MVPN_ID_LEN;
}

static size_t key_of(struct said *s, unsigned kind, uint8_t *ret)
{
	const struct keyd *k = &p.node[A].k;

	switch (kind % 5) {
	case 0:
		memcpy(ret, p.node[B].pk, 32);
		break;
	case 1:
		memcpy(ret, k->id->next_pk, 32);
		break;
	case 2:
		memcpy(ret, p.server.pk, 32);
		break;
	case 3:
		memcpy(ret, k->id->pk, 32);
		break;
	default:
		said_bytes(s, ret, 32);
	}
	return 32;
}

static void address(struct said *s, unsigned kind, uint8_t ret[16])
{
	const struct node *n = &p.node[kind % 2];

	memcpy(ret, n->addr.b, 16);
	if (kind & 2)
		said_bytes(s, ret + 12, 4);
	if (kind & 4)
		said_bytes(s, ret, 12);
}

static uint8_t prefix_len(unsigned kind)
{
	static const uint8_t lens[] = {128, 120, 112, 96, 64, 0, 129, 127};

	return lens[kind / 16 % 8];
}

static size_t prefix(struct said *s, unsigned kind, uint8_t *ret)
{
	struct mvpn_prefix x = {.len = prefix_len(kind)};

	address(s, kind, x.addr.b);
	for (unsigned i = x.len; i < 128 && kind & 8; i++)
		x.addr.b[i / 8] &= (uint8_t)~(0x80 >> i % 8);
	ret[0] = x.len;
	memcpy(ret + 1, x.addr.b, 16);
	return 17;
}

static size_t gateways(struct said *s, unsigned kind, uint8_t *ret)
{
	size_t len = prefix(s, kind | 8, ret);

	ret[len++] = said_u8(s);
	for (unsigned n = 1 + kind % 4; n; n--)
		len += id_of(s, said_u8(s), ret + len);
	return len;
}

static size_t selectors(struct said *s, unsigned kind, uint8_t *ret)
{
	if (kind & 1) {
		memcpy(ret, p.server.selectors[kind / 2 % 2], p.server.selectors_len);
		return p.server.selectors_len;
	}
	ret[0] = kind / 2 % 3;
	ret[1] = kind / 8 % 3;
	for (unsigned i = 0, n = ret[0] + ret[1]; i < n; i++)
		prefix(s, said_u8(s) | 8, ret + 2 + 17UL * i);
	return 2 + 17UL * (ret[0] + ret[1]);
}

static size_t request(struct said *s, unsigned kind, uint8_t *ret)
{
	struct mvpn_req r = p.server.intro.req;

	if (kind & 1) {
		r.ver = 1;
		r.mode = said_u8(s) % MVPN_MODES;
		r.layer = said_u8(s) % 6;
		memcpy(r.a_id, p.node[B].id, 16);
		said_bytes(s, r.nonce, 16);
		r.ncand = 0;
	}
	memcpy(ret, &r, sizeof(r));
	return sizeof(r) + r.ncand % (MVPN_CANDIDATES_MAX + 1) * sizeof(struct mvpn_candidate);
}

static size_t ether(struct said *s, unsigned kind, uint8_t *ret)
{
	static const uint16_t ethertypes[] = {0, 0x88b5, 0x0800, 0x8863};
	struct mvpn_ether e = {.type_be = __builtin_bswap16(ethertypes[kind % 4]), .flags = kind / 4 % 5};

	said_bytes(s, e.mac, 6);
	e.mac[0] &= 0xfe;
	id_of(s, kind / 32, e.owner);
	memcpy(ret, &e, sizeof(e));
	return sizeof(e);
}

static size_t text(struct said *s, unsigned skip, uint8_t *ret)
{
	static const char *const words[] = {"a", "/bin/x", "x.service", "0", "/a/b", "no good", ".", "b\n"};
	const char *w = words[said_u8(s) % 8];

	memset(ret, 0, skip);
	if (skip)
		ret[skip - 1] = said_u8(s) % 6;
	memcpy(ret + skip, w, strlen(w));
	return skip + strlen(w);
}

/* what fits, and means something to this keyd */
static size_t value(void *arg, struct said *s, unsigned type, unsigned kind, uint8_t *ret)
{
	const struct keyd *k = &p.node[A].k;

	switch (type) {
	case MVPN_TLV_DEVICE:
	case MVPN_TLV_SESSION:
	case MVPN_TLV_PROCESS_PEER:
		return id_of(s, kind, ret);
	case MVPN_TLV_NONCE:
		memcpy(ret, p.server.intro.req.nonce, 16);
		return 16;
	case MVPN_TLV_S_PUB:
		return key_of(s, kind, ret);
	case MVPN_TLV_PSK:
	case MVPN_TLV_KEY:
	case MVPN_TLV_SET:
		said_bytes(s, ret, 32);
		return 32;
	case MVPN_TLV_BOOT_GEN:
		said_number(ret, k->boot_gen, 8);
		return 8;
	case MVPN_TLV_SEQ:
	case MVPN_TLV_REV:
	case MVPN_TLV_KEY_SERIAL:
	case MVPN_TLV_TIME:
		said_number(ret, kind, 8);
		return 8;
	case MVPN_TLV_NET:
		memset(ret, 0, 8);
		return 8;
	case MVPN_TLV_STATE:
	case MVPN_TLV_LAYER:
	case MVPN_TLV_MODE:
	case MVPN_TLV_NO_UDP:
		ret[0] = kind % 6;
		return 1;
	case MVPN_TLV_PSK_EPOCH:
		said_number(ret, k->id->psk_epoch + kind % 3, 4);
		return 4;
	case MVPN_TLV_MAX_OFFLINE:
	case MVPN_TLV_REKEY:
	case MVPN_TLV_TTL:
	case MVPN_TLV_OPTIONS:
	case MVPN_TLV_RETURN:
	case MVPN_TLV_KEY_LEFT:
	case MVPN_TLV_KEY_IN:
	case MVPN_TLV_SPI:
		said_number(ret, (uint64_t)kind << (kind & 3) * 8, 4);
		return 4;
	case MVPN_TLV_REASON:
	case MVPN_TLV_UDP_PORT:
		said_number(ret, kind % (MVPN_R_MAX + 2), 2);
		return 2;
	case MVPN_TLV_ADDR:
		address(s, kind, ret);
		return 16;
	case MVPN_TLV_ENDPOINT:
	case MVPN_TLV_ADDR_REFUSED:
		address(s, kind, ret);
		said_bytes(s, ret + 16, 2);
		return 18;
	case MVPN_TLV_PREFIX:
		prefix(s, kind, ret + 1);
		ret[0] = kind % 11 != 0;
		id_of(s, said_u8(s), ret + 18);
		return 34;
	case MVPN_TLV_PEER:
		id_of(s, kind, ret);
		return MVPN_ID_LEN + text(s, 1, ret + MVPN_ID_LEN);
	case MVPN_TLV_GATEWAYS:
		return gateways(s, kind, ret);
	case MVPN_TLV_SELECTORS:
		return selectors(s, kind, ret);
	case MVPN_TLV_REQ:
		return request(s, kind, ret);
	case MVPN_TLV_NOISE1:
	case MVPN_TLV_NOISE2:
		said_bytes(s, ret, INTRO_MSG1_B);
		return INTRO_MSG1_B;
	case MVPN_TLV_RELAY_RATE:
		said_number(ret, kind, 4);
		return 4;
	case MVPN_TLV_RELAY_END: /* device, SPI, key, name */
		id_of(s, kind, ret);
		said_number(ret + 16, said_u8(s), 4);
		memset(ret + 20, kind, 32);
		return sizeof(struct mvpn_relay_end) + text(s, 1, ret + sizeof(struct mvpn_relay_end));
	case MVPN_TLV_RELAY_BY: /* device, address, port, key, name */
		id_of(s, kind, ret);
		address(s, said_u8(s), ret + 16);
		said_number(ret + 32, said_u8(s), 2);
		memset(ret + 34, kind, 32);
		return sizeof(struct mvpn_relay_by) + text(s, 1, ret + sizeof(struct mvpn_relay_by));
	case MVPN_TLV_ETHER:
		return ether(s, kind, ret);
	case MVPN_TLV_LEVEL:
		id_of(s, kind, ret);
		ret[MVPN_ID_LEN] = kind / 4 % 7;
		return MVPN_ID_LEN + 1;
	case MVPN_TLV_PROCESS_LINE:
		return text(s, 4, ret);
	case MVPN_TLV_PROCESS_BY:
		return text(s, 1, ret);
	case MVPN_TLV_PROCESS_SERVICE:
		said_bytes(s, ret, 5);
		return 5;
	case MVPN_TLV_VOUCH:
		id_of(s, kind, ret);
		said_bytes(s, ret + MVPN_ID_LEN, 32);
		return MVPN_TLV_VOUCH_B;
	case MVPN_TLV_NAME:
		return text(s, 0, ret);
	}
	return 0;
}

/* ---- what is in force ---- */

static crypto_generichash_state sum;

static void add(const void *data, size_t len)
{
	crypto_generichash_update(&sum, data, len);
}

static int add_prefix(void *arg, const struct mvpn_prefix *x, uint32_t owner)
{
	add(&x->len, sizeof(x->len));
	add(x->addr.b, 16);
	add(&owner, sizeof(owner));
	return 0;
}

static void add_peer(const struct peer *x)
{
	add(x->id, sizeof(x->id));
	add(x->name, sizeof(x->name));
	add((uint8_t[]){x->state, x->level, x->mode, x->pinned, x->denied_until_ms != 0, x->intro != NULL}, 6);
	add(x->pin, sizeof(x->pin));
	for (const struct session *s = x->sessions; s; s = s->next) {
		add(s->id, sizeof(s->id));
		add((uint8_t[]){s->limited, (uint8_t)s->nserv_local, (uint8_t)s->nserv_remote}, 3);
		add((uint8_t[]){s->state, s->transmits, s->nat, s->no_udp}, 4);
	}
	if (x->guard)
		add(x->guard, sizeof(*x->guard));
}

static void in_force(struct keyd *k, uint8_t ret[32])
{
	const struct ether_entry *e;
	unsigned n;

	crypto_generichash_init(&sum, NULL, 0, 32);
	if (k->id)
		add(k->id, sizeof(*k->id));
	add((uint64_t[]){k->state, k->return_ms, k->max_offline_s, k->rekey_s, k->policy_rev, k->options, k->naddresses, k->npeers,
			 k->nsessions, k->nintros, k->set_known, k->prefixes_known, k->processes->unknown,
			 k->processes->table ? k->processes->table->n : 0, forwards_count(k)},
	    15 * sizeof(uint64_t));
	add(k->set, sizeof(k->set));
	add(k->ticket, sizeof(k->ticket));
	if (k->naddresses)
		add(k->addresses, k->naddresses * sizeof(*k->addresses));
	lpm_each(k->prefixes, add_prefix, NULL);
	e = ether_entries(k, &n);
	for (unsigned i = 0; i < n; i++)
		add(&e[i], sizeof(e[i]));
	for (uint32_t i = 1; i <= k->npeers; i++)
		add_peer(k->peers[i]);
	crypto_generichash_final(&sum, ret, 32);
}

/* ---- what holds whatever comes ---- */

static void check(struct keyd *k)
{
	unsigned sessions = 0, intros = 0;

	for (uint32_t i = 1; i <= k->npeers; i++) {
		const struct peer *x = k->peers[i];
		unsigned of_one = 0, transmit = 0;

		intros += x->intro != NULL;
		for (const struct session *s = x->sessions; s; s = s->next) {
			of_one++;
			transmit += s->transmits;
			if (k->by_slot[spi_slot(s->rx_spi)] != s || session_by_id(k, s->id) == NULL)
				abort();
		}
		if (of_one > MVPN_SESSIONS_PEER_MAX || transmit > 1)
			abort();
		sessions += of_one;
	}
	if (sessions != k->nsessions || intros != k->nintros)
		abort();
}

/* ---- all of it ---- */

/* as conn.c does; false: the channel is over */
static bool hears(struct keyd *k, const struct chan_msg *m)
{
	struct conn *c = k->conn;
	uint8_t before[32], after[32];
	bool over;
	int r;

	c->busy = true;
	in_force(k, before);
	r = channel_message(c, m);
	if (r == -EPROTO) {
		in_force(k, after);
		if (memcmp(before, after, sizeof(before)) != 0)
			abort();
	}
	if (r && !c->dead)
		conn_failed(c, "message 0x%02x", m->type);
	c->busy = false;
	over = c->dead;
	if (over)
		conn_free(c);
	return !over;
}

static void thing(struct said *s, unsigned what)
{
	struct keyd *k = &p.node[A].k;
	struct identity *id = k->id;
	unsigned ms;

	switch (what) {
	case TIME_PASSES:
		ms = said_u8(s);
		pair_run(&p, ms < 200 ? 10 * ms : 100 * ms);
		break;
	case TALKS:
		pair_talk(&p.node[said_u8(s) % 2], 500);
		break;
	case ROTATES: /* the next key is there, and is announced on the next channel */
		id->has_next = true;
		mvpn_keypair(id->next_sk, id->next_pk);
		break;
	}
}

static void message(struct said *s, uint8_t type)
{
	struct keyd *k = &p.node[A].k;
	struct chan_msg m;
	uint8_t *plain = NULL;

	if (said_message(s, type, value, NULL, &plain, &m) && k->conn && k->conn->welcomed)
		hears(k, &m);
	free(plain);
	check(k);
}

/* but the two need not agree any more */
static void as_it_is(uint8_t *data, size_t *len)
{
}

static void forget(void)
{
	pair_teardown(NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct said s = {data, size};
	static bool known;
	uint8_t mode;

	if (!known) {
		setenv("TMPDIR", "/dev/shm", 0); /* it writes a lot */
		if (pair_setup(NULL) || atexit(forget))
			abort();
	}
	known = true;
	mode = said_u8(&s);
	pair_up(&p, 1, mode % MVPN_MODES);
	p.node[A].k.ifaces[0] = &iface;
	p.node[A].k.nifaces = 1;
	p.mangle = as_it_is;
	p.others = true;
	while (s.left) {
		unsigned what = said_u8(&s) % THINGS;

		if (what < TYPES)
			message(&s, types[what]);
		else if (what == FORWARDS)
			message(&s, MVPN_MSG_FORWARD);
		else if (what == SERVES)
			message(&s, MVPN_MSG_SERVICES);
		else
			thing(&s, what);
	}
	pair_run(&p, 500);
	check(&p.node[A].k);
	pair_down(&p);
	pair_forget();
	return 0;
}
