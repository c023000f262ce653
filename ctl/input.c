/* SPDX-License-Identifier: BSD-2-Clause */
#include "input.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fsutil.h"

/* Not by opening /dev/stdin: under sshd standard input may be a socket, which cannot be opened. */
static int stdin_read(size_t max, char **ret, size_t *ret_len)
{
	char *buf = malloc(max + 2);
	size_t len = 0;
	ssize_t n;
	int r = 0;

	if (!buf)
		return -ENOMEM;
	do {
		n = read(STDIN_FILENO, buf + len, max + 1 - len);
		if (n > 0)
			len += (size_t)n;
		else if (n < 0 && errno != EINTR)
			r = -errno;
		if (len > max)
			r = -EFBIG;
	} while (n && !r);
	if (r) {
		explicit_bzero(buf, len);
		free(buf);
		return r;
	}
	buf[len] = 0;
	*ret = buf;
	*ret_len = len;
	return 0;
}

int input_read(const char *path, size_t max, char **ret, size_t *ret_len)
{
	return strcmp(path, "-") ? file_read(path, max, ret, ret_len)
				 : stdin_read(max, ret, ret_len);
}

const char *input_name(const char *path)
{
	return strcmp(path, "-") ? path : "standard input";
}
