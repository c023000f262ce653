/* SPDX-License-Identifier: BSD-2-Clause */
/* The calling end of local control: one blocking request. */
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

/* one line, malloc'ed, without its end */
static int read_line(int fd, uint64_t deadline_ms, char **ret, size_t *ret_len)
{
	char *buf = NULL, *nl = NULL;
	size_t len = 0, size = 0;
	int r = 0;

	while (!nl) {
		ssize_t n;

		if (size - len < READ_STEP_B) {
			char *b = realloc(buf, size ? size * 2 : 2 * READ_STEP_B);

			if (!b) {
				r = -ENOMEM;
				break;
			}
			buf = b;
			size = size ? size * 2 : 2 * READ_STEP_B;
		}
		r = wait_for(fd, POLLIN, deadline_ms);
		if (r < 0)
			break;
		n = recv(fd, buf + len, READ_STEP_B, MSG_DONTWAIT);
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n <= 0 || len + (size_t)n > MVPN_CTL_LINE_MAX_B) {
			r = -EPROTO;
			break;
		}
		nl = memchr(buf + len, '\n', (size_t)n);
		len += (size_t)n;
	}
	if (r < 0) {
		free(buf);
		return r;
	}
	*ret = buf;
	*ret_len = (size_t)(nl - buf);
	return 0;
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

int ipc_request(const char *path, const char *verb, json_t *args, unsigned timeout_ms,
		json_t **ret_reply)
{
	uint64_t deadline_ms = timeout_ms ? mono_ms() + timeout_ms : 0;
	char *text, *line = NULL;
	json_t *reply;
	size_t len;
	int fd, r;

	text = request_text(verb, args, &len);
	if (!text)
		return -ENOMEM;
	fd = ipc_socket_connect(path, timeout_ms);
	r = fd < 0 ? fd : send_all(fd, text, len, deadline_ms);
	explicit_bzero(text, len); /* may hold a token */
	free(text);
	if (!r)
		r = read_line(fd, deadline_ms, &line, &len);
	if (fd >= 0)
		close(fd);
	if (r < 0)
		return r;
	reply = json_loadb(line, len, 0, NULL);
	/* and a reply may be one */
	explicit_bzero(line, len);
	free(line);
	if (!json_is_object(reply)) {
		json_decref(reply);
		return -EPROTO;
	}
	*ret_reply = reply;
	return 0;
}
