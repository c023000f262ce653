/* SPDX-License-Identifier: BSD-2-Clause */
#include "swarm.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_B 65536
#define READS_AT_ONCE 4
#define BEAT_MS 200 /* a part of the devices sends HEARTBEAT */
#define BEAT_PARTS (MVPN_CHAN_HEARTBEAT_S * 1000 / BEAT_MS)

static void on_io(void *arg, uint32_t events);

static void tell(struct swarm_device *d, enum swarm_event e, struct swarm_device *peer)
{
	if (d->w->on_event)
		d->w->on_event(d->w->arg, d, e, peer);
}

struct mvpn_addr swarm_addr(uint32_t index)
{
	struct mvpn_addr a = {.b = {[10] = 0xff, [11] = 0xff, [12] = 10}};

	a.b[13] = (uint8_t)(index >> 16);
	a.b[14] = (uint8_t)(index >> 8);
	a.b[15] = (uint8_t)index;
	return a;
}

/* devices are found by their id: its first bytes are the index */
static struct swarm_device *by_id(struct swarm *w, const uint8_t *id)
{
	uint32_t index;

	memcpy(&index, id, sizeof(index));
	return index < w->n && !memcmp(w->devices[index].id, id, 16) ? &w->devices[index] : NULL;
}

/* ---- the connection ---- */

void swarm_hang_up(struct swarm_device *d)
{
	if (!d->ch)
		return;
	loop_remove(d->io);
	close(d->fd);
	chan_free(d->ch);
	intro_a_free(d->asked);
	d->w->nready -= d->ready;
	d->io = NULL;
	d->ch = NULL;
	d->asked = NULL;
	d->ready = d->welcomed = false;
}

/* as keyd/channel.c does */
static void again(struct swarm_device *d)
{
	loop_timer_arm(d->again, backoff_next(&d->backoff, d->return_ms));
}

static void lost(struct swarm_device *d)
{
	swarm_hang_up(d);
	if (d->w->reconnect)
		again(d);
	tell(d, SWARM_LOST, NULL);
}

static void on_again(void *arg)
{
	struct swarm_device *d = arg;

	if (!d->ch && swarm_connect(d) < 0)
		again(d);
}

static void flush(struct swarm_device *d)
{
	const uint8_t *p;
	size_t len;
	bool want = false;

	while (!want && (p = chan_output(d->ch, &len)) && len) {
		ssize_t n = send(d->fd, p, len, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno != EAGAIN && errno != ENOTCONN)
			return; /* the end shows when reading */
		if (n < 0)
			want = true;
		else
			chan_sent(d->ch, (size_t)n);
	}
	if (want != d->want_out)
		loop_modify(d->io, EPOLLIN | (want ? EPOLLOUT : 0));
	d->want_out = want;
}

static int connect_from(uint32_t index, uint16_t port)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
	struct sockaddr_in from = {.sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(0x7f400000 + index)};
	struct sockaddr_in to = {.sin_family = AF_INET,
				 .sin_port = htons(port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int r;

	if (fd < 0)
		return -errno;
	setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&from, sizeof(from)) < 0 ||
	    (connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0 && errno != EINPROGRESS)) {
		r = -errno;
		close(fd);
		return r;
	}
	return fd;
}

int swarm_connect(struct swarm_device *d)
{
	struct swarm *w = d->w;
	struct chan_client c = {.s = d->sk,
				.s_pub = d->pk,
				.server_pk = w->server_pk,
				.psk = d->psk,
				.boot_gen = d->boot_gen,
				.ticket = d->has_ticket ? d->ticket : NULL};
	int r = connect_from(d->index, w->port);

	if (r < 0)
		return r;
	d->fd = r;
	r = chan_new_client(&d->ch, &c);
	if (r == 0)
		r = loop_add(w->loop, d->fd, EPOLLIN | EPOLLOUT, on_io, d, &d->io);
	if (r < 0) {
		chan_free(d->ch);
		d->ch = NULL;
		close(d->fd);
		return r;
	}
	d->want_out = true;
	return 0;
}

static void send_message(struct swarm_device *d, const struct chan_buf *b)
{
	if (chan_send(d->ch, b) == 0)
		flush(d);
}

static void send_register(struct swarm_device *d)
{
	struct mvpn_addr a = swarm_addr(d->index);
	struct chan_buf b = {0};

	chan_begin(&b, MVPN_MSG_REGISTER, 0, 0);
	chan_put(&b, MVPN_TLV_ADDR, a.b, 16);
	chan_put_u16(&b, MVPN_TLV_UDP_PORT, MVPN_DATA_PORT);
	chan_put_u64(&b, MVPN_TLV_BOOT_GEN, d->boot_gen);
	chan_put_u16(&b, MVPN_TLV_SUITES, 1);
	chan_put(&b, MVPN_TLV_VERSION, "swarm", 5);
	if (d->knows_set)
		chan_put(&b, MVPN_TLV_SET, d->set, sizeof(d->set));
	send_message(d, &b);
	chan_buf_free(&b);
}

/* ---- introductions ---- */

static struct intro_self self_of(const struct swarm_device *d, uint32_t spi)
{
	return (struct intro_self){.s = d->sk,
				   .s_pub = d->pk,
				   .spi = spi,
				   .lanes = 1,
				   .suites = 1,
				   .udpport = MVPN_DATA_PORT,
				   .boot_gen = d->boot_gen};
}

int swarm_request(struct swarm_device *a, const struct swarm_device *b)
{
	struct intro_self self = self_of(a, 0x10001);
	struct mvpn_req head = {.ver = MVPN_PROTO_VER, .layer = MVPN_LAYER_NETWORK};
	uint8_t req[INTRO_REQ_MAX_B], msg1[INTRO_MSG1_B];
	struct mvpn_addr dst = swarm_addr(b->index);
	struct chan_buf out = {0};
	size_t len;
	int r;

	if (a->asked || !a->ready)
		return -EBUSY;
	memcpy(head.net_id, a->w->net_id, 8);
	memcpy(head.a_id, a->id, 16);
	memcpy(head.dst, dst.b, 16);
	r = intro_a_start(&a->asked, &head, &self, req, &len, msg1);
	if (r < 0)
		return r;
	memcpy(a->nonce, req + offsetof(struct mvpn_req, nonce), 16);
	chan_begin(&out, MVPN_MSG_REQUEST, 0, 0);
	chan_put(&out, MVPN_TLV_REQ, req, len);
	chan_put(&out, MVPN_TLV_NOISE1, msg1, sizeof(msg1));
	a->offered = false;
	a->asked_ns = mono_ns();
	send_message(a, &out);
	chan_buf_free(&out);
	return 0;
}

/* the pair and the selectors that OFFER and ANSWER have in common */
struct intro_told {
	uint8_t session[16], device[16], pk[32], psk[32];
	struct intro_pair pair;
};

static bool read_told(const struct chan_msg *m, struct intro_told *t)
{
	uint16_t len;

	t->pair.selectors = chan_tlv_find(m, MVPN_TLV_SELECTORS, &len);
	t->pair.selectors_len = len;
	t->pair.session_id = t->session;
	t->pair.psk = t->psk;
	return t->pair.selectors && chan_get_bytes(m, MVPN_TLV_SESSION, t->session, 16) &&
	       chan_get_bytes(m, MVPN_TLV_DEVICE, t->device, 16) &&
	       chan_get_bytes(m, MVPN_TLV_S_PUB, t->pk, 32) &&
	       chan_get_bytes(m, MVPN_TLV_PSK, t->psk, 32);
}

static void take_offer(struct swarm_device *b, const struct chan_msg *m)
{
	struct intro_self self = self_of(b, 0x20002);
	uint8_t msg2[INTRO_MSG2_MAX_B];
	uint16_t req_len = 0, noise_len = 0;
	const uint8_t *req = chan_tlv_find(m, MVPN_TLV_REQ, &req_len);
	const uint8_t *noise1 = chan_tlv_find(m, MVPN_TLV_NOISE1, &noise_len);
	struct chan_buf out = {0};
	struct intro_keys keys;
	struct intro_told t;
	size_t len;

	if (!req || !noise1 || !read_told(m, &t)) {
		b->w->fails++;
		return;
	}
	tell(b, SWARM_OFFER, by_id(b->w, t.device));
	t.pair.a_id = t.device;
	t.pair.a_pk = t.pk;
	t.pair.b_id = b->id;
	t.pair.b_pk = b->pk;
	if (intro_b_accept(req, req_len, noise1, noise_len, &t.pair, &self, msg2, &len, &keys) <
	    0) {
		b->w->fails++;
		return;
	}
	chan_begin(&out, MVPN_MSG_ACCEPT, 0, 0);
	chan_put(&out, MVPN_TLV_SESSION, t.session, 16);
	chan_put(&out, MVPN_TLV_NOISE2, msg2, len);
	send_message(b, &out);
	chan_buf_free(&out);
}

static bool is_answer_to(const struct swarm_device *a, const struct chan_msg *m)
{
	uint8_t nonce[16];

	return a->asked && chan_get_bytes(m, MVPN_TLV_NONCE, nonce, 16) &&
	       !memcmp(nonce, a->nonce, 16);
}

static void take_answer(struct swarm_device *a, const struct chan_msg *m)
{
	uint16_t len = 0;
	const uint8_t *noise2 = chan_tlv_find(m, MVPN_TLV_NOISE2, &len);
	struct intro_keys keys;
	struct intro_told t;
	bool good;

	if (!is_answer_to(a, m))
		return;
	good = noise2 && read_told(m, &t);
	if (good) {
		t.pair.a_id = a->id;
		t.pair.a_pk = a->pk;
		t.pair.b_id = t.device;
		t.pair.b_pk = t.pk;
		good = intro_a_finish(a->asked, &t.pair, noise2, len, &keys) == 0;
	}
	intro_a_free(a->asked);
	a->asked = NULL;
	if (!good)
		a->w->fails++;
	tell(a, good ? SWARM_SESSION : SWARM_FAIL, good ? by_id(a->w, t.device) : NULL);
}

static void take_fail(struct swarm_device *a, const struct chan_msg *m)
{
	if (!is_answer_to(a, m))
		return;
	intro_a_free(a->asked);
	a->asked = NULL;
	a->w->fails++;
	tell(a, SWARM_FAIL, NULL);
}

/* ---- messages ---- */

static void take_prefixes(struct swarm_device *d, const struct chan_msg *m)
{
	if (!(m->flags & MVPN_PFX_COMMIT))
		return;
	chan_get_u64(m, MVPN_TLV_REV, &d->rev);
	d->knows_set = chan_get_bytes(m, MVPN_TLV_SET, d->set, sizeof(d->set));
	if (d->ready) {
		tell(d, SWARM_COMMIT, NULL);
	} else if (d->welcomed) {
		d->ready = true;
		d->backoff = (struct backoff){0};
		d->w->nready++;
		tell(d, SWARM_READY, NULL);
	}
}

static void take_revoke(struct swarm_device *d, const struct chan_msg *m)
{
	struct chan_buf ack = {0};
	uint8_t id[16] = {0};

	chan_get_bytes(m, MVPN_TLV_DEVICE, id, 16);
	if (m->type == MVPN_MSG_REVOKE) {
		chan_begin(&ack, MVPN_MSG_REVOKE, 0, m->reqid);
		send_message(d, &ack);
		chan_buf_free(&ack);
	}
	tell(d, SWARM_REVOKED, by_id(d->w, id));
}

static void take(struct swarm_device *d, const struct chan_msg *m)
{
	d->w->replies[m->type]++;
	switch (m->type) {
	case MVPN_MSG_WELCOME:
		d->welcomed = true;
		chan_get_u32(m, MVPN_TLV_RETURN, &d->return_ms);
		d->has_ticket = chan_get_bytes(m, MVPN_TLV_TICKET, d->ticket, sizeof(d->ticket));
		break;
	case MVPN_MSG_HEARTBEAT:
		chan_get_u32(m, MVPN_TLV_RETURN, &d->return_ms);
		break;
	case MVPN_MSG_PREFIXES:
		take_prefixes(d, m);
		break;
	case MVPN_MSG_OFFER:
		take_offer(d, m);
		break;
	case MVPN_MSG_ANSWER:
		take_answer(d, m);
		break;
	case MVPN_MSG_FAIL:
		take_fail(d, m);
		break;
	case MVPN_MSG_REVOKE:
	case MVPN_MSG_PEER_RESET:
		take_revoke(d, m);
		break;
	}
}

/* false: the channel is over */
static bool take_bytes(struct swarm_device *d, const uint8_t *data, size_t len)
{
	bool was_up = chan_state(d->ch) == CHAN_UP;
	/* a copy: answering makes the channel forget the message */
	static uint8_t copy[MVPN_CHAN_FRAME_MAX_B];
	struct chan_msg m;
	int r = chan_feed(d->ch, data, len);

	if (r < 0)
		return false;
	if (chan_wants_work(d->ch))
		chan_work(d->ch, UINT32_MAX);
	flush(d);
	if (!was_up && chan_state(d->ch) == CHAN_UP)
		send_register(d);
	while (d->ch && (r = chan_next(d->ch, &m)) == 1) {
		memcpy(copy, m.tlvs, m.len);
		m.tlvs = copy;
		take(d, &m);
	}
	return d->ch && r == 0;
}

static void on_io(void *arg, uint32_t events)
{
	static uint8_t buf[READ_B];
	struct swarm_device *d = arg;

	if (events & EPOLLOUT)
		flush(d);
	if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		return;
	for (int i = 0; i < READS_AT_ONCE; i++) {
		ssize_t n = recv(d->fd, buf, sizeof(buf), MSG_DONTWAIT);

		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0 || !take_bytes(d, buf, (size_t)n)) {
			if (d->ch)
				lost(d);
			return;
		}
		d->w->bytes += (size_t)n;
		if ((size_t)n < sizeof(buf))
			return;
	}
}

/* ---- all ---- */

static void on_beat(void *arg)
{
	struct swarm *w = arg;
	struct chan_buf b = {0};

	chan_begin(&b, MVPN_MSG_HEARTBEAT, 0, 0);
	for (unsigned i = w->beat_at++ % BEAT_PARTS; i < w->n; i += BEAT_PARTS)
		if (w->devices[i].ready)
			send_message(&w->devices[i], &b);
	chan_buf_free(&b);
	loop_timer_arm(w->beat, BEAT_MS);
}

int swarm_init(struct swarm *w, struct loop *l, unsigned n)
{
	int r;

	memset(w, 0, sizeof(*w));
	w->loop = l;
	w->devices = calloc(n, sizeof(*w->devices));
	if (!w->devices)
		return -ENOMEM;
	w->n = n;
	r = loop_timer_new(l, on_beat, w, &w->beat);
	for (unsigned i = 0; i < n && r == 0; i++) {
		struct swarm_device *d = &w->devices[i];

		d->w = w;
		d->index = i;
		d->fd = -1;
		d->boot_gen = 1;
		d->return_ms = BACKOFF_UNTOLD;
		r = loop_timer_new(l, on_again, d, &d->again);
	}
	if (r == 0)
		loop_timer_arm(w->beat, BEAT_MS);
	return r;
}

void swarm_free(struct swarm *w)
{
	w->reconnect = false;
	for (unsigned i = 0; i < w->n; i++) {
		swarm_hang_up(&w->devices[i]);
		loop_timer_free(w->devices[i].again);
		sodium_memzero(&w->devices[i], sizeof(w->devices[i]));
	}
	loop_timer_free(w->beat);
	free(w->devices);
}
