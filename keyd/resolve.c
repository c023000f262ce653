/* SPDX-License-Identifier: BSD-2-Clause */
#include "resolve.h"

#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* Shared by the loop and the thread; whoever is last frees it, since getaddrinfo cannot be cancelled. */
struct resolve {
	atomic_int refs;
	int fd;
	struct loop_source *source;
	resolve_fn *fn;
	void *arg;
	char host[256], port[8];
	struct mvpn_endpoint list[RESOLVE_MAX];
	unsigned n;
	int error;
};

static void unref(struct resolve *r)
{
	if (atomic_fetch_sub(&r->refs, 1) == 1) {
		close(r->fd);
		free(r);
	}
}

static void *look_up(void *arg)
{
	struct resolve *r = arg;
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG},
			*list = NULL, *ai;

	r->error = getaddrinfo(r->host, r->port, &hints, &list);
	for (ai = list; ai && r->n < RESOLVE_MAX; ai = ai->ai_next)
		if (!mvpn_endpoint_from_sockaddr(&r->list[r->n], ai->ai_addr))
			r->n++;
	if (list)
		freeaddrinfo(list);
	eventfd_write(r->fd, 1);
	unref(r);
	return NULL;
}

static void done(void *arg, uint32_t events)
{
	struct resolve *r = arg;
	const char *error = r->n ? NULL : r->error ? gai_strerror(r->error) : "no usable address";

	loop_remove(r->source);
	r->source = NULL;
	r->fn(r->arg, r->list, r->n, error);
	unref(r);
}

static int split(struct resolve *r, const char *where, uint16_t default_port)
{
	const char *colon = strrchr(where, ':');
	size_t len = colon ? (size_t)(colon - where) : strlen(where);

	if (!len || len >= sizeof(r->host) || (colon && strlen(colon + 1) >= sizeof(r->port)))
		return -EINVAL;
	memcpy(r->host, where, len);
	if (colon)
		strcpy(r->port, colon + 1);
	else
		snprintf(r->port, sizeof(r->port), "%u", default_port);
	return 0;
}

int resolve_start(struct resolve **ret, struct loop *l, const char *where, uint16_t default_port,
		  resolve_fn *fn, void *arg)
{
	struct resolve *r = calloc(1, sizeof(*r));
	pthread_attr_t attr;
	pthread_t thread;
	int e;

	if (!r)
		return -ENOMEM;
	r->fn = fn;
	r->arg = arg;
	atomic_init(&r->refs, 1);
	r->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	e = r->fd < 0 ? -errno : loop_add(l, r->fd, EPOLLIN, done, r, &r->source);
	if (e)
		goto fail;
	if (!mvpn_endpoint_parse(&r->list[0], where, default_port)) {
		r->n = 1;
		eventfd_write(r->fd, 1);
		*ret = r;
		return 0;
	}
	e = split(r, where, default_port);
	if (e)
		goto fail;
	atomic_fetch_add(&r->refs, 1);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	e = -pthread_create(&thread, &attr, look_up, r);
	pthread_attr_destroy(&attr);
	if (e) {
		atomic_fetch_sub(&r->refs, 1);
		goto fail;
	}
	*ret = r;
	return 0;
fail:
	loop_remove(r->source);
	if (r->fd >= 0)
		close(r->fd);
	free(r);
	return e;
}

void resolve_cancel(struct resolve *r)
{
	if (!r)
		return;
	loop_remove(r->source);
	unref(r);
}
