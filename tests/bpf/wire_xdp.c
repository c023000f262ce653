/* SPDX-License-Identifier: BSD-2-Clause */
/* The AF_XDP wire over a veth pair (wire_pair.h). Needs root. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <linux/if_link.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "../../keyd/dp/dp.h"
#include "mvpn/wire.h"
#include "wire_pair.h"

static void exchange_sizes(size_t max, const size_t *sizes, size_t n)
{
	for (int v6 = 0; v6 < 2; v6++) {
		struct kt_endpoint to_b = endpoint(&A, v6), to_a = endpoint(&B, v6);

		for (size_t i = 0; i < n; i++) {
			size_t len = sizes[i] < max - 20 * (size_t)v6 ? sizes[i]
								      : max - 20 * (size_t)v6 - 5;
			struct got g = {.expected = (unsigned)i};

			assert_true(send_one(&A, &to_b, len, (unsigned)i));
			A.wire->ops->flush(A.wire);
			assert_int_equal(receive(&B, &g, 1, WAIT_MS), 1);
			assert_int_equal(g.n, 1);
			assert_int_equal(g.len, len);
			assert_true(mvpn_addr_eq(&g.from.ep.addr, &to_b.src));
			assert_int_equal(g.from.ep.port, PORT);
			g = (struct got){.expected = 99};
			assert_true(send_one(&B, &to_a, len, 99));
			B.wire->ops->flush(B.wire);
			assert_int_equal(receive(&A, &g, 1, WAIT_MS), 1);
			assert_int_equal(g.n, 1);
			assert_true(mvpn_addr_eq(&g.from.ep.addr, &to_a.src));
		}
	}
}

static const size_t sizes[] = {0,   1,	 15,   16,   48,   63,	 64,   65,  127,
			       511, 512, 1000, 1279, 1399, 1400, 1452, 1467};

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
	static const size_t big[] = {64, 1473, 2000, 3000, 3500};

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
	assert_int_equal(c[DP_C_XSK_RX_DROPPED] + c[DP_C_XSK_RX_RING_FULL] + c[DP_C_XSK_RX_INVALID],
			 0);
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

/*
 * a receiver that does not read: packets are lost and counted, nothing breaks, and no frame is
 * lost with them
 */
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
	assert_int_equal(again[DP_C_XSK_FILL_EMPTY],
			 2 * c[DP_C_XSK_FILL_EMPTY]); /* absolute, added */
	for (int i = 0; i < 3; i++) {
		g = (struct got){};
		for (unsigned k = 0; k < 1000; k++)
			assert_true(send_one(&A, &to_b, 100, k));
		A.wire->ops->flush(A.wire);
		assert_int_equal(receive(&B, &g, 1000, WAIT_MS), 1000);
		assert_int_equal(g.n, 1000);
	}
}

/* a veth whose far end has a smaller MTU drops and says EBUSY: lost, but neither stuck nor leaked */
static void far_end_refuses(void **state)
{
	struct kt_endpoint to_b;
	struct got g = {};

	need_root();
	both_open("", XDP_FLAGS_DRV_MODE, false);
	to_b = endpoint(&A, false);
	enter(&B);
	sh("ip link set w1 mtu 1000");
	for (int i = 0; i < 5000; i++) {
		assert_true(send_one(&A, &to_b, 1400, 0));
		if (i % 64 == 0)
			A.wire->ops->flush(A.wire);
	}
	A.wire->ops->flush(A.wire);
	/* what the kernel of B says meanwhile may wait to be read */
	for (int i = 0; !A.wire->ops->before_sleep(A.wire); i++) {
		assert_true(i < 100);
		assert_int_equal(A.wire->ops->receive(A.wire, on_rx, &g, 64), 0);
	}
	assert_int_equal(receive(&B, &g, 1, 50), 0);
	assert_true(send_one(&A, &to_b, 900, 0));
	A.wire->ops->flush(A.wire);
	assert_int_equal(receive(&B, &g, 1, WAIT_MS), 1);
	assert_int_equal(g.n, 1);
}

/* the route says that larger packets are fine: then this wire must be made anew, and says so */
static void mtu_that_grows(void **state)
{
	struct kt_endpoint e;
	struct got g = {};

	need_root();
	both_open("", XDP_FLAGS_DRV_MODE, false);
	e = endpoint(&A, false);
	e.mtu = 3000;
	assert_null(A.wire->ops->reserve(A.wire, &e, 2900, 0));
	assert_int_equal(A.wire->ops->receive(A.wire, on_rx, &g, 1), -EMSGSIZE);
	A.wire->ops->free(A.wire);
	A.wire = NULL;
	enter(&A);
	sh("ip link set w0 mtu 3000");
	wire_open(&A, false);
	assert_non_null(A.wire->ops->reserve(A.wire, &e, 2900, 0));
}

static void forgotten_reservations_cost_nothing(void **state)
{
	struct kt_endpoint to_b;
	struct got g = {};

	need_root();
	both_open("", XDP_FLAGS_DRV_MODE, false);
	to_b = endpoint(&A, true);
	for (int i = 0; i < 10000; i++)
		assert_non_null(A.wire->ops->reserve(A.wire, &to_b, 1000, 0));
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
	assert_non_null(A.wire->ops->reserve(A.wire, &e, 1472, 0));
	assert_null(A.wire->ops->reserve(A.wire, &e, 1473, 0));
	e.mtu = 0; /* unknown: 1500 */
	assert_null(A.wire->ops->reserve(A.wire, &e, 1473, 0));
	e.ifindex++;
	assert_null(A.wire->ops->reserve(A.wire, &e, 100, 0));
	e.ifindex--;
	e.has_hop = false;
	assert_null(A.wire->ops->reserve(A.wire, &e, 100, 0));
	e = endpoint(&A, true);
	e.mtu = 1500;
	assert_non_null(A.wire->ops->reserve(A.wire, &e, 1452, 0));
	assert_null(A.wire->ops->reserve(A.wire, &e, 1453, 0));
	A.wire->ops->stats(A.wire, c);
	assert_int_equal(c[DP_C_XSK_TX_INVALID], 5);
}

/* ---- against the kernel's stack: it checks our headers and sums, and we read its ---- */

/* one datagram as the stack delivers it; *ret_tos is what its header said */
static ssize_t stack_receive(int fd, uint8_t *buf, size_t size, int *ret_tos)
{
	char control[64] __attribute__((aligned(8)));
	struct iovec iov = {.iov_base = buf, .iov_len = size};
	struct msghdr m = {.msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = control,
			   .msg_controllen = sizeof(control)};
	ssize_t n = recvmsg(fd, &m, 0);

	*ret_tos = 0;
	if (n >= 0 && CMSG_FIRSTHDR(&m))
		memcpy(ret_tos, CMSG_DATA(CMSG_FIRSTHDR(&m)),
		       CMSG_FIRSTHDR(&m)->cmsg_len - CMSG_LEN(0));
	return n;
}

static void with_the_stack(bool v6)
{
	int level = v6 ? IPPROTO_IPV6 : IPPROTO_IP, tos = TOS(5), one = 1;
	struct kt_endpoint to_b = endpoint(&A, v6);
	struct sockaddr_storage sa;
	struct mvpn_endpoint any = {addr(v6 ? "fd66::2" : "10.66.0.2"), PORT},
			     to_a = {to_b.src, PORT};
	struct timeval tv = {.tv_sec = WAIT_MS / 1000};
	struct got g = {.expected = 5};
	uint8_t buf[2048];
	int fd;

	enter(&B);
	fd = socket(v6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (void *)&sa, mvpn_endpoint_to_sockaddr(&any, false, &sa)), 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	setsockopt(fd, level, v6 ? IPV6_RECVTCLASS : IP_RECVTOS, &one, sizeof(one));
	setsockopt(fd, level, v6 ? IPV6_TCLASS : IP_TOS, &tos, sizeof(tos));
	for (size_t len = 1; len <= 1447; len += 241) {
		assert_true(send_one(&A, &to_b, len, (unsigned)len));
		A.wire->ops->flush(A.wire);
		assert_int_equal(stack_receive(fd, buf, sizeof(buf), &tos), len);
		assert_int_equal(tos, TOS(len));
		assert_int_equal(buf[len - 1], (uint8_t)(len * 7 + len - 1));
	}
	fill(buf, 1200, 5);
	assert_int_equal(
		sendto(fd, buf, 1200, 0, (void *)&sa, mvpn_endpoint_to_sockaddr(&to_a, false, &sa)),
		1200);
	assert_int_equal(receive(&A, &g, 1, WAIT_MS), 1);
	assert_int_equal(g.n, 1);
	assert_int_equal(g.len, 1200);
	assert_true(mvpn_addr_eq(&g.from.ep.addr, &any.addr));
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
	assert_null(w);
}

/* ---- packets of several frames ---- */

/* a socket of B's stack, to send to A's wire */
static int stack_socket(const struct kt_endpoint *to_b, struct sockaddr_storage *ret,
			socklen_t *ret_len)
{
	const struct mvpn_endpoint from = {to_b->to.addr, PORT}, to = {to_b->src, PORT};
	struct sockaddr_storage sa;
	int fd;

	enter(&B);
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (void *)&sa, mvpn_endpoint_to_sockaddr(&from, false, &sa)), 0);
	*ret_len = mvpn_endpoint_to_sockaddr(&to, false, ret);
	return fd;
}

static void large(unsigned flags)
{
	struct kt_endpoint to_b;
	struct sockaddr_storage sa;
	struct got g = {};
	static uint8_t buf[9000];
	uint64_t c[DP_C_MAX] = {};
	socklen_t len;
	int fd;

	need_root();
	if (wire_xdp_frame_max(9000, false)) {
		print_message("[  SKIPPED ] packets of several frames: needs Linux 6.6\n");
		skip();
	}
	links_make("mtu 9000");
	attach(&A, flags);
	wire_open(&A, false);
	to_b = endpoint(&A, false);
	fd = stack_socket(&to_b, &sa, &len);
	/* many times the number of frames */
	for (unsigned i = 0; i < 3000; i++) {
		size_t size = 8972 - i * 2;

		int tos = TOS(i);

		g.expected = i;
		setsockopt(fd, IPPROTO_IP, IP_TOS, &tos, sizeof(tos));
		fill(buf, size, i);
		assert_int_equal(sendto(fd, buf, size, 0, (void *)&sa, len), size);
		assert_int_equal(receive(&A, &g, 1, WAIT_MS), 1);
		assert_int_equal(g.len, size);
	}
	assert_int_equal(g.n, 3000);
	A.wire->ops->stats(A.wire, c);
	assert_int_equal(c[DP_C_XSK_RX_DROPPED] + c[DP_C_XSK_RX_RING_FULL] + c[DP_C_XSK_RX_INVALID],
			 0);
	assert_false(wire_xdp_sends(A.wire));
	close(fd);
}

static void large_native(void **state)
{
	large(XDP_FLAGS_DRV_MODE);
}

static void large_generic(void **state)
{
	large(XDP_FLAGS_SKB_MODE);
}

/* sealed packets as the receiver takes them apart: header, counter, contents */
static size_t sealed(uint8_t *p, size_t len, unsigned seq)
{
	struct mvpn_hdr h = {.type = MVPN_TUNNEL, .spi = 0x12345678, .counter = htobe64(seq)};

	fill(p, len, seq);
	memcpy(p, &h, sizeof(h));
	return len;
}

static void on_sealed(void *arg, uint8_t *data, size_t len, const struct wire_from *from)
{
	struct got *g = arg;
	static uint8_t want[2000];

	sealed(want, len, g->expected++);
	g->n += !memcmp(data, want, len);
	g->len = len;
}

/* what UDP_SEGMENT joined arrives as one packet, and is taken apart */
static void joined_datagrams(void **state)
{
	static const size_t sizes_[] = {32, 100, 1000, 1400, 1452};
	struct kt_endpoint to_b;
	struct sockaddr_storage sa;
	struct got g = {};
	static uint8_t buf[65536];
	unsigned seq = 0;
	socklen_t salen;
	int fd;

	need_root();
	if (wire_xdp_frame_max(1500, true)) {
		print_message("[  SKIPPED ] joined_datagrams: needs Linux 6.6\n");
		skip();
	}
	links_make("");
	attach(&A, XDP_FLAGS_SKB_MODE);
	wire_open(&A, false);
	to_b = endpoint(&A, false);
	fd = stack_socket(&to_b, &sa, &salen);
	for (unsigned round = 0; round < 200; round++) {
		int size = (int)sizes_[round % 5],
		    n = 1 + (int)(round * 7 % (60000 / size < 64 ? 60000 / size : 64));
		unsigned first = seq;
		size_t len = 0;

		setsockopt(fd, IPPROTO_UDP, 103 /* UDP_SEGMENT */, &size, sizeof(size));
		for (int i = 0; i < n; i++)
			len += sealed(buf + len,
				      i == n - 1 ? 32 + round % 32 * (size > 64) : (size_t)size,
				      seq++);
		assert_int_equal(sendto(fd, buf, len, 0, (void *)&sa, salen), len);
		for (uint64_t until = now_ns() + WAIT_MS * 1000000ull;
		     g.expected < seq && now_ns() < until;)
			assert_true(A.wire->ops->receive(A.wire, on_sealed, &g, 256) >= 0);
		assert_int_equal(g.expected - first, n);
	}
	assert_int_equal(g.n, seq);
	close(fd);
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
	assert_null(A.wire->ops->reserve(A.wire, &e, 100, 0));
	A.wire->ops->stats(A.wire, c);
}

/* no error, no spinning; and when it is up again packets flow through the same socket */
static void device_that_goes_down_and_up(void **state)
{
	struct kt_endpoint e;
	unsigned awake = 0;
	struct got g = {};

	need_root();
	both_open("", XDP_FLAGS_DRV_MODE, false);
	e = endpoint(&A, false);
	enter(&A);
	sh("ip link set w0 down");
	for (int i = 0; i < 2000; i++) /* more than there are frames: refused, not stuck */
		send_one(&A, &e, 100, 7);
	assert_null(A.wire->ops->reserve(A.wire, &e, 100, 0));
	A.wire->ops->flush(A.wire);
	assert_int_equal(A.wire->ops->receive(A.wire, on_rx, &g, 64), 0);
	while (!A.wire->ops->before_sleep(A.wire))
		assert_true(++awake < 1000);
	sh("ip link set w0 up;"
	   "for i in $(seq 100); do ip link show w0 | grep -q LOWER_UP && exit 0; sleep 0.02; "
	   "done; exit 1");
	g.expected = 7;
	do { /* what had been waiting */
		A.wire->ops->flush(A.wire);
		g.expected = 7;
	} while (receive(&B, &g, 1, 200));
	assert_true(g.n > 0);
	g = (struct got){};
	assert_true(send_one(&A, &e, 100, 0));
	A.wire->ops->flush(A.wire);
	assert_int_equal(receive(&B, &g, 1, WAIT_MS), 1);
	e = endpoint(&B, false);
	assert_true(send_one(&B, &e, 100, 1));
	B.wire->ops->flush(B.wire);
	assert_int_equal(receive(&A, &g, 1, WAIT_MS), 1);
	assert_int_equal(g.n, 2);
}

/* a device that is down may be bound: it is used once it is up */
static void binds_before_the_device_is_up(void **state)
{
	struct got g = {};
	struct kt_endpoint e;

	need_root();
	links_make("");
	e = endpoint(&A, false);
	enter(&A);
	sh("ip link set w0 down");
	attach(&A, XDP_FLAGS_DRV_MODE);
	attach(&B, XDP_FLAGS_DRV_MODE);
	wire_open(&A, false);
	wire_open(&B, false);
	enter(&A);
	sh("ip link set w0 up;"
	   "for i in $(seq 100); do ip link show w0 | grep -q LOWER_UP && exit 0; sleep 0.02; "
	   "done; exit 1");
	assert_true(send_one(&A, &e, 100, 0));
	A.wire->ops->flush(A.wire);
	assert_int_equal(receive(&B, &g, 1, WAIT_MS), 1);
	assert_int_equal(g.n, 1);
}

#define T(f) cmocka_unit_test_teardown(f, pair_tear_down)
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
		T(far_end_refuses),
		T(mtu_that_grows),
		T(forgotten_reservations_cost_nothing),
		T(refuses_what_does_not_fit),
		T(talks_with_the_stack),
		T(refuses_to_bind),
		T(large_native),
		T(large_generic),
		T(joined_datagrams),
		T(opens_again_and_leaks_no_fd),
		T(device_that_vanishes),
		T(device_that_goes_down_and_up),
		T(binds_before_the_device_is_up),
	};

	return cmocka_run_group_tests_name("wire_xdp", tests, pair_set_up, NULL);
}
