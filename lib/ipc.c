/* SPDX-License-Identifier: BSD-2-Clause */
#include "ipc.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ipc_socket.h"
#include "mvpn/ctl.h"
#include "mvpn/limits.h"

#define BACKLOG 64
#define READ_STEP_B 4096

struct buffer {
	char *data;
	size_t len, size;
};

struct ipc_call {
	struct client *client; /* NULL: gone; the call waits for its reply only to be freed */
	void (*gone)(void *arg);
	void *gone_arg;
};

/* Freed by its own event handler or the server's end only, never under a handler that replies. */
struct client {
	struct ipc_server *server;
	struct client *prev, *next;
	struct loop_source *source;
	struct ipc_call *call; /* the request being worked on; the next one waits in `in` */
	struct buffer in, out;
	int fd;
	uid_t uid;    /* who logged in, or whose process it is */
	bool eof;     /* nothing more will come */
	bool closing; /* to be closed once `out` is sent */
	bool streaming;
};

struct ipc_server {
	struct loop *loop;
	struct loop_source *source;
	struct client *clients;
	ipc_handler *fn;
	void *arg;
	char *path;
	dev_t dev; /* of the socket file, to remove only our own */
	ino_t ino;
	int fd;
	unsigned nclients;
};

static int buffer_add(struct buffer *b, const void *data, size_t len)
{
	if (len > b->size - b->len) {
		size_t size = b->size ? b->size : READ_STEP_B;
		char *p;

		while (size < b->len + len)
			size *= 2;
		p = realloc(b->data, size);
		if (!p)
			return -ENOMEM;
		b->data = p;
		b->size = size;
	}
	if (len)
		memcpy(b->data + b->len, data, len);
	b->len += len;
	return 0;
}

static void buffer_consume(struct buffer *b, size_t len)
{
	/* requests may hold a token: nothing of them stays behind */
	b->len -= len;
	memmove(b->data, b->data + len, b->len);
	explicit_bzero(b->data + b->len, len);
}

static void buffer_free(struct buffer *b)
{
	if (b->data)
		explicit_bzero(b->data, b->size);
	free(b->data);
	*b = (struct buffer){0};
}

/* ---- output ---- */

static bool input_waits(const struct client *c)
{
	return c->eof || (c->in.len && memchr(c->in.data, '\n', c->in.len));
}

static void client_flush(struct client *c)
{
	size_t sent = 0;
	bool busy;

	while (sent < c->out.len) {
		ssize_t n = send(c->fd, c->out.data + sent, c->out.len - sent,
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			if (errno == EAGAIN)
				break;
			/* the reader is gone: let its event handler clean up */
			sent = c->out.len;
			c->closing = true;
			break;
		}
		sent += (size_t)n;
	}
	if (sent)
		buffer_consume(&c->out, sent);
	if (!c->out.len) {
		buffer_free(&c->out);
		if (c->closing)
			shutdown(c->fd, SHUT_RDWR); /* gives EPOLLHUP */
	}
	/* While a request is worked on, the next one waits. One that was read already makes no
	 * event of its own, being writable does. EPOLLHUP comes always. */
	busy = c->call || c->closing;
	loop_modify(c->source, (c->out.len || (!busy && input_waits(c)) ? EPOLLOUT : 0u) |
				       (busy || c->eof ? 0u : EPOLLIN));
}

/* steals j */
static int client_put_json(struct client *c, json_t *j, size_t max)
{
	char *text = j ? json_dumps(j, JSON_COMPACT) : NULL;
	size_t len;
	int r;

	json_decref(j);
	if (!text)
		return -ENOMEM;
	len = strlen(text);
	text[len] = '\n'; /* the NUL is not sent */
	r = c->out.len + len + 1 > max ? -ENOBUFS : buffer_add(&c->out, text, len + 1);
	explicit_bzero(text, len);
	free(text);
	return r;
}

json_t *ipc_text(const char *text)
{
	json_t *ret = json_string(text);
	char *copy = ret ? NULL : strdup(text);

	for (char *c = copy; c && *c; c++)
		if (*c & 0x80)
			*c = '?';
	if (copy)
		ret = json_string(copy);
	free(copy);
	return ret;
}

json_t *ipc_vtext(const char *fmt, va_list ap)
{
	char *text;
	json_t *ret;

	if (vasprintf(&text, fmt, ap) < 0)
		return NULL;
	ret = ipc_text(text);
	free(text);
	return ret;
}

static json_t *error_json(int exit_code, const char *code, const char *hint, const char *message)
{
	json_t *e = json_pack("{s:s, s:o}", "code", code, "message", ipc_text(message));

	if (e && hint && json_object_set_new(e, "hint", ipc_text(hint)) < 0) {
		json_decref(e);
		e = NULL;
	}
	return json_pack("{s:i, s:b, s:i, s:o}", "schema", MVPN_CTL_SCHEMA, "ok", 0, "exit",
			 exit_code, "error", e);
}

/* Ends a call: the reply goes out; the event handler looks at the next request. */
static void call_finish(struct ipc_call *call, json_t *reply)
{
	struct client *c = call->client;

	free(call);
	if (!c) {
		json_decref(reply);
		return;
	}
	c->call = NULL;
	if (client_put_json(c, reply, MVPN_CTL_LINE_MAX_B) < 0) {
		json_t *e = error_json(MVPN_EXIT_FAILED, "reply-too-large", NULL,
				       "the reply does not fit");

		c->closing = true;
		client_put_json(c, e, 2 * MVPN_CTL_LINE_MAX_B);
	}
	if (c->streaming)
		c->closing = true;
	client_flush(c);
}

void ipc_reply_ok(struct ipc_call *call, json_t *body)
{
	json_t *reply = json_pack("{s:i, s:b}", "schema", MVPN_CTL_SCHEMA, "ok", 1);

	if (reply && body && json_object_update(reply, body) < 0) {
		json_decref(reply);
		reply = NULL;
	}
	json_decref(body);
	call_finish(call, reply);
}

void ipc_reply_error(struct ipc_call *call, int exit_code, const char *code, const char *hint,
		     const char *fmt, ...)
{
	char message[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
	call_finish(call, error_json(exit_code, code, hint, message));
}

void ipc_reply_error_with(struct ipc_call *call, int exit_code, const char *code, const char *hint,
			  json_t *members, const char *fmt, ...)
{
	char message[1024];
	json_t *reply;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
	reply = error_json(exit_code, code, hint, message);
	json_object_update(json_object_get(reply, "error"), members);
	json_decref(members);
	call_finish(call, reply);
}

uint32_t ipc_call_uid(const struct ipc_call *call)
{
	return call->client ? call->client->uid : (uint32_t)-1;
}

void ipc_call_on_gone(struct ipc_call *call, void (*gone)(void *arg), void *arg)
{
	call->gone = gone;
	call->gone_arg = arg;
}

int ipc_stream(struct ipc_call *call, json_t *line)
{
	struct client *c = call->client;
	int r;

	if (!c) {
		json_decref(line);
		return -EPIPE;
	}
	c->streaming = true;
	r = client_put_json(c, line, MVPN_CTL_REQUEST_MAX_B);
	if (!r)
		client_flush(c);
	return r;
}

/* ---- clients ---- */

static void client_free(struct client *c)
{
	struct ipc_server *s = c->server;
	struct ipc_call *call = c->call;

	if (c->prev)
		c->prev->next = c->next;
	else
		s->clients = c->next;
	if (c->next)
		c->next->prev = c->prev;
	s->nclients--;
	loop_remove(c->source);
	close(c->fd);
	buffer_free(&c->in);
	buffer_free(&c->out);
	free(c);
	if (!call)
		return;
	call->client = NULL;
	if (call->gone) {
		/* who asked to be told is done with it; others still reply, into nothing */
		call->gone(call->gone_arg);
		free(call);
	}
}

static void refuse(struct client *c, const char *code, const char *message)
{
	c->closing = true;
	client_put_json(c, error_json(MVPN_EXIT_USAGE, code, NULL, message), MVPN_CTL_LINE_MAX_B);
}

static void handle_request(struct client *c, const char *text, size_t len)
{
	json_error_t error;
	json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error), *args;
	const char *verb = json_string_value(json_object_get(root, "verb"));

	args = json_object_get(root, "args");
	if (!verb || (args && !json_is_object(args))) {
		refuse(c, "bad-request",
		       root ? "the request has no \"verb\", or its \"args\" are no object"
			    : error.text);
		json_decref(root);
		return;
	}
	c->call = calloc(1, sizeof(*c->call));
	args = args ? json_incref(args) : json_object();
	if (!c->call || !args) {
		free(c->call);
		c->call = NULL;
		refuse(c, "out-of-memory", "out of memory");
	} else {
		c->call->client = c;
		c->server->fn(c->server->arg, c->call, verb, args);
	}
	json_decref(args);
	json_decref(root);
}

/* requests that are complete, one after the other */
static void handle_input(struct client *c)
{
	while (!c->call && !c->closing && c->in.len && !c->out.len) {
		char *nl = memchr(c->in.data, '\n', c->in.len), *line;
		size_t len = nl ? (size_t)(nl - c->in.data) : c->in.len;

		if (!nl && !c->eof)
			break;
		line = strndup(c->in.data, len);
		if (!line) {
			refuse(c, "out-of-memory", "out of memory");
			break;
		}
		buffer_consume(&c->in, len + !!nl);
		if (strspn(line, " \t\r") < len)
			handle_request(c, line, len);
		explicit_bzero(line, len);
		free(line);
	}
	if (!c->in.len)
		buffer_free(&c->in);
	if (c->eof && !c->call && !c->in.len)
		c->closing = true;
}

static void read_input(struct client *c)
{
	char buf[READ_STEP_B];
	ssize_t n = recv(c->fd, buf, sizeof(buf), MSG_DONTWAIT);

	if (n > 0) {
		if (c->in.len + (size_t)n > MVPN_CTL_REQUEST_MAX_B)
			refuse(c, "request-too-large", "the request is too long");
		else if (buffer_add(&c->in, buf, (size_t)n) < 0)
			refuse(c, "out-of-memory", "out of memory");
		explicit_bzero(buf, (size_t)n);
	} else if (!n || (errno != EAGAIN && errno != EINTR)) {
		c->eof = true; /* it may have closed its half only, and still read the reply */
	}
}

static void on_client(void *arg, uint32_t events)
{
	struct client *c = arg;

	if (events & EPOLLIN && !c->call && !c->closing && !c->eof)
		read_input(c);
	else if (events & EPOLLOUT)
		client_flush(c);
	/* what a client sent before it hung up is still done */
	handle_input(c);
	if (events & (EPOLLHUP | EPOLLERR))
		client_free(c);
	else
		client_flush(c);
}

/* For the record only, never for a decision: the process may be gone, or /proc be hidden. */
static uid_t login_uid(const struct ucred *cred)
{
	char path[40], text[16] = "";
	unsigned long uid;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/loginuid", (int)cred->pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return cred->uid;
	if (read(fd, text, sizeof(text) - 1) < 0)
		text[0] = '\0';
	close(fd);
	uid = strtoul(text, NULL, 10);
	return *text && uid < (uid_t)-1 ? (uid_t)uid : cred->uid;
}

static bool may_connect(struct client *c)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (getsockopt(c->fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return false;
	c->uid = login_uid(&cred);
	return cred.uid == 0 || cred.uid == geteuid();
}

static void on_accept(void *arg, uint32_t events)
{
	struct ipc_server *s = arg;
	struct client *c;
	int fd = accept4(s->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0)
		return;
	c = s->nclients < MVPN_CTL_CLIENTS_MAX ? calloc(1, sizeof(*c)) : NULL;
	if (!c) {
		static const char busy[] =
			"{\"schema\":1,\"ok\":false,\"exit\":1,\"error\":{\"code\":\"busy\","
			"\"message\":\"too many control connections\"}}\n";

		send(fd, busy, sizeof(busy) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
		close(fd);
		return;
	}
	c->server = s;
	c->fd = fd;
	if (loop_add(s->loop, fd, EPOLLIN, on_client, c, &c->source) < 0) {
		close(fd);
		free(c);
		return;
	}
	c->next = s->clients;
	if (c->next)
		c->next->prev = c;
	s->clients = c;
	s->nclients++;
	if (!may_connect(c)) {
		refuse(c, "not-permitted", "only root may use this socket");
		client_flush(c);
	}
}

/* ---- the server ---- */

static int server_listen(struct ipc_server *s)
{
	struct stat st;
	int r = ipc_socket_listen(s->path, BACKLOG);

	if (r < 0)
		return r;
	s->fd = r;
	if (!lstat(s->path, &st)) {
		s->dev = st.st_dev;
		s->ino = st.st_ino;
	}
	return loop_add(s->loop, s->fd, EPOLLIN, on_accept, s, &s->source);
}

int ipc_server_new(struct loop *l, const char *path, ipc_handler *fn, void *arg,
		   struct ipc_server **ret)
{
	struct ipc_server *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->loop = l;
	s->fn = fn;
	s->arg = arg;
	s->fd = -1;
	s->path = strdup(path);
	r = s->path ? server_listen(s) : -ENOMEM;
	if (r < 0) {
		ipc_server_free(s);
		return r;
	}
	*ret = s;
	return 0;
}

void ipc_server_free(struct ipc_server *s)
{
	struct stat st;

	if (!s)
		return;
	while (s->clients)
		client_free(s->clients);
	loop_remove(s->source);
	if (s->fd >= 0)
		close(s->fd);
	if (s->ino && !lstat(s->path, &st) && st.st_dev == s->dev && st.st_ino == s->ino)
		unlink(s->path);
	free(s->path);
	free(s);
}
