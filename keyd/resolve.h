/* SPDX-License-Identifier: BSD-2-Clause */
/* "addr:port" or "name:port" -> end points, without blocking the loop: names are looked up by a thread of their own. */
#ifndef MVPN_RESOLVE_H
#define MVPN_RESOLVE_H

#include "addr.h"
#include "loop.h"

#define RESOLVE_MAX 8

/* n > 0, or n = 0 and error says why (gai_strerror) */
typedef void resolve_fn(void *arg, const struct mvpn_endpoint *list, unsigned n, const char *error);

struct resolve;
int resolve_start(struct resolve **ret, struct loop *l, const char *where, uint16_t default_port,
		  resolve_fn *fn, void *arg);
void resolve_cancel(struct resolve *r); /* NULL is fine; fn will not be called */

#endif
