/* SPDX-License-Identifier: BSD-2-Clause */
/* The ingress guard: cleartext from a protected source never reaches the stack. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shimtest.h"

static void expect(const char *src, const char *dst, int verdict, enum mvpn_counter c)
{
	struct shim *s = st_shim();
	struct packet p;

	pkt_simple(&p, src, dst);
	st_expect(s, INGRESS(s), &p, verdict, c);
}

static void test_sources(void **state)
{
	st_need_root();
	expect("10.99.0.1", "10.9.0.1", NEXT, NO_COUNTER);
	expect("10.99.0.1", "10.1.0.1", NEXT, NO_COUNTER); /* a destination is no matter */
	expect("fd99::1", "fd09::1", NEXT, NO_COUNTER);
	/* whatever the state of its session, and whoever owns it */
	expect("10.1.0.1", "10.9.0.1", SHOT, MVPN_C_INGRESS_CLEAR);
	expect("fd01::1", "fd09::1", SHOT, MVPN_C_INGRESS_CLEAR);
	expect("10.2.0.1", "10.9.0.1", SHOT, MVPN_C_INGRESS_CLEAR);
	expect("10.3.0.1", "10.9.0.1", SHOT, MVPN_C_INGRESS_CLEAR);
	expect("10.4.0.1", "10.9.0.1", SHOT, MVPN_C_INGRESS_CLEAR);
	expect("10.5.0.1", "10.9.0.1", SHOT, MVPN_C_INGRESS_CLEAR); /* our own address, spoofed */
	expect("::ffff:10.1.0.1", "fd09::1", SHOT, MVPN_C_INGRESS_CLEAR);
	/* multicast is not protected on its way out either */
	expect("10.1.0.1", "224.0.0.251", NEXT, NO_COUNTER);
	expect("10.1.0.1", "255.255.255.255", NEXT, NO_COUNTER);
	expect("fd01::1", "ff02::fb", NEXT, NO_COUNTER);
}

/* the guard needs no keyd */
static void test_keyd_down(void **state)
{
	struct mvpn_config c = {.udp_port = 7469};
	struct shim *s = st_shim();

	st_need_root();
	assert_int_equal(shim_config(s, &c), 0);
	expect("10.1.0.1", "10.9.0.1", SHOT, MVPN_C_INGRESS_CLEAR);
	expect("10.99.0.1", "10.9.0.1", NEXT, NO_COUNTER);
	st_alive(s);
}

static void sealed(struct packet *p, int family, uint16_t dport)
{
	if (family == 4) {
		pkt_eth(p, 0x0800);
		pkt_ip4(p, "10.1.0.1", "10.9.0.1", IPPROTO_UDP);
	} else {
		pkt_eth(p, 0x86dd);
		pkt_ip6(p, "fd01::1", "fd09::1", IPPROTO_UDP);
	}
	pkt_udp(p, 50000, dport, 100);
	pkt_done(p);
}

static void test_data_port(void **state)
{
	struct mvpn_config none = {};
	struct shim *s = st_shim();
	struct packet p;

	st_need_root();
	for (int family = 4; family <= 6; family += 2) {
		sealed(&p, family, 7469);
		st_expect(s, INGRESS(s), &p, NEXT, NO_COUNTER);
		sealed(&p, family, 7468);
		st_expect(s, INGRESS(s), &p, SHOT, MVPN_C_INGRESS_CLEAR);
		sealed(&p, family, 7469);
		p.b[p.l3 + (family == 4 ? 9 : 6)] = IPPROTO_TCP;
		st_expect(s, INGRESS(s), &p, SHOT, MVPN_C_INGRESS_CLEAR);
	}
	/* our sealed packets are never fragmented: a fragment is somebody else's */
	sealed(&p, 4, 7469);
	p.b[p.l3 + 6] = 0x20;
	st_expect(s, INGRESS(s), &p, SHOT, MVPN_C_INGRESS_CLEAR);
	sealed(&p, 4, 7469);
	p.b[p.l3 + 6] = 0;
	p.b[p.l3 + 7] = 8;
	st_expect(s, INGRESS(s), &p, SHOT, MVPN_C_INGRESS_CLEAR);
	/* port 0 is no port while keyd has not said which is ours */
	assert_int_equal(shim_config(s, &none), 0);
	sealed(&p, 4, 0);
	st_expect(s, INGRESS(s), &p, SHOT, MVPN_C_INGRESS_CLEAR);
	st_alive(s);
}

static void test_never(void **state)
{
	struct shim *s = st_shim();
	struct packet p;

	st_need_root();
	pkt_eth(&p, 0x0806);
	pkt_bytes(&p, NULL, 46);
	st_expect(s, INGRESS(s), &p, NEXT, NO_COUNTER);
	pkt_icmp6(&p, 136, 0, 255, 32);
	memcpy(p.b + p.l3 + 8, p.b + p.l3 + 24, 16); /* from the protected one */
	st_expect(s, INGRESS(s), &p, NEXT, NO_COUNTER);
	p.b[p.l3 + 7] = 254; /* a router forwarded it: not a neighbour's */
	st_expect(s, INGRESS(s), &p, SHOT, MVPN_C_INGRESS_CLEAR);
	pkt_dhcp4(&p, 67, 68, 2, 0x63825363);
	memcpy(p.b + p.l3 + 12, p.b + p.l3 + 16, 4);
	st_expect(s, INGRESS(s), &p, NEXT, NO_COUNTER);
	p.b[p.l3 + 28 + 236] ^= 1;
	st_expect(s, INGRESS(s), &p, SHOT, MVPN_C_INGRESS_CLEAR);
}

static void test_channel(void **state)
{
	struct mvpn_endpoint server;
	struct shim *s = st_shim();
	struct packet p;

	st_need_root();
	assert_int_equal(mvpn_endpoint_parse(&server, "10.1.0.7:7468", 0), 0);
	assert_int_equal(shim_exempt_add(s, &server), 0);
	pkt_tcp4(&p, "10.1.0.7", 7468, "10.9.0.1", 40000, PKT_SYN | PKT_ACK);
	st_expect(s, INGRESS(s), &p, NEXT, MVPN_C_PASS_SERVER);
	pkt_tcp4(&p, "10.1.0.8", 40000, "10.1.0.7", 7468, PKT_SYN); /* we are the server */
	st_expect(s, INGRESS(s), &p, NEXT, MVPN_C_PASS_SERVER);
	/* who pretends to be the server cannot open a connection to a service here */
	pkt_tcp4(&p, "10.1.0.7", 7468, "10.9.0.1", 80, PKT_SYN);
	st_expect(s, INGRESS(s), &p, SHOT, MVPN_C_INGRESS_CLEAR);
	pkt_tcp4(&p, "10.1.0.7", 7467, "10.9.0.1", 40000, PKT_ACK);
	st_expect(s, INGRESS(s), &p, SHOT, MVPN_C_INGRESS_CLEAR);
	assert_int_equal(shim_exempt_clear(s), 0);
}

static void test_vlan_and_cut(void **state)
{
	struct shim *s = st_shim();
	struct packet p;
	unsigned whole;

	st_need_root();
	for (int protected = 0; protected < 2; protected ++) {
		pkt_eth(&p, 0x8100);
		pkt_vlan(&p, 0x8100, 10, 0x0800);
		pkt_ip4(&p, protected ? "10.1.0.1" : "10.99.0.1", "10.9.0.1", IPPROTO_UDP);
		pkt_udp(&p, 1, 2, 10);
		pkt_done(&p);
		whole = p.len;
		st_expect(s, INGRESS(s), &p, protected ? SHOT : NEXT,
			  protected ? MVPN_C_INGRESS_CLEAR : NO_COUNTER);
		/* cut before its addresses nothing is let in, cut later the source decides */
		for (p.len = 15; p.len < whole; p.len++)
			assert_int_equal(st_prog_run(INGRESS(s), &p, NULL),
					 protected || p.len < p.l3 + 20 ? SHOT : NEXT);
	}
}

/* to a listener of keyd's, which takes streams: as they come, but from a peer whose streams are sealed once more */
static void test_streams_by_level(void **state)
{
	struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(7469)};
	struct mvpn_diversion d = {.flags = MVPN_DIVERSION_LAYERED};
	struct shim *s = st_shim();
	const uint32_t peer = 1;
	struct packet p;
	int fd;

	st_need_root();
	fd = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&any, sizeof(any)), 0);
	assert_int_equal(listen(fd, 1), 0);
	pkt_tcp4(&p, "10.1.0.1", 40000, "10.9.0.1", 7469, PKT_SYN);
	st_expect(s, INGRESS(s), &p, SHOT, MVPN_C_INGRESS_CLEAR); /* another program's */
	assert_int_equal(shim_stream_own(s, fd), 0);
	st_expect(s, INGRESS(s), &p, NEXT, MVPN_C_PASS_OWN);
	assert_int_equal(shim_map_set(bpf_map__fd(s->bpf->maps.levels), &peer, &d, BPF_ANY), 0);
	st_expect(s, INGRESS(s), &p, SHOT, MVPN_C_INGRESS_CLEAR);
	pkt_tcp4(&p, "10.2.0.1", 40000, "10.9.0.1", 7469, PKT_SYN); /* another peer */
	st_expect(s, INGRESS(s), &p, NEXT, MVPN_C_PASS_OWN);
	d.flags = 0;
	assert_int_equal(shim_map_set(bpf_map__fd(s->bpf->maps.levels), &peer, &d, BPF_ANY), 0);
	pkt_tcp4(&p, "10.1.0.1", 40000, "10.9.0.1", 7469, PKT_SYN);
	st_expect(s, INGRESS(s), &p, NEXT, MVPN_C_PASS_OWN);
	assert_int_equal(shim_undivert_all(s), 0);
	close(fd);
}

/* a connection to that listener which it has closed first: what is left of it stays for a minute */
static uint16_t connected_before(int listener)
{
	struct sockaddr_in self = {.sin_family = AF_INET, .sin_addr.s_addr = inet_addr("127.0.0.2")},
			   to = {.sin_family = AF_INET,
				 .sin_addr.s_addr = inet_addr("127.0.0.1"),
				 .sin_port = htons(7469)};
	socklen_t len = sizeof(self);
	int fd = socket(AF_INET, SOCK_STREAM, 0), accepted;
	char c;

	assert_int_equal(bind(fd, (struct sockaddr *)&self, sizeof(self)), 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&self, &len), 0);
	accepted = accept(listener, NULL, NULL);
	assert_true(accepted >= 0);
	close(accepted);
	assert_int_equal(read(fd, &c, 1), 0);
	close(fd);
	return ntohs(self.sin_port);
}

/* a port that a peer uses again soon, as thousands of connections make it do */
static void test_stream_of_a_port_once_more(void **state)
{
	struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(7469)};
	struct shim *s = st_shim();
	struct packet p;
	const int on = 1;
	uint16_t port;
	int fd;

	st_need_root();
	st_run("ip link set lo up");
	st_protect(s, "127.0.0.2/32", 1, 0);
	fd = socket(AF_INET, SOCK_STREAM, 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	assert_int_equal(bind(fd, (struct sockaddr *)&any, sizeof(any)), 0);
	assert_int_equal(listen(fd, 1), 0);
	port = connected_before(fd);
	pkt_tcp4(&p, "127.0.0.2", port, "127.0.0.1", 7469, PKT_SYN);
	st_expect(s, INGRESS(s), &p, SHOT, MVPN_C_INGRESS_CLEAR); /* another program's */
	assert_int_equal(shim_stream_own(s, fd), 0);
	st_expect(s, INGRESS(s), &p, NEXT, MVPN_C_PASS_OWN);
	close(fd);
	st_expect(s, INGRESS(s), &p, SHOT, MVPN_C_INGRESS_CLEAR); /* nobody listens any more */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_sources, st_policy),
		cmocka_unit_test_setup(test_keyd_down, st_policy),
		cmocka_unit_test_setup(test_data_port, st_policy),
		cmocka_unit_test_setup(test_never, st_policy),
		cmocka_unit_test_setup(test_channel, st_policy),
		cmocka_unit_test_setup(test_vlan_and_cut, st_policy),
		cmocka_unit_test_setup(test_streams_by_level, st_policy),
		cmocka_unit_test_setup(test_stream_of_a_port_once_more, st_policy),
	};

	return cmocka_run_group_tests(tests, st_setup, st_teardown);
}
