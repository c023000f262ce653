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

#include "channel.h"
#include "log.h"
#include "relayed.h"
#include "conduit.h"

#define READ_B 65536
#define AT_ONCE 32		/* packets of the workers in one turn; then the channel has its own */
#define UDP_BUF_B (2 << 20)	/* a burst of super-packets */

enum state { CONDUIT_OFF, CONDUIT_CONNECTING, CONDUIT_GREETED, CONDUIT_UP };

struct relay_tcp {
	struct keyd *k;
	/* the end on the loopback interface; once made it stays */
	int udp;
	struct loop_source *udp_io;
	struct mvpn_endpoint at;
	/* the end at the server */
	enum state state;
	int fd;
	struct loop_source *io;
	struct loop_timer *timer; /* of the handshake, or until the next try */
	uint8_t *key;		  /* sodium_malloc()ed */
	uint32_t id;		  /* 0: none */
	uint64_t counter;
	uint8_t hello[CONDUIT_HELLO_B], ready[CONDUIT_READY_B];
	size_t ready_len;
	uint64_t wanted_ms; /* until then */
	unsigned failures;  /* in a row */
	bool want_out;
	uint8_t *packets; /* AT_ONCE of CONDUIT_PACKET_MAX_B */
	struct conduit_in in;
	struct conduit_out out;
};

static void hang_up(struct relay_tcp *t)
{
	loop_remove(t->io);
	t->io = NULL;
	if (t->fd >= 0)
		close(t->fd);
	t->fd = -1;
	t->state = CONDUIT_OFF;
	t->want_out = false;
	t->in.len = 0;
	conduit_out_free(&t->out);
	loop_timer_disarm(t->timer);
}

static void failed(struct relay_tcp *t, const char *why)
{
	unsigned wait_s = 1u << (t->failures < 5 ? t->failures : 5);

	log_ratelimited(LOG_L_WARN, "the conduit for sealed packets to the server: %s", why);
	hang_up(t);
	t->failures++;
	loop_timer_arm(t->timer, (wait_s < MVPN_CONDUIT_RETRY_S ? wait_s : MVPN_CONDUIT_RETRY_S) * 1000);
}

/* ---- the loopback end ---- */

static void flush(struct relay_tcp *t)
{
	bool waits = conduit_flush(&t->out, t->fd) != 0; /* what has failed is told by EPOLLERR, too */

	if (t->want_out == waits)
		return;
	t->want_out = waits;
	loop_modify(t->io, EPOLLIN | (waits ? EPOLLOUT : 0));
}

static void on_udp(void *arg, uint32_t events)
{
	struct relay_tcp *t = arg;
	struct mmsghdr m[AT_ONCE] = {0};
	struct iovec iov[AT_ONCE];
	int n;

	for (unsigned i = 0; i < AT_ONCE; i++) {
		iov[i] = (struct iovec){t->packets + i * MVPN_CONDUIT_PACKET_MAX_B,
					MVPN_CONDUIT_PACKET_MAX_B};
		m[i].msg_hdr.msg_iov = &iov[i];
		m[i].msg_hdr.msg_iovlen = 1;
	}
	n = recvmmsg(t->udp, m, AT_ONCE, MSG_DONTWAIT, NULL);
	for (int i = 0; i < n; i++)
		if (t->state == CONDUIT_UP && !(m[i].msg_hdr.msg_flags & MSG_TRUNC) &&
		    conduit_put(&t->out, iov[i].iov_base, m[i].msg_len))
			t->k->counters[KC_CONDUIT_SENT]++;
		else
			t->k->counters[KC_CONDUIT_DROPPED]++;
	if (n > 0 && t->state == CONDUIT_UP && !t->want_out)
		flush(t);
}

static int set_int(int fd, int level, int name, int value)
{
	return setsockopt(fd, level, name, &value, sizeof(value)) < 0 ? -errno : 0;
}

/* connected to the data port, so that nobody else on this host can send by the conduit */
static int open_udp(struct relay_tcp *t)
{
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)},
			   data = sin;
	socklen_t len = sizeof(sin);
	int fd, r;

	if (t->udp >= 0)
		return 0;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	data.sin_port = htons(t->k->conf.udp_port);
	if (set_int(fd, SOL_SOCKET, SO_RCVBUFFORCE, UDP_BUF_B))
		set_int(fd, SOL_SOCKET, SO_RCVBUF, UDP_BUF_B);
	t->packets = t->packets ?: malloc(AT_ONCE * MVPN_CONDUIT_PACKET_MAX_B);
	if (!t->packets) {
		r = -ENOMEM;
	} else if (bind(fd, (struct sockaddr *)&sin, sizeof(sin)) < 0 ||
		   connect(fd, (struct sockaddr *)&data, sizeof(data)) < 0 ||
		   getsockname(fd, (struct sockaddr *)&sin, &len) < 0) {
		r = -errno;
	} else {
		r = loop_add(t->k->loop, fd, EPOLLIN, on_udp, t, &t->udp_io);
	}
	if (r) {
		close(fd);
		return r;
	}
	t->udp = fd;
	mvpn_endpoint_from_sockaddr(&t->at, (struct sockaddr *)&sin);
	return 0;
}

/* ---- the server's end ---- */

static void on_packet(void *arg, uint8_t *packet, size_t len)
{
	struct relay_tcp *t = arg;

	if (send(t->udp, packet, len, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)len)
		t->k->counters[KC_CONDUIT_RECEIVED]++;
	else
		t->k->counters[KC_CONDUIT_DROPPED]++;
}

static int take(struct relay_tcp *t, uint8_t *data, size_t len)
{
	size_t n = CONDUIT_READY_B - t->ready_len < len ? CONDUIT_READY_B - t->ready_len : len;
	char text[MVPN_ADDRSTRLEN];
	struct mvpn_endpoint server;

	if (n) {
		memcpy(t->ready + t->ready_len, data, n);
		t->ready_len += n;
		if (t->ready_len < CONDUIT_READY_B)
			return 0;
		if (conduit_ready_check(t->ready, t->hello, t->key))
			return -EBADMSG;
		t->state = CONDUIT_UP;
		t->failures = 0;
		loop_timer_disarm(t->timer);
		if (channel_server(t->k, &server))
			log_info("UDP is blocked: sealed packets are relayed by TCP to %s",
				 mvpn_endpoint_str(&server, text));
		relayed_conduit_up(t->k);
	}
	return conduit_take(&t->in, data + n, len - n, on_packet, t);
}

static void connected(struct relay_tcp *t)
{
	int error = 0;
	socklen_t len = sizeof(error);

	getsockopt(t->fd, SOL_SOCKET, SO_ERROR, &error, &len);
	if (error) {
		failed(t, strerror(error));
		return;
	}
	conduit_hello(t->hello, t->id, ++t->counter, t->key);
	t->ready_len = 0;
	/* nothing has been written so far: so few bytes go at once */
	if (send(t->fd, t->hello, sizeof(t->hello), MSG_NOSIGNAL | MSG_DONTWAIT) != sizeof(t->hello)) {
		failed(t, "cannot be written to");
		return;
	}
	t->state = CONDUIT_GREETED;
	loop_modify(t->io, EPOLLIN);
}

static void on_io(void *arg, uint32_t events)
{
	static uint8_t buf[READ_B];
	struct relay_tcp *t = arg;
	ssize_t n;
	int r;

	if (t->state == CONDUIT_CONNECTING) {
		connected(t);
		return;
	}
	if (events & EPOLLOUT)
		flush(t);
	if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		return;
	n = recv(t->fd, buf, sizeof(buf), MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		failed(t, n			    ? strerror(errno)
			  : t->state == CONDUIT_UP ? "closed by the server"
						  : "refused by the server");
		return;
	}
	r = take(t, buf, (size_t)n);
	if (r) {
		t->k->counters[KC_BAD_MESSAGE]++;
		failed(t, strerror(-r));
	}
}

static void set_options(int fd)
{
	set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	set_int(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, MVPN_CONDUIT_UNSENT_B);
	set_int(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, MVPN_CONDUIT_DEAD_S * 1000);
	set_int(fd, IPPROTO_TCP, TCP_KEEPIDLE, MVPN_CONDUIT_DEAD_S);
	set_int(fd, IPPROTO_TCP, TCP_KEEPINTVL, MVPN_CONDUIT_DEAD_S / 4);
	set_int(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
}

static void begin(struct relay_tcp *t)
{
	struct mvpn_endpoint server;
	struct sockaddr_storage ss;
	socklen_t len;
	int r;

	if (t->state != CONDUIT_OFF || !t->id || !relay_tcp_wanted(t->k) ||
	    !channel_server(t->k, &server))
		return;
	r = open_udp(t);
	if (r) {
		failed(t, strerror(-r));
		return;
	}
	len = mvpn_endpoint_to_sockaddr(&server, false, &ss);
	t->fd = socket(ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (t->fd < 0) {
		failed(t, strerror(errno));
		return;
	}
	set_options(t->fd);
	t->state = CONDUIT_CONNECTING;
	r = connect(t->fd, (struct sockaddr *)&ss, len) < 0 && errno != EINPROGRESS ? -errno : 0;
	if (!r)
		r = loop_add(t->k->loop, t->fd, EPOLLOUT, on_io, t, &t->io);
	if (r)
		failed(t, strerror(-r));
	else
		loop_timer_arm(t->timer, MVPN_CHAN_HANDSHAKE_S * 1000);
}

static void on_timer(void *arg)
{
	struct relay_tcp *t = arg;

	if (t->state == CONDUIT_OFF)
		begin(t);
	else
		failed(t, "no answer from the server");
}

/* ---- what the others see ---- */

void relay_tcp_welcome(struct keyd *k, uint32_t id, const uint8_t *echo_key)
{
	struct relay_tcp *t = k->relay_tcp;

	if (id == t->id)
		return;
	/* one that is up goes on: it is the device's, not the channel's */
	t->id = id;
	t->counter = 0;
	if (id)
		conduit_key(t->key, echo_key);
	if (t->state != CONDUIT_UP)
		hang_up(t);
	t->failures = 0;
	begin(t);
}

void relay_tcp_want(struct keyd *k)
{
	struct relay_tcp *t = k->relay_tcp;

	t->wanted_ms = mono_ms() + MVPN_CONDUIT_IDLE_S * 1000;
	if (t->state == CONDUIT_OFF && !loop_timer_armed(t->timer))
		begin(t);
}

bool relay_tcp_wanted(const struct keyd *k)
{
	return mono_ms() < k->relay_tcp->wanted_ms;
}

bool relay_tcp_up(const struct keyd *k)
{
	return k->relay_tcp->state == CONDUIT_UP;
}

bool relay_tcp_at(const struct keyd *k, struct mvpn_endpoint *ret)
{
	*ret = k->relay_tcp->at;
	return k->relay_tcp->udp >= 0;
}

void relay_tcp_tick(struct keyd *k, uint64_t now_ms)
{
	struct relay_tcp *t = k->relay_tcp;

	if (t->state == CONDUIT_OFF || now_ms < t->wanted_ms)
		return;
	log_info("no session needs the conduit to the server any more: closed");
	hang_up(t);
}

int relay_tcp_init(struct keyd *k)
{
	struct relay_tcp *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	k->relay_tcp = t;
	t->k = k;
	t->fd = t->udp = -1;
	t->key = sodium_malloc(CONDUIT_KEY_B);
	return t->key ? loop_timer_new(k->loop, on_timer, t, &t->timer) : -ENOMEM;
}

void relay_tcp_free(struct keyd *k)
{
	struct relay_tcp *t = k->relay_tcp;

	if (!t)
		return;
	if (t->timer)
		hang_up(t);
	loop_remove(t->udp_io);
	if (t->udp >= 0)
		close(t->udp);
	loop_timer_free(t->timer);
	sodium_free(t->key);
	free(t->packets);
	free(t);
	k->relay_tcp = NULL;
}
