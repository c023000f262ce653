/* SPDX-License-Identifier: BSD-2-Clause */
/* A run of an iterator program over all sockets or processes that there are, and what it writes about them. */
#include <errno.h>
#include <stdalign.h>
#include <string.h>
#include <unistd.h>

#include "shim_priv.h"

#define BUF_B 8192

int shim_walk(const struct bpf_link *iter, size_t record_b, shim_record_fn *fn, void *arg)
{
	alignas(8) char buf[BUF_B];
	int fd = bpf_iter_create(bpf_link__fd(iter)), r;
	size_t have = 0, at;
	ssize_t n;

	if (fd < 0)
		return -errno;
	do {
		n = read(fd, buf + have, sizeof(buf) - have);
		r = n < 0 ? -errno : 0;
		have += n > 0 ? (size_t)n : 0;
		for (at = 0; have - at >= record_b; at += record_b)
			fn(arg, buf + at);
		have -= at;
		memmove(buf, buf + at, have);
	} while (n > 0 || r == -EAGAIN);
	close(fd);
	return r;
}
