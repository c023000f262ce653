/* SPDX-License-Identifier: BSD-2-Clause */
/* Fragments on a gateway that translates: in any order out, after the first one in; and the kinds that are refused. */
#include "translated.h"

#define ID 0x4d560000U /* IPv4's are the upper half */
#define PARTS 3
static const unsigned starts[PARTS + 1] = {0, 16, 32, 41};

/* ---- fragments ---- */

static unsigned behind(const struct packet *p) /* the headers of a fragment */
{
	return l4(p) + (v4(p) ? 0 : 8);
}

static void put32(uint8_t *at, uint32_t v)
{
	put(at, (uint16_t)(v >> 16));
	put(at + 2, (uint16_t)v);
}

static uint32_t id_of(const struct packet *p)
{
	const uint8_t *at = p->b + (v4(p) ? p->l3 + 4 : l4(p) + 4);

	return (uint32_t)get(at) << 16 | (v4(p) ? 0 : get(at + 2));
}

static void cut_as(const struct packet *whole, unsigned at, unsigned len, bool more, uint32_t id,
		   struct packet *ret)
{
	uint8_t *head = ret->b + whole->l3, *f = ret->b + l4(whole);

	*ret = *whole;
	memset(ret->b + behind(whole), 0, sizeof(ret->b) - behind(whole));
	if (at + len <= whole->len - l4(whole))
		memcpy(ret->b + behind(whole), whole->b + l4(whole) + at, len);
	ret->len = behind(whole) + len;
	if (v4(whole)) {
		put(head + 2, (uint16_t)(20 + len));
		put(head + 4, (uint16_t)(id >> 16));
		put(head + 6, (uint16_t)(at / 8 | (more ? 0x2000 : 0)));
		put(head + 10, 0);
		put(head + 10, (uint16_t)~fold(add(0, head, 20)));
		return;
	}
	put(head + 4, (uint16_t)(8 + len));
	f[0] = head[6];
	f[1] = 0;
	put(f + 2, (uint16_t)(at | more));
	put32(f + 4, id);
	head[6] = 44;
}

static void cut(const struct packet *whole, unsigned part, uint32_t id, struct packet *ret)
{
	cut_as(whole, starts[part], starts[part + 1] - starts[part], part + 1 < PARTS, id, ret);
}

/* what the other end makes of them; they have one source, destination and identification */
static void put_together(const struct packet parts[PARTS], struct packet *ret)
{
	unsigned head = l4(&parts[0]);

	*ret = parts[0];
	for (unsigned i = 0; i < PARTS; i++) {
		assert_int_equal(id_of(&parts[i]), id_of(&parts[0]));
		for (int src = 0; src < 2; src++)
			assert_memory_equal(addr(&parts[i], parts[i].l3, src),
					    addr(&parts[0], parts[0].l3, src), v4(ret) ? 4 : 16);
		if (v4(ret))
			assert_int_equal(fold(add(0, parts[i].b + parts[i].l3, 20)), 0xffff);
		memcpy(ret->b + head + starts[i], parts[i].b + behind(&parts[i]),
		       starts[i + 1] - starts[i]);
	}
	ret->len = head + starts[PARTS];
	if (v4(ret)) {
		put(ret->b + ret->l3 + 2, (uint16_t)(20 + starts[PARTS]));
		put(ret->b + ret->l3 + 6, 0);
		put(ret->b + ret->l3 + 10, 0);
		put(ret->b + ret->l3 + 10, (uint16_t)~fold(add(0, ret->b + ret->l3, 20)));
		return;
	}
	ret->b[ret->l3 + 6] = parts[0].b[l4(&parts[0])];
	put(ret->b + ret->l3 + 4, (uint16_t)starts[PARTS]);
}

/* parts of such a datagram, in that order, all of which go on; its identification then */
static uint32_t pass(int fd, const struct packet *whole, const unsigned order[PARTS], uint32_t id,
		     struct packet *ret)
{
	struct packet p, after[PARTS];

	for (unsigned i = 0; i < PARTS; i++) {
		cut(whole, order[i], id, &p);
		assert_int_equal(run(fd, &p, fd == out_fd ? LO : 0, &after[order[i]]), NEXT);
	}
	put_together(after, ret);
	return id_of(&after[0]);
}

static const unsigned forward[PARTS] = {0, 1, 2}, backward[PARTS] = {2, 1, 0};

static void expect_refused(const struct packet *p)
{
	expect_dropped(p, MVPN_T_FRAGMENT_REFUSED);
}

/* ---- tests ---- */

static void there_and_back(const struct side *s, uint8_t protocol, uint32_t id,
			   const unsigned order[PARTS])
{
	struct packet whole, after;
	uint16_t as;

	make(&whole, s, protocol, s->device, 4000, s->host, 80, false);
	assert_int_equal(pass(out_fd, &whole, order, id, &after), id);
	expect_addr(&after, after.l3, true, s->own);
	expect_sums(&after);
	as = port(&after, l4(&after), true);
	assert_in_range(as, MVPN_TRANSLATE_PORT_MIN, 65535);
	/* the flow that whole packets have */
	assert_int_equal(run(out_fd, &whole, LO, &after), NEXT);
	assert_int_equal(port(&after, l4(&after), true), as);

	make(&whole, s, protocol, s->host, 80, s->own, as, true);
	assert_int_equal(pass(in_fd, &whole, forward, id, &after), id);
	expect_addr(&after, after.l3, false, s->device);
	assert_int_equal(port(&after, l4(&after), false), 4000);
	expect_sums(&after);
}

static void test_there_and_back(void **state)
{
	st_need_root();
	for (int i = 0; i < 2; i++) {
		there_and_back(&sides[i], 17, ID, forward);
		there_and_back(&sides[i], 17, ID, backward); /* the same identification once more */
		there_and_back(&sides[i], sides[i].icmp, ID, forward);
		there_and_back(&sides[i], sides[i].icmp, ID + 0x70000, backward);
	}
}

/* before the first one it is not known whose they are, and this host has fragments of its own */
static void test_in_after_the_first_one_alone(void **state)
{
	st_need_root();
	for (int i = 0; i < 2; i++) {
		const struct side *s = &sides[i];
		struct packet whole, p, after;
		uint64_t alone = counted(MVPN_T_FRAGMENT_ALONE);

		make(&whole, s, 17, s->device, 4000, s->host, 80, false);
		assert_int_equal(run(out_fd, &whole, LO, &after), NEXT);
		make(&p, s, 17, s->host, 80, s->own, port(&after, l4(&after), true), true);
		cut(&p, 1, ID, &after);
		expect_untouched(&after, in_fd, 0);
		assert_int_equal(counted(MVPN_T_FRAGMENT_ALONE), alone + 1);
		cut(&p, 0, ID, &after);
		assert_int_equal(run(in_fd, &after, 0, &whole), NEXT);
		expect_addr(&whole, whole.l3, false, s->device);
		/* another datagram's, another host's */
		cut(&p, 1, ID ^ 0x10000, &after);
		expect_untouched(&after, in_fd, 0);
		make(&p, s, 17, s->router, 80, s->own, 4000, true);
		cut(&p, 1, ID, &after);
		expect_untouched(&after, in_fd, 0);
		/* and a first one for a port that is nobody's */
		make(&p, s, 17, s->host, 80, s->own, 4000, true);
		cut(&p, 0, ID, &after);
		expect_untouched(&after, in_fd, 0);
	}
}

/* a host behind would put two devices' datagrams of one identification together */
static void test_one_identification_is_one_devices(void **state)
{
	const char *others[2] = {"10.1.0.8", "fd01::8"};

	st_need_root();
	for (int i = 0; i < 2; i++) {
		struct packet mine, its, p, after[2];
		const struct side *s = &sides[i];

		make(&mine, s, 17, s->device, 4000, s->host, 80, false);
		make(&its, s, 17, others[i], 4000, s->host, 80, false);
		cut(&mine, 0, ID, &p);
		assert_int_equal(run(out_fd, &p, LO, &after[0]), NEXT);
		cut(&its, 0, ID, &p);
		assert_int_equal(run(out_fd, &p, LO, &after[1]), NEXT);
		assert_int_equal(id_of(&after[0]), ID);
		assert_int_not_equal(id_of(&after[1]), ID);
	}
}

/* a flood of one device leaves another's datagram alone, and so does one of identifications that it means to take */
static void test_one_device_has_its_share(void **state)
{
	const struct side *s = &sides[1];
	struct packet mine, its, p, after;

	st_need_root();
	st_protect(st_shim(), "fd02::/16", 2, 0);
	make(&mine, s, 17, s->device, 4000, s->host, 80, false);
	make(&its, s, 17, "fd02::8", 4000, s->host, 80, false);
	cut(&mine, 0, ID, &p);
	assert_int_equal(run(out_fd, &p, LO, &after), NEXT);
	for (unsigned i = 0; i < 3 * MVPN_FRAGMENTS_MAX; i++) {
		cut(&its, 1, ID - MVPN_FRAGMENTS_MAX + i, &p);
		assert_int_equal(run(out_fd, &p, LO, &after), NEXT);
		assert_int_not_equal(id_of(&after), ID);
	}
	/* its ports as they were judged: a second first one is refused, so it is known */
	mine.b[l4(&mine)] ^= 1;
	cut(&mine, 0, ID, &p);
	expect_refused(&p);
}

static void refused_alone(const struct side *s, uint8_t protocol, unsigned at, unsigned len,
			  bool more)
{
	struct packet whole, p;

	make(&whole, s, protocol, s->device, 4000, s->host, 80, false);
	cut_as(&whole, at, len, more, ID + 0x990000, &p);
	expect_refused(&p);
}

/* in which no header could be looked at, or that could lie over it (RFC 1858, 3128), or that is longer than any datagram */
static void test_tiny_and_absurd(void **state)
{
	st_need_root();
	for (int i = 0; i < 2; i++) {
		refused_alone(&sides[i], 6, 0, 16, true);
		refused_alone(&sides[i], 6, 8, 16, false);
		refused_alone(&sides[i], 6, 16, 16, false);
		refused_alone(&sides[i], 17, 0, 0, true);
		refused_alone(&sides[i], 17, 16, 12, true); /* no multiple of eight */
		refused_alone(&sides[i], 17, 65528, 16, false);
	}
}

/* over the first one, before and after it has been seen, or another first one: nothing more of that datagram (RFC 5722) */
static void overlapping(const struct side *s, unsigned n, const unsigned at[][2])
{
	static uint32_t id = ID;
	struct packet whole, p, after;

	id += 0x10000;
	make(&whole, s, 17, s->device, 4000, s->host, 80, false);
	for (unsigned i = 0; i < n; i++) {
		cut_as(&whole, at[i][0], at[i][1], true, id, &p);
		if (i + 1 < n)
			assert_int_equal(run(out_fd, &p, LO, &after), NEXT);
		else
			expect_refused(&p);
	}
	cut(&whole, 2, id, &p);
	expect_refused(&p);
}

static void test_overlapping(void **state)
{
	st_need_root();
	for (int i = 0; i < 2; i++) {
		overlapping(&sides[i], 2, (const unsigned[][2]){{0, 24}, {16, 16}});
		overlapping(&sides[i], 2, (const unsigned[][2]){{16, 16}, {0, 24}});
		overlapping(&sides[i], 3, (const unsigned[][2]){{0, 16}, {16, 16}, {0, 8}});
	}
}

/* a router behind says that one was too large, or what became of it */
static void test_error_about_a_fragment(void **state)
{
	st_need_root();
	for (int i = 0; i < 2; i++) {
		const struct side *s = &sides[i];
		uint8_t error[8 + 60] = {s->icmp == ICMP ? 3 : 2, s->icmp == ICMP ? 4 : 0};
		unsigned quote = s->icmp == ICMP ? 28 : 56;
		struct packet whole, p, sent, after;

		make(&whole, s, 17, s->device, 4001, s->host, 80, false);
		cut(&whole, 0, ID + 0x550000, &p);
		assert_int_equal(run(out_fd, &p, LO, &sent), NEXT);
		memcpy(error + 8, sent.b + sent.l3, quote);
		ip(&p, s, s->router, s->own, s->icmp);
		pkt_bytes(&p, error, 8 + quote);
		finish(&p);
		assert_int_equal(run(in_fd, &p, 0, &after), NEXT);
		expect_addr(&after, after.l3, false, s->device);
		expect_addr(&after, l4(&after) + 8, true, s->device);
		assert_int_equal(get(after.b + l4(&after) + 8 + quote - 8), 4001);
		expect_sums(&after);
	}
}

/* what cannot be translated whole cannot in parts */
static void test_other_protocols(void **state)
{
	const struct side *s = &sides[0];
	struct packet whole, p;

	st_need_root();
	ip(&whole, s, s->device, s->host, 47);
	pkt_bytes(&whole, NULL, 41);
	pkt_done(&whole);
	for (unsigned i = 0; i < PARTS; i++) {
		cut(&whole, i, ID, &p);
		expect_dropped(&p, MVPN_T_UNTRANSLATABLE);
	}
	/* an error in fragments: the others go with the first one */
	ip(&whole, s, s->device, s->host, ICMP);
	pkt_bytes(&whole, (const uint8_t[41]){3, 1, [8] = 0x45}, 41);
	finish(&whole);
	cut(&whole, 0, ID, &p);
	expect_dropped(&p, MVPN_T_UNTRANSLATABLE);
	cut(&whole, 1, ID, &p);
	expect_refused(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_there_and_back, up, down),
		cmocka_unit_test_setup_teardown(test_in_after_the_first_one_alone, up, down),
		cmocka_unit_test_setup_teardown(test_one_identification_is_one_devices, up, down),
		cmocka_unit_test_setup_teardown(test_one_device_has_its_share, up, down),
		cmocka_unit_test_setup_teardown(test_tiny_and_absurd, up, down),
		cmocka_unit_test_setup_teardown(test_overlapping, up, down),
		cmocka_unit_test_setup_teardown(test_error_about_a_fragment, up, down),
		cmocka_unit_test_setup_teardown(test_other_protocols, up, down),
	};

	return cmocka_run_group_tests(tests, st_setup, st_teardown);
}
