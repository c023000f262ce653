/* SPDX-License-Identifier: BSD-2-Clause */
#include "fsutil.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define READ_STEP_B 65536

char *path_join(const char *dir, const char *name)
{
	size_t n = strlen(dir);
	char *s;

	while (n > 1 && dir[n - 1] == '/')
		n--;
	if (asprintf(&s, "%.*s%s%s", (int)n, dir, n && dir[n - 1] == '/' ? "" : "/", name) < 0)
		return NULL;
	return s;
}

/* malloc'ed directory part of a path: "." for a lone name */
static char *path_dir(const char *path)
{
	const char *slash = strrchr(path, '/');

	if (!slash)
		return strdup(".");
	return strndup(path, slash == path ? 1 : (size_t)(slash - path));
}

static int write_all(int fd, const uint8_t *p, size_t len)
{
	while (len) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

static int sync_dir(const char *dir)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;

	if (fd < 0)
		return -errno;
	/* some file systems cannot sync a directory; the rename is done all the same */
	if (fsync(fd) < 0 && errno != EINVAL && errno != EROFS)
		r = -errno;
	close(fd);
	return r;
}

int file_append(const char *path, const void *data, size_t len)
{
	int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC), r;

	if (fd < 0)
		return -errno;
	r = write_all(fd, data, len);
	if (!r && fdatasync(fd) < 0)
		r = -errno;
	if (close(fd) < 0 && !r)
		r = -errno;
	return r;
}

int file_replace(const char *path, const void *data, size_t len, mode_t mode)
{
	char *dir = path_dir(path), *tmp = NULL;
	int fd = -1, r = -ENOMEM;

	if (!dir || asprintf(&tmp, "%s.XXXXXX", path) < 0) {
		tmp = NULL;
		goto out;
	}
	fd = mkostemp(tmp, O_CLOEXEC); /* 0600 until all is in it */
	if (fd < 0) {
		r = -errno;
		goto out;
	}
	r = write_all(fd, data, len);
	if (!r && (fchmod(fd, mode) < 0 || fsync(fd) < 0))
		r = -errno;
	if (close(fd) < 0 && !r)
		r = -errno;
	if (!r && rename(tmp, path) < 0)
		r = -errno;
	if (r)
		unlink(tmp);
	else
		r = sync_dir(dir);
out:
	free(tmp);
	free(dir);
	return r;
}

static void wipe_free(char *p, size_t len)
{
	if (p)
		explicit_bzero(p, len);
	free(p);
}

/* Buffers that are outgrown are wiped: the content may be a key. */
static int read_fd(int fd, size_t max, char **ret, size_t *ret_len)
{
	char *buf = NULL;
	size_t len = 0, size = 0;

	for (;;) {
		ssize_t n;

		if (len + 1 >= size) {
			size_t bigger = size ? size * 2 : READ_STEP_B;
			char *b = malloc(bigger);

			if (!b) {
				wipe_free(buf, size);
				return -ENOMEM;
			}
			if (buf)
				memcpy(b, buf, len);
			wipe_free(buf, size);
			buf = b;
			size = bigger;
		}
		n = read(fd, buf + len, size - len - 1);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 || len + (size_t)n > max) {
			int r = n < 0 ? -errno : -EFBIG;

			wipe_free(buf, size);
			return r;
		}
		if (!n)
			break;
		len += (size_t)n;
	}
	buf[len] = 0;
	*ret = buf;
	if (ret_len)
		*ret_len = len;
	return 0;
}

int file_read(const char *path, size_t max, char **ret, size_t *ret_len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), r;

	if (fd < 0)
		return -errno;
	r = read_fd(fd, max, ret, ret_len);
	close(fd);
	return r;
}

int file_read_secret(const char *path, size_t max, char **ret, size_t *ret_len)
{
	/* O_NONBLOCK: opening a FIFO must not hang before it is found not to be a file */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), r;
	struct stat st;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		r = -errno;
	else if (!S_ISREG(st.st_mode) || (st.st_mode & 077) ||
		 (st.st_uid != 0 && st.st_uid != geteuid()))
		r = -EPERM;
	else
		r = read_fd(fd, max, ret, ret_len);
	close(fd);
	return r;
}

int dir_make(const char *path, mode_t mode)
{
	char *p = strdup(path);
	struct stat st;
	int r = 0;

	if (!p)
		return -ENOMEM;
	for (char *s = p + 1; *p && !r; s++) {
		char c = *s;

		if (c != '/' && c)
			continue;
		*s = 0;
		/* parents are for everybody to pass; only the last gets the mode asked for */
		if (mkdir(p, c ? 0755 : mode) < 0 && errno != EEXIST)
			r = -errno;
		*s = c;
		if (!c)
			break;
	}
	free(p);
	if (r)
		return r;
	if (stat(path, &st) < 0)
		return -errno;
	return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
}

uint64_t files_allow(uint64_t n)
{
	struct rlimit l, more = {n, n};

	if (getrlimit(RLIMIT_NOFILE, &l) < 0)
		return 0;
	if (l.rlim_cur >= n)
		return l.rlim_cur;
	if (l.rlim_max >= n)
		more.rlim_max = l.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &more) == 0)
		return n;
	more.rlim_cur = more.rlim_max = l.rlim_max;
	return setrlimit(RLIMIT_NOFILE, &more) == 0 ? l.rlim_max : l.rlim_cur;
}
