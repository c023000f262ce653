/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Any packet against any services: nothing is read beyond its end, both ends judge alike, and more services never let less by. Each
 * service is five bytes as in the selectors; the first two bytes say how many there are here and there.
 */
#include <stdlib.h>

#include "../../keyd/dp/class.h"
#include "../../keyd/dp/permit.h"

#define MAX 8

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t *take(const uint8_t *p, unsigned want, struct mvpn_service *list, unsigned *n)
{
	*n = 0;
	for (unsigned i = 0; i < want; i++, p += 5) {
		struct mvpn_service s = {p[0], get16(p + 1), get16(p + 3)};

		if (mvpn_services_valid(&s, 1))
			mvpn_services_add(list, n, MAX, s);
	}
	if (!mvpn_services_valid(list, *n))
		abort();
	return p;
}

static bool judge(const struct mvpn_service *local, unsigned nlocal, const struct mvpn_service *remote,
		  unsigned nremote, const struct packet *p, bool out)
{
	struct mvpn_service list[2 * MAX];
	struct kt_session s = {
		.limited = true, .services = list, .nserv_local = nlocal, .nserv_remote = nremote};

	memcpy(list, local, nlocal * sizeof(*list));
	memcpy(list + nlocal, remote, nremote * sizeof(*list));
	return permit_packet(&s, p, out) == PERMITTED;
}

/* the services are two lines of the policy: both ends find the same class, and one of those that there are */
static void classify(const struct mvpn_service *local, unsigned nlocal,
		     const struct mvpn_service *remote, unsigned nremote, const struct packet *p)
{
	static const struct mvpn_class here = {1, 0, 0}, there = {2, 0, 0}, rest = {3, 0, 0};
	struct kt_classes of[2] = {{.local = 0}, {.local = 1}};
	struct kt_session ends[2] = {{.classes = &of[0]}, {.classes = &of[1]}};
	struct kt_class *out, *in;

	mvpn_classes_init(&of[0].is);
	if ((nlocal && mvpn_classes_add(&of[0].is, &here, local, nlocal, 1) < 0) ||
	    (nremote && mvpn_classes_add(&of[0].is, &there, remote, nremote, 2) < 0) ||
	    mvpn_classes_add(&of[0].is, &rest, NULL, 0, 3) < 0)
		abort();
	of[1].is = of[0].is;
	out = class_packet(&ends[0], p, true);
	in = class_packet(&ends[1], p, false);
	if (out - of[0].of != in - of[1].of || out - of[0].of >= of[0].is.n)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mvpn_service a[MAX], b[MAX];
	unsigned na, nb;
	struct packet p;
	uint8_t *copy;
	bool passes;

	if (size < 2 || size < 2 + 5u * (data[0] % MAX + data[1] % MAX))
		return 0;
	na = data[0] % MAX;
	nb = data[1] % MAX;
	size -= 2 + 5 * (na + nb);
	data = take(take(data + 2, na, a, &na), nb, b, &nb);
	copy = malloc(size + 1);
	memcpy(copy, data, size);
	if (packet_parse(&p, copy, size) == 0) {
		passes = judge(a, na, b, nb, &p, true);
		if (passes != judge(b, nb, a, na, &p, false))
			abort();
		if (judge(a, 0, b, 0, &p, true))
			abort();
		classify(a, na, b, nb, &p);
		if (!passes && na && judge(a, na - 1, b, nb, &p, true))
			abort();
	}
	free(copy);
	return 0;
}
