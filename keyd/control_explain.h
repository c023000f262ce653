/* SPDX-License-Identifier: BSD-2-Clause */
/* `explain`: what has been found out about a packet, for the verdict (control_explain.c, control_explain_peer.c) and for each hook on its way (control_hooks.c). */
#ifndef MVPN_CONTROL_EXPLAIN_H
#define MVPN_CONTROL_EXPLAIN_H

#include <jansson.h>

#include "attach.h"
#include "keyd.h"

/* how it leaves this host, as the kernel's main tables and rules say for the destination alone */
struct process_asked;
struct way_out {
	int error; /* -errno: the host has no way there */
	struct nl_route route;
	char iface[IFNAMSIZ];
	const struct attachment *by; /* attached, and on its way; NULL: none */
};
void explain_way_out(struct keyd *k, const struct mvpn_addr *dst, struct way_out *ret);

/* where a packet that is dropped ends */
enum explain_end { END_NOT, END_SOCKET, END_ROUTE, END_EGRESS, END_KEYD };

struct explained {
	json_t *why; /* sentences */
	struct mvpn_addr dst;
	struct mvpn_prefix prefix; /* the longest protected one; of length 0: none */
	const struct process_asked *who;
	uint8_t proto; /* 0: not said */
	uint16_t port; /* likewise */
	const char *verdict;
	enum explain_end end;
	const char *counter; /* that counts it there; NULL: none */
	struct way_out out;
	struct mvpn_addr src; /* that it leaves with, as asked, or as the route has it; zero: not known */
	struct peer *peer; /* NULL: nobody's, or not protected */
	unsigned level;	   /* enum mvpn_level */
	bool taken;	   /* keyd takes what programs open or send, at the socket */
	const struct session *stream, *packet; /* that carry it; NULL: none, or not on its way */
	bool by_process;		       /* a line of the policy with `by` lets it */
	bool translated;
	const char *astray; /* why the gateway in use does not get it to its hosts; NULL: it does, as far as is known */
	char todo[256]; /* what to do about it; "": nothing */
};

/* a packet's, 0: not said; of a frame the port is its EtherType */
struct service {
	uint8_t proto;
	uint16_t port;
};

/* ---- control_explain_peer.c ---- */
/* what it is about is given up there, and why is said: "dropped" */
const char *explain_dropped(struct explained *e, enum explain_end end, const char *counter);
/* what to do: the first that is said counts */
void explain_todo(struct explained *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* what becomes of a packet or frame for that peer: the verdict */
const char *explain_peer(struct keyd *k, struct peer *p, const struct service *of, struct explained *e);

/* ---- control_hooks.c ---- */
/* is it the socket shim that refuses what a process may not send? Else that is a packet first */
bool explain_at_socket(struct keyd *k, const struct explained *e);
/* [{hook, where, does}], in the order of the way */
json_t *explain_hooks(struct keyd *k, const struct explained *e);

#endif
