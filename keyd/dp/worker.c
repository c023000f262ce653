/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The loop of one worker: what has come from the wires, what has come from the tap, commands;
 * then sleep.
 */
#include "worker.h"

#include <poll.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "ether.h"
#include "loop.h"
#include "thread.h"

#define TAP_BUDGET 64	       /* packets: as many as one sendmsg() of the UDP wire takes ... */
#define TAP_BUDGET_B (1 << 20) /* ... but not more bytes */
#define SECOND_NS 1000000000ULL
#define ICMP_COST_NS (SECOND_NS / MVPN_ICMP_RATE)

/* ---- services for seal.c and open.c ---- */
bool worker_event(struct worker *w, const struct dp_event *e)
{
	uint64_t one = 1;

	if (!RING_PUT(&w->events, e)) {
		count(w, DP_C_EVENT_LOST, 1);
		return false;
	}
	return write(w->event_fd, &one, sizeof(one)) == sizeof(one) || errno == EAGAIN;
}

void worker_wake(struct worker *w)
{
	uint64_t one = 1;
	ssize_t n = write(w->wake_fd, &one, sizeof(one));

	(void)n; /* EAGAIN: it is about to wake anyway */
}

struct wire *worker_wire(struct worker *w, const struct kt_endpoint *ep, size_t max)
{
	/* an AF_XDP socket sends from its lane's own port */
	if (ep->one_port && w->index)
		return w->udp;
	for (unsigned i = 0; ep->has_hop && max <= WIRE_XDP_PAYLOAD_MAX && i < w->nxsk; i++)
		if (w->xsk[i].ifindex == ep->ifindex && w->xsk[i].sends && !w->xsk[i].broken)
			return w->xsk[i].wire;
	return w->udp;
}

static void failed(struct worker *w, unsigned ifindex, int error)
{
	struct dp_event e = {.type = DP_EV_ERROR, .ifindex = ifindex, .error = error};

	worker_event(w, &e);
}

void worker_tap_write(void *arg, const struct virtio_net_hdr *h, uint8_t *data, size_t len)
{
	struct worker *w = arg;

	count(w, tap_write(&w->tap, h, data, len) < 0 ? DP_C_DROP_TAP_FULL : DP_C_TAP_TX, 1);
}

void worker_icmp(struct worker *w, const struct packet *p, enum icmp_error what, unsigned mtu)
{
	static const struct virtio_net_hdr plain;
	size_t len;

	/* a bucket that holds one second's worth, kept as the time at which it was empty */
	if (w->icmp_tokens_ns + SECOND_NS < w->now)
		w->icmp_tokens_ns = w->now - SECOND_NS;
	if (w->icmp_tokens_ns + ICMP_COST_NS > w->now)
		return;
	len = icmp_error(w->scratch, p, what, mtu);
	if (!len)
		return;
	w->icmp_tokens_ns += ICMP_COST_NS;
	if (tap_write(&w->tap, &plain, w->scratch, len) == 0)
		count(w, DP_C_ICMP_SENT, 1);
}

/* ---- one turn ---- */
static bool receive(struct worker *w)
{
	bool work = false, empty = true;
	int n;

	for (unsigned i = 0; i < w->nxsk; i++) {
		struct worker_xsk *x = &w->xsk[i];

		if (x->broken)
			continue;
		n = x->wire->ops->receive(x->wire, open_datagram, w, RX_BUDGET);
		if (n < 0) {
			x->broken = true;
			failed(w, x->ifindex, n);
		}
		work |= n > 0;
		empty &= n < RX_BUDGET;
	}
	if (!w->udp_broken) {
		wire_udp_errors(w->udp, w->udp_poll_error, quote_take, w);
		w->udp_poll_error = false;
		n = w->udp->ops->receive(w->udp, open_datagram, w, RX_BUDGET);
		if (n < 0) {
			w->udp_broken = true;
			failed(w, 0, n);
		}
		work |= n > 0;
		empty &= n < RX_BUDGET;
	}
	work |= owner_relays(w, empty);
	open_finish(w); /* also when a wire failed after it had delivered */
	owner_wake(w);
	return work;
}

static bool transmit(struct worker *w)
{
	struct virtio_net_hdr h;
	size_t bytes = 0;
	unsigned n = 0;

	for (; n < TAP_BUDGET && bytes < TAP_BUDGET_B && !w->tap_broken; n++) {
		ssize_t len = tap_read(&w->tap, w->packet, &h);

		if (!len)
			break;
		count(w, DP_C_TAP_RX, 1);
		if (len > 0) {
			bytes += (size_t)len;
			seal_super(w, &h, (size_t)len);
		} else if (len == -EINVAL) {
			count(w, DP_C_DROP_MALFORMED_TAP, 1);
		} else {
			w->tap_broken = true;
			failed(w, 0, (int)len);
		}
	}
	return n;
}

static bool transmit_frames(struct worker *w)
{
	struct virtio_net_hdr h;
	unsigned n = 0;

	for (; n < TAP_BUDGET && w->frame_tap.fd >= 0 && !w->frame_tap_broken; n++) {
		ssize_t len = tap_read(&w->frame_tap, w->packet, &h);

		if (!len)
			break;
		if (len > 0) {
			ether_out(w, (size_t)len, NULL);
		} else if (len == -EINVAL) {
			count(w, DP_C_DROP_MALFORMED_TAP, 1);
		} else {
			w->frame_tap_broken = true;
			failed(w, 0, (int)len);
		}
	}
	return n;
}

static void send_ctrl(struct worker *w, const struct dp_cmd *c)
{
	struct kt_session *s = kt_lookup_spi(w->kt, c->spi);
	struct kt_peer *p = s ? kt_lookup_peer(w->kt, s->peer) : NULL;
	struct kt_endpoint *ep =
		p ? atomic_load_explicit(&p->endpoint, memory_order_acquire) : NULL;
	struct kt_endpoint there = {.to = c->to, .one_port = true};

	if (s && c->to.port)
		ep = &there;
	if (ep)
		seal_ctrl(w, s, ep, c->ctrl, c->token, c->pad);
}

static void send_plain(struct worker *w, const struct dp_cmd *c)
{
	struct kt_endpoint there = {.to = c->to, .one_port = true};
	uint8_t *room = w->udp->ops->reserve(w->udp, &there, c->len, 0);

	if (!room) {
		count(w, DP_C_DROP_WIRE_FULL, 1);
		return;
	}
	memcpy(room, c->data, c->len);
	w->udp->ops->commit(w->udp, c->len);
}

static bool commands(struct worker *w)
{
	struct dp_cmd c;
	bool any = false;

	/* dp_send_ctrl() waits for the ring to be empty: so a command leaves it when it is done */
	for (; RING_PEEK(&w->cmds, &c); RING_DONE(&w->cmds)) {
		any = true;
		switch (c.type) {
		case DP_CMD_CTRL:
			send_ctrl(w, &c);
			break;
		case DP_CMD_PLAIN:
			send_plain(w, &c);
			break;
		case DP_CMD_FLUSH_HELD:
			seal_flush_held(w, c.peer);
			break;
		case DP_CMD_DROP_HELD:
			seal_drop_held(w, c.peer, c.prohibited);
			break;
		}
	}
	return any;
}

static void flush_wires(struct worker *w)
{
	for (unsigned i = 0; i < w->nxsk; i++)
		if (!w->xsk[i].broken)
			w->xsk[i].wire->ops->flush(w->xsk[i].wire);
	w->udp->ops->flush(w->udp);
}

static bool turn(struct worker *w)
{
	unsigned expired;
	bool work;

	w->now = mono_ns();
	work = receive(w);
	work |= commands(w);
	work |= transmit(w);
	work |= transmit_frames(w);
	work |= seal_shaped(w);
	if (work)
		flush_wires(w);
	expired = hold_expire(w->hold, w->now);
	if (expired)
		count(w, DP_C_HELD_DROP_TIMEOUT, expired);
	kt_worker_quiescent(w->kt, w->index);
	return work;
}

/* ---- sleeping ---- */
/* until something that is held is too old, or something that waits may go */
static struct timespec *kept_timeout(struct worker *w, struct timespec *ts)
{
	uint64_t at = hold_next_expiry(w->hold), next = shaper_next_ns(w->shaper), now;

	if (next < at)
		at = next;
	if (at == UINT64_MAX)
		return NULL;
	now = mono_ns();
	at = at > now ? at - now : 0;
	ts->tv_sec = (time_t)(at / SECOND_NS);
	ts->tv_nsec = (long)(at % SECOND_NS);
	return ts;
}

static void sleep_until_work(struct worker *w)
{
	struct pollfd fds[MVPN_IFACES_MAX + 5] = {
		{.fd = w->wake_fd, .events = POLLIN},
		{.fd = w->tap_broken ? -1 : w->tap.fd, .events = POLLIN},
		{.fd = w->frame_tap_broken ? -1 : w->frame_tap.fd, .events = POLLIN},
		{.fd = w->udp_broken ? -1 : w->udp->ops->fd(w->udp), .events = POLLIN},
		{.fd = w->udp_broken ? -1 : wire_udp_error_fd(w->udp)}, /* POLLERR comes unasked */
	};
	struct timespec ts;
	uint64_t drained;
	unsigned n = 5;

	for (unsigned i = 0; i < w->nxsk; i++) {
		if (w->xsk[i].broken)
			continue;
		if (!w->xsk[i].wire->ops->before_sleep(w->xsk[i].wire))
			return;
		fds[n].fd = w->xsk[i].wire->ops->fd(w->xsk[i].wire);
		fds[n++].events = POLLIN;
	}
	kt_worker_offline(w->kt, w->index);
	if (ppoll(fds, n, kept_timeout(w, &ts), NULL) > 0 && fds[0].revents) {
		ssize_t got = read(w->wake_fd, &drained, sizeof(drained));

		(void)got;
	}
	w->udp_poll_error = fds[4].revents & POLLERR;
	kt_worker_online(w->kt, w->index);
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;

	kt_worker_online(w->kt, w->index);
	while (!atomic_load_explicit(&w->stop, memory_order_relaxed))
		if (turn(w))
			spin_work(&w->spin, w->now);
		else if (spin_again(&w->spin, w->now))
			sched_yield(); /* to whoever makes the work, if on the same core */
		else
			sleep_until_work(w);
	kt_worker_offline(w->kt, w->index);
	return NULL;
}

int worker_start(struct worker *w)
{
	int r;

	if (w->running)
		return 0;
	atomic_store(&w->stop, false);
	r = thread_start(&w->thread, "mvpn-w", w->index, worker_main, w);
	w->running = r == 0;
	return r;
}

void worker_stop(struct worker *w)
{
	if (!w->running)
		return;
	atomic_store(&w->stop, true);
	worker_wake(w);
	pthread_join(w->thread, NULL);
	w->running = false;
}
