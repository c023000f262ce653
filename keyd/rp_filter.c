/* SPDX-License-Identifier: BSD-2-Clause */
#include "rp_filter.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fsutil.h"
#include "log.h"

#define STRICT 1
#define LOOSE 2
/* RFC 7600: for hosts that need some IPv4 address, and never on a wire; of scope host, so that nothing takes it as a source */
#define TAP_ADDRESS "192.0.0.8"

static void path_of(char *ret, size_t size, const char *device)
{
	snprintf(ret, size, "/proc/sys/net/ipv4/conf/%s/rp_filter", device);
}

static int value_of(const char *device)
{
	char path[80], *text = NULL;
	size_t len;
	int v = 0;

	path_of(path, sizeof(path), device);
	if (!file_read(path, 16, &text, &len))
		v = atoi(text);
	free(text);
	return v;
}

static int effective(const struct keyd *k)
{
	int all = value_of("all"), tap = value_of(k->conf.tap);

	return all > tap ? all : tap;
}

static int make_loose(const char *device)
{
	char path[80];
	int fd, r = 0;

	path_of(path, sizeof(path), device);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (write(fd, "2\n", 2) != 2)
		r = -errno;
	close(fd);
	return r;
}

void rp_filter_mend(struct keyd *k)
{
	int filter = effective(k), r;
	struct mvpn_addr a;

	if (filter && !k->tap_address) {
		mvpn_addr_parse(&a, TAP_ADDRESS);
		r = nl_addr_add(k->nl, dp_tap_ifindex(k->dp), &a);
		if (!r || r == -EEXIST)
			k->tap_address = true;
		else
			log_ratelimited(LOG_L_ERR,
					"cannot give %s the address " TAP_ADDRESS
					" that reverse path "
					"filtering wants: %s",
					k->conf.tap, strerror(-r));
	}
	if (filter != STRICT)
		return;
	r = make_loose(k->conf.tap);
	if (r)
		log_ratelimited(
			LOG_L_ERR,
			"cannot make reverse path filtering of %s loose: %s; IPv4 packets from "
			"peers are dropped",
			k->conf.tap, strerror(-r));
	else
		log_info("reverse path filtering is strict here: made it loose for %s",
			 k->conf.tap);
}

bool rp_filter_stops(const struct keyd *k)
{
	int filter = effective(k);

	return filter == STRICT || (filter == LOOSE && !k->tap_address);
}
