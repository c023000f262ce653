/* SPDX-License-Identifier: BSD-2-Clause */
/* Which processes have certain sockets open now, and what program each runs. */
#ifndef MVPN_HOLDERS_H
#define MVPN_HOLDERS_H

#include "keyd.h"

struct holders {
	struct mvpn_holder *list; /* by cookie, then as the kernel numbers processes */
	unsigned n;
	bool known; /* all of them: of an open socket that has none here no process has it */
};

/* of at most MVPN_FLOWS_ASKED_MAX sockets, by their cookies. Never fails: what is not known is not there. */
void holders_find(struct keyd *k, const uint64_t *cookies, unsigned n, struct holders *ret);
void holders_free(struct holders *h);
/* that process if it is one of those that have it, else the first of them; NULL: none */
const struct mvpn_holder *holders_get(const struct holders *h, uint64_t cookie, uint32_t pid);
/* who has that end of a connection here; false: nobody that is known */
bool holder_of(struct keyd *k, const struct mvpn_flow_key *socket, struct mvpn_holder *ret);

#endif
