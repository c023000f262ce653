/* SPDX-License-Identifier: BSD-2-Clause */
/* Local control (include/mvpn/ctl.h): the serving end on a loop, and the calling end. JSON by jansson. */
#ifndef MVPN_IPC_H
#define MVPN_IPC_H

#include <jansson.h>
#include <stdarg.h>

#include "loop.h"

struct ipc_server;
struct ipc_call; /* one request that awaits its reply */

/*
 * Called once for each request; `args` is borrowed (an object, maybe empty). Answer with exactly one of the ipc_reply_*
 * functions, now or later; until then ipc_call stays valid. If the client goes away first, `gone` (if set by
 * ipc_call_on_gone) is called and the call must not be used after that.
 */
typedef void ipc_handler(void *arg, struct ipc_call *call, const char *verb, json_t *args);

/* Makes the socket 0600, its directory 0755 if missing, replaces a dead socket, refuses a live one (-EADDRINUSE).
 * Clients other than root and our own uid are refused. */
int ipc_server_new(struct loop *l, const char *path, ipc_handler *fn, void *arg, struct ipc_server **ret);
void ipc_server_free(struct ipc_server *s);

/* as json_string(); what is no UTF-8 (a path, a program's name) with '?' for each byte beyond ASCII. NULL: no memory */
json_t *ipc_text(const char *text);
json_t *ipc_vtext(const char *fmt, va_list ap);
void ipc_reply_ok(struct ipc_call *c, json_t *body); /* steals body (an object or NULL); adds schema and ok */
void ipc_reply_error(struct ipc_call *c, int exit_code, const char *code, const char *hint, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));
/* the same with more members of the error; steals them (an object) */
void ipc_reply_error_with(struct ipc_call *c, int exit_code, const char *code, const char *hint, json_t *members,
			  const char *fmt, ...) __attribute__((format(printf, 6, 7)));
/* The user behind the client: who logged in, if the kernel knows (loginuid: sudo keeps it), else whose process it is. */
uint32_t ipc_call_uid(const struct ipc_call *c);
void ipc_call_on_gone(struct ipc_call *c, void (*gone)(void *arg), void *arg);
/* a stream of JSON lines after which the connection ends (`--follow`): 0, or -ENOBUFS when the reader is too slow */
int ipc_stream(struct ipc_call *c, json_t *line); /* steals line */

/*
 * The calling end, blocking. steals args. 0 with *ret_reply (also for ok:false), else -errno: -ENOENT/-ECONNREFUSED no
 * daemon, -EACCES, -ETIMEDOUT, -EPROTO.
 */
int ipc_request(const char *path, const char *verb, json_t *args, unsigned timeout_ms, json_t **ret_reply);
/* Lines of a stream (ipc_stream) until fn returns other than 0, which is returned; -ENODATA when the daemon ends it. The
 * timeout is for asking only. Steals args. */
int ipc_follow(const char *path, const char *verb, json_t *args, unsigned timeout_ms,
	       int (*fn)(void *arg, const json_t *line), void *arg);

#endif
