/* SPDX-License-Identifier: BSD-2-Clause */
/* The AF_XDP wire between two network namespaces of this process:
 *
 *   A: w0 10.66.0.1 fd66::1  ====veth====  w1 10.66.0.2 fd66::2 :B
 *
 * Needs root. The XDP program here redirects every packet; the real one has tests of its own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../../keyd/dp/dp.h"
#include "../../keyd/dp/frame.h"
#include "../../keyd/dp/wire.h"

#define PORT 7469
#define WAIT_MS 2000
#define REBIND_MS 5000 /* the kernel lets go of a queue some time after close */

static bool ready;

struct side {
	int ns, xsks, link;
	unsigned ifindex;
	const char *name;
	struct wire *wire;
};
static struct side A = { .name = "w0", .ns = -1, .link = -1 }, B = { .name = "w1", .ns = -1, .link = -1 };

static void sh(const char *cmd)
{
	int r = system(cmd);

	if (r)
		print_error("'%s' gave %d\n", cmd, r);
	assert_int_equal(r, 0);
}

static void enter(const struct side *s)
{
	assert_int_equal(setns(s->ns, CLONE_NEWNET), 0);
}

static struct mvpn_addr addr(const char *s)
{
	struct mvpn_addr a;

	assert_int_equal(mvpn_addr_parse(&a, s), 0);
	return a;
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void need_root(void)
{
	if (!ready) {
		print_message("[  SKIPPED ] wire_xdp: needs root for network namespaces and BPF\n");
		skip();
	}
}

/* return bpf_redirect_map(&xsks, ctx->rx_queue_index, XDP_PASS) */
static int load_program(int xsks)
{
	const struct bpf_insn prog[] = {
		{ .code = BPF_LDX | BPF_MEM | BPF_W, .dst_reg = 2, .src_reg = 1,
		  .off = offsetof(struct xdp_md, rx_queue_index) },
		{ .code = BPF_LD | BPF_DW | BPF_IMM, .dst_reg = 1, .src_reg = BPF_PSEUDO_MAP_FD, .imm = xsks },
		{},
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 3, .imm = XDP_PASS },
		{ .code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_redirect_map },
		{ .code = BPF_JMP | BPF_EXIT },
	};

	return bpf_prog_load(BPF_PROG_TYPE_XDP, "all_to_xsk", "Dual BSD/GPL", prog, sizeof(prog) / sizeof(*prog), NULL);
}

static void attach(struct side *s, unsigned flags)
{
	LIBBPF_OPTS(bpf_link_create_opts, o, .flags = flags);
	int prog;

	enter(s);
	s->xsks = bpf_map_create(BPF_MAP_TYPE_XSKMAP, "xsks", 4, 4, 8, NULL);
	assert_true(s->xsks >= 0);
	prog = load_program(s->xsks);
	assert_true(prog >= 0);
	s->link = bpf_link_create(prog, (int)s->ifindex, BPF_XDP, &o);
	assert_true(s->link >= 0);
	close(prog);
}

static int wire_new(struct side *s, struct wire **ret, unsigned queue, bool zerocopy, bool busy_poll)
{
	const struct wire_xdp_config c = { .ifindex = s->ifindex, .queue = queue, .xsks_map = s->xsks,
					   .zerocopy = zerocopy, .busy_poll = busy_poll, .udp_port = PORT };

	enter(s);
	return wire_xdp_new(ret, &c);
}

static void wire_open(struct side *s, bool busy_poll)
{
	uint64_t until = now_ns() + REBIND_MS * 1000000ull;
	int r;

	do {
		r = wire_new(s, &s->wire, 0, false, busy_poll);
		if (r == -EBUSY)
			poll(NULL, 0, 10);
	} while (r == -EBUSY && now_ns() < until);
	assert_int_equal(r, 0);
}

static void side_close(struct side *s)
{
	if (s->wire)
		s->wire->ops->free(s->wire);
	if (s->link >= 0) {
		close(s->link);
		close(s->xsks);
	}
	s->wire = NULL;
	s->link = -1;
}

static void links_make(const char *more)
{
	char cmd[256];

	enter(&A);
	snprintf(cmd, sizeof(cmd), "ip link add w0 %s type veth peer name w1 %s netns /proc/%d/fd/%d", more, more,
		 getpid(), B.ns);
	sh(cmd);
	sh("ip link set w0 address 02:00:00:00:00:01 addrgenmode none up; ip link set lo up;"
	   "ip addr add 10.66.0.1/24 dev w0; ip addr add fd66::1/64 dev w0 nodad;"
	   "ip neigh replace 10.66.0.2 lladdr 02:00:00:00:00:02 dev w0 nud permanent;"
	   "ip neigh replace fd66::2 lladdr 02:00:00:00:00:02 dev w0 nud permanent");
	A.ifindex = if_nametoindex("w0");
	enter(&B);
	sh("ip link set w1 address 02:00:00:00:00:02 addrgenmode none up; ip link set lo up;"
	   "ip addr add 10.66.0.2/24 dev w1; ip addr add fd66::2/64 dev w1 nodad;"
	   "ip neigh replace 10.66.0.1 lladdr 02:00:00:00:00:01 dev w1 nud permanent;"
	   "ip neigh replace fd66::1 lladdr 02:00:00:00:00:01 dev w1 nud permanent");
	B.ifindex = if_nametoindex("w1");
}

static void links_drop(void)
{
	side_close(&A);
	side_close(&B);
	enter(&A);
	if (system("ip link del w0 2>/dev/null"))
		return; /* gone already */
}

static int set_up(void **state)
{
	if (geteuid() || unshare(CLONE_NEWNET))
		return 0;
	A.ns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	if (unshare(CLONE_NEWNET))
		return 0;
	B.ns = open("/proc/self/ns/net", O_RDONLY);
	ready = A.ns >= 0 && B.ns >= 0;
	return 0;
}

static int each_tear_down(void **state)
{
	if (ready)
		links_drop();
	return 0;
}

/* both ends on queue 0 */
static void both_open(const char *more, unsigned flags, bool busy_poll)
{
	links_make(more);
	attach(&A, flags);
	attach(&B, flags);
	wire_open(&A, busy_poll);
	wire_open(&B, busy_poll);
}

static struct kt_endpoint endpoint(const struct side *from, bool v6)
{
	const char *const addrs[2][2] = { { "10.66.0.1", "10.66.0.2" }, { "fd66::1", "fd66::2" } };
	bool a = from == &A;
	struct kt_endpoint e = { .to = { addr(addrs[v6][a]), PORT }, .has_hop = true, .ifindex = from->ifindex,
				 .mtu = 3800, .src = addr(addrs[v6][!a]) };

	e.smac[0] = e.dmac[0] = 2;
	e.smac[5] = a ? 1 : 2;
	e.dmac[5] = a ? 2 : 1;
	return e;
}

/* ---- sending and receiving with contents that tell what was lost or changed ---- */

struct got {
	unsigned n;	   /* good ones, all told */
	unsigned expected; /* sequence number of the next */
	struct mvpn_endpoint from;
	size_t len;
};

static void fill(uint8_t *p, size_t len, unsigned seq)
{
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)(seq * 7 + i);
}

static void on_rx(void *arg, uint8_t *data, size_t len, const struct mvpn_endpoint *from)
{
	struct got *g = arg;
	bool ok = true;

	for (size_t i = 0; i < len && ok; i++)
		ok = data[i] == (uint8_t)(g->expected * 7 + i);
	if (ok)
		g->n++;
	g->expected++;
	g->from = *from;
	g->len = len;
	memset(data, 0xee, len); /* the receiver may overwrite it */
}

static bool send_one(struct side *s, const struct kt_endpoint *e, size_t len, unsigned seq)
{
	uint8_t *p = s->wire->ops->reserve(s->wire, e, len + 5); /* promises more than it writes */

	if (!p)
		return false;
	fill(p, len, seq);
	s->wire->ops->commit(s->wire, len);
	return true;
}

/* until n more have come, or nothing came for ms */
static unsigned receive(struct side *s, struct got *g, unsigned n, int ms)
{
	const struct wire_ops *o = s->wire->ops;
	struct pollfd p = { .fd = o->fd(s->wire), .events = POLLIN };
	unsigned done = 0;

	while (done < n) {
		int r = o->receive(s->wire, on_rx, g, n - done);

		assert_true(r >= 0);
		done += (unsigned)r;
		if (done < n && o->before_sleep(s->wire) && poll(&p, 1, ms) == 0)
			break;
	}
	return done;
}

static void exchange_sizes(size_t max, const size_t *sizes, size_t n)
{
	for (int v6 = 0; v6 < 2; v6++) {
		struct kt_endpoint to_b = endpoint(&A, v6), to_a = endpoint(&B, v6);

		for (size_t i = 0; i < n; i++) {
			size_t len = sizes[i] < max - 20 * (size_t)v6 ? sizes[i] : max - 20 * (size_t)v6 - 5;
			struct got g = { .expected = (unsigned)i };

			assert_true(send_one(&A, &to_b, len, (unsigned)i));
			A.wire->ops->flush(A.wire);
			assert_int_equal(receive(&B, &g, 1, WAIT_MS), 1);
			assert_int_equal(g.n, 1);
			assert_int_equal(g.len, len);
			assert_true(mvpn_addr_eq(&g.from.addr, &to_b.src));
			assert_int_equal(g.from.port, PORT);
			g = (struct got){ .expected = 99 };
			assert_true(send_one(&B, &to_a, len, 99));
			B.wire->ops->flush(B.wire);
			assert_int_equal(receive(&A, &g, 1, WAIT_MS), 1);
			assert_int_equal(g.n, 1);
			assert_true(mvpn_addr_eq(&g.from.addr, &to_a.src));
		}
	}
}

static const size_t sizes[] = { 0, 1, 15, 16, 48, 63, 64, 65, 127, 511, 512, 1000, 1279, 1399, 1400, 1452, 1467 };

static void sizes_native(void **state)
{
	need_root();
	both_open("", XDP_FLAGS_DRV_MODE, false);
	exchange_sizes(1472, sizes, sizeof(sizes) / sizeof(*sizes));
}

static void sizes_generic(void **state)
{
	need_root();
	both_open("", XDP_FLAGS_SKB_MODE, false);
	exchange_sizes(1472, sizes, sizeof(sizes) / sizeof(*sizes));
}

static void sizes_busy_poll(void **state)
{
	need_root();
	both_open("", XDP_FLAGS_DRV_MODE, true);
	exchange_sizes(1472, sizes, sizeof(sizes) / sizeof(*sizes));
}

static void frames_as_large_as_they_come(void **state)
{
	static const size_t big[] = { 1473, 2000, 3000, 3500 };

	need_root();
	both_open("mtu 3600", XDP_FLAGS_SKB_MODE, false);
	exchange_sizes(3572, big, sizeof(big) / sizeof(*big));
}

/* many times more packets than frames: one that leaked a frame a packet would soon stop */
static void no_loss(const char *what, unsigned total, size_t len)
{
	const unsigned batch = 64;
	struct kt_endpoint to_b = endpoint(&A, false);
	struct got g = {};
	uint64_t t0 = now_ns(), c[DP_C_MAX] = {};

	for (unsigned sent = 0; sent < total;) {
		unsigned want;

		for (unsigned i = 0; i < batch && sent < total; i++, sent++)
			assert_true(send_one(&A, &to_b, len, sent));
		A.wire->ops->flush(A.wire);
		want = sent - g.expected;
		assert_int_equal(receive(&B, &g, want, WAIT_MS), want);
	}
	t0 = now_ns() - t0;
	assert_int_equal(g.n, total);
	B.wire->ops->stats(B.wire, c);
	assert_int_equal(c[DP_C_XSK_RX_DROPPED] + c[DP_C_XSK_RX_RING_FULL] + c[DP_C_XSK_RX_INVALID], 0);
	print_message("             %s, %zu B: %.3f Mpps, one thread for both ends\n", what, len,
		      (double)total * 1000 / (double)t0);
}

static void no_loss_native(void **state)
{
	need_root();
	both_open("", XDP_FLAGS_DRV_MODE, false);
	no_loss("native copy", 100000, 64);
	no_loss("native copy", 100000, 1400);
}

static void no_loss_generic(void **state)
{
	need_root();
	both_open("", XDP_FLAGS_SKB_MODE, false);
	no_loss("generic copy", 100000, 1400);
}

static void no_loss_busy_poll(void **state)
{
	need_root();
	both_open("", XDP_FLAGS_DRV_MODE, true);
	no_loss("native copy, busy poll", 100000, 1400);
}

/* a receiver that does not read: packets are lost and counted, nothing breaks, and no frame is lost with them */
static void overflow_is_counted_and_over(void **state)
{
	struct kt_endpoint to_b;
	uint64_t c[DP_C_MAX] = {}, again[DP_C_MAX] = {};
	struct got g = {};
	unsigned sent = 0, got;

	need_root();
	both_open("", XDP_FLAGS_DRV_MODE, false);
	to_b = endpoint(&A, false);
	for (int i = 0; i < 6000; i++) {
		sent += send_one(&A, &to_b, 100, sent);
		if (i % 64 == 63)
			A.wire->ops->flush(A.wire);
	}
	A.wire->ops->flush(A.wire);
	assert_true(sent > 1024);
	got = receive(&B, &g, sent, 300);
	assert_in_range(got, 512, sent - 1);
	B.wire->ops->stats(B.wire, c);
	/* as many frames as ring slots: it is the fill ring that runs dry */
	assert_true(c[DP_C_XSK_RX_DROPPED] + c[DP_C_XSK_RX_RING_FULL] + c[DP_C_XSK_FILL_EMPTY] > 0);
	B.wire->ops->stats(B.wire, again);
	B.wire->ops->stats(B.wire, again);
	assert_int_equal(again[DP_C_XSK_FILL_EMPTY], 2 * c[DP_C_XSK_FILL_EMPTY]); /* absolute, added */
	for (int i = 0; i < 3; i++) {
		g = (struct got){};
		for (unsigned k = 0; k < 1000; k++)
			assert_true(send_one(&A, &to_b, 100, k));
		A.wire->ops->flush(A.wire);
		assert_int_equal(receive(&B, &g, 1000, WAIT_MS), 1000);
		assert_int_equal(g.n, 1000);
	}
}

static void forgotten_reservations_cost_nothing(void **state)
{
	struct kt_endpoint to_b;
	struct got g = {};

	need_root();
	both_open("", XDP_FLAGS_DRV_MODE, false);
	to_b = endpoint(&A, true);
	for (int i = 0; i < 10000; i++)
		assert_non_null(A.wire->ops->reserve(A.wire, &to_b, 1000));
	A.wire->ops->flush(A.wire);
	assert_true(send_one(&A, &to_b, 1000, 0));
	A.wire->ops->commit(A.wire, 1000); /* a second time: there is nothing to commit */
	A.wire->ops->flush(A.wire);
	assert_int_equal(receive(&B, &g, 2, 200), 1);
	assert_int_equal(g.n, 1);
}

static void refuses_what_does_not_fit(void **state)
{
	struct kt_endpoint e;
	uint64_t c[DP_C_MAX] = {};

	need_root();
	both_open("", XDP_FLAGS_DRV_MODE, false);
	e = endpoint(&A, false);
	e.mtu = 1500;
	assert_non_null(A.wire->ops->reserve(A.wire, &e, 1472));
	assert_null(A.wire->ops->reserve(A.wire, &e, 1473));
	e.mtu = 0; /* unknown: 1500 */
	assert_null(A.wire->ops->reserve(A.wire, &e, 1473));
	e.mtu = 65535;
	assert_null(A.wire->ops->reserve(A.wire, &e, 4096));
	e.ifindex++;
	assert_null(A.wire->ops->reserve(A.wire, &e, 100));
	e.ifindex--;
	e.has_hop = false;
	assert_null(A.wire->ops->reserve(A.wire, &e, 100));
	e = endpoint(&A, true);
	e.mtu = 1500;
	assert_non_null(A.wire->ops->reserve(A.wire, &e, 1452));
	assert_null(A.wire->ops->reserve(A.wire, &e, 1453));
	A.wire->ops->stats(A.wire, c);
	assert_int_equal(c[DP_C_XSK_TX_INVALID], 6);
}

/* ---- against the kernel's stack: it checks our headers and sums, and we read its ---- */

static void with_the_stack(bool v6)
{
	struct kt_endpoint to_b = endpoint(&A, v6);
	struct sockaddr_storage sa;
	struct mvpn_endpoint any = { addr(v6 ? "fd66::2" : "10.66.0.2"), PORT }, to_a = { to_b.src, PORT };
	struct timeval tv = { .tv_sec = WAIT_MS / 1000 };
	struct got g = { .expected = 5 };
	uint8_t buf[2048];
	int fd;

	enter(&B);
	fd = socket(v6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (void *)&sa, mvpn_endpoint_to_sockaddr(&any, false, &sa)), 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	for (size_t len = 1; len <= 1447; len += 241) {
		assert_true(send_one(&A, &to_b, len, (unsigned)len));
		A.wire->ops->flush(A.wire);
		assert_int_equal(recv(fd, buf, sizeof(buf), 0), len);
		assert_int_equal(buf[len - 1], (uint8_t)(len * 7 + len - 1));
	}
	fill(buf, 1200, 5);
	assert_int_equal(sendto(fd, buf, 1200, 0, (void *)&sa, mvpn_endpoint_to_sockaddr(&to_a, false, &sa)), 1200);
	assert_int_equal(receive(&A, &g, 1, WAIT_MS), 1);
	assert_int_equal(g.n, 1);
	assert_int_equal(g.len, 1200);
	assert_true(mvpn_addr_eq(&g.from.addr, &any.addr));
	close(fd);
}

static void talks_with_the_stack(void **state)
{
	need_root();
	links_make("");
	attach(&A, XDP_FLAGS_DRV_MODE);
	wire_open(&A, false);
	with_the_stack(false);
	with_the_stack(true);
}

/* ---- what cannot be bound, and what goes away ---- */

static void refuses_to_bind(void **state)
{
	struct wire *w = NULL;
	uint64_t until;
	int r;

	need_root();
	links_make("");
	attach(&A, XDP_FLAGS_DRV_MODE);
	wire_open(&A, false);
	assert_int_equal(wire_new(&A, &w, 0, false, false), -EBUSY);
	assert_int_equal(wire_new(&A, &w, 99, false, false), -EINVAL);
	A.ifindex += 1000;
	assert_int_equal(wire_new(&A, &w, 0, false, false), -ENODEV);
	A.ifindex -= 1000;
	side_close(&A);
	until = now_ns() + REBIND_MS * 1000000ull;
	do
		r = wire_new(&A, &w, 0, true, false);
	while (r == -EBUSY && now_ns() < until && !poll(NULL, 0, 10));
	assert_int_equal(r, -EOPNOTSUPP); /* veth has no zero-copy */
	sh("ip link set w0 mtu 9000");
	assert_int_equal(wire_new(&A, &w, 0, false, false), -EMSGSIZE);
	assert_null(w);
}

static unsigned count_fds(void)
{
	unsigned n = 0;
	DIR *d = opendir("/proc/self/fd");

	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static void opens_again_and_leaks_no_fd(void **state)
{
	unsigned before;

	need_root();
	links_make("");
	attach(&A, XDP_FLAGS_DRV_MODE);
	before = count_fds();
	for (int i = 0; i < 3; i++) {
		wire_open(&A, false);
		A.wire->ops->free(A.wire);
		A.wire = NULL;
	}
	assert_int_equal(count_fds(), before);
}

/* what a worker does in its turns: it hears of the end within a few, and no call hangs */
static int error_of(struct side *s, const struct kt_endpoint *e)
{
	struct got g = {};

	for (int i = 0; i < 10; i++) {
		int r = s->wire->ops->receive(s->wire, on_rx, &g, 64);

		if (r < 0)
			return r;
		send_one(s, e, 100, 0);
		s->wire->ops->flush(s->wire);
		s->wire->ops->before_sleep(s->wire);
	}
	return 0;
}

static void device_that_vanishes(void **state)
{
	struct kt_endpoint e;
	uint64_t c[DP_C_MAX] = {};

	need_root();
	both_open("", XDP_FLAGS_DRV_MODE, false);
	e = endpoint(&A, false);
	enter(&A);
	sh("ip link del w0");
	/* told before it sleeps, without having anything to send */
	assert_false(B.wire->ops->before_sleep(B.wire));
	assert_int_equal(error_of(&A, &e), -ENXIO);
	assert_int_equal(error_of(&B, &e), -ENXIO);
	assert_null(A.wire->ops->reserve(A.wire, &e, 100));
	A.wire->ops->stats(A.wire, c);
}

static void device_that_goes_down(void **state)
{
	struct kt_endpoint e;

	need_root();
	both_open("", XDP_FLAGS_DRV_MODE, false);
	e = endpoint(&A, false);
	enter(&A);
	sh("ip link set w0 down");
	assert_int_equal(error_of(&A, &e), -ENETDOWN);
}

#define T(f) cmocka_unit_test_teardown(f, each_tear_down)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(sizes_native),
		T(sizes_generic),
		T(sizes_busy_poll),
		T(frames_as_large_as_they_come),
		T(no_loss_native),
		T(no_loss_generic),
		T(no_loss_busy_poll),
		T(overflow_is_counted_and_over),
		T(forgotten_reservations_cost_nothing),
		T(refuses_what_does_not_fit),
		T(talks_with_the_stack),
		T(refuses_to_bind),
		T(opens_again_and_leaks_no_fd),
		T(device_that_vanishes),
		T(device_that_goes_down),
	};

	return cmocka_run_group_tests_name("wire_xdp", tests, set_up, NULL);
}
