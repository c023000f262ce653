/* SPDX-License-Identifier: BSD-2-Clause */
/* The UDP wire over the loopback device. */
#include "test.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../keyd/dp/dp.h"
#include "../../keyd/dp/opener.h"
#include "../../keyd/dp/wire.h"
#include "mvpn/wire.h"

#define WAIT_MS 2000

static struct wire *a, *b;

static int setup(void **state)
{
	const struct wire_udp_config c = {0};

	assert_int_equal(wire_udp_new(&a, &c), 0);
	assert_int_equal(wire_udp_new(&b, &c), 0);
	return 0;
}

static int teardown(void **state)
{
	a->ops->free(a);
	b->ops->free(b);
	return 0;
}

static struct kt_endpoint to(const struct wire *w, const char *addr)
{
	struct kt_endpoint ep = {.to.port = wire_udp_port(w)};

	assert_int_equal(mvpn_addr_parse(&ep.to.addr, addr), 0);
	return ep;
}

struct got {
	unsigned n;
	size_t len[300];
	struct wire_from from;
	uint8_t tos[300];
};

static void on_rx(void *arg, uint8_t *data, size_t len, const struct wire_from *from)
{
	struct got *g = arg;

	for (size_t i = 0; i < len; i++)
		assert_int_equal(data[i], (uint8_t)(g->n + i));
	g->tos[g->n] = from->tos;
	g->len[g->n++] = len;
	g->from = *from;
}

static void put_tos(struct wire *w, const struct kt_endpoint *ep, size_t len, unsigned seq,
		    uint8_t tos)
{
	uint8_t *room = w->ops->reserve(w, ep, len, tos);

	assert_non_null(room);
	for (size_t i = 0; i < len; i++)
		room[i] = (uint8_t)(seq + i);
	w->ops->commit(w, len);
}

static void put(struct wire *w, const struct kt_endpoint *ep, size_t len, unsigned seq)
{
	put_tos(w, ep, len, seq, 0);
}

static void get(struct wire *w, struct got *g, unsigned n)
{
	struct pollfd p = {.fd = w->ops->fd(w), .events = POLLIN};

	while (g->n < n) {
		assert_int_equal(poll(&p, 1, WAIT_MS), 1);
		assert_true(w->ops->receive(w, on_rx, g, 64) >= 0);
	}
	assert_int_equal(g->n, n);
	assert_int_equal(w->ops->receive(w, on_rx, g, 64), 0);
}

/*
 * equal ones, a shorter one, a longer one, another destination, more than one batch: all arrive
 * as they were, in order
 */
static void datagrams_keep_their_boundaries(void **state)
{
	static const char *const addrs[] = {"127.0.0.1", "::1"};

	for (unsigned f = 0; f < 2; f++) {
		struct kt_endpoint ep = to(b, addrs[f]), self = to(a, addrs[f]);
		struct got g = {0}, own = {0};

		for (unsigned i = 0; i < 250; i++) {
			size_t len = i % 10 == 9 ? 700 : i % 50 < 30 ? 1472 : 1400;

			put(a, &ep, len, i);
			if (i == 77)
				put(a, &self, 33, 0);
		}
		a->ops->flush(a);
		get(b, &g, 250);
		get(a, &own, 1);
		for (unsigned i = 0; i < 250; i++)
			assert_int_equal(g.len[i], i % 10 == 9 ? 700 : i % 50 < 30 ? 1472 : 1400);
		assert_int_equal(g.from.ep.port, wire_udp_port(a));
		assert_true(mvpn_addr_eq(&g.from.ep.addr, &self.to.addr));
	}
}

static void put_spi(const struct kt_endpoint *ep, size_t len, uint32_t spi)
{
	struct mvpn_hdr h = {.type = len < MVPN_OVERHEAD ? MVPN_PUNCH : MVPN_TUNNEL, .spi = spi};
	uint8_t *room = a->ops->reserve(a, ep, len, 0);

	assert_non_null(room);
	memcpy(room, &h, sizeof(h));
	memset(room + sizeof(h), 0, len - sizeof(h));
	a->ops->commit(a, len);
}

/* A receiver on AF_XDP could not tell others apart, and would lose a sealed packet that a punch stands behind */
static void only_sealed_ones_of_a_session_are_joined(void **state)
{
	const size_t punch = sizeof(struct mvpn_hdr);
	const struct {
		size_t len[2];
		uint32_t spi[2];
		bool joined;
	} cases[] = {
		{{100, 100}, {1, 1}, true},    {{100, 60}, {1, 1}, true},
		{{100, 100}, {1, 2}, false},   {{100, punch}, {1, 2}, false},
		{{100, punch}, {1, 1}, false}, {{punch, punch}, {2, 2}, false},
	};
	struct kt_endpoint ep = to(b, "127.0.0.1");
	struct pollfd p = {.fd = b->ops->fd(b), .events = POLLIN};
	uint8_t data[1000];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const size_t first = cases[i].len[0], second = cases[i].len[1];

		put_spi(&ep, first, cases[i].spi[0]);
		put_spi(&ep, second, cases[i].spi[1]);
		a->ops->flush(a);
		assert_int_equal(poll(&p, 1, WAIT_MS), 1);
		assert_int_equal(recv(p.fd, data, sizeof(data), 0),
				 cases[i].joined ? first + second : first);
		if (cases[i].joined)
			continue;
		assert_int_equal(poll(&p, 1, WAIT_MS), 1);
		assert_int_equal(recv(p.fd, data, sizeof(data), 0), second);
	}
}

static void open_nat(int fd, const struct mvpn_endpoint *at, bool one_link, uint8_t seq)
{
	const uint8_t data[] = {seq, (uint8_t)(seq + 1)};

	assert_int_equal(opener_send(fd, at, one_link, data, sizeof(data)), 0);
}

/* no second router is on the way: it arrives. So does what is sent after one that nobody took, whose ICMP error is then the socket's. */
static void an_opener_goes_by_ipv4(void **state)
{
	const struct mvpn_endpoint four = to(b, "127.0.0.1").to, six = to(b, "::1").to;
	struct mvpn_endpoint nobody = four;
	int both = a->ops->fd(a), only4 = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct got g = {0};
	uint8_t seq = 0;

	nobody.port = 9;
	for (unsigned link = 0; link < 2; link++) {
		open_nat(only4, &four, link, seq++);
		open_nat(both, &nobody, link, seq);
		open_nat(both, &four, link, seq++);
		get(b, &g, seq);
		assert_int_equal(g.from.ep.port, wire_udp_port(a));
		assert_int_equal(opener_send(both, &six, link, "", 1), -EAFNOSUPPORT);
	}
	close(only4);
}

/* every packet with its own, whatever batches they make; IPv4 goes through the IPv6 socket */
static void tos_arrives_with_its_packet(void **state)
{
	static const char *const addrs[] = {"127.0.0.1", "::1"};

	for (unsigned f = 0; f < 2; f++) {
		struct kt_endpoint ep = to(b, addrs[f]);
		struct got g = {0};

		for (unsigned i = 0; i < 256; i++)
			put_tos(a, &ep, 1000, i, (uint8_t)(i / 7 * 7));
		a->ops->flush(a);
		get(b, &g, 256);
		for (unsigned i = 0; i < 256; i++)
			assert_int_equal(g.tos[i], i / 7 * 7);
	}
}

static void what_is_not_committed_is_not_sent(void **state)
{
	struct kt_endpoint ep = to(b, "127.0.0.1");
	struct got g = {0};

	put(a, &ep, 100, 0);
	assert_non_null(a->ops->reserve(a, &ep, 100, 0));
	put(a, &ep, 100, 1);
	assert_null(a->ops->reserve(a, &ep, WIRE_PAYLOAD_MAX + 1, 0));
	a->ops->flush(a);
	a->ops->flush(a);
	get(b, &g, 2);
}

static void unreachable_is_counted_and_forgotten(void **state)
{
	struct kt_endpoint nowhere = to(b, "255.255.255.255"), ep = to(b, "127.0.0.1");
	uint64_t counters[DP_C_MAX] = {0};
	struct got g = {0};

	put(a, &nowhere, 100, 0); /* broadcast without SO_BROADCAST: EACCES */
	put(a, &ep, 100, 0);
	a->ops->flush(a);
	get(b, &g, 1);
	a->ops->stats(a, counters);
	assert_int_equal(counters[DP_C_DROP_WIRE_FULL], 1);
}

/* workers share the port; nobody else gets it by accident */
static void port_is_shared_only_by_joining(void **state)
{
	struct wire_udp_config c = {.port = wire_udp_port(a)};
	uint64_t first[WIRE_UDP_SOCKETS], second[WIRE_UDP_SOCKETS];
	struct wire *w;

	assert_int_equal(wire_udp_new(&w, &c), -EADDRINUSE);
	c.lane = 1;
	assert_int_equal(wire_udp_new(&w, &c), 0);
	assert_int_equal(wire_udp_port(w), wire_udp_port(a));
	assert_int_equal(wire_udp_cookies(a, first), 1);
	assert_int_equal(wire_udp_cookies(w, second), 2);
	assert_true(first[0] && second[0] && second[1]);
	assert_true(first[0] != second[0] && second[0] != second[1]);
	w->ops->free(w);
}

/* each lane is sent from a port of its own, and comes to the data port, where it is always the same wire's */
static void lanes_have_ports_and_keep_to_a_wire(void **state)
{
	struct wire *wires[3] = {b};
	struct kt_endpoint ep = to(b, "127.0.0.1");

	for (unsigned i = 1; i < 3; i++) {
		struct wire_udp_config c = {.port = wire_udp_port(b), .lane = i};

		assert_int_equal(wire_udp_new(&wires[i], &c), 0);
		assert_int_not_equal(wire_udp_source(wires[i]), wire_udp_port(b));
		assert_int_not_equal(wire_udp_source(wires[i]), wire_udp_source(wires[i - 1]));
	}
	assert_int_equal(wire_udp_source(b), wire_udp_port(b));
	assert_int_equal(wire_udp_steer(b, 3), 0);
	for (unsigned lane = 0; lane < MVPN_LANES_MAX; lane++) {
		struct got g = {0};

		/* the second byte is the lane, whatever is above it */
		put(wires[lane % 2], &ep, 40, (lane | 0x80) - 1);
		wires[lane % 2]->ops->flush(wires[lane % 2]);
		g.n = (lane | 0x80) - 1; /* what on_rx expects */
		get(wires[lane % 3], &g, lane | 0x80);
		assert_int_equal(g.from.ep.port, wire_udp_source(wires[lane % 2]));
	}
	for (unsigned i = 1; i < 3; i++)
		wires[i]->ops->free(wires[i]);
}

/* where NAT is on the way every lane leaves from the data port */
static void lanes_share_the_port_through_nat(void **state)
{
	struct wire_udp_config c = {.port = wire_udp_port(a), .lane = 1};
	struct kt_endpoint ep = to(b, "127.0.0.1");
	struct got g = {0};
	struct wire *w;

	assert_int_equal(wire_udp_new(&w, &c), 0);
	put(w, &ep, 100, 0);
	ep.one_port = true;
	put(w, &ep, 100, 1); /* not in the same batch */
	w->ops->flush(w);
	get(b, &g, 2);
	assert_int_equal(g.from.ep.port, wire_udp_port(a));
	ep.one_port = false;
	put(w, &ep, 100, 2);
	w->ops->flush(w);
	get(b, &g, 3);
	assert_int_equal(g.from.ep.port, wire_udp_source(w));
	w->ops->free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(datagrams_keep_their_boundaries, setup, teardown),
		cmocka_unit_test_setup_teardown(only_sealed_ones_of_a_session_are_joined, setup, teardown),
		cmocka_unit_test_setup_teardown(an_opener_goes_by_ipv4, setup, teardown),
		cmocka_unit_test_setup_teardown(tos_arrives_with_its_packet, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_not_committed_is_not_sent, setup, teardown),
		cmocka_unit_test_setup_teardown(unreachable_is_counted_and_forgotten, setup,
						teardown),
		cmocka_unit_test_setup_teardown(lanes_share_the_port_through_nat, setup, teardown),
		cmocka_unit_test_setup_teardown(port_is_shared_only_by_joining, setup, teardown),
		cmocka_unit_test_setup_teardown(lanes_have_ports_and_keep_to_a_wire, setup,
						teardown),
	};

	return MVPN_RUN(tests);
}
