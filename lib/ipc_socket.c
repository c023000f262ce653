/* SPDX-License-Identifier: BSD-2-Clause */
#include "ipc_socket.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "fsutil.h"

static int set_path(struct sockaddr_un *sun, const char *path)
{
	*sun = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof(sun->sun_path))
		return -ENAMETOOLONG;
	strcpy(sun->sun_path, path);
	return 0;
}

/* A socket file that nobody listens on is left from a crash: it goes. */
static int remove_dead_socket(const struct sockaddr_un *sun)
{
	struct stat st;
	int fd, r = 0;

	if (lstat(sun->sun_path, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (!connect(fd, (const struct sockaddr *)sun, sizeof(*sun)) || errno == EAGAIN)
		r = -EADDRINUSE;
	else if (errno != ECONNREFUSED && errno != ENOENT)
		r = -errno;
	else if (unlink(sun->sun_path) < 0 && errno != ENOENT)
		r = -errno;
	close(fd);
	return r;
}

static int make_parent(const char *path)
{
	const char *slash = strrchr(path, '/');
	char *dir;
	int r;

	if (!slash || slash == path)
		return 0;
	dir = strndup(path, (size_t)(slash - path));
	if (!dir)
		return -ENOMEM;
	r = dir_make(dir, 0755);
	free(dir);
	return r;
}

int ipc_socket_listen(const char *path, int backlog)
{
	struct sockaddr_un sun;
	int fd, r = set_path(&sun, path);

	if (!r)
		r = make_parent(path);
	if (!r)
		r = remove_dead_socket(&sun);
	if (r < 0)
		return r;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	/* the file gets the mode that the socket has when it is bound: never a moment of wider access, no umask */
	if (!fchmod(fd, 0600) && !bind(fd, (const struct sockaddr *)&sun, sizeof(sun)) &&
	    !listen(fd, backlog))
		return fd;
	r = -errno;
	close(fd);
	return r;
}

int ipc_socket_connect(const char *path, unsigned timeout_ms)
{
	struct timeval tv = {.tv_sec = timeout_ms / 1000,
			     .tv_usec = (suseconds_t)(timeout_ms % 1000) * 1000};
	struct sockaddr_un sun;
	int fd, r = set_path(&sun, path);

	if (r < 0)
		return r;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	/* bounds connect() when the daemon does not accept (unix(7)) */
	if (!setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv)) &&
	    !connect(fd, (const struct sockaddr *)&sun, sizeof(sun)))
		return fd;
	r = errno == EAGAIN ? -ETIMEDOUT : -errno;
	close(fd);
	return r;
}
