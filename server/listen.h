/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Listening sockets and what one source (an IPv4 address, an IPv6 /64) may cost us before it has proven anything: so many unfinished
 * handshakes, and so many a second. Of more each must prove something first (gate.h), for known devices may be behind the same NAT as
 * who makes them; and of those that have not done so yet the oldest makes room.
 */
#ifndef SERVER_LISTEN_H
#define SERVER_LISTEN_H

#include "server.h"

struct listener;
struct source;

int listener_new(struct server *s, char **ret_error);
void listener_free(struct listener *l); /* after the connections: they hold sources */
/* an unfinished handshake of this source is over, or has proven something */
void source_release(struct source *src);
struct unproven_list *source_unproven(struct source *src); /* its own */
/* address a token should name when nobody said: a listening address, else one of this host's; -ENOENT */
int listener_address(const struct listener *l, char *ret, size_t size);
/* where it listens, at most SERVER_LISTEN_MAX; returns how many */
unsigned listener_endpoints(const struct listener *l, struct mvpn_endpoint *ret);
/* addresses in use, an array of texts: with port 0 in the settings this is where the port is found */
json_t *listener_json(const struct listener *l);

#endif
