/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Real sockets, real devices: what an application sends comes out of the tap as bare IP, or not at all; never on the wire.
 *
 *   UDP socket --v0 (attached)--v1-- AF_PACKET "wire"        tap0: TUN, where the shim redirects to
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "shimtest.h"

#define WAIT_MS 2000 /* for a packet that must come */
#define QUIET_MS 50  /* for one that must not, after one that did come on the same device */

static int tap = -1, wire = -1;

static int tun_open(const char *name)
{
	struct ifreq ifr = {.ifr_flags = IFF_TUN | IFF_NO_PI};
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	strcpy(ifr.ifr_name, name);
	if (fd < 0 || ioctl(fd, TUNSETIFF, &ifr) < 0)
		return -1;
	st_run("echo 1 >/proc/sys/net/ipv6/conf/%s/disable_ipv6 && ip link set %s up", name, name);
	return fd;
}

static int wire_open(const char *name)
{
	struct sockaddr_ll a = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);

	a.sll_ifindex = (int)if_nametoindex(name);
	return bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 ? -1 : fd;
}

static void tap_is(unsigned ifindex)
{
	struct mvpn_config c;

	st_alive(st_shim());
	assert_int_equal(shim_get_config(st_shim(), &c), 0);
	c.tap_ifindex = ifindex;
	assert_int_equal(shim_config(st_shim(), &c), 0);
}

static int up(void **state)
{
	struct shim *s = st_shim();

	if (!s)
		return 0;
	st_policy(state);
	st_run("ip link add v0 type veth peer name v1 && ip link set v0 address 02:00:00:00:00:02 "
	       "&& "
	       "for i in v0 v1; do echo 1 >/proc/sys/net/ipv6/conf/$i/accept_dad; "
	       "echo 0 >/proc/sys/net/ipv6/conf/$i/router_solicitations; ip link set $i up; done; "
	       "ip addr add 10.9.0.1/8 dev v0; ip addr add fd09::1/8 dev v0 nodad");
	for (int net = 1; net <= 2; net++)
		st_run("ip neigh add 10.%d.0.1 lladdr 02:00:00:00:00:01 dev v0; "
		       "ip neigh add fd0%d::1 lladdr 02:00:00:00:00:01 dev v0",
		       net, net);
	st_run("ip neigh add 10.99.0.1 lladdr 02:00:00:00:00:01 dev v0");
	tap = tun_open("tap0");
	wire = wire_open("v1");
	tap_is(if_nametoindex("tap0"));
	return tap < 0 || wire < 0 ? -1 : shim_attach(s, "v0", NULL, NULL);
}

static int down(void **state)
{
	if (!st_shim())
		return 0;
	close(tap);
	close(wire);
	shim_detach(st_shim(), "v0", NULL);
	st_run("ip link del v0");
	return 0;
}

/* the next IP packet with this UDP destination port on fd, whose IP header is at `off`; its length, 0 when none comes */
static unsigned await(int fd, unsigned off, uint16_t dport, int ms, uint8_t buf[4096])
{
	struct timespec now, end;

	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_nsec += (ms % 1000) * 1000000L;
	end.tv_sec += ms / 1000 + end.tv_nsec / 1000000000L;
	end.tv_nsec %= 1000000000L;
	for (;;) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		long left;
		ssize_t n;
		unsigned l4;

		clock_gettime(CLOCK_MONOTONIC, &now);
		left = (end.tv_sec - now.tv_sec) * 1000 + (end.tv_nsec - now.tv_nsec) / 1000000;
		if (left < 0 || poll(&p, 1, (int)left) <= 0)
			return 0;
		n = read(fd, buf, 4096);
		if (n < (ssize_t)off + 28)
			continue;
		l4 = off + (buf[off] >> 4 == 4 ? 20 : 40);
		if ((buf[off] >> 4 == 4 ? buf[off + 9] : buf[off + 6]) == IPPROTO_UDP &&
		    buf[l4 + 2] == dport >> 8 && buf[l4 + 3] == (dport & 255))
			return (unsigned)n - off;
	}
}

static int sender(const char *to, uint16_t port, struct sockaddr_storage *ret, socklen_t *ret_len)
{
	struct mvpn_endpoint e;

	assert_int_equal(mvpn_addr_parse(&e.addr, to), 0);
	e.port = port;
	*ret_len = mvpn_endpoint_to_sockaddr(&e, false, ret);
	return socket(ret->ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
}

static int send_udp(const char *to, uint16_t port)
{
	struct sockaddr_storage a;
	socklen_t len;
	int fd = sender(to, port, &a, &len);

	assert_true(fd >= 0);
	sendto(fd, "plaintext", 9, 0, (struct sockaddr *)&a, len);
	return fd;
}

/* a packet for everybody to see, so that what was sent before it must have come by now */
static void wire_flush(void)
{
	uint8_t buf[4096];
	static uint16_t port = 20000;

	close(send_udp("10.99.0.1", ++port));
	assert_true(await(wire, 14, port, WAIT_MS, buf) > 0);
}

static void expect_tap(const char *to, uint16_t port, unsigned ip_len)
{
	uint8_t buf[4096];

	close(send_udp(to, port));
	assert_int_equal(await(tap, 0, port, WAIT_MS, buf), ip_len);
	assert_memory_equal(buf + ip_len - 9, "plaintext", 9);
	assert_int_equal(await(wire, 14, port, QUIET_MS, buf), 0);
}

static void expect_nothing(const char *to, uint16_t port)
{
	uint8_t buf[4096];

	close(send_udp(to, port));
	assert_int_equal(await(tap, 0, port, QUIET_MS, buf), 0);
	assert_int_equal(await(wire, 14, port, QUIET_MS, buf), 0);
}

static void test_to_tap(void **state)
{
	uint8_t buf[4096];

	st_need_root();
	expect_tap("10.1.0.1", 3001, 37);
	expect_tap("fd01::1", 3002, 57);
	expect_tap("10.2.0.1", 3003, 37);
	wire_flush();
	assert_int_equal(await(tap, 0, 20001, QUIET_MS, buf), 0);
	assert_int_equal(st_counter(st_shim(), MVPN_C_LEAK), 0);
}

/* keyd is killed: its tap vanishes with it, then its breath gets old */
static void test_tap_gone(void **state)
{
	st_need_root();
	close(tap);
	tap = tun_open("tap1");
	expect_nothing("10.1.0.1", 3010);
	expect_nothing("fd01::1", 3011);
	wire_flush();
	tap_is(if_nametoindex("tap1"));
	expect_tap("10.1.0.1", 3012, 37);
}

static void test_own_socket(void **state)
{
	struct shim *s = st_shim();
	struct sockaddr_storage a;
	socklen_t len, size = sizeof(uint64_t);
	uint64_t cookie, before;
	uint8_t buf[4096];
	int fd, other;

	st_need_root();
	fd = sender("10.1.0.1", 7469, &a, &len);
	assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &size), 0);
	assert_int_equal(shim_own_socket_add(s, cookie), 0);
	before = st_counter(s, MVPN_C_PASS_OWN);
	assert_int_equal(sendto(fd, "sealed", 6, 0, (struct sockaddr *)&a, len), 6);
	assert_int_equal(await(wire, 14, 7469, WAIT_MS, buf), 34);
	assert_int_equal(st_counter(s, MVPN_C_PASS_OWN), before + 1);
	assert_int_equal(st_counter(s, MVPN_C_LEAK), 0);
	/* another socket to the same port is not ours */
	other = send_udp("10.1.0.1", 7469);
	assert_int_equal(await(tap, 0, 7469, WAIT_MS, buf), 37);
	close(other);
	assert_int_equal(shim_own_sockets_clear(s), 0);
	assert_int_equal(sendto(fd, "sealed", 6, 0, (struct sockaddr *)&a, len), 6);
	assert_int_equal(await(tap, 0, 7469, WAIT_MS, buf), 34);
	close(fd);
}

/*
 * A VLAN device puts its tag into the skb's metadata: so does this program, which goes before ours, on kernels with and
 * without VLAN devices.
 */
static int push_tag(void)
{
	const struct bpf_insn insns[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 2, .imm = htons(ETH_P_8021Q)},
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 3, .imm = 10},
		{.code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_skb_vlan_push},
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = -1},
		{.code = BPF_JMP | BPF_EXIT},
	};
	LIBBPF_OPTS(bpf_link_create_opts, o, .flags = 1U << 3);
	int link, prog = bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "push_tag", "GPL", insns,
				       sizeof(insns) / sizeof(insns[0]), NULL);

	assert_true(prog >= 0);
	link = bpf_link_create(prog, (int)if_nametoindex("v0"), 47, &o);
	close(prog);
	return link;
}

static void test_tag_in_metadata(void **state)
{
	uint8_t buf[4096];
	int link, twice;

	st_need_root();
	link = push_tag();
	if (link < 0) {
		print_message("skipped: kernel: no TCX\n");
		skip();
	}
	expect_tap("10.1.0.1", 3020, 37);
	expect_tap("fd01::1", 3021, 57);
	/* unprotected traffic keeps its tag */
	close(send_udp("10.99.0.1", 3022));
	assert_int_equal(await(wire, 14, 3022, QUIET_MS, buf),
			 37); /* AF_PACKET shows it stripped */
	twice = push_tag();   /* the second goes into the packet's bytes */
	expect_tap("10.1.0.1", 3023, 37);
	close(twice);
	close(link);
	assert_int_equal(st_counter(st_shim(), MVPN_C_LEAK), 0);
}

static void frame_send(const struct packet *p, uint16_t protocol)
{
	struct sockaddr_ll a = {.sll_family = AF_PACKET,
				.sll_protocol = htons(protocol),
				.sll_ifindex = (int)if_nametoindex("v0")};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	ssize_t n = sendto(fd, p->b, p->len, 0, (struct sockaddr *)&a, sizeof(a));

	/* what a tc program drops is ENOBUFS to a packet socket */
	assert_true(n == (ssize_t)p->len || errno == ENOBUFS);
	close(fd);
}

/* frames written byte by byte by a packet socket, which lies about their protocol */
static void test_packet_socket(void **state)
{
	static const uint16_t lies[] = {ETH_P_ALL, ETH_P_IP, ETH_P_ARP, ETH_P_8021Q};
	struct shim *s = st_shim();
	uint64_t malformed;
	struct packet p;
	uint8_t buf[4096];

	st_need_root();
	for (unsigned i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		for (unsigned tags = 0; tags <= 2; tags++) {
			uint16_t port = (uint16_t)(3030 + 10 * i + tags);

			pkt_eth(&p, tags ? 0x8100 : 0x0800);
			for (unsigned t = tags; t > 0; t--)
				pkt_vlan(&p, 0x8100, 10, t > 1 ? 0x8100 : 0x0800);
			pkt_ip4(&p, "10.9.0.1", "10.1.0.1", IPPROTO_UDP);
			pkt_udp(&p, 9, port, 30);
			pkt_done(&p);
			frame_send(&p, lies[i]);
			assert_int_equal(await(wire, p.l3, port, QUIET_MS, buf), 0);
			/* an honest one arrives whole */
			if (lies[i] == (tags ? ETH_P_8021Q : ETH_P_IP))
				assert_int_equal(await(tap, 0, port, WAIT_MS, buf), p.len - p.l3);
		}
	}
	/* cut frames, which BPF_PROG_RUN does not take: IPv4 without its destination */
	malformed = st_counter(s, MVPN_C_DROP_MALFORMED);
	for (unsigned len = 15; len < 34; len++) {
		pkt_simple(&p, "10.9.0.1", "10.1.0.1");
		p.len = len;
		frame_send(&p, ETH_P_IP);
	}
	assert_int_equal(st_counter(s, MVPN_C_DROP_MALFORMED), malformed + 19);
	assert_int_equal(st_counter(s, MVPN_C_LEAK), 0);
}

static int segments(void *arg, const struct mvpn_flow_key *k, const struct mvpn_flow *f)
{
	uint64_t *n = arg;

	if (k->dport == htons(3500))
		*n = f->packets;
	return 0;
}

/* one super-packet counts as the packets that it stands for */
static void test_segments(void **state)
{
	struct sockaddr_storage a;
	struct shim *s = st_shim();
	static char data[5000];
	uint64_t before, n = 0;
	int fd, size = 1000;
	socklen_t len;

	st_need_root();
	fd = sender("10.1.0.1", 3500, &a, &len);
	assert_int_equal(setsockopt(fd, SOL_UDP, UDP_SEGMENT, &size, sizeof(size)), 0);
	before = st_counter(s, MVPN_C_TO_TAP);
	assert_int_equal(sendto(fd, data, sizeof(data), 0, (struct sockaddr *)&a, len),
			 sizeof(data));
	assert_int_equal(shim_flows_each(s, segments, &n), 0);
	assert_int_equal(n, 5);
	assert_int_equal(st_counter(s, MVPN_C_TO_TAP), before + 5);
	close(fd);
}

/* egress is lost (somebody took it off): the last hook still holds, and says so */
static void test_last_hook(void **state)
{
	struct shim *s = st_shim();
	enum shim_pinned what;
	uint64_t before;
	uint8_t buf[4096];
	char *path;
	int fd = -1;

	st_need_root();
	path = shim_pin_if(s, "v0", "egress");
	what = shim_pin_open(path, &fd);
	if (what == SHIM_PIN_LINK)
		assert_int_equal(bpf_link_detach(fd), 0);
	else
		clsact_unset(s, if_nametoindex("v0"), SHIM_EGRESS);
	close(fd);
	free(path);
	before = st_counter(s, MVPN_C_LEAK);
	expect_nothing("10.1.0.1", 3060);
	assert_int_equal(st_counter(s, MVPN_C_LEAK), before + 1);
	close(send_udp("10.99.0.1", 3061));
	assert_int_equal(await(wire, 14, 3061, WAIT_MS, buf), 37);
	/* attaching again makes it whole */
	assert_int_equal(shim_attach(s, "v0", NULL, NULL), 0);
	expect_tap("10.1.0.1", 3062, 37);
	assert_int_equal(st_counter(s, MVPN_C_LEAK), before + 1);
}

/* a device without a link header */
static void test_raw_device(void **state)
{
	struct shim *s = st_shim();
	struct packet p = {};
	uint8_t buf[4096];
	uint64_t clear;
	int raw;

	st_need_root();
	raw = tun_open("raw0");
	assert_true(raw >= 0);
	st_run("ip addr add 172.16.0.1/24 dev raw0; ip route add 10.1.0.0/16 dev raw0; "
	       "ip route add 10.98.0.0/16 dev raw0");
	assert_int_equal(shim_attach(s, "raw0", NULL, NULL), 0);
	close(send_udp("10.1.0.1", 3070));
	assert_int_equal(await(tap, 0, 3070, WAIT_MS, buf), 37);
	assert_int_equal(await(raw, 0, 3070, QUIET_MS, buf), 0);
	close(send_udp("10.98.0.1", 3071));
	assert_int_equal(await(raw, 0, 3071, WAIT_MS, buf), 37);
	assert_int_equal(await(tap, 0, 3071, QUIET_MS, buf), 0);
	/* the guard on it */
	clear = st_counter(s, MVPN_C_INGRESS_CLEAR);
	pkt_ip4(&p, "10.1.0.1", "172.16.0.1", IPPROTO_UDP);
	pkt_udp(&p, 1, 2, 3);
	pkt_done(&p);
	assert_int_equal(write(raw, p.b, p.len), p.len);
	assert_int_equal(st_counter(s, MVPN_C_INGRESS_CLEAR), clear + 1);
	assert_int_equal(shim_detach(s, "raw0", NULL), 0);
	close(raw);
}

int main(void)
{
#define LIVE(test) cmocka_unit_test_setup_teardown(test, up, down)
	const struct CMUnitTest tests[] = {
		LIVE(test_to_tap),	    LIVE(test_tap_gone),      LIVE(test_own_socket),
		LIVE(test_tag_in_metadata), LIVE(test_packet_socket), LIVE(test_segments),
		LIVE(test_last_hook),	    LIVE(test_raw_device),
	};

	return cmocka_run_group_tests(tests, st_setup, st_teardown);
}
