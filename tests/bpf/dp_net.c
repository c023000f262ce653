/* SPDX-License-Identifier: BSD-2-Clause */
#include "dp_net.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "crypto.h"

#define EVENT_MS 5000

struct end A = {.inner4 = "10.77.0.1",
		.inner6 = "fd77::1",
		.outer4 = "10.78.0.1",
		.outer6 = "fd78::1",
		.link = "v0",
		.rx_spi = 0x00010001};
struct end B = {.inner4 = "10.77.0.2",
		.inner6 = "fd77::2",
		.outer4 = "10.78.0.2",
		.outer6 = "fd78::2",
		.link = "v1",
		.rx_spi = 0x00020002};
static int home = -1;

struct end *other(const struct end *e)
{
	return e == &A ? &B : &A;
}

static int own_ns(void)
{
	int fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

void enter(const struct end *e)
{
	assert_int_equal(setns(e->ns, CLONE_NEWNET), 0);
}

void leave(void)
{
	assert_int_equal(setns(home, CLONE_NEWNET), 0);
}

void sh(const char *fmt, ...)
{
	char cmd[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(cmd, sizeof(cmd), fmt, ap);
	va_end(ap);
	if (system(cmd))
		fail_msg("failed: %s", cmd);
}

static struct mvpn_prefix host(const char *s)
{
	struct mvpn_prefix p;

	assert_int_equal(mvpn_prefix_parse(&p, s), 0);
	return p;
}

static void session_make(struct end *e)
{
	struct end *o = other(e);
	bool a = e == &A;
	struct intro_keys k = {.suite = aead_suites() & 1 << (MVPN_AES256_GCM - 1)
						? MVPN_AES256_GCM
						: MVPN_CHACHA20_POLY1305,
			       .tx_lanes = 4,
			       .rx_lanes = 4,
			       .peer_spi = o->rx_spi};
	struct mvpn_prefix l[2] = {host(e->inner4), host(e->inner6)},
			   r[2] = {host(o->inner4), host(o->inner6)};
	static const uint8_t id[MVPN_ID_LEN] = "two ends";
	struct lpm *lpm;

	memset(k.tx, a ? 1 : 2, 32);
	memset(k.rx, a ? 2 : 1, 32);
	assert_int_equal(lpm_new(&lpm), 0);
	assert_int_equal(lpm_set(lpm, &r[0], 1), 0);
	assert_int_equal(lpm_set(lpm, &r[1], 1), 0);
	kt_set_prefixes(e->kt, lpm);
	assert_int_equal(kt_session_new(e->kt, &e->s, id, 1, e->rx_spi, &k, l, 2, r, 2), 0);
	set_endpoint(e, false, 0);
	kt_session_arm_rx(e->kt, e->s);
	kt_session_arm_tx(e->kt, e->s);
}

static void end_make(struct end *e)
{
	struct dp_config c = {.tap_name = "mvpn0", .udp_port = DP_PORT};
	struct end *o = other(e);

	assert_int_equal(kt_new(&e->kt), 0);
	session_make(e);
	enter(e);
	sh("ip link set lo up && ip addr add %s/32 dev lo && ip addr add %s/128 dev lo nodad",
	   e->inner4, e->inner6);
	sh("ip addr add %s/24 dev %s && ip addr add %s/64 dev %s nodad && ip link set %s up",
	   e->outer4, e->link, e->outer6, e->link, e->link);
	assert_int_equal(dp_new(&e->dp, e->kt, &c), 0);
	sh("ip route add %s dev mvpn0 src %s && ip route add %s dev mvpn0 src %s", o->inner4,
	   e->inner4, o->inner6, e->inner6);
	leave();
}

void net_make(const char *veth_options)
{
	if (geteuid()) {
		print_message("skipped: needs root\n");
		skip();
	}
	assert_int_equal(mvpn_crypto_init(), 0);
	assert_int_equal(aead_init(), 0);
	home = own_ns();
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	B.ns = own_ns();
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	A.ns = own_ns();
	sh("ip link add v0 %s type veth peer name v1 %s", veth_options, veth_options);
	sh("ip link set v1 netns /proc/%d/fd/%d", getpid(), B.ns);
	leave();
	end_make(&A);
	end_make(&B);
}

/* ---- the XDP wire ---- */
static void mac_of(const struct end *e, uint8_t mac[6])
{
	char path[64], text[32] = {0};
	FILE *f;

	/* /sys shows the namespace it was mounted in: ask ip */
	enter(e);
	snprintf(path, sizeof(path), "ip -br link show %s", e->link);
	f = popen(path, "r");
	assert_non_null(f);
	assert_int_equal(fscanf(f, "%*s %*s %31s", text), 1);
	pclose(f);
	leave();
	assert_int_equal(sscanf(text, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &mac[0], &mac[1], &mac[2],
				&mac[3], &mac[4], &mac[5]),
			 6);
}

static void wire_xdp(struct end *e, unsigned queues)
{
	struct mvpn_config mc = {.udp_port = DP_PORT};
	struct dp_xsk_config c = {.nqueues = queues};
	struct dp_xsk_info info;
	char *error = NULL;
	int tries = DP_XSK_BUSY_MS / DP_XSK_RETRY_MS, r;

	snprintf(e->pin, sizeof(e->pin), "/sys/fs/bpf/mvpn-test-%d-%s", getpid(), e->link);
	enter(e);
	if (shim_open(&e->shim, e->pin, &error) < 0)
		fail_msg("shim: %s", error);
	assert_int_equal(shim_config(e->shim, &mc), 0);
	assert_int_equal(shim_spi_set(e->shim, e->rx_spi), 0);
	if (shim_attach_xdp(e->shim, e->link, SHIM_XDP_NATIVE, 0, &c.xsks_map, &error) < 0)
		fail_msg("attach: %s", error);
	c.ifindex = if_nametoindex(e->link);
	do
		r = dp_xsk_add(e->dp, &c, &info);
	while (r == -EBUSY && tries-- && !poll(NULL, 0, DP_XSK_RETRY_MS));
	leave();
	assert_int_equal(r, 0);
	assert_false(info.zerocopy); /* veth has none */
	assert_int_equal(dp_workers(e->dp), queues);
}

void net_wires_xdp(unsigned queues)
{
	wire_xdp(&A, queues);
	wire_xdp(&B, queues);
	set_endpoint(&A, false, 0);
	set_endpoint(&B, false, 0);
}

void set_endpoint(struct end *e, bool v6, unsigned mtu)
{
	struct end *o = other(e);
	struct kt_endpoint ep = {.to.port = DP_PORT, .mtu = mtu};

	assert_int_equal(mvpn_addr_parse(&ep.to.addr, v6 ? o->outer6 : o->outer4), 0);
	if (e->shim) {
		ep.has_hop = true;
		assert_int_equal(mvpn_addr_parse(&ep.src, v6 ? e->outer6 : e->outer4), 0);
		mac_of(e, ep.smac);
		mac_of(o, ep.dmac);
		enter(e);
		ep.ifindex = if_nametoindex(e->link);
		leave();
	}
	assert_int_equal(kt_peer_set_endpoint(e->kt, 1, &ep), 0);
}

static void end_remove(struct end *e)
{
	char *error = NULL;

	if (e->shim) {
		enter(e);
		shim_detach_xdp(e->shim, e->link);
		shim_purge(e->shim);
		shim_close(e->shim);
		leave();
		e->shim = NULL;
	}
	dp_free(e->dp);
	kt_free(e->kt);
	close(e->ns);
	free(error);
	e->dp = NULL;
	e->kt = NULL;
}

void net_remove(void)
{
	end_remove(&A);
	end_remove(&B);
	close(home);
}

/* ---- asking ---- */
uint64_t dp_count(struct end *e, enum dp_counter c)
{
	uint64_t all[DP_C_MAX];

	dp_counters(e->dp, all);
	return all[c];
}

bool wait_event(struct end *e, enum dp_event_type type, struct dp_event *ret)
{
	struct pollfd p = {.fd = dp_event_fd(e->dp), .events = POLLIN};

	do {
		while (dp_next_event(e->dp, ret))
			if (ret->type == type)
				return true;
	} while (poll(&p, 1, EVENT_MS) > 0);
	return false;
}

int sock(struct end *e, int type, bool v6)
{
	struct timeval t = {.tv_sec = EVENT_MS / 1000};
	int fd;

	enter(e);
	fd = socket(v6 ? AF_INET6 : AF_INET, type | SOCK_CLOEXEC, 0);
	leave();
	assert_true(fd >= 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t)), 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t)), 0);
	return fd;
}

void addr_of(const struct end *e, bool v6, uint16_t port, struct sockaddr_storage *ret,
	     socklen_t *ret_len)
{
	struct mvpn_endpoint ep = {.port = port};

	assert_int_equal(mvpn_addr_parse(&ep.addr, v6 ? e->inner6 : e->inner4), 0);
	*ret_len = mvpn_endpoint_to_sockaddr(&ep, false, ret);
}
