/* SPDX-License-Identifier: BSD-2-Clause */
#include "holders.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "sockdiag.h"

static int by_socket(const void *a, const void *b)
{
	const struct mvpn_holder *x = a, *y = b;

	if (x->cookie != y->cookie)
		return x->cookie < y->cookie ? -1 : 1;
	return x->pid < y->pid ? -1 : x->pid > y->pid;
}

static void add(void *arg, const struct mvpn_holder *e)
{
	struct holders *h = arg;
	struct mvpn_holder *more = h->list;

	if (!(h->n & (h->n - 1))) {
		more = reallocarray(h->list, h->n ? 2UL * h->n : 1, sizeof(*more));
		h->known &= more != NULL;
	}
	if (!more)
		return;
	h->list = more;
	h->list[h->n] = *e;
	h->list[h->n].comm[sizeof(e->comm) - 1] = '\0';
	h->list[h->n++].exe[sizeof(e->exe) - 1] = '\0';
}

void holders_find(struct keyd *k, const uint64_t *cookies, unsigned n, struct holders *ret)
{
	int r;

	*ret = (struct holders){.known = true};
	r = n ? shim_holders(k->shim, cookies, n, add, ret) : 0;
	if (r < 0) {
		ret->known = false;
		log_ratelimited(LOG_L_WARN, "which processes have sockets open cannot be looked at: %s", strerror(-r));
	}
	if (ret->n)
		qsort(ret->list, ret->n, sizeof(*ret->list), by_socket);
}

void holders_free(struct holders *h)
{
	free(h->list);
	*h = (struct holders){0};
}

const struct mvpn_holder *holders_get(const struct holders *h, uint64_t cookie, uint32_t pid)
{
	const struct mvpn_holder *first = NULL;
	unsigned from = 0, to = h->n;

	while (from < to) {
		unsigned at = (from + to) / 2;

		if (h->list[at].cookie < cookie)
			from = at + 1;
		else
			to = at;
	}
	for (; from < h->n && h->list[from].cookie == cookie; from++) {
		if (h->list[from].pid == pid)
			return &h->list[from];
		first = first ?: &h->list[from];
	}
	return first;
}

bool holder_of(struct keyd *k, const struct mvpn_flow_key *socket, struct mvpn_holder *ret)
{
	struct sockdiag *diag = NULL;
	const struct mvpn_holder *one = NULL;
	struct socket_info info;
	struct holders h = {0};

	if (sockdiag_new(&diag) < 0)
		return false;
	if (sockdiag_get(diag, socket, 0, &info) == 0) {
		holders_find(k, &info.cookie, 1, &h);
		one = holders_get(&h, info.cookie, 0);
	}
	if (one)
		*ret = *one;
	holders_free(&h);
	sockdiag_free(diag);
	return one;
}
