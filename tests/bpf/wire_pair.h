/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Two ends of the AF_XDP wire, each in a network namespace of this process:
 *
 *   A: w0 10.66.0.1 fd66::1  ====veth====  w1 10.66.0.2 fd66::2 :B
 *
 * Functions assert that they succeed. The XDP program redirects every packet; the real one has
 * tests of its own.
 */
#ifndef WIRE_PAIR_H
#define WIRE_PAIR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../../keyd/dp/wire.h"

#define PORT 7469
#define WAIT_MS 2000
#define REBIND_MS 5000 /* the kernel lets go of a queue some time after close */

struct side {
	int ns, xsks, link;
	unsigned ifindex;
	const char *name;
	bool generic; /* how XDP is attached */
	struct wire *wire;
};
extern struct side A, B;

int pair_set_up(void **state);	  /* makes the namespaces, if we may */
int pair_tear_down(void **state); /* after each test: no links, no wires */
void need_root(void);		  /* skips the test without */

void sh(const char *cmd);
void enter(const struct side *s);
struct mvpn_addr addr(const char *s);
uint64_t now_ns(void);

void links_make(const char *more); /* `more`: attributes of both ends, for ip-link */
void attach(struct side *s, unsigned xdp_flags);
int wire_new(struct side *s, struct wire **ret, unsigned queue, bool zerocopy, bool busy_poll);
void wire_open(struct side *s, bool busy_poll); /* queue 0, copy mode, retrying while busy */
void side_close(struct side *s);
void both_open(const char *more, unsigned xdp_flags, bool busy_poll); /* all of these */
struct kt_endpoint endpoint(const struct side *from, bool v6);	      /* the other side */

/* ---- payloads whose contents tell what was lost or changed ---- */
struct got {
	unsigned n;	   /* good ones, all told */
	unsigned expected; /* sequence number of the next */
	struct wire_from from;
	size_t len;
};
void fill(uint8_t *p, size_t len, unsigned seq);
bool send_one(struct side *s, const struct kt_endpoint *e, size_t len, unsigned seq);
#define TOS(seq) ((uint8_t)((seq)*29)) /* that packet's */
void on_rx(void *arg /* struct got */, uint8_t *data, size_t len, const struct wire_from *from);
/* until n more have come, or nothing came for ms; returns how many did */
unsigned receive(struct side *s, struct got *g, unsigned n, int ms);

#endif
