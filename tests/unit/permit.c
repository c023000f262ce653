/* SPDX-License-Identifier: BSD-2-Clause */
/* Sessions for certain services: refused by who sends and, if that one does not, by who receives. */
#include "sides.h"

/* A's and B's services, as both ends know them */
static void limit(struct side *me, const struct mvpn_service *own, unsigned nown,
		  const struct mvpn_service *peers, unsigned npeers)
{
	struct mvpn_service *list = calloc(nown + npeers, sizeof(*list));

	for (unsigned i = 0; i < nown; i++)
		list[i] = own[i];
	for (unsigned i = 0; i < npeers; i++)
		list[nown + i] = peers[i];
	kt_session_limit(me->s, list, nown, npeers);
}

static const struct mvpn_service at_b[] = {
	{IPPROTO_ICMP, 0, 65535}, {IPPROTO_TCP, 80, 80}, {IPPROTO_TCP, 443, 450}, {IPPROTO_UDP, 53, 53}};

/* A may use those at B, B nothing at A */
static int limited(void **state)
{
	setup(state);
	limit(&a, NULL, 0, at_b, 4);
	limit(&b, at_b, 4, NULL, 0);
	return 0;
}

/* inner_build() writes from A to B; B's go the other way, which no checksum notices */
static void turn(struct side *from)
{
	uint8_t *ip = from->w->packet, there[16];
	unsigned at = *ip >> 4 == 4 ? IP4_SRC : IP6_SRC, len = *ip >> 4 == 4 ? 4 : 16;

	if (from == &a)
		return;
	memcpy(there, ip + at, len);
	memmove(ip + at, ip + at + len, len);
	memcpy(ip + at + len, there, len);
}

/* what lies at from->w->packet: was it sealed? and delivers it */
static bool passes(struct side *from, struct side *to, const struct virtio_net_hdr *vnet, uint32_t len)
{
	uint64_t refused = counter(from, DP_C_DROP_SERVICE) + counter(from, DP_C_DROP_LEVEL);
	struct virtio_net_hdr h;
	bool passed;

	turn(from);
	seal_super(from->w, vnet, len);
	passed = from->wire.n == 1;
	assert_int_equal(counter(from, DP_C_DROP_SERVICE) + counter(from, DP_C_DROP_LEVEL),
			 refused + !passed);
	deliver(from, to);
	while (stack(to, &h) || stack(from, &h)) /* with ICMP */
		;
	return passed;
}

static bool sent(struct side *from, struct side *to, const struct inner *i)
{
	struct virtio_net_hdr h = inner_vnet(i, VIRTIO_NET_HDR_GSO_NONE, 0);
	bool plain = i->frag & (IP4_MF | IP4_OFFSET);

	if (plain)
		memset(&h, 0, sizeof(h));
	return passes(from, to, &h, inner_build(from->w->packet, i, !plain));
}

static struct inner segment(unsigned sport, unsigned dport, unsigned flags, uint32_t payload)
{
	struct inner i = {INNER_TCP, .payload = payload};

	i.sport = (uint16_t)sport;
	i.dport = (uint16_t)dport;
	i.flags = (uint8_t)flags;
	return i;
}

static struct inner datagram(unsigned sport, unsigned dport)
{
	struct inner i = {INNER_UDP, .payload = 64};

	i.sport = (uint16_t)sport;
	i.dport = (uint16_t)dport;
	return i;
}

static bool tcp(struct side *from, struct side *to, unsigned sport, unsigned dport, unsigned flags)
{
	struct inner i = segment(sport, dport, flags, 8);

	return sent(from, to, &i);
}

static bool udp(struct side *from, struct side *to, unsigned sport, unsigned dport)
{
	struct inner i = datagram(sport, dport);

	return sent(from, to, &i);
}

static void services_and_their_answers(void **state)
{
	assert_true(tcp(&a, &b, 4000, 80, TCP_F_SYN));
	assert_true(tcp(&a, &b, 4000, 450, TCP_F_ACK));
	assert_false(tcp(&a, &b, 4000, 451, TCP_F_SYN));
	assert_false(tcp(&a, &b, 80, 4000, TCP_F_ACK)); /* A has no service */
	assert_true(udp(&a, &b, 4000, 53));
	assert_false(udp(&a, &b, 4000, 80));
	/* back */
	assert_true(tcp(&b, &a, 80, 4000, TCP_F_SYN | TCP_F_ACK));
	assert_true(tcp(&b, &a, 443, 4000, TCP_F_RST));
	assert_true(udp(&b, &a, 53, 4000));
	assert_false(tcp(&b, &a, 80, 4000, TCP_F_SYN)); /* that begins one */
	assert_false(tcp(&b, &a, 4000, 80, TCP_F_SYN));
	assert_false(udp(&b, &a, 4000, 53));
	assert_false(udp(&b, &a, 80, 4000));
	assert_int_equal(counter(&a, DP_C_RX_SERVICE) + counter(&b, DP_C_RX_SERVICE), 0);
	assert_int_equal(stats(&a).tx_refused, 3);
	assert_int_equal(stats(&b).tx_refused, 4);
}

/* a session that is for everything asks nothing; one in which both have the same services takes them both ways */
static void both_ways(void **state)
{
	limit(&a, at_b, 4, at_b, 4);
	limit(&b, at_b, 4, at_b, 4);
	assert_true(tcp(&b, &a, 4000, 80, TCP_F_SYN));
	assert_true(tcp(&a, &b, 80, 4000, TCP_F_SYN | TCP_F_ACK));
	assert_false(tcp(&a, &b, 4000, 4001, TCP_F_ACK));
	a.s->limited = b.s->limited = false;
	assert_true(tcp(&a, &b, 4000, 4001, TCP_F_ACK));
}

/* the stack hears why, as from a router (RFC 1812 §5.2.7.1) */
static void the_sender_s_stack_is_told(void **state)
{
	struct inner i = datagram(4000, 99);
	struct virtio_net_hdr h = inner_vnet(&i, VIRTIO_NET_HDR_GSO_NONE, 0);

	send_super(&a, &i, &h);
	assert_int_equal(a.wire.n, 0);
	assert_true(stack(&a, &h) > 28);
	assert_int_equal(got[9], IPPROTO_ICMP);
	assert_int_equal(got[20], 3);
	assert_int_equal(got[21], 13);
	i = segment(4000, 99, TCP_F_SYN, 0);
	i.v6 = true;
	h = inner_vnet(&i, VIRTIO_NET_HDR_GSO_NONE, 0);
	send_super(&a, &i, &h);
	assert_true(stack(&a, &h) > 48);
	assert_int_equal(got[40] << 8 | got[41], 0x0101);
}

/* a peer that does not ask: what it seals is authentic, and refused all the same */
static void the_receiver_refuses(void **state)
{
	struct virtio_net_hdr h;

	a.s->limited = false;
	tcp(&a, &b, 4000, 22, TCP_F_SYN);
	udp(&a, &b, 4000, 80);
	assert_int_equal(counter(&b, DP_C_RX_SERVICE), 2);
	assert_int_equal(stats(&b).rx_refused, 2);
	assert_int_equal(counter(&b, DP_C_RX_PACKETS), 0);
	assert_int_equal(counter(&b, DP_C_RX_BAD_INNER), 0);
	assert_true(atomic_load(&b.s->confirmed)); /* its keys are right */
	send_small(&a); /* to port 80, between them */
	deliver(&a, &b);
	assert_true(stack(&b, &h));
	/* and for answers */
	b.s->limited = false;
	a.s->limited = true;
	tcp(&b, &a, 81, 4000, TCP_F_ACK);
	tcp(&b, &a, 80, 4000, TCP_F_SYN);
	assert_int_equal(stats(&a).rx_refused, 2);
	tcp(&b, &a, 80, 4000, TCP_F_ACK);
	assert_int_equal(stats(&a).rx_refused, 2);
}

/* whole super-packets are looked at once, their segments one by one */
static void super_packets(void **state)
{
	struct inner i = segment(4000, 443, TCP_F_ACK, 20000);
	struct virtio_net_hdr h = inner_vnet(&i, VIRTIO_NET_HDR_GSO_TCPV4, 1200);

	send_super(&a, &i, &h);
	assert_true(a.wire.n > 10);
	deliver(&a, &b);
	assert_true(stack(&b, &h) > 20000);
	i.dport = 22;
	send_super(&a, &i, &h);
	assert_int_equal(a.wire.n, 0);
	assert_int_equal(counter(&a, DP_C_DROP_SERVICE), 1);
	a.s->limited = false;
	send_super(&a, &i, &h);
	i = segment(4000, 443, TCP_F_ACK, 1000);
	h = inner_vnet(&i, VIRTIO_NET_HDR_GSO_NONE, 0);
	a.s->limited = true;
	send_super(&a, &i, &h);
	deliver(&a, &b); /* a refused one lies between none that are joined */
	assert_int_equal(stack(&b, &h), 1052);
	assert_int_equal(stack(&b, &h), 0);
}

static bool fragment(struct side *from, struct side *to, unsigned proto, unsigned dport, unsigned frag)
{
	struct inner i = datagram(4000, dport);

	i.proto = (uint8_t)proto;
	i.frag = (uint16_t)frag;
	return sent(from, to, &i);
}

static void fragments(void **state)
{
	/* the first has ports; the others go with it by their protocol alone */
	assert_true(fragment(&a, &b, IPPROTO_UDP, 53, IP4_MF));
	assert_false(fragment(&a, &b, IPPROTO_UDP, 54, IP4_MF));
	assert_true(fragment(&a, &b, IPPROTO_UDP, 9999, 100));
	assert_true(fragment(&b, &a, IPPROTO_UDP, 9999, IP4_MF | 1));
	assert_true(fragment(&a, &b, IPPROTO_TCP, 9999, 2));
	/* over the flags of the first */
	assert_false(fragment(&a, &b, IPPROTO_TCP, 9999, 1));
	assert_true(fragment(&a, &b, IPPROTO_ICMP, 0, 100));
	assert_false(fragment(&a, &b, IPPROTO_SCTP, 0, 100));
	a.s->limited = false;
	fragment(&a, &b, IPPROTO_SCTP, 0, 100);
	fragment(&a, &b, IPPROTO_UDP, 54, IP4_MF);
	assert_int_equal(counter(&b, DP_C_RX_SERVICE), 2);
}

/* any protocol, with these bytes behind the IP header */
static bool raw(struct side *from, struct side *to, bool v6, unsigned proto, const void *l4, size_t len)
{
	struct inner i = {.v6 = v6, .proto = 253, .ttl = 64, .payload = (uint32_t)len};
	uint32_t total = inner_build(from->w->packet, &i, false);
	static const struct virtio_net_hdr none;
	uint8_t *ip = from->w->packet;

	memcpy(ip + total - len, l4, len);
	ip[v6 ? IP6_NEXT : IP4_PROTO] = (uint8_t)proto;
	if (!v6)
		ip4_checksum(ip, 20);
	return passes(from, to, &none, total);
}

static void fragments_of_ipv6(void **state)
{
	uint8_t f[24] = {IPPROTO_UDP, 0, 0, 1, [8] = 0x10, 0, 0, 53};

	assert_true(raw(&a, &b, true, IPPROTO_FRAGMENT, f, sizeof(f)));
	f[11] = 54;
	assert_false(raw(&a, &b, true, IPPROTO_FRAGMENT, f, sizeof(f)));
	assert_false(raw(&a, &b, true, IPPROTO_FRAGMENT, f, 4)); /* cut */
	f[3] = 8; /* a later one */
	assert_true(raw(&a, &b, true, IPPROTO_FRAGMENT, f, sizeof(f)));
	f[0] = IPPROTO_TCP; /* over flags */
	assert_false(raw(&a, &b, true, IPPROTO_FRAGMENT, f, sizeof(f)));
	f[0] = IPPROTO_DSTOPTS; /* what stands behind cannot be known */
	assert_false(raw(&a, &b, true, IPPROTO_FRAGMENT, f, sizeof(f)));
	f[3] = 1;
	assert_false(raw(&a, &b, true, IPPROTO_FRAGMENT, f, sizeof(f)));
	assert_false(raw(&a, &b, true, IPPROTO_FRAGMENT, f, 7));
}

static void icmp(void **state)
{
	uint8_t m[8 + 40 + 8] = {8};

	assert_true(raw(&a, &b, false, IPPROTO_ICMP, m, 8));
	assert_false(raw(&b, &a, false, IPPROTO_ICMP, m, 8)); /* B asks */
	*m = 0;
	assert_true(raw(&b, &a, false, IPPROTO_ICMP, m, 8)); /* B answers */
	*m = 128;
	assert_true(raw(&a, &b, true, IPPROTO_ICMPV6, m, 8));
	assert_false(raw(&b, &a, true, IPPROTO_ICMPV6, m, 8));
	*m = 129;
	assert_true(raw(&b, &a, true, IPPROTO_ICMPV6, m, 8));
	/* the other family's is none */
	assert_false(raw(&a, &b, false, IPPROTO_ICMPV6, m, 8));
	assert_false(raw(&a, &b, true, IPPROTO_ICMP, m, 8));
	assert_false(raw(&b, &a, false, IPPROTO_ICMP, m, 0));
}

/* the path's and the ports' errors belong to what they quote, whether ICMP is among the services or not */
static void icmp_errors(void **state)
{
	uint8_t m[8 + 40 + 8] = {3, 4, [8] = 0x45, [17] = IPPROTO_TCP, [28] = 0x10, 0, 0, 80};
	struct mvpn_service only_tcp = {IPPROTO_TCP, 80, 80};

	limit(&a, NULL, 0, &only_tcp, 1);
	limit(&b, &only_tcp, 1, NULL, 0);
	assert_true(raw(&b, &a, false, IPPROTO_ICMP, m, 36));  /* about what A sent to port 80 */
	assert_false(raw(&a, &b, false, IPPROTO_ICMP, m, 36)); /* A has no port 80 */
	assert_false(raw(&b, &a, false, IPPROTO_ICMP, m, 31)); /* no ports in it */
	m[31] = 81;
	assert_false(raw(&b, &a, false, IPPROTO_ICMP, m, 36));
	memcpy(m + 28, "\0\x50\x10\0", 4); /* about an answer from there */
	assert_true(raw(&a, &b, false, IPPROTO_ICMP, m, 36));
	m[0] = 5; /* a redirect is no error */
	assert_false(raw(&a, &b, false, IPPROTO_ICMP, m, 36));
	m[0] = 3;
	m[8] = 0x4f; /* longer than there is */
	assert_false(raw(&a, &b, false, IPPROTO_ICMP, m, 36));
	memset(m, 0, sizeof(m));
	memcpy(m, "\2\0", 2);
	m[8] = 0x60;
	m[8 + 6] = IPPROTO_TCP;
	m[8 + 43] = 80;
	assert_true(raw(&b, &a, true, IPPROTO_ICMPV6, m, 56));
	assert_false(raw(&a, &b, true, IPPROTO_ICMPV6, m, 56));
	m[8 + 6] = IPPROTO_ROUTING;
	assert_false(raw(&b, &a, true, IPPROTO_ICMPV6, m, 56));
	*m = 128;
	assert_false(raw(&a, &b, true, IPPROTO_ICMPV6, m, 56));
}

/* TCP and UDP are sealed at the socket: what programs say does not pass, whoever sends it; what two keyds say does, where that is sealed again */
static void leveled(struct side *s, unsigned level)
{
	s->s->level = (uint8_t)level;
	s->s->keyd_here = s == &a ? 1001 : 1002;
	s->s->keyd_there = s == &a ? 1002 : 1001;
}

static void sealed_at_the_socket(void **state)
{
	uint8_t f[24] = {IPPROTO_TCP, 0, 0, 1};

	leveled(&a, MVPN_LEVEL_SOCKET);
	assert_false(tcp(&a, &b, 4000, 80, TCP_F_SYN));
	assert_false(tcp(&a, &b, 4000, 1002, TCP_F_SYN));
	assert_false(raw(&a, &b, true, IPPROTO_FRAGMENT, f, sizeof(f)));
	f[3] = 8; /* a later one */
	assert_false(raw(&a, &b, true, IPPROTO_FRAGMENT, f, sizeof(f)));
	assert_false(raw(&a, &b, true, IPPROTO_ROUTING, f, sizeof(f))); /* what may stand behind */
	f[0] = IPPROTO_DSTOPTS;
	assert_false(raw(&a, &b, true, IPPROTO_FRAGMENT, f, sizeof(f)));
	f[0] = IPPROTO_UDP;
	assert_false(raw(&a, &b, true, IPPROTO_FRAGMENT, f, sizeof(f)));
	assert_false(udp(&a, &b, 4000, 80));
	*f = 8;
	assert_true(raw(&a, &b, false, IPPROTO_ICMP, f, 8));
	assert_int_equal(counter(&a, DP_C_DROP_SERVICE), 0);
	/* a peer that does not keep to it */
	assert_true(tcp(&b, &a, 4000, 80, TCP_F_SYN));
	assert_int_equal(counter(&a, DP_C_RX_LEVEL), 1);
	assert_int_equal(stats(&a).rx_refused, 1);

	leveled(&a, MVPN_LEVEL_BOTH);
	leveled(&b, MVPN_LEVEL_BOTH);
	assert_false(tcp(&a, &b, 4000, 80, TCP_F_SYN));
	assert_true(tcp(&a, &b, 4000, 1002, TCP_F_SYN));
	assert_true(tcp(&b, &a, 1002, 4000, TCP_F_SYN | TCP_F_ACK));
	assert_false(tcp(&b, &a, 1002, 4000, TCP_F_SYN));
	assert_true(tcp(&b, &a, 4000, 1001, TCP_F_SYN));
	assert_false(tcp(&b, &a, 4000, 1002, TCP_F_SYN));
	/* it needs to be no service, and services are asked for all else */
	limit(&a, NULL, 0, at_b, 4);
	limit(&b, at_b, 4, NULL, 0);
	assert_true(tcp(&a, &b, 4000, 1002, TCP_F_SYN));
	assert_true(tcp(&b, &a, 4000, 1001, TCP_F_SYN));
	assert_false(tcp(&a, &b, 4000, 80, TCP_F_SYN));
	assert_false(udp(&a, &b, 4000, 53));
	assert_int_equal(counter(&a, DP_C_DROP_SERVICE), 0);
	assert_false(raw(&b, &a, false, IPPROTO_ICMP, f, 8));
	assert_int_equal(counter(&b, DP_C_DROP_SERVICE), 1);
	assert_int_equal(counter(&b, DP_C_RX_LEVEL), 0);
}

/* no header that is too short for its ports is let by */
static void cut_headers(void **state)
{
	uint8_t l4[16] = {0x10, 0, 0, 80};

	assert_true(raw(&a, &b, false, IPPROTO_TCP, l4, 4));
	assert_false(raw(&a, &b, false, IPPROTO_TCP, l4, 3));
	assert_false(raw(&a, &b, false, IPPROTO_UDP, l4, 0));
	memcpy(l4, "\0\x50\x10\0", 4);
	assert_false(raw(&b, &a, false, IPPROTO_TCP, l4, 13));
	assert_true(raw(&b, &a, false, IPPROTO_TCP, l4, 14));
	assert_false(raw(&a, &b, true, IPPROTO_ROUTING, l4, 16));
	assert_false(raw(&a, &b, false, 47, l4, 16));
}

#define L(f) cmocka_unit_test_setup_teardown(f, limited, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		L(services_and_their_answers),
		T(both_ways),
		L(the_sender_s_stack_is_told),
		L(the_receiver_refuses),
		L(super_packets),
		L(fragments),
		L(fragments_of_ipv6),
		L(icmp),
		T(icmp_errors),
		L(cut_headers),
		T(sealed_at_the_socket),
	};

	return MVPN_RUN(tests);
}
