/* SPDX-License-Identifier: BSD-2-Clause */
#include "relay_tcp.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "echo.h"
#include "listen.h"
#include "log.h"
#include "relay.h"
#include "conduit.h"

#define NEW_PART 8 /* no more than this part of half_open may be taken by what calls itself a conduit */
#define READ_B 65536 /* of one conduit, then the others and the channels have their turn */

struct relay_tcp {
	struct server *s;
	struct relay_tcp *prev, *next;
	int fd;
	struct loop_source *io;
	struct loop_timer *timer; /* HELLO's deadline; at once: it is over */
	struct source *source;	  /* until HELLO is good */
	struct device *d;	  /* NULL: HELLO is awaited, or it is over */
	struct mvpn_endpoint from;
	uint8_t hello[CONDUIT_HELLO_B];
	size_t hello_len;
	bool over, want_out;
	struct conduit_in in;
	struct conduit_out out;
};

static void let_in(struct relay_tcp *t)
{
	if (!t->source)
		return;
	t->s->half_open--;
	t->s->conduits_new--;
	source_release(t->source);
	t->source = NULL;
}

static void conduit_free(struct relay_tcp *t)
{
	let_in(t);
	*(t->prev ? &t->prev->next : &t->s->conduits) = t->next;
	if (t->next)
		t->next->prev = t->prev;
	loop_remove(t->io);
	loop_timer_free(t->timer);
	close(t->fd);
	conduit_out_free(&t->out);
	free(t);
}

/* never under a caller's feet */
void relay_tcp_close(struct relay_tcp *t)
{
	if (!t || t->over)
		return;
	t->over = true;
	if (t->d)
		t->d->conduit = NULL;
	t->d = NULL;
	loop_timer_arm(t->timer, 0);
}

static void on_timer(void *arg)
{
	struct relay_tcp *t = arg;

	if (!t->over)
		count(t->s, handshake_timeout);
	conduit_free(t);
}

void relay_tcp_free_all(struct server *s)
{
	while (s->conduits) {
		if (s->conduits->d)
			s->conduits->d->conduit = NULL;
		conduit_free(s->conduits);
	}
}

/* ---- out ---- */

static void flush(struct relay_tcp *t)
{
	int r = conduit_flush(&t->out, t->fd);

	if (r < 0)
		relay_tcp_close(t);
	if (t->over || t->want_out == (r > 0))
		return;
	t->want_out = r > 0;
	loop_modify(t->io, EPOLLIN | (r > 0 ? (uint32_t)EPOLLOUT : 0));
}

bool relay_tcp_send(struct relay_tcp *t, const uint8_t *data, size_t len)
{
	if (t->over || !conduit_put(&t->out, data, len)) {
		count(t->s, conduit_full);
		return false;
	}
	if (!t->want_out)
		flush(t);
	return true;
}

/* ---- in ---- */

static void set_options(int fd)
{
	int on = 1, dead_s = MVPN_CONDUIT_DEAD_S, dead_ms = dead_s * 1000, gap_s = dead_s / 4,
	    unsent = MVPN_CONDUIT_UNSENT_B;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof(unsent));
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &dead_ms, sizeof(dead_ms));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &dead_s, sizeof(dead_s));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &gap_s, sizeof(gap_s));
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
}

static void on_packet(void *arg, uint8_t *packet, size_t len)
{
	struct relay_tcp *t = arg;

	/* what it has sent may have ended it: a peer's socket that is gone is this device's own */
	if (t->d && !relay_packet(t->s->relay, packet, len, NULL, t->d))
		count(t->s, echo_refused);
}

/* whose it is, if HELLO is good; *ret_key is then the conduit's */
static struct conn *greeted_by(struct relay_tcp *t, uint8_t ret_key[CONDUIT_KEY_B])
{
	uint64_t counter;
	uint32_t id;
	struct conn *c;

	if (!t->s->echo || !t->s->conf->relay_mbit || conduit_hello_look(t->hello, &id, &counter))
		return NULL;
	c = echo_find(t->s->echo, id, ret_key);
	if (!c)
		return NULL;
	conduit_key(ret_key, ret_key);
	if (conduit_hello_check(t->hello, ret_key) || !c->dev || c != device_conn(c->dev) ||
	    !echo_may_conduit(c, counter))
		return NULL;
	return c;
}

/* HELLO is here: READY, and from now on it is that device's */
static void begin(struct relay_tcp *t)
{
	uint8_t key[CONDUIT_KEY_B], ready[CONDUIT_READY_B];
	char text[MVPN_ADDRSTRLEN];
	struct conn *c = greeted_by(t, key);

	if (c)
		conduit_ready(ready, t->hello, key);
	sodium_memzero(key, sizeof(key));
	/* nothing has been written so far: so few bytes go at once */
	if (!c || send(t->fd, ready, sizeof(ready), MSG_NOSIGNAL | MSG_DONTWAIT) != sizeof(ready)) {
		count(t->s, conduit_refused);
		log_ratelimited(LOG_L_DEBUG, "a conduit from %s is refused",
				mvpn_endpoint_str(&t->from, text));
		relay_tcp_close(t);
		return;
	}
	let_in(t);
	loop_timer_disarm(t->timer);
	relay_tcp_close(c->dev->conduit);
	t->d = c->dev;
	t->d->conduit = t;
	count(t->s, conduits);
	log_debug("device %s gets its packets by TCP", t->d->row.name);
}

static void take(struct relay_tcp *t, uint8_t *data, size_t len)
{
	size_t n = CONDUIT_HELLO_B - t->hello_len < len ? CONDUIT_HELLO_B - t->hello_len : len;

	if (n) {
		memcpy(t->hello + t->hello_len, data, n);
		t->hello_len += n;
		if (t->hello_len < CONDUIT_HELLO_B)
			return;
		begin(t);
	}
	if (t->d && conduit_take(&t->in, data + n, len - n, on_packet, t) < 0) {
		count(t->s, bad_frame);
		relay_tcp_close(t);
	}
}

static void on_io(void *arg, uint32_t events)
{
	static uint8_t buf[READ_B];
	struct relay_tcp *t = arg;
	ssize_t n;

	if (t->over)
		return;
	if (events & EPOLLOUT)
		flush(t);
	if (t->over || !(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		return;
	n = recv(t->fd, buf, sizeof(buf), MSG_DONTWAIT);
	if (n > 0)
		take(t, buf, (size_t)n);
	else if (!n || (errno != EAGAIN && errno != EINTR))
		relay_tcp_close(t);
}

bool relay_tcp_takes(struct conn *c)
{
	struct server *s = c->s;
	struct relay_tcp *t;
	uint8_t first;

	if (recv(c->fd, &first, 1, MSG_PEEK | MSG_DONTWAIT) != 1)
		return false;
	c->looked = true;
	if (first != CONDUIT_FIRST)
		return false;
	if (s->conduits_new > s->conf->half_open / NEW_PART) {
		count(s, conduit_refused);
		return true;
	}
	t = calloc(1, sizeof(*t));
	if (!t)
		return true; /* dropped, as any other that there is no memory for */
	if (loop_timer_new(s->loop, on_timer, t, &t->timer)) {
		free(t);
		return true;
	}
	loop_remove(c->io);
	c->io = NULL;
	if (loop_add(s->loop, c->fd, EPOLLIN, on_io, t, &t->io)) {
		loop_timer_free(t->timer);
		free(t);
		return true;
	}
	t->s = s;
	t->fd = c->fd;
	t->from = c->from;
	t->source = conn_give_source(c);
	c->fd = -1;
	s->conduits_new++;
	set_options(t->fd);
	t->next = s->conduits;
	if (t->next)
		t->next->prev = t;
	s->conduits = t;
	loop_timer_arm(t->timer, s->conf->handshake_s * 1000);
	return true;
}
