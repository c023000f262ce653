/* SPDX-License-Identifier: BSD-2-Clause */
/* The fast path from outside: workers are made, given wires, stopped and started; see dp.h. */
#include "dp.h"

#include <sodium.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "worker.h"

/* ---- workers ---- */
static void worker_free(struct worker *w)
{
	if (!w)
		return;
	worker_stop(w);
	for (unsigned i = 0; i < w->nxsk; i++)
		w->xsk[i].wire->ops->free(w->xsk[i].wire);
	if (w->udp)
		w->udp->ops->free(w->udp);
	tap_close(&w->tap);
	tap_close(&w->frame_tap);
	if (w->wake_fd >= 0)
		close(w->wake_fd);
	for (unsigned i = 0; i < MVPN_WORKERS_MAX; i++)
		relay_free(w->in[i]);
	hold_free(w->hold);
	shaper_free(w->shaper);
	coalesce_free(&w->coalescer);
	if (w->packet)
		free(w->packet - TAP_HEADROOM);
	if (w->scratch)
		free(w->scratch - TAP_HEADROOM);
	free(w);
}

static uint8_t *packet_buffer(size_t size)
{
	uint8_t *p = aligned_alloc(64, (TAP_HEADROOM + size + 63) & ~(size_t)63);

	return p ? p + TAP_HEADROOM : NULL;
}

static unsigned spin_most_us(const struct dp *dp)
{
	return dp->latency && dp->spin_us < MVPN_LATENCY_SPIN_US ? MVPN_LATENCY_SPIN_US
								 : dp->spin_us;
}

static int worker_new(struct dp *dp, struct worker **ret)
{
	struct worker *w = aligned_alloc(64, (sizeof(*w) + 63) & ~(size_t)63);
	bool first = dp->nworkers == 0;
	int r;

	if (!w)
		return -ENOMEM;
	memset(w, 0, sizeof(*w));
	w->index = dp->nworkers;
	w->kt = dp->kt;
	w->event_fd = dp->event_fd;
	w->team = dp->worker;
	w->relayed_by = w->index;
	spin_init(&w->spin, spin_most_us(dp) * 1000ULL, dp->latency);
	w->ip6_id = randombytes_random();
	w->tap.fd = w->frame_tap.fd = -1;
	w->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = -errno;
	if (w->wake_fd < 0)
		goto fail;
	w->packet = packet_buffer(TAP_PACKET_MAX);
	w->scratch = packet_buffer(WIRE_PAYLOAD_MAX);
	r = -ENOMEM;
	if (!w->packet || !w->scratch)
		goto fail;
	r = hold_new(&w->hold);
	if (r == 0)
		r = shaper_new(&w->shaper);
	if (r < 0)
		goto fail;
	r = tap_open(&w->tap, dp->tap_name, first, first ? &dp->tap_ifindex : NULL);
	if (r < 0)
		goto fail;
	if (dp->frame_tap_name[0])
		r = tap_open_frames(&w->frame_tap, dp->frame_tap_name, false, NULL);
	if (r < 0)
		goto fail;
	r = coalesce_init(&w->coalescer, w->tap.uso, worker_tap_write, w);
	if (r < 0)
		goto fail;
	if (first)
		dp->tap_steered = tap_steer(&w->tap) == 0;
	r = wire_udp_new(&w->udp, &(struct wire_udp_config){dp->udp_port, w->index});
	if (r < 0)
		goto fail;
	dp->udp_port = wire_udp_port(w->udp);
	*ret = w;
	return 0;
fail:
	worker_free(w);
	return r;
}

static void workers_stop(struct dp *dp)
{
	for (unsigned i = 0; i < dp->nworkers; i++)
		worker_stop(dp->worker[i]);
}

static int workers_start(struct dp *dp)
{
	int r = 0;

	for (unsigned i = 0; i < dp->nworkers && r >= 0; i++)
		r = worker_start(dp->worker[i]);
	return r;
}

/* one socket is no group yet */
static int steer(struct dp *dp, unsigned n)
{
	return n > 1 ? wire_udp_steer(dp->worker[0]->udp, n) : 0;
}

static void workers_shrink(struct dp *dp, unsigned n)
{
	while (dp->nworkers > n) {
		worker_free(dp->worker[--dp->nworkers]);
		dp->worker[dp->nworkers] = NULL;
	}
	for (unsigned i = 0; i < n; i++) {
		dp->worker[i]->nteam = n;
		memset(dp->worker[i]->offers + n, 0, MVPN_WORKERS_MAX - n);
	}
	if (n)
		steer(dp, n);
}

/* a ring from each worker to each, and to itself */
static int team_up(struct dp *dp)
{
	int r = 0;

	for (unsigned to = 0; to < dp->nworkers && !r; to++)
		for (unsigned from = 0; from < dp->nworkers && !r; from++)
			if (!dp->worker[to]->in[from])
				r = relay_new(&dp->worker[to]->in[from]);
	for (unsigned i = 0; i < dp->nworkers && !r; i++)
		dp->worker[i]->nteam = dp->nworkers;
	return r ? r : steer(dp, dp->nworkers);
}

/* no worker runs */
static int workers_grow(struct dp *dp, unsigned n)
{
	unsigned before = dp->nworkers;
	int r = 0;

	while (dp->nworkers < n && !r) {
		r = worker_new(dp, &dp->worker[dp->nworkers]);
		if (!r)
			dp->nworkers++;
	}
	if (!r)
		r = team_up(dp);
	if (r)
		workers_shrink(dp, before);
	return r;
}

/*
 * One worker moves several Gb/s and uses the core it runs on; applications, the stack and the driver's interrupts want theirs.
 * Measured with both ends on two busy CPUs, two workers moved as much TCP as one in one stream, 1.24 times as much in four, for
 * 1.1 times the CPU time a byte: a worker for each CPU is there for who asks for it.
 */
static unsigned workers_auto(void)
{
	cpu_set_t set;
	unsigned n = 1;

	if (sched_getaffinity(0, sizeof(set), &set) == 0)
		n = (unsigned)CPU_COUNT(&set) / MVPN_CPUS_A_WORKER;
	if (n > MVPN_WORKERS_AUTO_MAX)
		n = MVPN_WORKERS_AUTO_MAX;
	return n ? n : 1;
}

int dp_new(struct dp **ret, struct keytab *kt, const struct dp_config *c)
{
	struct dp *dp = calloc(1, sizeof(*dp));
	int r;

	if (!dp)
		return -ENOMEM;
	dp->kt = kt;
	dp->udp_port = c->udp_port;
	dp->busy_poll = c->busy_poll;
	dp->spin_us = c->spin_us;
	dp->latency = c->latency;
	snprintf(dp->tap_name, sizeof(dp->tap_name), "%s", c->tap_name);
	dp->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (dp->event_fd < 0) {
		r = -errno;
		free(dp);
		return r;
	}
	r = workers_grow(dp, c->workers ? c->workers : workers_auto());
	if (r >= 0)
		r = workers_start(dp);
	if (r < 0) {
		dp_free(dp);
		return r;
	}
	*ret = dp;
	return 0;
}

void dp_free(struct dp *dp)
{
	if (!dp)
		return;
	workers_stop(dp);
	workers_shrink(dp, 0);
	close(dp->event_fd);
	free(dp);
}

unsigned dp_tap_ifindex(const struct dp *dp)
{
	return dp->tap_ifindex;
}

/* ---- Ethernet frames ---- */
static void frames_close(struct dp *dp)
{
	for (unsigned i = 0; i < dp->nworkers; i++)
		tap_close(&dp->worker[i]->frame_tap);
	dp->frame_tap_name[0] = '\0';
}

int dp_frames_open(struct dp *dp, const char *name, unsigned *ret_ifindex)
{
	int r = 0;

	workers_stop(dp);
	frames_close(dp);
	for (unsigned i = 0; i < dp->nworkers && r >= 0; i++) {
		r = tap_open_frames(&dp->worker[i]->frame_tap, name, i == 0, ret_ifindex);
		dp->worker[i]->frame_tap_broken = false;
		if (i == 0 && r >= 0) /* best effort, as for the tap: dp_tap_steered() */
			tap_steer(&dp->worker[0]->frame_tap);
	}
	if (r < 0)
		frames_close(dp);
	else
		snprintf(dp->frame_tap_name, sizeof(dp->frame_tap_name), "%s", name);
	workers_start(dp);
	return r;
}

void dp_frames_close(struct dp *dp)
{
	workers_stop(dp);
	frames_close(dp);
	workers_start(dp);
}

unsigned dp_workers(const struct dp *dp)
{
	return dp->nworkers;
}

bool dp_tap_steered(const struct dp *dp)
{
	return dp->tap_steered;
}

int dp_workers_grow(struct dp *dp, unsigned n)
{
	unsigned before = dp->nworkers;
	int r, started;

	if (n > MVPN_WORKERS_MAX)
		return -EINVAL;
	if (n <= before)
		return 0;
	workers_stop(dp);
	r = workers_grow(dp, n);
	started = workers_start(dp);
	if (started < 0 && r >= 0) {
		workers_stop(dp);
		workers_shrink(dp, before);
		workers_start(dp);
		r = started;
	}
	return r;
}

unsigned dp_socket_cookies(const struct dp *dp, uint64_t *ret, unsigned max)
{
	unsigned n = 0;

	for (unsigned i = 0; i < dp->nworkers && n + WIRE_UDP_SOCKETS <= max; i++)
		n += wire_udp_cookies(dp->worker[i]->udp, ret + n);
	return n;
}

/* ---- AF_XDP ---- */
static void wires_free(struct wire **wires, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (wires[i])
			wires[i]->ops->free(wires[i]);
}

static int wires_open(struct dp *dp, const struct dp_xsk_config *x, bool zerocopy,
		      struct wire **wires)
{
	struct wire_xdp_config c = {
		.ifindex = x->ifindex,
		.xsks_map = x->xsks_map,
		.zerocopy = zerocopy,
		.busy_poll = dp->busy_poll,
		.generic = x->generic,
		.udp_port = dp->udp_port,
	};

	for (c.queue = 0; c.queue < x->nqueues; c.queue++) {
		int r;

		c.source_port = wire_udp_source(dp->worker[c.queue]->udp);
		r = wire_xdp_new(&wires[c.queue], &c);

		if (r < 0) {
			wires_free(wires, c.queue);
			return r;
		}
	}
	return 0;
}

int dp_xsk_add(struct dp *dp, const struct dp_xsk_config *c, struct dp_xsk_info *ret)
{
	struct wire *wires[MVPN_WORKERS_MAX] = {0};
	bool zerocopy = !c->generic;
	int r;

	if (!c->nqueues || c->nqueues > MVPN_WORKERS_MAX)
		return -EINVAL;
	for (unsigned i = 0; i < dp->worker[0]->nxsk; i++)
		if (dp->worker[0]->xsk[i].ifindex == c->ifindex)
			return -EEXIST;
	if (dp->worker[0]->nxsk == MVPN_IFACES_MAX)
		return -ENOSPC;
	/* first the workers: their sockets have the ports that the wires send from */
	r = dp_workers_grow(dp, c->nqueues);
	if (r < 0)
		return r;
	r = -EOPNOTSUPP;
	if (zerocopy)
		r = wires_open(dp, c, true, wires);
	if (r < 0 && r != -EBUSY) {
		zerocopy = false;
		r = wires_open(dp, c, false, wires);
	}
	if (r < 0)
		return r;
	ret->zerocopy = zerocopy;
	ret->sends = zerocopy && wire_xdp_sends(wires[0]);
	workers_stop(dp);
	for (unsigned i = 0; i < c->nqueues; i++) {
		struct worker *w = dp->worker[i];

		w->xsk[w->nxsk++] = (struct worker_xsk){
			.ifindex = c->ifindex, .wire = wires[i], .sends = ret->sends};
	}
	r = workers_start(dp);
	if (r < 0) {
		dp_xsk_del(dp, c->ifindex);
		return r;
	}
	return 0;
}

void dp_xsk_del(struct dp *dp, unsigned ifindex)
{
	workers_stop(dp);
	for (unsigned i = 0; i < dp->nworkers; i++) {
		struct worker *w = dp->worker[i];

		for (unsigned x = 0; x < w->nxsk; x++)
			if (w->xsk[x].ifindex == ifindex) {
				w->xsk[x].wire->ops->free(w->xsk[x].wire);
				w->xsk[x] = w->xsk[--w->nxsk];
				break;
			}
	}
	workers_start(dp);
}
