/* SPDX-License-Identifier: BSD-2-Clause */
/* What the tests of a gateway's translation share: it on the loopback, packets of both families, and their checksums. */
#ifndef TRANSLATED_H
#define TRANSLATED_H

#include "shimtest.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

static inline int prog_of(const char *way)
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

static inline int up(void **state)
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
	assert_int_equal(shim_translate_most(s, MVPN_TRANSLATIONS_EACH), 0);
	for (int i = 0; i < 2; i++)
		assert_int_equal(mvpn_addr_parse(&behind[i].addr, sides[i].own), 0);
	assert_int_equal(shim_translate_set(s, behind, 2), 0);
	out_fd = prog_of("out");
	in_fd = prog_of("in");
	return 0;
}

static inline int down(void **state)
{
	if (st_shim()) {
		close(out_fd);
		close(in_fd);
		shim_translate_stop(st_shim());
	}
	return 0;
}

/* ---- checksums, all of them in the packet's own bytes ---- */

static inline uint32_t add(uint32_t sum, const uint8_t *b, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		sum += i & 1 ? b[i] : (uint32_t)b[i] << 8;
	return sum;
}

static inline uint16_t fold(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

static inline bool v4(const struct packet *p)
{
	return p->b[p->l3] >> 4 == 4;
}

static inline unsigned l4(const struct packet *p)
{
	return p->l3 + (v4(p) ? 20 : 40);
}

static inline uint8_t proto(const struct packet *p)
{
	return p->b[p->l3 + (v4(p) ? 9 : 6)];
}

static inline uint16_t l4_sum(const struct packet *p)
{
	unsigned n = p->len - l4(p);
	uint32_t sum = proto(p) == ICMP ? 0 : proto(p) + n;

	if (proto(p) != ICMP)
		sum = v4(p) ? add(sum, p->b + p->l3 + 12, 8) : add(sum, p->b + p->l3 + 8, 32);
	return fold(add(sum, p->b + l4(p), n));
}

static inline unsigned sum_at(const struct packet *p)
{
	return l4(p) + (proto(p) == 6 ? 16 : proto(p) == 17 ? 6 : 2);
}

static inline void put(uint8_t *at, uint16_t v)
{
	at[0] = (uint8_t)(v >> 8);
	at[1] = (uint8_t)v;
}

static inline uint16_t get(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

static inline void finish(struct packet *p)
{
	pkt_done(p);
	if (v4(p)) {
		put(p->b + p->l3 + 10, 0);
		put(p->b + p->l3 + 10, (uint16_t)~fold(add(0, p->b + p->l3, 20)));
	}
	put(p->b + sum_at(p), 0);
	put(p->b + sum_at(p), (uint16_t)~l4_sum(p));
}

static inline void expect_sums(const struct packet *p)
{
	if (v4(p))
		assert_int_equal(fold(add(0, p->b + p->l3, 20)), 0xffff);
	assert_int_equal(l4_sum(p), 0xffff);
}

/* ---- packets ---- */

static inline void ip(struct packet *p, const struct side *s, const char *src, const char *dst,
		      uint8_t protocol)
{
	pkt_eth(p, s->type);
	if (s->type == 0x0800)
		pkt_ip4(p, src, dst, protocol);
	else
		pkt_ip6(p, src, dst, protocol);
}

/* an ICMP echo has one number */
static inline void make(struct packet *p, const struct side *s, uint8_t protocol, const char *src,
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

static inline const uint8_t *addr(const struct packet *p, unsigned l3, bool src)
{
	return p->b + l3 + (v4(p) ? (src ? 12 : 16) : (src ? 8 : 24));
}

static inline void expect_addr(const struct packet *p, unsigned l3, bool src, const char *text)
{
	uint8_t want[16];

	assert_int_equal(inet_pton(v4(p) ? AF_INET : AF_INET6, text, want), 1);
	assert_memory_equal(addr(p, l3, src), want, v4(p) ? 4 : 16);
}

static inline uint16_t port(const struct packet *p, unsigned at, bool src)
{
	uint8_t protocol = proto(p);

	return get(p->b + at + (protocol == 6 || protocol == 17 ? (src ? 0 : 2) : 4));
}

static inline int run(int fd, const struct packet *in, unsigned came_by, struct packet *out)
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

static inline uint64_t counted(enum mvpn_translate_counter which)
{
	uint64_t n[MVPN_T_MAX];

	assert_int_equal(shim_translate_counters(st_shim(), n), 0);
	return n[which];
}

static inline void expect_untouched(const struct packet *p, int fd, unsigned came_by)
{
	struct packet after;

	assert_int_equal(run(fd, p, came_by, &after), NEXT);
	assert_int_equal(after.len, p->len);
	assert_memory_equal(after.b, p->b, p->len);
}

static inline void expect_dropped(const struct packet *p, enum mvpn_translate_counter why)
{
	uint64_t before = counted(why);
	struct packet after;

	assert_int_equal(run(out_fd, p, LO, &after), SHOT);
	assert_int_equal(counted(why), before + 1);
}

#endif
