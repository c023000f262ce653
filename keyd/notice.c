/* SPDX-License-Identifier: BSD-2-Clause */
#include "notice.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static bool is(const char *line, size_t len, const char *what)
{
	return len == strlen(what) && !memcmp(line, what, len);
}

static void status_take(struct notice *n, const char *text, size_t len)
{
	len = len < sizeof(n->status) ? len : sizeof(n->status) - 1;
	for (size_t i = 0; i < len; i++)
		n->status[i] = (unsigned char)text[i] < 0x20 || text[i] == 0x7f ? ' ' : text[i];
	n->status[len] = '\0';
}

void notice_parse(const char *text, size_t len, struct notice *ret)
{
	static const char status[] = "STATUS=";
	const size_t skip = sizeof(status) - 1;

	*ret = (struct notice){0};
	while (len) {
		const char *end = memchr(text, '\n', len);
		size_t n = end ? (size_t)(end - text) : len;

		if (is(text, n, "READY=1"))
			ret->ready = true;
		else if (is(text, n, "WATCHDOG=1"))
			ret->watchdog = true;
		else if (n > skip && !memcmp(text, status, skip))
			status_take(ret, text + skip, n - skip);
		text += n + !!end;
		len -= n + !!end;
	}
}

int notice_listen(const char *path)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	int fd, one = 1, r;

	if (strlen(path) >= sizeof(sun.sun_path))
		return -ENAMETOOLONG;
	strcpy(sun.sun_path, path);
	if (unlink(path) < 0 && errno != ENOENT)
		return -errno;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	/* the file gets the mode that the socket has when it is bound */
	if (!fchmod(fd, 0600) && !setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &one, sizeof(one)) &&
	    !bind(fd, (const struct sockaddr *)&sun, sizeof(sun)))
		return fd;
	r = -errno;
	close(fd);
	return r;
}

/* 0: the kernel does not say */
static pid_t sender(struct msghdr *m)
{
	struct ucred cred;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_CREDENTIALS ||
		    c->cmsg_len != CMSG_LEN(sizeof(cred)))
			continue;
		memcpy(&cred, CMSG_DATA(c), sizeof(cred));
		return cred.pid;
	}
	return 0;
}

/* Descriptors that come with it are not ours to keep: there is room for the credentials alone, so that the kernel closes them. */
int notice_receive(int fd, pid_t *ret_pid, struct notice *ret)
{
	union {
		struct cmsghdr align;
		char b[CMSG_SPACE(sizeof(struct ucred))];
	} control;
	char text[NOTICE_MAX_B];
	struct iovec iov = {text, sizeof(text)};
	struct msghdr m = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
	ssize_t n = recvmsg(fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	pid_t pid;

	if (n < 0)
		return errno == EINTR ? -EAGAIN : -errno;
	pid = sender(&m);
	if (m.msg_flags & MSG_TRUNC || !pid)
		return -EBADMSG;
	notice_parse(text, (size_t)n, ret);
	*ret_pid = pid;
	return 0;
}
