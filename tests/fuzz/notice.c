/* SPDX-License-Identifier: BSD-2-Clause */
/* What a child says of itself, and a list of networks: any bytes. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../keyd/networks.h"
#include "../../keyd/notice.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
	if (!ok)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = strndup((const char *)data, size), *error = NULL;
	struct networks l;
	struct notice n;
	int r;

	notice_parse((const char *)data, size, &n);
	must(memchr(n.status, 0, sizeof(n.status)));
	for (const char *s = n.status; *s; s++)
		must((unsigned char)*s >= 0x20 && *s != 0x7f);
	r = networks_parse(text, &l, &error);
	must(!r == !error && l.n < MVPN_NETWORKS_MAX);
	for (unsigned i = 0; i < l.n; i++)
		must(mvpn_network_valid(l.names[i]));
	free(error);
	free(text);
	return 0;
}
