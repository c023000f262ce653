/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The server's relay between four devices and a stranger, two of which may relay themselves: whatever they say and send, in whatever order,
 * a packet goes out only to one end of a session that is on record, by the SPI which that end has given, when it came from the other
 * end; once, as it came. Who relays is told of open pairs that are not its own, and the ends are told of it alone.
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../../server/echo.h"
#include "../../server/relay.h"
#include "../../server/relay_device.h"
#include "../../server/relay_tcp.h"
#include "chan_impl.h"
#include "mvpn/wire.h"

#define DEVICES 4
#define SESSIONS 3

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t ends[SESSIONS][2] = {{0, 1}, {1, 2}, {0, 1}};
static struct server server;
static struct server_settings settings;
static struct device devices[DEVICES];
static struct conn conns[DEVICES];
static bool online[DEVICES], active[SESSIONS];
/* what was last said of a session, by each of its ends; 0: nothing that counts */
static uint32_t said[SESSIONS][2];
static uint64_t clock_ms;
static const uint8_t *passed; /* the packet that is being looked at ... */
static size_t passed_len;
static int from;	    /* ... and the device that it came from; -1: a stranger */
static unsigned went;

/* ---- what the relay asks of the rest of the server ---- */

uint64_t mono_ms(void)
{
	return clock_ms;
}

static int session_of(const uint8_t id[16])
{
	return id[0] < SESSIONS && !memcmp(id + 1, (uint8_t[15]){0}, 15) ? id[0] : -1;
}

struct device *registry_by_id(const struct registry *r, const uint8_t id[16])
{
	return id[0] && id[0] <= DEVICES ? &devices[id[0] - 1] : NULL;
}

struct conn *device_conn(const struct device *d)
{
	return online[d - devices] ? d->conn : NULL;
}

int store_session_get(struct store *st, const uint8_t id[16], struct store_session *ret)
{
	int i = session_of(id);

	if (i < 0)
		return -ENOENT;
	*ret = (struct store_session){.state = active[i] ? SESSION_ACTIVE : SESSION_ENDED};
	memcpy(ret->id, id, 16);
	memcpy(ret->a, devices[ends[i][0]].row.id, 16);
	memcpy(ret->b, devices[ends[i][1]].row.id, 16);
	return 0;
}

bool echo_blocked(const struct conn *c)
{
	return c->phase == CONN_READY;
}

bool echo_endpoint(const struct conn *c, struct mvpn_endpoint *ret)
{
	*ret = c->from;
	return true;
}

void echo_put_endpoint(struct chan_buf *b, const struct device *d, const struct conn *to)
{
	chan_put(b, MVPN_TLV_ENDPOINT, d->row.pk, 18);
}

bool echo_may_relay(struct conn *c, size_t len)
{
	return len != MVPN_OVERHEAD + 1;
}

uint64_t echo_serial(struct echo *e)
{
	static uint64_t serial;

	return ++serial;
}

void echo_key(const struct echo *e, uint64_t serial, uint8_t ret[ECHO_KEY_B])
{
	memset(ret, (int)serial, ECHO_KEY_B);
}

void echo_seen(const struct device *d, const struct conn *to, uint8_t ret[ECHO_SEEN_B])
{
	if (!device_conn(d))
		abort();
	memset(ret, 1, ECHO_SEEN_B);
}

bool registry_owns(const struct device *d, const struct mvpn_addr *a)
{
	return d->nowned;
}

struct policy_subject registry_subject(const struct device *d)
{
	return (struct policy_subject){.name = d->row.name};
}

static const struct policy_relay relays[] = {{1, "2", 1000}, {1, "3", 2000}};
static unsigned nrelays; /* in the policy */

const struct policy_relay *policy_relays(const struct policy *p, unsigned *ret_count)
{
	*ret_count = nrelays;
	return relays;
}

const struct policy_relay *policy_relay_of(const struct policy *p, const struct policy_subject *s)
{
	for (unsigned i = 0; i < nrelays; i++)
		if (!strcmp(relays[i].name, s->name))
			return &relays[i];
	return NULL;
}

int server_transact(struct server *s, bool durable, int (*fn)(struct server *s, void *arg), void *arg)
{
	return fn(s, arg);
}

int audit_add(struct audit *a, const char *actor, const char *event, json_t *detail)
{
	json_decref(detail);
	return 0;
}

static bool is_end(const uint8_t session[16], const struct mvpn_relay_end *e)
{
	int i = session_of(session);

	for (unsigned k = 0; i >= 0 && k < 2; k++)
		if (!memcmp(devices[ends[i][k]].row.id, e->device, 16))
			return e->spi_be;
	return false;
}

/* to a device that relays, on-line and named by the policy: it is no end of what it is told of */
static void check_forward(const struct conn *c, const struct chan_msg *m)
{
	struct policy_subject subject = {.name = c->dev->row.name};
	uint8_t session[16];
	struct mvpn_relay_end e;
	struct chan_tlv tlv;
	unsigned n = 0;
	size_t pos = 0;

	if (!chan_get_bytes(m, MVPN_TLV_SESSION, session, 16))
		abort();
	while (chan_tlv_next(m, &pos, &tlv)) {
		if (tlv.type != MVPN_TLV_RELAY_END)
			continue;
		memcpy(&e, tlv.value, sizeof(e));
		if (!memcmp(e.device, c->dev->row.id, 16) || !is_end(session, &e))
			abort();
		n++;
	}
	if (n != (m->flags & MVPN_FORWARD_END ? 0 : 2) || (n && !policy_relay_of(NULL, &subject)))
		abort();
}

void conn_send(struct conn *c, const struct chan_buf *b)
{
	struct chan_msg m = {.type = b->data[0], .flags = b->data[1], .tlvs = b->data + 4, .len = b->len - 4};

	if (chan_msg_check(b->data, b->len) < 0 || !online[c - conns])
		abort();
	if (m.type == MVPN_MSG_FORWARD)
		check_forward(c, &m);
}

static bool passes(const struct device *to, const uint8_t *data, size_t len)
{
	struct mvpn_hdr h;

	if (data != passed || len != passed_len || len < MVPN_OVERHEAD || from < 0 || went++)
		abort();
	memcpy(&h, data, sizeof(h));
	if (h.type != MVPN_TUNNEL && h.type != MVPN_CTRL && h.type != MVPN_FRAME)
		abort();
	for (unsigned i = 0; i < SESSIONS; i++)
		for (unsigned e = 0; e < 2; e++)
			if (&devices[ends[i][e]] == to && ends[i][!e] == from && said[i][!e] &&
			    said[i][e] == be32toh(h.spi))
				return true;
	abort();
}

bool echo_send(struct conn *to, const uint8_t *data, size_t len)
{
	return passes(to->dev, data, len);
}

bool relay_tcp_send(struct relay_tcp *t, const uint8_t *data, size_t len)
{
	return passes(&devices[(uintptr_t)t - 1], data, len);
}

/* ---- what happens ---- */

static void say(unsigned d, uint8_t *plain, size_t len)
{
	struct chan_msg m = {.type = MVPN_MSG_RELAY, .tlvs = plain + 4, .len = len - 4};
	uint8_t id[16];
	uint32_t spi;
	int i;

	plain[0] = MVPN_MSG_RELAY;
	if (!online[d] || chan_msg_check(plain, len) < 0)
		return;
	if (relay_message(&conns[d], &m) < 0 || !chan_get_bytes(&m, MVPN_TLV_SESSION, id, 16) ||
	    !chan_get_u32(&m, MVPN_TLV_SPI, &spi) || conns[d].budget < 0) /* then it is refused, and what was said before counts */
		return;
	i = session_of(id);
	for (unsigned e = 0; i >= 0 && e < 2; e++)
		if (ends[i][e] == d && active[i])
			said[i][e] = spi;
}

static void say_well(unsigned d, uint8_t session, uint8_t spi)
{
	struct chan_buf b = {0};
	uint8_t id[16] = {session};

	chan_begin(&b, MVPN_MSG_RELAY, 0, 0);
	chan_put(&b, MVPN_TLV_SESSION, id, sizeof(id));
	chan_put_u32(&b, MVPN_TLV_SPI, spi);
	say(d, b.data, b.len);
	chan_buf_free(&b);
}

static void packet(int d, bool conduit, const uint8_t *data, size_t len)
{
	struct mvpn_endpoint at = {.port = 7};

	if (d >= 0)
		at = conns[d].from;
	passed = data;
	passed_len = len;
	from = d;
	went = 0;
	relay_packet(server.relay, data, len, &at, d >= 0 && conduit ? &devices[d] : NULL);
}

static void good_packet(int d, bool conduit, uint8_t type, uint8_t spi, size_t len)
{
	uint8_t *p = calloc(1, MVPN_OVERHEAD + len);
	struct mvpn_hdr h = {.type = (uint8_t)(MVPN_TUNNEL + type % 4), .spi = htobe32(spi)};

	memcpy(p, &h, sizeof(h));
	packet(d, conduit, p, MVPN_OVERHEAD + len);
	free(p);
}

static void refuse(unsigned d, uint8_t session, bool whole)
{
	struct chan_buf b = {0};
	struct chan_msg m = {.type = MVPN_MSG_FORWARD};
	uint8_t id[16] = {session};

	chan_begin(&b, MVPN_MSG_FORWARD, 0, 0);
	chan_put(&b, MVPN_TLV_SESSION, id, sizeof(id));
	if (whole)
		chan_put_u16(&b, MVPN_TLV_REASON, MVPN_R_LIMIT);
	m.tlvs = b.data + 4;
	m.len = b.len - 4;
	if (online[d] && (relay_device_message(&conns[d], &m) < 0) != !whole)
		abort();
	chan_buf_free(&b);
}

static void turn(unsigned d, bool on)
{
	if (online[d] == on)
		return;
	online[d] = on;
	if (on)
		relay_device_up(&server, &devices[d]);
	else
		relay_device_gone(&server, &devices[d]);
}

static void over(unsigned session)
{
	memset(said[session], 0, sizeof(said[session]));
}

/* one thing; how many bytes of the input it has used */
static size_t step(const uint8_t *p, size_t left)
{
	unsigned d = p[0] >> 3 & 3, session = p[1] % SESSIONS;
	size_t n = p[1] < left - 4 ? p[1] : left - 4;
	uint8_t *copy, id[16] = {(uint8_t)session};
	int who = p[0] & 0x80 ? -1 : (int)d;

	switch (p[0] & 7) {
	case 0:
	case 1:
		copy = malloc(4 + n); /* the sanitizer sees what lies behind it */
		memcpy(copy, p, 4 + n);
		if (p[0] & 1)
			packet(who, p[0] & 0x40, copy, 4 + n);
		else
			say(d, copy, 4 + n);
		free(copy);
		return 4 + n;
	case 2:
		say_well(d, (uint8_t)session, p[2] % 5);
		break;
	case 3:
		good_packet(who, p[0] & 0x40, p[1], p[2] % 5, p[3] % 64);
		break;
	case 4:
		if (ends[session][0] == d || ends[session][1] == d)
			over(session);
		relay_end(&conns[d], id);
		break;
	case 5:
		over(session);
		relay_drop(&server, id);
		active[session] = p[2] & 1;
		if (p[2] & 2) {
			nrelays = p[2] >> 2 & 3 ? 2 : 0;
			relay_devices_recheck(&server);
		}
		break;
	case 6:
		turn(d, p[1] & 1);
		conns[d].phase = p[1] & 2 ? CONN_READY : CONN_HANDSHAKE;
		devices[d].conduit = p[1] & 4 ? (struct relay_tcp *)(uintptr_t)(d + 1) : NULL;
		conns[d].budget = p[1] & 8 ? -1 : 1;
		break;
	case 7:
		clock_ms += p[1] * 1000ULL;
		if (p[2] & 1)
			refuse(d, (uint8_t)session, p[2] & 2);
		break;
	}
	return 4;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct device *list[DEVICES];
	static struct registry reg = {.devices = list, .size = DEVICES};

	server = (struct server){.conf = &settings, .reg = &reg, .echo = (struct echo *)list};
	nrelays = 2;
	settings.relay_mbit = 1;
	memset(said, 0, sizeof(said));
	for (unsigned i = 0; i < DEVICES; i++) {
		devices[i] = (struct device){.conn = &conns[i],
					     .udp_port = (uint16_t)(100 + i),
					     .nowned = 1,
					     .row = {.id = {(uint8_t)(i + 1)}, .state = MVPN_DEV_ACTIVE}};
		devices[i].row.name[0] = (char)('1' + i);
		list[i] = &devices[i];
		conns[i] = (struct conn){.s = &server, .dev = &devices[i], .from.port = (uint16_t)(100 + i)};
		online[i] = true;
	}
	for (unsigned i = 0; i < SESSIONS; i++)
		active[i] = true;
	if (relay_new(&server))
		abort();
	relay_devices_recheck(&server);
	while (size >= 4) {
		size_t n = step(data, size);

		data += n;
		size -= n;
	}
	relay_free(server.relay);
	chan_buf_free(&server.buf);
	return 0;
}
