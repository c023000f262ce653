/* SPDX-License-Identifier: BSD-2-Clause */
/* The server of the two: their channels, what it owes them, and its own lives. */
#include "pair_server.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static const uint8_t net_id[MVPN_NET_ID_LEN];

/* ---- connections ---- */

static void link_flush(struct link *l)
{
	const uint8_t *out;
	size_t len;
	ssize_t n;

	while ((out = chan_output(l->ch, &len)) && len) {
		n = send(l->fd, out, len, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0)
			return; /* it has hung up, as link_ready() will see */
		chan_sent(l->ch, (size_t)n);
	}
}

static void link_close(struct link *l)
{
	struct pair *p = l->p;
	struct link **at = &p->server.links;
	bool counted = l->of >= 0 && p->server.of[l->of].link == l;

	while (*at != l)
		at = &(*at)->next;
	*at = l->next;
	if (counted)
		p->server.of[l->of].link = NULL;
	loop_remove(l->source);
	close(l->fd);
	chan_free(l->ch);
	free(l);
	if (counted && p->server.runs)
		intro_fail(p, MVPN_R_PEER_OFFLINE);
}

static bool link_psk(void *arg, const struct chan_who *who, uint8_t ret[32])
{
	struct link *l = arg;

	for (int i = 0; i < 2; i++)
		if (!memcmp(l->p->node[i].pk, who->client_pk, 32)) {
			l->of = i;
			memcpy(ret, l->p->node[i].psk, 32);
			return true;
		}
	return false;
}

static void take(struct pair *p, void *passed);

static void link_ready(void *arg, uint32_t events)
{
	struct link *l = arg;
	struct chan_msg m;
	uint8_t buf[16384];
	ssize_t n = recv(l->fd, buf, sizeof(buf), MSG_DONTWAIT);
	int r;

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		link_close(l);
		return;
	}
	r = chan_feed(l->ch, buf, (size_t)n);
	if (r && l->p->others) {
		link_close(l); /* it was told of a PSK that is none */
		return;
	}
	assert_int_equal(r, 0);
	link_flush(l);
	while ((r = chan_next(l->ch, &m)) > 0) {
		uint8_t bytes[MVPN_CHAN_FRAME_MAX_B] = {m.type, m.flags, (uint8_t)(m.reqid >> 8), (uint8_t)m.reqid};

		memcpy(bytes + 4, m.tlvs, m.len);
		pass(l->p, (struct passing){.n = &l->p->node[l->of], .to_server = true, .what = m.type}, bytes, 4 + m.len, take);
	}
	assert_int_equal(r, 0); /* keyd says nothing that is malformed */
}

int server_accept(struct pair *p, int fd)
{
	struct link *l;

	if (!p->server.runs || p->server.deaf)
		return -ECONNREFUSED;
	l = calloc(1, sizeof(*l));
	assert_non_null(l);
	*l = (struct link){.p = p, .next = p->server.links, .fd = fd, .of = -1};
	p->server.links = l;
	assert_int_equal(chan_new_server(&l->ch, &p->server.keys, link_psk, l), 0);
	assert_int_equal(loop_add(p->loop, fd, EPOLLIN, link_ready, l, &l->source), 0);
	return 0;
}

/* ---- messages to a device ---- */

/* by the channel that it has then; but K of central60 is made of the one that the answer was for */
static void tell_now(struct pair *p, void *passed)
{
	struct passed *x = passed;
	const struct known *d = &p->server.of[x->what.n->i];
	struct link *l = d->link;
	struct chan_buf b = {.data = x->data, .len = x->len, .size = x->len};

	if (!l || (x->what.what == MVPN_MSG_ANSWER && p->server.mode == MVPN_MODE_CENTRAL60 &&
		   x->what.channel != d->channel))
		return;
	if (p->mangle)
		p->mangle(b.data, &b.len);
	assert_int_equal(chan_send(l->ch, &b), 0);
	link_flush(l);
}

void server_tell(struct pair *p, unsigned i, struct chan_buf *b)
{
	assert_int_equal(b->error, 0);
	pass(p, (struct passing){&p->node[i], false, b->data[0], p->server.of[i].channel}, b->data, b->len, tell_now);
	chan_buf_free(b);
}

/* the other has started anew, or is not to be talked to any more */
static void tell_gone(struct pair *p, unsigned i, uint8_t type)
{
	struct chan_buf b = {0};

	chan_begin(&b, type, 0, 1);
	chan_put(&b, MVPN_TLV_DEVICE, p->node[!i].id, MVPN_ID_LEN);
	if (type == MVPN_MSG_REVOKE)
		chan_put_u16(&b, MVPN_TLV_REASON, MVPN_R_DENIED);
	else
		p->server.resets++;
	server_tell(p, i, &b);
}

static void tell_welcome(struct pair *p, struct link *l)
{
	struct node *n = &p->node[l->of];
	struct chan_buf b = {0};
	const char name[] = {(char)('a' + l->of)};

	chan_begin(&b, MVPN_MSG_WELCOME, 0, 0);
	chan_put(&b, MVPN_TLV_DEVICE, n->id, MVPN_ID_LEN);
	chan_put(&b, MVPN_TLV_NAME, name, sizeof(name));
	chan_put(&b, MVPN_TLV_NET, net_id, sizeof(net_id));
	chan_put_u8(&b, MVPN_TLV_STATE, MVPN_DEV_ACTIVE);
	chan_put_u32(&b, MVPN_TLV_MAX_OFFLINE, MVPN_MAX_OFFLINE_S);
	chan_put_u32(&b, MVPN_TLV_REKEY, MVPN_SESSION_REKEY_S);
	chan_put(&b, MVPN_TLV_ADDR, n->addr.b, 16);
	assert_int_equal(chan_send(l->ch, &b), 0);
	link_flush(l);
	chan_buf_free(&b);
}

/* ---- REGISTER ---- */

static void life_began(struct pair *p, unsigned i, uint64_t boot_gen)
{
	struct pair_server *s = &p->server;
	bool anew = s->of[i].boot_gen && s->of[i].boot_gen != boot_gen;

	s->of[i].boot_gen = boot_gen;
	if (!anew)
		return;
	intro_fail(p, MVPN_R_PEER_OFFLINE);
	if (!s->on_record)
		return;
	s->on_record = false;
	if (s->of[!i].link)
		tell_gone(p, !i, MVPN_MSG_PEER_RESET);
	else
		s->of[!i].owed = true;
}

static void registered(struct pair *p, struct link *l, const struct chan_msg *m)
{
	struct known *d = &p->server.of[l->of];
	uint64_t boot_gen;

	assert_true(chan_get_u64(m, MVPN_TLV_BOOT_GEN, &boot_gen));
	if (chan_state(l->ch) != CHAN_UP || boot_gen != chan_who(l->ch)->boot_gen)
		return; /* late: of another channel */
	d->said_set = chan_get_bytes(m, MVPN_TLV_SET, d->set, sizeof(d->set));
	tell_welcome(p, l);
	d->link = l;
	d->channel++;
	life_began(p, (unsigned)l->of, boot_gen);
	if (d->owed)
		tell_gone(p, (unsigned)l->of, MVPN_MSG_PEER_RESET);
	d->owed = false;
	if (d->owed_revoke)
		tell_gone(p, (unsigned)l->of, MVPN_MSG_REVOKE);
}

/* the channel that a message has come by; a late one: the newest of that device's */
static struct link *newest(struct pair *p, unsigned i)
{
	struct link *l = p->server.links;

	while (l && l->of != (int)i)
		l = l->next;
	return l;
}

static void take(struct pair *p, void *passed)
{
	const struct passed *x = passed;
	unsigned from = x->what.n->i;
	struct link *l = newest(p, from);
	struct chan_msg m = {.type = x->data[0], .flags = x->data[1], .tlvs = x->data + 4, .len = x->len - 4};

	if (!l || (m.type != MVPN_MSG_REGISTER && !p->server.of[from].link))
		return;
	switch (m.type) {
	case MVPN_MSG_REGISTER:
		registered(p, l, &m);
		break;
	case MVPN_MSG_REQUEST:
		intro_request(p, from, &m);
		break;
	case MVPN_MSG_ACCEPT:
		intro_accept(p, from, &m);
		break;
	case MVPN_MSG_REJECT:
		intro_reject(p, from, &m);
		break;
	case MVPN_MSG_REVOKE:
		p->server.of[from].owed_revoke = false;
		break;
	}
}

/* ---- what is not an answer ---- */

static void on_beat(void *arg)
{
	struct pair *p = arg;

	for (unsigned i = 0; i < 2; i++) {
		struct chan_buf b = {0};

		if (!p->server.of[i].link)
			continue;
		chan_begin(&b, MVPN_MSG_HEARTBEAT, 0, 0);
		chan_put_u64(&b, MVPN_TLV_TIME, 1);
		server_tell(p, i, &b);
		if (p->server.of[i].owed_revoke)
			tell_gone(p, i, MVPN_MSG_REVOKE);
	}
	loop_timer_arm(p->server.beat, MVPN_CHAN_HEARTBEAT_S * 1000);
}

void server_tell_prefixes(struct node *n, uint8_t flags, const uint8_t set[32])
{
	const struct node *o = node_other(n);
	uint8_t prefix[34] = {1, 128};
	struct chan_buf b = {0};

	memcpy(prefix + 2, o->addr.b, 16);
	memcpy(prefix + 18, o->id, MVPN_ID_LEN);
	chan_begin(&b, MVPN_MSG_PREFIXES, flags, 0);
	chan_put(&b, MVPN_TLV_PREFIX, prefix, sizeof(prefix));
	if (flags & MVPN_PFX_COMMIT)
		chan_put(&b, MVPN_TLV_SET, set, 32);
	server_tell(n->pair, n->i, &b);
}

static void forbid_now(struct pair *p, void *arg)
{
	p->server.forbidden = true;
	intro_fail(p, MVPN_R_DENIED);
	for (unsigned i = 0; i < 2; i++) {
		p->server.of[i].owed_revoke = true;
		tell_gone(p, i, MVPN_MSG_REVOKE);
	}
}

void server_forbid(struct pair *p)
{
	later(p, 0, forbid_now, NULL);
}

static void cut_now(struct pair *p, void *arg)
{
	const struct node *n = *(struct node **)arg;
	struct link *next;

	for (struct link *l = p->server.links; l; l = next) {
		next = l->next;
		if (l->of == (int)n->i)
			link_close(l);
	}
}

void node_cut(struct node *n)
{
	struct node **arg = malloc(sizeof(*arg));

	assert_non_null(arg);
	*arg = n;
	later(n->pair, 0, cut_now, arg);
}

/* ---- life: what it has on record outlives it ---- */

static void server_start(void *arg)
{
	struct pair *p = arg;

	p->server.runs = true;
	loop_timer_arm(p->server.beat, MVPN_CHAN_HEARTBEAT_S * 1000);
}

static void server_stop(struct pair *p, void *arg)
{
	p->server.runs = false;
	while (p->server.links)
		link_close(p->server.links);
	intro_close(p);
	loop_timer_disarm(p->server.beat);
}

void server_restart(struct pair *p, unsigned after_ms)
{
	later(p, 0, server_stop, NULL);
	loop_timer_arm(p->server.start, after_ms);
}

void server_init(struct pair *p)
{
	struct pair_server *s = &p->server;

	assert_int_equal(chan_keys_add(&s->keys, s->sk), 0);
	intro_init(p);
	assert_int_equal(loop_timer_new(p->loop, on_beat, p, &s->beat), 0);
	assert_int_equal(loop_timer_new(p->loop, server_start, p, &s->start), 0);
	server_start(p);
}

void server_free(struct pair *p)
{
	server_stop(p, NULL);
	intro_free(p);
	loop_timer_free(p->server.beat);
	loop_timer_free(p->server.start);
}
