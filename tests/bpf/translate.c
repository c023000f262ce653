/* SPDX-License-Identifier: BSD-2-Clause */
/* Sources that a gateway translates: what a packet looks like on either side, its checksums, and what is refused. */
#include "shimtest.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "loop.h"

#define LO 1
#define TAP 4242
#define ICMP 1
#define ICMP6 58

/* one family's: a device, a host behind the gateway, the gateway's address there, a router further on */
struct side {
	const char *device, *host, *own, *router;
	uint16_t type;
	uint8_t icmp;
};
static const struct side sides[] = {
	{"10.1.0.7", "10.6.0.9", "10.6.0.1", "10.6.0.2", 0x0800, ICMP},
	{"fd01::7", "fd06::9", "fd06::1", "fd06::2", 0x86dd, ICMP6},
};

static int out_fd = -1, in_fd = -1;

static int prog_of(const char *way)
{
	struct bpf_link_info info = {};
	__u32 len = sizeof(info);
	char path[256];
	enum shim_pinned p;
	int pinned, prog;

	snprintf(path, sizeof(path), "%s/translate-%d-%s", st_pin_dir(), LO, way);
	p = shim_pin_open(path, &pinned);
	if (p == SHIM_PIN_PROG)
		return pinned;
	assert_int_equal(p, SHIM_PIN_LINK);
	assert_int_equal(bpf_obj_get_info_by_fd(pinned, &info, &len), 0);
	prog = bpf_prog_get_fd_by_id(info.prog_id);
	close(pinned);
	return prog;
}

static int up(void **state)
{
	struct shim_behind behind[2] = {{.ifindex = LO}, {.ifindex = LO}};
	struct shim *s = st_shim();
	char *error = NULL;

	if (!s)
		return 0;
	st_policy(state);
	st_protect(s, "10.6.0.0/16", 0, MVPN_PROT_LOCAL | MVPN_PROT_TRANSLATED);
	st_protect(s, "fd06::/16", 0, MVPN_PROT_LOCAL | MVPN_PROT_TRANSLATED);
	if (shim_translate_start(s, &error))
		print_error("%s\n", error);
	for (int i = 0; i < 2; i++)
		assert_int_equal(mvpn_addr_parse(&behind[i].addr, sides[i].own), 0);
	assert_int_equal(shim_translate_set(s, behind, 2), 0);
	out_fd = prog_of("out");
	in_fd = prog_of("in");
	return 0;
}

static int down(void **state)
{
	if (st_shim()) {
		close(out_fd);
		close(in_fd);
		shim_translate_stop(st_shim());
	}
	return 0;
}

/* ---- checksums, all of them in the packet's own bytes ---- */

static uint32_t add(uint32_t sum, const uint8_t *b, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		sum += i & 1 ? b[i] : (uint32_t)b[i] << 8;
	return sum;
}

static uint16_t fold(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

static bool v4(const struct packet *p)
{
	return p->b[p->l3] >> 4 == 4;
}

static unsigned l4(const struct packet *p)
{
	return p->l3 + (v4(p) ? 20 : 40);
}

static uint8_t proto(const struct packet *p)
{
	return p->b[p->l3 + (v4(p) ? 9 : 6)];
}

static uint16_t l4_sum(const struct packet *p)
{
	unsigned n = p->len - l4(p);
	uint32_t sum = proto(p) == ICMP ? 0 : proto(p) + n;

	if (proto(p) != ICMP)
		sum = v4(p) ? add(sum, p->b + p->l3 + 12, 8) : add(sum, p->b + p->l3 + 8, 32);
	return fold(add(sum, p->b + l4(p), n));
}

static unsigned sum_at(const struct packet *p)
{
	return l4(p) + (proto(p) == 6 ? 16 : proto(p) == 17 ? 6 : 2);
}

static void put(uint8_t *at, uint16_t v)
{
	at[0] = (uint8_t)(v >> 8);
	at[1] = (uint8_t)v;
}

static uint16_t get(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

static void finish(struct packet *p)
{
	pkt_done(p);
	if (v4(p)) {
		put(p->b + p->l3 + 10, 0);
		put(p->b + p->l3 + 10, (uint16_t)~fold(add(0, p->b + p->l3, 20)));
	}
	put(p->b + sum_at(p), 0);
	put(p->b + sum_at(p), (uint16_t)~l4_sum(p));
}

static void expect_sums(const struct packet *p)
{
	if (v4(p))
		assert_int_equal(fold(add(0, p->b + p->l3, 20)), 0xffff);
	assert_int_equal(l4_sum(p), 0xffff);
}

/* ---- packets ---- */

static void ip(struct packet *p, const struct side *s, const char *src, const char *dst,
	       uint8_t protocol)
{
	pkt_eth(p, s->type);
	if (s->type == 0x0800)
		pkt_ip4(p, src, dst, protocol);
	else
		pkt_ip6(p, src, dst, protocol);
}

/* an ICMP echo has one number */
static void make(struct packet *p, const struct side *s, uint8_t protocol, const char *src,
		 uint16_t sport, const char *dst, uint16_t dport, bool reply)
{
	uint8_t echo[8 + 33] = {s->icmp == ICMP ? (reply ? 0 : 8) : (reply ? 129 : 128)};

	ip(p, s, src, dst, protocol);
	if (protocol == 6)
		pkt_tcp(p, sport, dport, reply ? PKT_ACK : PKT_SYN);
	else if (protocol == 17)
		pkt_udp(p, sport, dport, 33);
	else {
		put(echo + 4, reply ? dport : sport);
		memset(echo + 8, 0x5a, sizeof(echo) - 8);
		pkt_bytes(p, echo, sizeof(echo));
	}
	finish(p);
}

static const uint8_t *addr(const struct packet *p, unsigned l3, bool src)
{
	return p->b + l3 + (v4(p) ? (src ? 12 : 16) : (src ? 8 : 24));
}

static void expect_addr(const struct packet *p, unsigned l3, bool src, const char *text)
{
	uint8_t want[16];

	assert_int_equal(inet_pton(v4(p) ? AF_INET : AF_INET6, text, want), 1);
	assert_memory_equal(addr(p, l3, src), want, v4(p) ? 4 : 16);
}

static uint16_t port(const struct packet *p, unsigned at, bool src)
{
	uint8_t protocol = proto(p);

	return get(p->b + at + (protocol == 6 || protocol == 17 ? (src ? 0 : 2) : 4));
}

static int run(int fd, const struct packet *in, unsigned came_by, struct packet *out)
{
	struct __sk_buff ctx = {.ingress_ifindex = came_by};
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = in->b, .data_size_in = in->len,
		    .data_out = out->b, .data_size_out = sizeof(out->b), .ctx_in = &ctx,
		    .ctx_size_in = sizeof(ctx), .repeat = 1);

	assert_int_equal(bpf_prog_test_run_opts(fd, &o), 0);
	out->len = o.data_size_out;
	out->l3 = in->l3;
	return (int)o.retval;
}

static uint64_t counted(enum mvpn_translate_counter which)
{
	uint64_t n[MVPN_T_MAX];

	assert_int_equal(shim_translate_counters(st_shim(), n), 0);
	return n[which];
}

static void expect_untouched(const struct packet *p, int fd, unsigned came_by)
{
	struct packet after;

	assert_int_equal(run(fd, p, came_by, &after), NEXT);
	assert_int_equal(after.len, p->len);
	assert_memory_equal(after.b, p->b, p->len);
}

static void expect_dropped(const struct packet *p, enum mvpn_translate_counter why)
{
	uint64_t before = counted(why);
	struct packet after;

	assert_int_equal(run(out_fd, p, LO, &after), SHOT);
	assert_int_equal(counted(why), before + 1);
}

/* ---- tests ---- */

static void there_and_back(const struct side *s, uint8_t protocol)
{
	struct packet p, after, reply;
	uint16_t as;

	make(&p, s, protocol, s->device, 4000, s->host, 80, false);
	assert_int_equal(run(out_fd, &p, LO, &after), NEXT);
	expect_addr(&after, after.l3, true, s->own);
	expect_addr(&after, after.l3, false, s->host);
	as = port(&after, l4(&after), true);
	assert_in_range(as, MVPN_TRANSLATE_PORT_MIN, 65535);
	expect_sums(&after);
	/* the same flow again goes the same way */
	assert_int_equal(run(out_fd, &p, LO, &reply), NEXT);
	assert_memory_equal(reply.b, after.b, after.len);

	make(&reply, s, protocol, s->host, 80, s->own, as, true);
	assert_int_equal(run(in_fd, &reply, 0, &after), NEXT);
	expect_addr(&after, after.l3, true, s->host);
	expect_addr(&after, after.l3, false, s->device);
	assert_int_equal(port(&after, l4(&after), false), 4000);
	expect_sums(&after);
	/* another port, another host: this host's own affair */
	make(&reply, s, protocol, s->host, 80, s->own, as ^ 1, true);
	expect_untouched(&reply, in_fd, 0);
	make(&reply, s, protocol, s->router, 80, s->own, as, true);
	expect_untouched(&reply, in_fd, 0);
}

static void test_there_and_back(void **state)
{
	st_need_root();
	for (int i = 0; i < 2; i++) {
		there_and_back(&sides[i], 6);
		there_and_back(&sides[i], 17);
		there_and_back(&sides[i], sides[i].icmp);
	}
}

static void test_no_checksum_stays_none(void **state)
{
	struct packet p, after;

	st_need_root();
	make(&p, &sides[0], 17, sides[0].device, 4000, sides[0].host, 80, false);
	put(p.b + sum_at(&p), 0);
	assert_int_equal(run(out_fd, &p, LO, &after), NEXT);
	assert_int_equal(get(after.b + sum_at(&after)), 0);
}

/* an error of a router about what a device has sent, and the device's about what it was sent */
static void errors(const struct side *s, uint8_t protocol)
{
	uint8_t error[8 + 60] = {s->icmp == ICMP ? 3 : 1, 1};
	unsigned quote = s->icmp == ICMP ? 28 : 48, at;
	struct packet p, sent, after;
	uint16_t as;

	make(&p, s, protocol, s->device, 4001, s->host, 80, false);
	assert_int_equal(run(out_fd, &p, LO, &sent), NEXT);
	as = port(&sent, l4(&sent), true);
	memcpy(error + 8, sent.b + sent.l3, quote);
	ip(&p, s, s->router, s->own, s->icmp);
	pkt_bytes(&p, error, 8 + quote);
	finish(&p);
	assert_int_equal(run(in_fd, &p, 0, &after), NEXT);
	expect_addr(&after, after.l3, false, s->device);
	expect_sums(&after);
	at = l4(&after) + 8;
	expect_addr(&after, at, true, s->device);
	expect_addr(&after, at, false, s->host);
	assert_int_equal(get(after.b + at + quote - 8 + (protocol == s->icmp ? 4 : 0)), 4001);
	if (s->icmp == ICMP)
		assert_int_equal(fold(add(0, after.b + at, 20)), 0xffff);

	make(&p, s, protocol, s->host, 80, s->device, 4001, true);
	memcpy(error + 8, p.b + p.l3, quote);
	ip(&p, s, s->device, s->host, s->icmp);
	pkt_bytes(&p, error, 8 + quote);
	finish(&p);
	assert_int_equal(run(out_fd, &p, LO, &after), NEXT);
	expect_addr(&after, after.l3, true, s->own);
	expect_sums(&after);
	at = l4(&after) + 8;
	expect_addr(&after, at, false, s->own);
	assert_int_equal(get(after.b + at + quote - 8 + (protocol == s->icmp ? 4 : 2)), as);
}

static void test_errors(void **state)
{
	st_need_root();
	for (int i = 0; i < 2; i++) {
		errors(&sides[i], 6);
		errors(&sides[i], 17);
		errors(&sides[i], sides[i].icmp);
	}
}

/* this host's own, not a device's, not to where it is asked for */
static void test_others_are_left_alone(void **state)
{
	const struct side *s = &sides[0];
	struct packet p;

	st_need_root();
	make(&p, s, 6, s->device, 4000, s->host, 80, false);
	expect_untouched(&p, out_fd, 0);
	make(&p, s, 6, "10.9.0.1", 4000, s->host, 80, false);
	expect_untouched(&p, out_fd, LO);
	make(&p, s, 6, s->device, 4000, "10.5.0.9", 80, false);
	expect_untouched(&p, out_fd, LO);
	make(&p, s, 6, s->own, 4000, s->host, 80, false);
	expect_untouched(&p, out_fd, LO);
	pkt_eth(&p, 0x0806);
	pkt_bytes(&p, NULL, 28);
	expect_untouched(&p, out_fd, LO);
	expect_untouched(&p, in_fd, 0);
}

static void test_what_cannot_is_dropped(void **state)
{
	const struct side *s = &sides[0];
	uint8_t unreachable[8 + 28] = {3, 1, [8] = 0x45};
	struct packet p;

	st_need_root();
	make(&p, s, 17, s->device, 4000, s->host, 80, false);
	p.b[p.l3 + 6] |= 0x20; /* more fragments */
	expect_dropped(&p, MVPN_T_UNTRANSLATABLE);
	ip(&p, s, s->device, s->host, 47);
	pkt_bytes(&p, NULL, 40);
	pkt_done(&p);
	expect_dropped(&p, MVPN_T_UNTRANSLATABLE);
	ip(&p, s, s->device, s->host, ICMP);
	pkt_bytes(&p, unreachable, sizeof(unreachable));
	finish(&p);
	expect_dropped(&p, MVPN_T_UNTRANSLATABLE);
	ip(&p, s, s->device, s->host, ICMP);
	pkt_bytes(&p, unreachable, 8);
	finish(&p);
	expect_dropped(&p, MVPN_T_UNTRANSLATABLE);
	/* no address to translate to */
	assert_int_equal(
		shim_translate_set(st_shim(),
				   &(struct shim_behind){.ifindex = LO, .addr = {.b = {0xfd}}}, 1),
		0);
	make(&p, s, 17, s->device, 4003, s->host, 80, false);
	expect_dropped(&p, MVPN_T_FULL);
}

/* one round over all flows, at that time; how many are left */
static unsigned sweep(uint64_t now_ns)
{
	unsigned flows = 0;

	while (!shim_translate_sweep(st_shim(), 1000, now_ns, &flows))
		;
	return flows;
}

/* no two flows to one end have the same port, there is an end to them, and room again when they are idle */
static void test_ports_run_out(void **state)
{
	static bool seen[65536];
	const struct side *s = &sides[0];
	unsigned got = 0, refused = 0;
	struct packet p, after;

	st_need_root();
	memset(seen, 0, sizeof(seen));
	sweep(UINT64_MAX); /* what other tests have left */
	for (unsigned i = 0; i < MVPN_TRANSLATE_PORTS + 500; i++) {
		uint16_t as;

		make(&p, s, 17, s->device, (uint16_t)(1000 + i), s->host, 53, false);
		if (run(out_fd, &p, LO, &after) == SHOT) {
			refused++;
			continue;
		}
		as = port(&after, l4(&after), true);
		assert_in_range(as, MVPN_TRANSLATE_PORT_MIN, 65535);
		assert_false(seen[as]);
		seen[as] = true;
		got++;
	}
	assert_in_range(got, MVPN_TRANSLATE_PORTS / 2, MVPN_TRANSLATE_PORTS);
	assert_int_equal(counted(MVPN_T_FULL), refused);
	/* to another end the same ports */
	make(&p, s, 17, s->device, 1000, s->host, 54, false);
	assert_int_equal(run(out_fd, &p, LO, &after), NEXT);

	assert_int_equal(sweep(mono_ns()), got + 1);
	assert_int_equal(sweep(mono_ns() + MVPN_TRANSLATE_UDP_S * 1000000000ULL + 1), 0);
	assert_int_equal(sweep(mono_ns()), 0);
	make(&p, s, 17, s->device, 1000, s->host, 53, false);
	assert_int_equal(run(out_fd, &p, LO, &after), NEXT);
}

/* another keyd takes the flows up, and one that translates nothing leaves no program */
static void test_flows_outlive_keyd(void **state)
{
	struct shim_behind behind = {.ifindex = LO};
	const struct side *s = &sides[0];
	struct packet p, before, after;
	char path[256], *left;

	st_need_root();
	make(&p, s, 6, s->device, 4000, s->host, 80, false);
	assert_int_equal(run(out_fd, &p, LO, &before), NEXT);
	close(out_fd);
	st_reopen();
	out_fd = prog_of("out"); /* still there */
	close(out_fd);
	assert_int_equal(shim_translate_start(st_shim(), NULL), 0);
	assert_int_equal(mvpn_addr_parse(&behind.addr, s->own), 0);
	assert_int_equal(shim_translate_set(st_shim(), &behind, 1), 0);
	out_fd = prog_of("out");
	assert_int_equal(run(out_fd, &p, LO, &after), NEXT);
	assert_memory_equal(after.b, before.b, before.len);
	st_reopen();
	shim_translate_stop(st_shim());
	snprintf(path, sizeof(path), "%s/translate-%d-out", st_pin_dir(), LO);
	assert_int_equal(access(path, F_OK), -1);
	left = st_output("tc filter show dev lo egress 2>/dev/null; tc qdisc show dev lo clsact");
	assert_string_equal(left, "");
	free(left);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_there_and_back, up, down),
		cmocka_unit_test_setup_teardown(test_no_checksum_stays_none, up, down),
		cmocka_unit_test_setup_teardown(test_errors, up, down),
		cmocka_unit_test_setup_teardown(test_others_are_left_alone, up, down),
		cmocka_unit_test_setup_teardown(test_what_cannot_is_dropped, up, down),
		cmocka_unit_test_setup_teardown(test_ports_run_out, up, down),
		cmocka_unit_test_setup_teardown(test_flows_outlive_keyd, up, down),
	};

	return cmocka_run_group_tests(tests, st_setup, st_teardown);
}
