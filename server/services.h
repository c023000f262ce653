/* SPDX-License-Identifier: BSD-2-Clause */
/* What two devices have a session for, as the policy says: on its way to them, into the store and to people. */
#ifndef SERVER_SERVICES_H
#define SERVER_SERVICES_H

#include <jansson.h>

#include "intro.h"
#include "policy_lines.h"
#include "server.h"

struct conn;
struct device;

/* Begins sel: services and classes of a session of that layer, no prefixes. Returns what names them: 0 for everything in no class. More
 * than fit is counted and said. */
uint64_t services_select(struct server *s, const struct device *a, const struct device *b,
			 unsigned layer, struct intro_selectors *sel);
/* policy_pairs_diff() of the devices that are active */
int services_diff(struct server *s, const struct policy *old, const struct policy *new,
		  void (*fn)(void *arg, const struct policy_pairs *pairs), void *arg);
/* the name alone, by which a session that is for something else than this policy says is known */
uint64_t services_name(const struct policy *p, const struct device *a, const struct device *b,
		       unsigned layer);
/* A session at layer SOCKET is for something else than the policy says now: SERVICES to its ends, or to one of them, so that what still may go
 * on does. Who is off-line is told at its next log-in. false, and nothing is told: an end does not know that message, so it is to be made anew. */
bool services_tell(struct server *s, const struct store_session *row, const struct conn *only);
/* null for everything, or {"src": ["tcp 22"], "dst": []} with the members' names given */
json_t *services_json(const struct policy_services *sv, const char *src, const char *dst);

#endif
