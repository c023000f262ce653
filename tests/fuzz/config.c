/* SPDX-License-Identifier: BSD-2-Clause */
/* A configuration file of any bytes: settings within their bounds, or an error with a message that begins with the path. */
#include "config.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct settings {
	char *name;
	uint64_t port;
	bool poll;
	int mode;
};
static const char *const modes[] = {"auto", "xdp", "udp", NULL};
static const struct config_key keys[] = {
	{"wire", "mode", CONFIG_ENUM, offsetof(struct settings, mode), 0, 0, modes},
	{"wire", "port", CONFIG_UINT, offsetof(struct settings, port), 1, 65535, NULL},
	{"wire", "poll", CONFIG_BOOL, offsetof(struct settings, poll), 0, 0, NULL},
	{"device", "name", CONFIG_STRING, offsetof(struct settings, name), 0, 0, NULL},
};
#define NKEYS (sizeof(keys) / sizeof(keys[0]))

static void must(bool ok)
{
	if (!ok)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct settings s = {.name = strdup("x"), .port = 7469};
	int fd = memfd_create("fuzz", MFD_CLOEXEC), r;
	char path[64], *error = NULL;

	must(fd >= 0 && write(fd, data, size) == (ssize_t)size);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	r = config_load(path, keys, NKEYS, &s, &error);
	must(r == 0 || r == -EINVAL || r == -EFBIG);
	must(!r == !error);
	must(!error || !strncmp(error, path, strlen(path)));
	must(s.port >= 1 && s.port <= 65535 && s.mode >= 0 && s.mode <= 2 && s.name);
	free(error);
	error = NULL;
	r = config_load_some(path, keys, NKEYS, &s, &error);
	must(r == 0 || r == -EFBIG);
	must(!r == !error && s.port >= 1 && s.port <= 65535 && s.mode >= 0 && s.mode <= 2 && s.name);
	config_free(keys, NKEYS, &s);
	free(error);
	close(fd);
	return 0;
}
