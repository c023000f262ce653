/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Local control: a UNIX stream socket (0600, peer credentials checked: root only), one JSON object a line.
 *
 *   request  {"verb":"attach","args":{"iface":"eth0","wire":"auto"}}
 *   reply    {"schema":1,"ok":true, …verb's own members…}
 *   error    {"schema":1,"ok":false,"exit":N,"error":{"code":"no-such-interface","message":"…","hint":"…"}}
 *
 * One request a connection; the reply may come late (`ping`, `wait`, `enroll`). `exit` is what mvpnctl exits with;
 * a reply that is ok may carry it too (`wait`: 4, `leaks`: 6).
 */
#ifndef MVPN_CTL_H
#define MVPN_CTL_H

#include <stdbool.h>
#include <string.h>

#define MVPN_CTL_SCHEMA 1
#define MVPN_RUN_DIR "/run/mvpn"
#define MVPN_KEYD_SOCKET MVPN_RUN_DIR "/keyd.sock"
#define MVPN_NETWORK_SOCKET "networks/%s/keyd.sock" /* of a named network's keyd, beside that of the host's own */
#define MVPN_NETWORK_MAX 9 /* bytes of that name, of a-z and 0-9: it is a part of interfaces' names */
static inline bool mvpn_network_valid(const char *name)
{
	size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789");

	return len && len <= MVPN_NETWORK_MAX && !name[len];
}
#define MVPN_NETWORKS_SOCKET "networks.sock" /* of who supervises several, beside that, too */
#define MVPN_SERVER_SOCKET MVPN_RUN_DIR "/server.sock"

enum mvpn_exit {
	MVPN_EXIT_OK = 0,
	MVPN_EXIT_FAILED = 1,
	MVPN_EXIT_USAGE = 2,
	MVPN_EXIT_UNREACHABLE = 3, /* the daemon does not answer */
	MVPN_EXIT_UNHEALTHY = 4,   /* or not ready in time */
	MVPN_EXIT_DENIED = 5,	   /* by policy */
	MVPN_EXIT_LEAK = 6,
};

#endif
