/* SPDX-License-Identifier: BSD-2-Clause */
#include "flows.h"

#include <endian.h>
#include <string.h>
#include <sys/epoll.h>

#include "log.h"
#include "peers.h"
#include "sessions.h"

static void on_miss(void *arg, const struct mvpn_event *e)
{
	struct keyd *k = arg;
	struct peer *p = peer_by_index(k, e->peer);
	struct mvpn_addr dst;
	bool before;

	if (!p)
		return;
	before = p->intro;
	memcpy(dst.b, e->flow.dst, sizeof(dst.b));
	session_want(k, p, &dst, e->flow.proto, be16toh(e->flow.dport));
	if (e->reason == MVPN_EVENT_SOCKET && p->intro && !before)
		k->counters[KC_INTRO_BY_SOCKET]++;
}

static void events_ready(void *arg, uint32_t events)
{
	struct keyd *k = arg;

	shim_events(k->shim, on_miss, k);
}

int flows_init(struct keyd *k)
{
	int fd = shim_events_fd(k->shim);

	shim_events(k->shim, NULL, NULL); /* what was held in an earlier life is not any more */
	return fd < 0 ? fd : loop_add(k->loop, fd, EPOLLIN, events_ready, k, NULL);
}
