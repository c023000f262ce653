/* SPDX-License-Identifier: BSD-2-Clause */
/* mvpnctl: one request to keyd or to the server, and its reply, or a stream of them, made readable. */
#include <errno.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl.h"
#include "ipc.h"

static int unreachable(int error, const struct command *c, bool server, const char *path, unsigned timeout_ms)
{
	const char *daemon = server ? "the server" : "keyd";
	char hint[256];

	if (c->network)
		snprintf(hint, sizeof(hint), "is it running? mvpnctl networks; systemctl status mvpn-keyd mvpn-keyd@%s", c->network);
	else
		snprintf(hint, sizeof(hint), "is it running? systemctl status %s", server ? "mvpn-server" : "mvpn-keyd");
	switch (error) {
	case -ETIMEDOUT:
		return fail(MVPN_EXIT_UNREACHABLE, "timeout", hint,
			    "%s at %s did not answer within %u s", daemon, path,
			    (timeout_ms + 999) / 1000);
	case -EACCES:
	case -EPERM:
		return fail(MVPN_EXIT_UNREACHABLE, "not-permitted", "run it as root",
			    "may not talk to %s at %s", daemon, path);
	case -EPROTO:
		return fail(MVPN_EXIT_FAILED, "odd-reply",
			    "did it just stop? is that the right socket?",
			    "%s at %s gave no proper reply", daemon, path);
	case -ENAMETOOLONG:
		return fail(MVPN_EXIT_USAGE, "usage", "a socket's path has at most 107 bytes",
			    "the path %s is too long", path);
	case -ENOMEM:
		return fail(MVPN_EXIT_FAILED, "out-of-memory", NULL, "out of memory");
	}
	return fail(MVPN_EXIT_UNREACHABLE, "unreachable", hint, "cannot reach %s at %s: %s", daemon,
		    path, strerror(-error));
}

static const char *default_socket(bool server)
{
	const char *path = getenv(server ? "MVPN_SERVER_SOCKET" : "MVPN_SOCKET");

	if (path && *path)
		return path;
	return server ? MVPN_SERVER_SOCKET : MVPN_KEYD_SOCKET;
}

struct stream {
	const struct verb *verb;
	int exit;
};

/* an error ends it, with the exit code that it carries */
static int on_line(void *arg, const json_t *line)
{
	struct stream *st = arg;

	st->exit = output_reply(st->verb, line);
	return st->exit;
}

static int follow(const struct command *c, const char *path, bool server)
{
	struct stream st = {.verb = c->verb};
	int r = ipc_follow(path, c->verb->request, json_incref(c->args), TIMEOUT_MS, on_line, &st);

	if (st.exit)
		return st.exit;
	if (r == -ENODATA)
		return fail(MVPN_EXIT_UNREACHABLE, "ended", "is it being restarted?",
			    "%s at %s has ended the stream", server ? "the server" : "keyd", path);
	return unreachable(r, c, server, path, TIMEOUT_MS);
}

/* a long answer comes in parts; an error in place of one of them is the answer */
static int ask(const struct command *c, const char *path, unsigned timeout_ms, json_t **ret)
{
	json_t *reply = NULL, *part = NULL;
	int r;

	do {
		json_t *next;

		r = ipc_request(path, c->verb->request, json_incref(c->args), timeout_ms, &next);
		json_decref(part);
		part = NULL;
		if (r < 0)
			break;
		if (!reply || !json_is_true(json_object_get(next, "ok"))) {
			json_decref(reply);
			reply = next;
		} else {
			part = next;
		}
	} while (json_is_true(json_object_get(reply, "ok")) && c->verb->goes_on &&
		 c->verb->goes_on(c->args, reply, part));
	json_decref(part);
	if (r < 0)
		json_decref(reply);
	else
		*ret = reply;
	return r;
}

static int run(const struct command *c)
{
	const struct verb *v = c->verb;
	bool server = !strncmp(v->name, "server ", 7);
	const char *path = c->socket ? c->socket : default_socket(server);
	unsigned timeout_ms = v->timeout_ms ? v->timeout_ms(c->args) : TIMEOUT_MS;
	json_t *reply;
	int r;

	if (v->follows && v->follows(c->args))
		return follow(c, path, server);
	r = v->gather ? v->gather(path, &reply) : ask(c, path, timeout_ms, &reply);
	if (r < 0)
		return unreachable(r, c, server, path, timeout_ms);
	if (v->complete)
		v->complete(path, reply);
	r = output_reply(v, reply);
	json_decref(reply);
	return r;
}

int main(int argc, char **argv)
{
	struct command c;
	int r;

	setlocale(LC_ALL, "C.UTF-8");
	output_init();
	r = command_parse(argc, argv, &c);
	if (!r && c.verb)
		r = run(&c);
	json_decref(c.args);
	return r;
}
