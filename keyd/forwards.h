/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * This device as a relay: the pairs that the server has opened here (FORWARD), and where their ends are, which these prove by echoes
 * with keys that the server has given (lib/echo_ends.h). The packets are passed on by the workers (dp/pass.h), which have them by
 * fwdtab.h. A pair ends when the server says so, MVPN_RELAY_IDLE_S after it has said last that it goes on (while it is away that time stands
 * still), or with this device's own right to be in the network.
 */
#ifndef MVPN_FORWARDS_H
#define MVPN_FORWARDS_H

#include "keyd.h"

int forwards_init(struct keyd *k);
void forwards_free(struct keyd *k); /* after the workers, and the key table */
int forwards_message(struct keyd *k, const struct chan_msg *m); /* FORWARD: 0 or -EPROTO */
void forwards_asked(struct keyd *k, const struct dp_event *e); /* DP_EV_ASKED */
void forwards_drop_all(struct keyd *k);
void forwards_tick(struct keyd *k, uint64_t now_ms); /* each second */
unsigned forwards_count(const struct keyd *k); /* pairs */

struct fwd_pair;
struct fwd_account;
/* what `relays` shows */
struct forward_view {
	const struct fwd_pair *pair;
	const char *name[2];
	struct mvpn_endpoint at[2]; /* port 0: not known so far */
	uint32_t rate_kbit;
	const struct fwd_account *account;
};
void forwards_each(const struct keyd *k, void (*fn)(void *arg, const struct forward_view *v), void *arg);

#endif
