/* SPDX-License-Identifier: BSD-2-Clause */
/* The calling end of local control: blocking, one request or a stream. */
#include "ipc.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ipc_socket.h"
#include "mvpn/limits.h"

#define READ_STEP_B 65536

/* milliseconds left for poll(); -1 for ever */
static int left_ms(uint64_t deadline_ms)
{
	uint64_t now = mono_ms();

	if (!deadline_ms)
		return -1;
	return now >= deadline_ms ? 0 : (int)(deadline_ms - now);
}

static int wait_for(int fd, short events, uint64_t deadline_ms)
{
	struct pollfd p = {.fd = fd, .events = events};
	int r;

	do
		r = poll(&p, 1, left_ms(deadline_ms));
	while (r < 0 && errno == EINTR);
	if (r < 0)
		return -errno;
	return r ? 0 : -ETIMEDOUT;
}

static int send_all(int fd, const char *p, size_t len, uint64_t deadline_ms)
{
	while (len) {
		ssize_t n = send(fd, p, len, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EAGAIN) {
			int r = wait_for(fd, POLLOUT, deadline_ms);

			if (r < 0)
				return r;
			continue;
		}
		if (n < 0 && errno == EINTR)
			continue;
		/* it may have refused us before it read anything: then the reply says why */
		if (n < 0)
			return errno == EPIPE ? 0 : -errno;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

/* what has been received */
struct input {
	char *buf;
	size_t len, size, taken; /* by the last line */
};

static void input_free(struct input *in)
{
	/* a reply may be a token */
	if (in->buf)
		explicit_bzero(in->buf, in->size);
	free(in->buf);
}

static int input_room(struct input *in)
{
	size_t size = in->size ? in->size * 2 : 2 * READ_STEP_B;
	char *b;

	if (in->size - in->len >= READ_STEP_B)
		return 0;
	b = realloc(in->buf, size);
	if (!b)
		return -ENOMEM;
	in->buf = b;
	in->size = size;
	return 0;
}

/* the next line, without its end, there until the next call; -ENODATA when nothing more comes */
static int read_line(int fd, struct input *in, uint64_t deadline_ms, char **ret, size_t *ret_len)
{
	size_t looked = 0;

	in->len -= in->taken;
	if (in->len)
		memmove(in->buf, in->buf + in->taken, in->len);
	in->taken = 0;
	for (;;) {
		char *nl = in->len > looked ? memchr(in->buf + looked, '\n', in->len - looked)
					    : NULL;
		ssize_t n;
		int r;

		if (nl) {
			*ret = in->buf;
			*ret_len = (size_t)(nl - in->buf);
			in->taken = *ret_len + 1;
			return 0;
		}
		looked = in->len;
		if (in->len > MVPN_CTL_LINE_MAX_B)
			return -EPROTO;
		r = input_room(in);
		if (r == 0)
			r = wait_for(fd, POLLIN, deadline_ms);
		if (r < 0)
			return r;
		n = recv(fd, in->buf + in->len, READ_STEP_B, MSG_DONTWAIT);
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n <= 0)
			return n == 0 && !in->len ? -ENODATA : -EPROTO;
		in->len += (size_t)n;
	}
}

/* steals args; malloc'ed "{…}\n" */
static char *request_text(const char *verb, json_t *args, size_t *ret_len)
{
	json_t *q = json_pack("{s:s, s:o}", "verb", verb, "args", args ? args : json_object());
	char *text = q ? json_dumps(q, JSON_COMPACT) : NULL;

	json_decref(q);
	if (!text)
		return NULL;
	*ret_len = strlen(text) + 1;
	text[*ret_len - 1] = '\n'; /* in place of the NUL */
	return text;
}

/* the connection, or -errno; steals args */
static int ask(const char *path, const char *verb, json_t *args, unsigned timeout_ms,
	       uint64_t deadline_ms)
{
	size_t len;
	char *text = request_text(verb, args, &len);
	int fd, r;

	if (!text)
		return -ENOMEM;
	fd = ipc_socket_connect(path, timeout_ms);
	r = fd < 0 ? fd : send_all(fd, text, len, deadline_ms);
	explicit_bzero(text, len); /* may hold a token */
	free(text);
	if (r < 0 && fd >= 0)
		close(fd);
	return r < 0 ? r : fd;
}

static int next_reply(int fd, struct input *in, uint64_t deadline_ms, json_t **ret)
{
	json_t *reply;
	char *line;
	size_t len;
	int r = read_line(fd, in, deadline_ms, &line, &len);

	if (r < 0)
		return r;
	reply = json_loadb(line, len, 0, NULL);
	if (!json_is_object(reply)) {
		json_decref(reply);
		return -EPROTO;
	}
	*ret = reply;
	return 0;
}

int ipc_request(const char *path, const char *verb, json_t *args, unsigned timeout_ms,
		json_t **ret_reply)
{
	uint64_t deadline_ms = timeout_ms ? mono_ms() + timeout_ms : 0;
	struct input in = {0};
	int fd = ask(path, verb, args, timeout_ms, deadline_ms), r;

	if (fd < 0)
		return fd;
	r = next_reply(fd, &in, deadline_ms, ret_reply);
	input_free(&in);
	close(fd);
	return r == -ENODATA ? -EPROTO : r;
}

int ipc_follow(const char *path, const char *verb, json_t *args, unsigned timeout_ms,
	       int (*fn)(void *arg, const json_t *line), void *arg)
{
	struct input in = {0};
	json_t *line;
	int fd = ask(path, verb, args, timeout_ms, timeout_ms ? mono_ms() + timeout_ms : 0), r;

	if (fd < 0)
		return fd;
	do {
		r = next_reply(fd, &in, 0, &line);
		if (r == 0) {
			r = fn(arg, line);
			json_decref(line);
		}
	} while (r == 0);
	input_free(&in);
	close(fd);
	return r;
}
