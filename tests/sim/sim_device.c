/* SPDX-License-Identifier: BSD-2-Clause */
#include "sim.h"

#include <errno.h>
#include <limits.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "crypto.h"
#include "loop.h"

/* -errno if nobody is there */
static int try_connect(struct sim_server *s)
{
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_port = htons(s->port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	assert_true(fd >= 0);
	if (connect(fd, (struct sockaddr *)&sin, sizeof(sin)) < 0) {
		int r = -errno;

		close(fd);
		return r;
	}
	return fd;
}

int sim_connect(struct sim_server *s)
{
	int fd = try_connect(s);

	assert_true(fd >= 0);
	return fd;
}

void sim_expect_fd_eof(int fd)
{
	uint8_t buf[256];

	while (read(fd, buf, sizeof(buf)) > 0)
		;
	close(fd);
}

void sim_device_init(struct sim_device *d, struct sim_server *s)
{
	memset(d, 0, sizeof(*d));
	d->server = s;
	d->fd = -1;
	d->boot_gen = 1;
	d->msg_data = malloc(MVPN_CHAN_FRAME_MAX_B);
	d->prefixes = calloc(SIM_PREFIXES_MAX, sizeof(*d->prefixes));
	d->by_prefix = calloc(SIM_PREFIXES_MAX, sizeof(*d->by_prefix));
	assert_true(d->msg_data && d->prefixes && d->by_prefix);
	mvpn_keypair(d->sk, d->pk);
}

void sim_hang_up(struct sim_device *d)
{
	if (d->fd >= 0)
		close(d->fd);
	d->fd = -1;
	chan_free(d->ch);
	d->ch = NULL;
}

void sim_device_free(struct sim_device *d)
{
	sim_hang_up(d);
	free(d->msg_data);
	free(d->prefixes);
	free(d->by_prefix);
}

/* ---- bytes ---- */

static void flush(struct sim_device *d)
{
	const uint8_t *p;
	size_t len;

	while ((p = chan_output(d->ch, &len)) && len) {
		ssize_t n = send(d->fd, p, len, MSG_NOSIGNAL);

		if (n < 0)
			return; /* the end shows when reading */
		chan_sent(d->ch, (size_t)n);
	}
}

/* feeds what comes: 1, 0 at the end of the connection, -ETIMEDOUT, or the channel's error */
static int read_some(struct sim_device *d, uint64_t end_ms)
{
	struct pollfd pfd = {.fd = d->fd, .events = POLLIN};
	uint8_t buf[16384];
	uint64_t now = mono_ms();
	ssize_t n;
	int r;

	if (poll(&pfd, 1, end_ms > now ? (int)(end_ms - now) : 0) == 0)
		return -ETIMEDOUT;
	n = recv(d->fd, buf, sizeof(buf), 0);
	if (n <= 0)
		return 0;
	r = chan_feed(d->ch, buf, (size_t)n);
	while (r == 0 && chan_wants_work(d->ch))
		chan_work(d->ch, UINT_MAX);
	flush(d);
	return r < 0 ? r : 1;
}

static bool handshake(struct sim_device *d, const struct chan_client *c)
{
	uint64_t end = mono_ms() + SIM_WAIT_MS;

	sim_hang_up(d);
	d->fd = try_connect(d->server);
	if (d->fd < 0)
		return false;
	assert_int_equal(chan_new_client(&d->ch, c), 0);
	flush(d);
	while (chan_state(d->ch) == CHAN_HANDSHAKE)
		if (read_some(d, end) <= 0)
			return false;
	return chan_state(d->ch) == CHAN_UP;
}

bool sim_enrol_start(struct sim_device *d, const char *token)
{
	struct mvpn_token t;
	uint8_t psk[32];
	struct chan_client c = {.s = d->sk,
				.server_pk = d->server_pk,
				.psk = psk,
				.enrol = true,
				.boot_gen = d->boot_gen};

	assert_int_equal(mvpn_token_decode(&t, token), 0);
	memcpy(d->server_pk, t.server_pk, 32);
	memcpy(d->net_id, t.net_id, 8);
	memcpy(c.token_id, t.token_id, 16);
	mvpn_token_psk(psk, t.secret);
	if (!handshake(d, &c))
		return false;
	assert_int_equal(chan_device_psk(d->ch, psk, d->psk), 0);
	return true;
}

bool sim_login(struct sim_device *d)
{
	struct chan_client c = {
		.s = d->sk, .server_pk = d->server_pk, .psk = d->psk, .psk_epoch = d->psk_epoch, .boot_gen = d->boot_gen,
		.device_id = d->named ? d->id : NULL,
		.ticket = d->has_ticket ? d->ticket : NULL};

	return handshake(d, &c);
}

void sim_new_key(struct sim_device *d)
{
	mvpn_keypair(d->sk, d->pk);
}

void sim_delegate(struct sim_device *d, int64_t seconds)
{
	uint8_t text[MVPN_DELEGATION_TEXT_B], id[MVPN_ID_LEN];
	struct delegation_of of = {d->net_id, d->id, d->pk};

	if (sodium_is_zero(d->token_sk, sizeof(d->token_sk)))
		crypto_sign_keypair(d->token_pk, d->token_sk);
	if (sodium_is_zero(d->id, sizeof(d->id))) {
		assert_int_equal(delegation_device_id(d->ch, d->pk, id), 0);
		of.device_id = id;
	}
	memcpy(d->word.key, d->token_pk, 32);
	d->word.not_after = (uint64_t)(time(NULL) + seconds);
	assert_int_equal(delegation_challenge(d->ch, d->pk, d->word.challenge), 0);
	delegation_text(text, &d->word, &of);
	crypto_sign_detached(d->word.signature, NULL, text, sizeof(text), d->token_sk);
	d->has_word = true;
}

/* ---- messages ---- */

void sim_send(struct sim_device *d, const struct chan_buf *b)
{
	assert_int_equal(chan_send(d->ch, b), 0);
	flush(d);
}

void sim_send_raw(struct sim_device *d, const void *data, size_t len)
{
	send(d->fd, data, len, MSG_NOSIGNAL);
}

static uint32_t *prefix_slot(struct sim_device *d, const struct mvpn_prefix *p)
{
	uint32_t x = p->len;

	for (unsigned i = 0; i < sizeof(p->addr.b); i++)
		x = (x ^ p->addr.b[i]) * 0x01000193;
	return &d->by_prefix[(x ^ x >> 16) % SIM_PREFIXES_MAX];
}

/* what leads to the one at i */
static uint32_t *prefix_link(struct sim_device *d, unsigned i)
{
	uint32_t *at = prefix_slot(d, &d->prefixes[i].p);

	while (*at != i + 1)
		at = &d->prefixes[*at - 1].next;
	return at;
}

static void take_prefix(struct sim_device *d, const uint8_t *v)
{
	struct sim_prefix x = {.p.len = v[1]};
	uint32_t *slot, at;

	if (!d->nprefixes) /* or a test has forgotten them */
		memset(d->by_prefix, 0, SIM_PREFIXES_MAX * sizeof(*d->by_prefix));
	memcpy(x.p.addr.b, v + 2, 16);
	memcpy(x.owner, v + 18, 16);
	slot = prefix_slot(d, &x.p);
	at = *slot;
	while (at && (d->prefixes[at - 1].p.len != x.p.len || !mvpn_addr_eq(&d->prefixes[at - 1].p.addr, &x.p.addr)))
		at = d->prefixes[at - 1].next;
	if (v[0] && at) {
		memcpy(d->prefixes[at - 1].owner, x.owner, sizeof(x.owner));
	} else if (v[0]) {
		assert_true(d->nprefixes < SIM_PREFIXES_MAX);
		x.next = *slot;
		d->prefixes[d->nprefixes++] = x;
		*slot = d->nprefixes;
	} else if (at) {
		*prefix_link(d, at - 1) = d->prefixes[at - 1].next;
		if (at < d->nprefixes) { /* the last one takes its place */
			*prefix_link(d, d->nprefixes - 1) = at;
			d->prefixes[at - 1] = d->prefixes[d->nprefixes - 1];
		}
		d->nprefixes--;
	}
}

static void take_prefixes(struct sim_device *d)
{
	struct chan_tlv t;
	size_t pos = 0;

	if (d->msg.flags & MVPN_PFX_RESET) {
		d->nprefixes = 0;
		d->resets++;
	}
	while (chan_tlv_next(&d->msg, &pos, &t))
		if (t.type == MVPN_TLV_PREFIX)
			take_prefix(d, t.value);
	if (d->msg.flags & MVPN_PFX_COMMIT) {
		d->commits++;
		d->knows_set = chan_get_bytes(&d->msg, MVPN_TLV_SET, d->set, sizeof(d->set));
		assert_true(d->knows_set);
	}
	assert_true(chan_get_u64(&d->msg, MVPN_TLV_REV, &d->rev));
	assert_true(chan_get_u32(&d->msg, MVPN_TLV_OPTIONS, &d->options));
	assert_true(chan_get_u32(&d->msg, MVPN_TLV_MAX_OFFLINE, &d->max_offline_s));
}

static void take_frames(struct sim_device *d)
{
	struct chan_tlv t;
	size_t pos = 0;

	if (d->msg.flags & MVPN_PFX_RESET)
		d->nframes = 0;
	while (chan_tlv_next(&d->msg, &pos, &t)) {
		assert_int_equal(t.type, MVPN_TLV_ETHER);
		assert_true(d->nframes < sizeof(d->frames) / sizeof(d->frames[0]));
		memcpy(&d->frames[d->nframes++], t.value, sizeof(d->frames[0]));
	}
	if (d->msg.flags & MVPN_PFX_COMMIT)
		d->frame_commits++;
}

static void take_key(struct sim_device *d)
{
	d->nkeys++;
	d->key_flags = d->msg.flags;
	assert_true(chan_get_u64(&d->msg, MVPN_TLV_KEY_SERIAL, &d->key_serial));
	assert_true(chan_get_bytes(&d->msg, MVPN_TLV_S_PUB, d->key, sizeof(d->key)));
	assert_true(chan_get_u32(&d->msg, MVPN_TLV_KEY_LEFT, &d->key_left_s));
	assert_true(chan_get_u32(&d->msg, MVPN_TLV_KEY_IN, &d->key_in_s));
}

static void take_welcome(struct sim_device *d)
{
	struct chan_tlv t;
	size_t pos = 0;

	d->naccepted = d->nrefused = d->naccepted_macs = d->nrefused_macs = 0;
	if (!chan_get_bytes(&d->msg, MVPN_TLV_ECHO, d->echo, sizeof(d->echo)))
		memset(d->echo, 0, sizeof(d->echo));
	if (!chan_get_u32(&d->msg, MVPN_TLV_RETURN, &d->return_ms))
		d->return_ms = UINT32_MAX;
	d->has_ticket = chan_get_bytes(&d->msg, MVPN_TLV_TICKET, d->ticket, sizeof(d->ticket));
	while (chan_tlv_next(&d->msg, &pos, &t)) {
		if (t.type == MVPN_TLV_ADDR) {
			memcpy(d->accepted[d->naccepted++].b, t.value, 16);
		} else if (t.type == MVPN_TLV_ADDR_REFUSED) {
			d->nrefused++;
			d->refused_reason = (uint16_t)(t.value[16] << 8 | t.value[17]);
		} else if (t.type == MVPN_TLV_MAC) {
			d->naccepted_macs++;
		} else if (t.type == MVPN_TLV_MAC_REFUSED) {
			d->nrefused_macs++;
			d->refused_mac_reason = (uint16_t)(t.value[6] << 8 | t.value[7]);
		} else if (t.type == MVPN_TLV_NAME) {
			memcpy(d->name, t.value, t.len);
			d->name[t.len] = '\0';
		}
	}
	assert_true(chan_get_bytes(&d->msg, MVPN_TLV_DEVICE, d->id, 16));
	assert_true(chan_get_u8(&d->msg, MVPN_TLV_STATE, &d->state));
}

/* 1 a message that is not PREFIXES, WELCOME or a heartbeat unless it is of type `want`; else as read_some */
static int next(struct sim_device *d, uint8_t want, uint64_t end_ms)
{
	for (;;) {
		struct chan_msg m;
		int r = chan_next(d->ch, &m);

		if (r == 0)
			r = read_some(d, end_ms);
		else if (r == 1) {
			memcpy(d->msg_data, m.tlvs, m.len);
			d->msg = m;
			d->msg.tlvs = d->msg_data;
			if (m.type == MVPN_MSG_PREFIXES)
				take_prefixes(d);
			if (m.type == MVPN_MSG_ETHER)
				take_frames(d);
			if (m.type == MVPN_MSG_SERVER_KEY)
				take_key(d);
			if (m.type == MVPN_MSG_WELCOME)
				take_welcome(d);
			if (m.type == want ||
			    (m.type != MVPN_MSG_PREFIXES && m.type != MVPN_MSG_ETHER &&
			     m.type != MVPN_MSG_LEVELS && m.type != MVPN_MSG_SERVER_KEY &&
			     m.type != MVPN_MSG_PROCESSES && m.type != MVPN_MSG_WELCOME &&
			     m.type != MVPN_MSG_HEARTBEAT))
				return 1;
		}
		if (r <= 0)
			return r;
	}
}

void sim_expect(struct sim_device *d, uint8_t type)
{
	int r = next(d, type, mono_ms() + SIM_WAIT_MS);

	if (r != 1)
		fail_msg("%s: waiting for message 0x%02x: %s", d->name, type,
			 r ? strerror(-r) : "the connection ended");
	if (d->msg.type != type) {
		uint16_t reason = 0;

		chan_get_u16(&d->msg, MVPN_TLV_REASON, &reason);
		fail_msg("%s: message 0x%02x (reason %s) instead of 0x%02x", d->name, d->msg.type,
			 mvpn_reason_name(reason), type);
	}
}

bool sim_try_for(struct sim_device *d, uint8_t type, unsigned ms)
{
	return next(d, type, mono_ms() + ms) == 1 && d->msg.type == type;
}

bool sim_try(struct sim_device *d, uint8_t type)
{
	return sim_try_for(d, type, SIM_WAIT_MS);
}

static void expect_reason(struct sim_device *d, unsigned reason)
{
	uint16_t got = 0;

	assert_true(chan_get_u16(&d->msg, MVPN_TLV_REASON, &got));
	assert_string_equal(mvpn_reason_name(got), mvpn_reason_name(reason));
}

void sim_expect_eof(struct sim_device *d)
{
	int r = next(d, 0, mono_ms() + SIM_WAIT_MS);

	if (r != 0)
		fail_msg("%s: %s instead of the connection's end", d->name,
			 r == 1 ? "a message" : strerror(-r));
}

void sim_expect_close(struct sim_device *d, unsigned reason)
{
	sim_expect(d, MVPN_MSG_CLOSE);
	expect_reason(d, reason);
	sim_expect_eof(d);
}

void sim_expect_fail(struct sim_device *d, unsigned reason)
{
	sim_expect(d, MVPN_MSG_FAIL);
	expect_reason(d, reason);
}

void sim_expect_about(struct sim_device *d, uint8_t type, const struct sim_device *about)
{
	uint8_t id[16];

	sim_expect(d, type);
	assert_true(chan_get_bytes(&d->msg, MVPN_TLV_DEVICE, id, 16));
	assert_memory_equal(id, about->id, 16);
}

void sim_expect_nothing(struct sim_device *d, unsigned ms)
{
	int r = next(d, 0, mono_ms() + ms);

	if (r != -ETIMEDOUT)
		fail_msg("%s: message 0x%02x although none is due", d->name, d->msg.type);
}

/* ---- REGISTER ---- */

void sim_register(struct sim_device *d, const char *name, const char *const *addresses, unsigned n)
{
	struct chan_buf b = {0};

	chan_begin(&b, MVPN_MSG_REGISTER, (uint8_t)((d->tells_processes ? MVPN_REG_PROCESSES : 0) | (d->knows_services ? MVPN_REG_SERVICES : 0)), 0);
	if (name)
		chan_put(&b, MVPN_TLV_NAME, name, strlen(name));
	for (unsigned i = 0; i < n; i++) {
		struct mvpn_addr a;

		assert_int_equal(mvpn_addr_parse(&a, addresses[i]), 0);
		chan_put(&b, MVPN_TLV_ADDR, a.b, 16);
	}
	for (unsigned i = 0; i < d->nmacs; i++)
		chan_put(&b, MVPN_TLV_MAC, d->macs[i], 6);
	if (d->has_word) {
		uint8_t value[MVPN_TLV_DELEGATION_B];

		delegation_encode(value, &d->word);
		chan_put(&b, MVPN_TLV_DELEGATION, value, sizeof(value));
		d->has_word = false;
	}
	chan_put_u16(&b, MVPN_TLV_UDP_PORT, d->udp_port ?: 7469);
	chan_put_u64(&b, MVPN_TLV_BOOT_GEN, d->boot_gen);
	chan_put_u16(&b, MVPN_TLV_SUITES, 1);
	chan_put(&b, MVPN_TLV_VERSION, "sim", 3);
	if (d->says_set && d->knows_set)
		chan_put(&b, MVPN_TLV_SET, d->set, sizeof(d->set));
	if (d->says_set)
		chan_put_u64(&b, MVPN_TLV_REV, d->rev);
	sim_send(d, &b);
	chan_buf_free(&b);
}

void sim_join(struct sim_device *d, const char *name, const char *address)
{
	char token[MVPN_TOKEN_MAX];

	sim_token(d->server, address, NULL, token);
	assert_true(sim_enrol_start(d, token));
	sim_register(d, name, &address, address ? 1 : 0);
	sim_expect(d, MVPN_MSG_WELCOME);
	assert_int_equal(d->state, MVPN_DEV_ACTIVE);
	assert_int_equal(d->naccepted, address ? 1 : 0);
	sim_expect(d, MVPN_MSG_PREFIXES);
}

void sim_rejoin(struct sim_device *d, const char *address)
{
	assert_true(sim_login(d));
	sim_register(d, NULL, &address, address ? 1 : 0);
	sim_expect(d, MVPN_MSG_WELCOME);
}

bool sim_has_prefix(const struct sim_device *d, const char *prefix, const struct sim_device *owner)
{
	static const uint8_t nobody[16];
	struct mvpn_prefix p;

	assert_int_equal(mvpn_prefix_parse(&p, prefix), 0);
	for (unsigned i = 0; i < d->nprefixes; i++)
		if (d->prefixes[i].p.len == p.len && mvpn_addr_eq(&d->prefixes[i].p.addr, &p.addr))
			return !memcmp(d->prefixes[i].owner, owner ? owner->id : nobody, 16);
	return false;
}

void sim_wait_prefix(struct sim_device *d, const char *prefix, const struct sim_device *owner)
{
	while (!sim_has_prefix(d, prefix, owner))
		sim_expect(d, MVPN_MSG_PREFIXES);
}

void sim_wait_no_prefix(struct sim_device *d, const char *prefix)
{
	struct mvpn_prefix p;
	unsigned i;

	assert_int_equal(mvpn_prefix_parse(&p, prefix), 0);
	for (;;) {
		for (i = 0; i < d->nprefixes; i++)
			if (d->prefixes[i].p.len == p.len &&
			    mvpn_addr_eq(&d->prefixes[i].p.addr, &p.addr))
				break;
		if (i == d->nprefixes)
			return;
		sim_expect(d, MVPN_MSG_PREFIXES);
	}
}

void sim_wait_rev(struct sim_device *d, uint64_t rev)
{
	while (d->rev != rev)
		sim_expect(d, MVPN_MSG_PREFIXES);
}

void sim_expect_frames(struct sim_device *d)
{
	unsigned before = d->frame_commits;

	while (d->frame_commits == before)
		sim_expect(d, MVPN_MSG_ETHER);
}

int sim_frame_flags(const struct sim_device *d, const uint8_t mac[6], unsigned type,
		    const struct sim_device *owner)
{
	static const uint8_t nobody[16];

	for (unsigned i = 0; i < d->nframes; i++)
		if (!memcmp(d->frames[i].mac, mac, 6) && be16toh(d->frames[i].type_be) == type &&
		    !memcmp(d->frames[i].owner, owner ? owner->id : nobody, 16))
			return d->frames[i].flags;
	return -1;
}

/* ---- the usual three ---- */

void sim_net_up(struct sim_net *n)
{
	sim_server_new(&n->s);
	sim_policy(&n->s, "allow a -> b\n");
	sim_device_init(&n->a, &n->s);
	sim_device_init(&n->b, &n->s);
	sim_device_init(&n->c, &n->s);
	sim_join(&n->a, "a", A_ADDR);
	sim_join(&n->b, "b", B_ADDR);
	sim_wait_prefix(&n->a, B_ADDR, &n->b);
}

void sim_net_down(struct sim_net *n)
{
	sim_device_free(&n->a);
	sim_device_free(&n->b);
	sim_device_free(&n->c);
	sim_server_free(&n->s);
}
