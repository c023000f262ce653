/* SPDX-License-Identifier: BSD-2-Clause */
/* What the parsers of addresses accept, they print, and accept again as the same. */
#include "addr.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
	if (!ok)
		abort();
}

static void check_addr(const char *s)
{
	struct mvpn_addr a, b;
	struct mvpn_prefix host;
	char buf[MVPN_ADDRSTRLEN];

	if (mvpn_addr_parse(&a, s))
		return;
	must(!mvpn_addr_parse(&b, mvpn_addr_str(&a, buf)) && mvpn_addr_eq(&a, &b));
	must(!mvpn_addr_is_ownable(&a) || !mvpn_addr_is_zero(&a));
	host = mvpn_prefix_host(&a);
	must(mvpn_prefix_valid(&host) && mvpn_prefix_contains(&host, &a));
}

static void check_prefix(const char *s)
{
	struct mvpn_prefix p, q;
	char buf[MVPN_ADDRSTRLEN];

	if (mvpn_prefix_parse(&p, s))
		return;
	must(mvpn_prefix_valid(&p));
	must(!mvpn_prefix_parse(&q, mvpn_prefix_str(&p, buf)) && q.len == p.len &&
	     mvpn_addr_eq(&p.addr, &q.addr));
	must(mvpn_prefix_contains(&p, &p.addr) && mvpn_prefix_overlaps(&p, &q));
}

static void check_endpoint(const char *s)
{
	struct mvpn_endpoint e, f;
	struct sockaddr_storage ss;
	char buf[MVPN_ADDRSTRLEN];

	if (mvpn_endpoint_parse(&e, s, 7468))
		return;
	must(!mvpn_endpoint_parse(&f, mvpn_endpoint_str(&e, buf), 1) && f.port == e.port &&
	     mvpn_addr_eq(&e.addr, &f.addr));
	mvpn_endpoint_to_sockaddr(&e, false, &ss);
	must(!mvpn_endpoint_from_sockaddr(&f, (const struct sockaddr *)&ss) && f.port == e.port &&
	     mvpn_addr_eq(&e.addr, &f.addr));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *s = malloc(size + 1);

	if (!s)
		return 0;
	if (size)
		memcpy(s, data, size);
	s[size] = 0;
	check_addr(s);
	check_prefix(s);
	check_endpoint(s);
	free(s);
	return 0;
}
