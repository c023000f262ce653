/* SPDX-License-Identifier: BSD-2-Clause */
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "shimtest.h"

#define LINK_HEADER 14

const char *st_pin_dir(void)
{
	static char dir[64];

	snprintf(dir, sizeof(dir), "/sys/fs/bpf/mvpn-test-%d", (int)getpid());
	return dir;
}

void st_need_root(void)
{
	if (geteuid() != 0) {
		print_message("skipped: needs root (BPF programs are loaded)\n");
		skip();
	}
}

struct shim *st_open(const struct shim_opts *o)
{
	struct shim *s = NULL;
	char *error = NULL;
	int r = shim_open_with(&s, st_pin_dir(), o, &error);

	if (r < 0)
		print_error("%s\n", error ? error : strerror(-r));
	free(error);
	assert_int_equal(r, 0);
	return s;
}

static struct shim *
	the_shim; /* cmocka gives each test a copy of the group's state: a new shim would be lost */
static const struct shim_opts small = {.protected_max = 4096, .keys_max = 4096};

struct shim *st_shim(void)
{
	return the_shim;
}

struct shim *st_reopen(void)
{
	shim_close(the_shim);
	the_shim = NULL;
	the_shim = st_open(&small);
	return the_shim;
}

int st_setup(void **state)
{
	if (geteuid() != 0)
		return 0;
	if (unshare(CLONE_NEWNET) < 0)
		return -1;
	the_shim = st_open(&small);
	st_alive(the_shim);
	return 0;
}

int st_teardown(void **state)
{
	int r = the_shim ? shim_purge(the_shim) : 0;

	shim_close(the_shim);
	the_shim = NULL;
	return r;
}

char *st_output(const char *fmt, ...)
{
	char *cmd, *out = NULL;
	size_t len = 0, n;
	va_list ap;
	FILE *f;

	va_start(ap, fmt);
	n = (size_t)vasprintf(&cmd, fmt, ap);
	va_end(ap);
	f = popen(cmd, "re");
	assert_non_null(f);
	do {
		out = realloc(out, len + 4097);
		assert_non_null(out);
		n = fread(out + len, 1, 4096, f);
		len += n;
	} while (n);
	out[len] = 0;
	n = (size_t)pclose(f);
	if (n)
		print_error("%s: %s\n", cmd, out);
	assert_int_equal(n, 0);
	free(cmd);
	return out;
}

void st_run(const char *fmt, ...)
{
	va_list ap;
	char *cmd;
	int r;

	va_start(ap, fmt);
	r = vasprintf(&cmd, fmt, ap);
	va_end(ap);
	assert_true(r > 0);
	r = system(cmd);
	if (r)
		print_error("failed: %s\n", cmd);
	assert_int_equal(r, 0);
	free(cmd);
}

/* ---- packets ---- */

void pkt_bytes(struct packet *p, const void *b, unsigned n)
{
	assert_true(p->len + n <= sizeof(p->b));
	if (b)
		memcpy(p->b + p->len, b, n);
	else
		memset(p->b + p->len, 0, n);
	p->len += n;
}

static void put16(struct packet *p, uint16_t v)
{
	uint16_t be = htons(v);

	pkt_bytes(p, &be, 2);
}

void pkt_eth(struct packet *p, uint16_t type)
{
	static const uint8_t macs[12] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2};

	p->len = 0;
	pkt_bytes(p, macs, 12);
	put16(p, type);
	p->l3 = p->len;
}

void pkt_vlan(struct packet *p, uint16_t tpid, uint16_t vid, uint16_t type)
{
	p->len -= 2;
	put16(p, tpid);
	put16(p, vid);
	put16(p, type);
	p->l3 = p->len;
}

void pkt_ip4(struct packet *p, const char *src, const char *dst, uint8_t proto)
{
	uint8_t h[20] = {0x45, 0, 0, 0, 0, 1, 0x40, 0, 64, proto};

	assert_int_equal(inet_pton(AF_INET, src, h + 12), 1);
	assert_int_equal(inet_pton(AF_INET, dst, h + 16), 1);
	pkt_bytes(p, h, sizeof(h));
}

void pkt_ip6(struct packet *p, const char *src, const char *dst, uint8_t next)
{
	uint8_t h[40] = {0x60, 0, 0, 0, 0, 0, next, 64};

	assert_int_equal(inet_pton(AF_INET6, src, h + 8), 1);
	assert_int_equal(inet_pton(AF_INET6, dst, h + 24), 1);
	pkt_bytes(p, h, sizeof(h));
}

void pkt_udp(struct packet *p, uint16_t sport, uint16_t dport, unsigned payload)
{
	put16(p, sport);
	put16(p, dport);
	put16(p, (uint16_t)(8 + payload));
	put16(p, 0);
	pkt_bytes(p, NULL, payload);
}

void pkt_tcp(struct packet *p, uint16_t sport, uint16_t dport, uint8_t flags)
{
	uint8_t rest[16] = {[8] = 0x50, [9] = flags};

	put16(p, sport);
	put16(p, dport);
	pkt_bytes(p, rest, sizeof(rest));
}

void pkt_done(struct packet *p)
{
	uint16_t be;

	if (p->b[p->l3] >> 4 == 4) {
		be = htons((uint16_t)(p->len - p->l3));
		memcpy(p->b + p->l3 + 2, &be, 2);
	} else {
		be = htons((uint16_t)(p->len - p->l3 - 40));
		memcpy(p->b + p->l3 + 4, &be, 2);
	}
}

void pkt_bare(struct packet *p)
{
	p->len -= LINK_HEADER;
	memmove(p->b, p->b + LINK_HEADER, p->len);
}

void pkt_simple(struct packet *p, const char *src, const char *dst)
{
	if (strchr(dst, ':')) {
		pkt_eth(p, 0x86dd);
		pkt_ip6(p, src, dst, IPPROTO_UDP);
	} else {
		pkt_eth(p, 0x0800);
		pkt_ip4(p, src, dst, IPPROTO_UDP);
	}
	pkt_udp(p, 1000, 2000, 32);
	pkt_done(p);
}

void pkt_icmp6(struct packet *p, uint8_t type, uint8_t code, uint8_t hop_limit, unsigned len)
{
	uint8_t h[4] = {type, code};

	pkt_eth(p, 0x86dd);
	pkt_ip6(p, "fd09::1", "fd01::1", IPPROTO_ICMPV6);
	p->b[p->l3 + 7] = hop_limit;
	pkt_bytes(p, h, 4);
	pkt_bytes(p, NULL, len - 4);
	pkt_done(p);
}

void pkt_dhcp4(struct packet *p, uint16_t sport, uint16_t dport, uint8_t op, uint32_t cookie)
{
	uint32_t be = htonl(cookie);

	pkt_eth(p, 0x0800);
	pkt_ip4(p, "10.9.0.1", "10.1.0.1", IPPROTO_UDP);
	pkt_udp(p, sport, dport, 300);
	p->b[p->l3 + 28] = op;
	memcpy(p->b + p->l3 + 28 + 236, &be, 4);
	pkt_done(p);
}

void pkt_dhcp6(struct packet *p, uint16_t sport, uint16_t dport, uint8_t type)
{
	pkt_eth(p, 0x86dd);
	pkt_ip6(p, "fd09::1", "fd01::1", IPPROTO_UDP);
	pkt_udp(p, sport, dport, 60);
	p->b[p->l3 + 48] = type;
	pkt_done(p);
}

void pkt_tcp4(struct packet *p, const char *src, uint16_t sport, const char *dst, uint16_t dport,
	      uint8_t flags)
{
	pkt_eth(p, 0x0800);
	pkt_ip4(p, src, dst, IPPROTO_TCP);
	pkt_tcp(p, sport, dport, flags);
	pkt_done(p);
}

int st_prog_run(int prog_fd, const struct packet *in, struct packet *ret)
{
	struct packet out;
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = in->b, .data_size_in = in->len,
		    .data_out = out.b, .data_size_out = sizeof(out.b), .repeat = 1);
	int r = bpf_prog_test_run_opts(prog_fd, &o);

	if (r < 0)
		print_error("BPF_PROG_RUN of %u bytes: %s\n", in->len, strerror(-r));
	assert_int_equal(r, 0);
	if (ret) {
		*ret = out;
		ret->len = o.data_size_out;
		ret->l3 = in->l3;
	}
	return (int)o.retval;
}

int st_leak_run(const struct packet *in, bool let_by)
{
	struct __sk_buff ctx = {.cb[0] = let_by ? MVPN_LET_BY : 0};
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = in->b, .data_size_in = in->len, .ctx_in = &ctx,
		    .ctx_size_in = sizeof(ctx), .repeat = 1);

	assert_int_equal(bpf_prog_test_run_opts(LEAK(st_shim()), &o), 0);
	return (int)o.retval;
}

/* ---- the shim's state ---- */

void st_protect(struct shim *s, const char *prefix, uint32_t peer, uint32_t flags)
{
	struct mvpn_prefix p;

	assert_int_equal(mvpn_prefix_parse(&p, prefix), 0);
	assert_int_equal(shim_protect(s, &p, peer, flags), 0);
}

void st_key(struct shim *s, uint32_t peer, enum mvpn_key_state state)
{
	const struct mvpn_key k = {.state = state};

	assert_int_equal(shim_key_set(s, peer, &k), 0);
}

void st_breathed(struct shim *s, int seconds_ago)
{
	struct mvpn_config c = {.tap_ifindex = 4242, .udp_port = 7469};
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	c.alive_ns = (uint64_t)(t.tv_sec - seconds_ago) * 1000000000 + (uint64_t)t.tv_nsec;
	assert_int_equal(shim_config(s, &c), 0);
}

void st_alive(struct shim *s)
{
	st_breathed(s, -3600);
}

uint32_t st_mark(void)
{
	uint32_t zero = 0, mark = 0;

	assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(st_shim()->bpf->maps.host), &zero, &mark),
			 0);
	return mark;
}

uint64_t st_counter(struct shim *s, enum mvpn_counter c)
{
	uint64_t all[MVPN_C_MAX];

	assert_int_equal(shim_counters(s, all), 0);
	return all[c];
}

void st_expect(struct shim *s, int prog_fd, const struct packet *p, int verdict,
	       enum mvpn_counter counter)
{
	uint64_t before[MVPN_C_MAX], after[MVPN_C_MAX];
	int got;

	assert_int_equal(shim_counters(s, before), 0);
	got = st_prog_run(prog_fd, p, NULL);
	assert_int_equal(shim_counters(s, after), 0);
	for (unsigned i = 0; i < MVPN_C_MAX; i++) {
		if (after[i] - before[i] != (i == counter))
			print_error("counter %s rose by %llu\n", shim_counter_names[i],
				    (unsigned long long)(after[i] - before[i]));
		assert_int_equal(after[i] - before[i], i == counter);
	}
	assert_int_equal(got, verdict);
}

int st_policy(void **state)
{
	struct shim *s = st_shim();

	if (!s)
		return 0;
	st_alive(s);
	st_protect(s, "10.1.0.0/16", 1, 0);
	st_protect(s, "fd01::/16", 1, 0);
	st_protect(s, "10.2.0.0/16", 2, 0);
	st_protect(s, "fd02::/16", 2, 0);
	st_protect(s, "10.3.0.0/16", 3, 0);
	st_protect(s, "10.1.9.0/24", 3, 0);
	st_protect(s, "10.4.0.0/16", MVPN_PEER_NONE, 0);
	st_protect(s, "10.5.0.0/16", 5, MVPN_PROT_LOCAL);
	st_key(s, 1, MVPN_KEY_ARMED);
	st_key(s, 3, MVPN_KEY_DENIED);
	return 0;
}

/* ---- interfaces ---- */

unsigned st_tcx_count(const char *iface, int type)
{
	__u32 ids[64], n = 64;

	assert_int_equal(bpf_prog_query((int)if_nametoindex(iface), type, 0, NULL, ids, &n), 0);
	return n;
}

bool st_has_tcx(void)
{
	__u32 ids[64], n = 64;

	return bpf_prog_query((int)if_nametoindex("lo"), ST_TCX_EGRESS, 0, NULL, ids, &n) == 0;
}

void st_need_tcx(void)
{
	if (!st_has_tcx()) {
		print_message("skipped: kernel: no TCX (6.6 and later have)\n");
		skip();
	}
}

struct shim_iface st_attach(struct shim *s, const char *iface)
{
	struct shim_iface i;
	char *error = NULL;
	int r = shim_attach(s, iface, &i, &error);

	if (r < 0)
		print_error("%s\n", error ? error : strerror(-r));
	free(error);
	assert_int_equal(r, 0);
	return i;
}

void st_detach(struct shim *s, const char *iface)
{
	char *error = NULL;
	int r = shim_detach(s, iface, &error);

	if (r < 0)
		print_error("%s\n", error ? error : strerror(-r));
	free(error);
	assert_int_equal(r, 0);
}

int st_veth_up(void **state)
{
	if (geteuid() != 0)
		return 0;
	st_run("ip link add v0 type veth peer name v1 && ip link set v0 up && ip link set v1 up && "
	       "for i in $(seq 200); do [ $(ip link show type veth | grep -c 'state UP') = 2 ] && "
	       "exit 0; sleep .01; done; exit 1");
	return 0;
}

int st_veth_down(void **state)
{
	if (geteuid() == 0)
		st_run("ip link del v0 2>/dev/null; true");
	return 0;
}

static int collect(void *arg, const struct shim_iface *i)
{
	struct shim_iface **to = arg;

	*(*to)++ = *i;
	return 0;
}

unsigned st_list(struct shim *s, struct shim_iface *ret)
{
	struct shim_iface *to = ret;

	assert_int_equal(shim_ifaces_each(s, collect, &to), 0);
	return (unsigned)(to - ret);
}
