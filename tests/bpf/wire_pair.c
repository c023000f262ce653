/* SPDX-License-Identifier: BSD-2-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "wire_pair.h"

#include <bpf/bpf.h>
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

static bool ready;

struct side A = {.name = "w0", .ns = -1, .link = -1}, B = {.name = "w1", .ns = -1, .link = -1};

void sh(const char *cmd)
{
	int r = system(cmd);

	if (r)
		print_error("'%s' gave %d\n", cmd, r);
	assert_int_equal(r, 0);
}

void enter(const struct side *s)
{
	assert_int_equal(setns(s->ns, CLONE_NEWNET), 0);
}

struct mvpn_addr addr(const char *s)
{
	struct mvpn_addr a;

	assert_int_equal(mvpn_addr_parse(&a, s), 0);
	return a;
}

uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

void need_root(void)
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
		{.code = BPF_LDX | BPF_MEM | BPF_W,
		 .dst_reg = 2,
		 .src_reg = 1,
		 .off = offsetof(struct xdp_md, rx_queue_index)},
		{.code = BPF_LD | BPF_DW | BPF_IMM,
		 .dst_reg = 1,
		 .src_reg = BPF_PSEUDO_MAP_FD,
		 .imm = xsks},
		{},
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 3, .imm = XDP_PASS},
		{.code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_redirect_map},
		{.code = BPF_JMP | BPF_EXIT},
	};

	LIBBPF_OPTS(bpf_prog_load_opts, o, .prog_flags = BPF_F_XDP_HAS_FRAGS);

	return bpf_prog_load(BPF_PROG_TYPE_XDP, "all_to_xsk", "Dual BSD/GPL", prog,
			     sizeof(prog) / sizeof(*prog), &o);
}

void attach(struct side *s, unsigned flags)
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
	s->generic = flags & XDP_FLAGS_SKB_MODE;
	close(prog);
}

int wire_new(struct side *s, struct wire **ret, unsigned queue, bool zerocopy, bool busy_poll)
{
	const struct wire_xdp_config c = {.ifindex = s->ifindex,
					  .queue = queue,
					  .xsks_map = s->xsks,
					  .zerocopy = zerocopy,
					  .busy_poll = busy_poll,
					  .generic = s->generic,
					  .udp_port = PORT,
					  .source_port = PORT};

	enter(s);
	return wire_xdp_new(ret, &c);
}

void wire_open(struct side *s, bool busy_poll)
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

void side_close(struct side *s)
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

void links_make(const char *more)
{
	char cmd[256];

	enter(&A);
	snprintf(cmd, sizeof(cmd),
		 "ip link add w0 %s type veth peer name w1 %s netns /proc/%d/fd/%d", more, more,
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

int pair_set_up(void **state)
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

int pair_tear_down(void **state)
{
	if (ready)
		links_drop();
	return 0;
}

/* both ends on queue 0 */
void both_open(const char *more, unsigned flags, bool busy_poll)
{
	links_make(more);
	attach(&A, flags);
	attach(&B, flags);
	wire_open(&A, busy_poll);
	wire_open(&B, busy_poll);
}

struct kt_endpoint endpoint(const struct side *from, bool v6)
{
	const char *const addrs[2][2] = {{"10.66.0.1", "10.66.0.2"}, {"fd66::1", "fd66::2"}};
	bool a = from == &A;
	struct kt_endpoint e = {.to = {addr(addrs[v6][a]), PORT},
				.has_hop = true,
				.ifindex = from->ifindex,
				.mtu = 3800,
				.src = addr(addrs[v6][!a])};

	e.smac[0] = e.dmac[0] = 2;
	e.smac[5] = a ? 1 : 2;
	e.dmac[5] = a ? 2 : 1;
	return e;
}

/* ---- sending and receiving with contents that tell what was lost or changed ---- */

void fill(uint8_t *p, size_t len, unsigned seq)
{
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)(seq * 7 + i);
}

void on_rx(void *arg, uint8_t *data, size_t len, const struct wire_from *from)
{
	struct got *g = arg;
	bool ok = from->tos == TOS(g->expected);

	for (size_t i = 0; i < len && ok; i++)
		ok = data[i] == (uint8_t)(g->expected * 7 + i);
	if (ok)
		g->n++;
	g->expected++;
	g->from = *from;
	g->len = len;
	memset(data, 0xee, len); /* the receiver may overwrite it */
}

bool send_one(struct side *s, const struct kt_endpoint *e, size_t len, unsigned seq)
{
	/* promises more than it writes */
	uint8_t *p = s->wire->ops->reserve(s->wire, e, len + 5, TOS(seq));

	if (!p)
		return false;
	fill(p, len, seq);
	s->wire->ops->commit(s->wire, len);
	return true;
}

/* until n more have come, or nothing came for ms */
unsigned receive(struct side *s, struct got *g, unsigned n, int ms)
{
	const struct wire_ops *o = s->wire->ops;
	struct pollfd p = {.fd = o->fd(s->wire), .events = POLLIN};
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
