/* SPDX-License-Identifier: BSD-2-Clause */
/* What an application's socket is told: packets that its kernel takes for the other end's. */
#include "test.h"

#include <string.h>

#include "inner.h"
#include "../../keyd/answer.h"

#define ISN 0xfffffffe /* so that what acknowledges it wraps */

static struct answer_syn syn(bool v6, unsigned options)
{
	struct answer_syn s = {.from.port = 40000, .at.port = 41000, .len = (uint8_t)(20 + options)};

	assert_int_equal(mvpn_addr_parse(&s.from.addr, v6 ? "fd77::1" : "10.77.0.1"), 0);
	assert_int_equal(mvpn_addr_parse(&s.at.addr, v6 ? "fd77::2" : "10.77.0.2"), 0);
	put16(s.tcp, s.from.port);
	put16(s.tcp + 2, s.at.port);
	put32(s.tcp + TCP_SEQ, ISN);
	s.tcp[TCP_DOFF] = (uint8_t)(s.len / 4 << 4);
	s.tcp[TCP_FLAGS] = TCP_F_SYN | TCP_F_ECE | TCP_F_CWR;
	put16(s.tcp + TCP_WINDOW, 64240);
	memcpy(s.tcp + TCP_CHECK, "\xab\xcd", 2); /* what the kernel has left there: a part */
	memset(s.tcp + 20, 1, options);
	return s;
}

/* a whole packet, whose sums are right, between these two */
static struct packet good(uint8_t *data, size_t len, const struct mvpn_addr *from,
			  const struct mvpn_addr *to, uint8_t proto)
{
	struct packet p;

	assert_int_equal(packet_parse(&p, data, len), 0);
	assert_true(mvpn_addr_eq(&p.src, from) && mvpn_addr_eq(&p.dst, to));
	assert_int_equal(p.proto, proto);
	if (p.v4)
		assert_int_equal(inner_sum(data, 20, 0), 0xffff);
	assert_int_equal(inner_sum(data + p.l4, len - p.l4,
				   proto == IPPROTO_ICMP ? 0 : inner_pseudo(data, len - p.l4)),
			 0xffff);
	return p;
}

static void the_syn_as_it_came(void **state)
{
	uint8_t data[ANSWER_MAX_B];

	for (unsigned v6 = 0; v6 < 2; v6++)
		for (unsigned options = 0; options <= 40; options += 20) {
			struct answer_syn s = syn(v6, options);
			struct packet p = good(data, answer_again_packet(data, &s), &s.from.addr,
					       &s.at.addr, IPPROTO_TCP);

			assert_int_equal(p.len, p.l4 + s.len);
			memcpy(s.tcp + TCP_CHECK, data + p.l4 + TCP_CHECK, 2);
			assert_memory_equal(data + p.l4, s.tcp, s.len);
		}
}

static void a_reset_that_counts(void **state)
{
	uint8_t data[ANSWER_MAX_B];

	for (unsigned v6 = 0; v6 < 2; v6++) {
		struct answer_syn s = syn(v6, 20);
		struct packet p = good(data, answer_reset_packet(data, &s), &s.at.addr,
				       &s.from.addr, IPPROTO_TCP);
		const uint8_t *tcp = data + p.l4;

		assert_int_equal(get16(tcp), s.at.port);
		assert_int_equal(get16(tcp + 2), s.from.port);
		assert_int_equal(tcp[TCP_FLAGS], TCP_F_RST | TCP_F_ACK);
		assert_int_equal(get32(tcp + TCP_SEQ), 0);
		assert_int_equal(get32(tcp + TCP_ACK), (uint32_t)(ISN + 1));
		assert_int_equal(p.len, p.l4 + 20);
	}
}

static void errors_about_what_was_sent(void **state)
{
	static const struct {
		enum answer_error what;
		uint8_t code4, code6;
	} all[] = {{ANSWER_HOST, 1, 3}, {ANSWER_PORT, 3, 4}, {ANSWER_PROHIBITED, 13, 1}};
	uint8_t data[ANSWER_MAX_B], about[ANSWER_MAX_B];

	for (unsigned i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		for (unsigned v6 = 0; v6 < 2; v6++) {
			struct answer_syn s = syn(v6, 20);
			size_t len = answer_again_packet(about, &s);
			struct packet p = good(data,
					       answer_unreachable_packet(data, &s, all[i].what),
					       &s.at.addr, &s.from.addr,
					       v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP);

			assert_int_equal(data[p.l4], v6 ? 1 : 3);
			assert_int_equal(data[p.l4 + 1], v6 ? all[i].code6 : all[i].code4);
			assert_int_equal(p.len, p.l4 + 8 + len);
			assert_memory_equal(data + p.l4 + 8, about, len);

			p = good(data, answer_datagram_packet(data, &s.from, &s.at, all[i].what),
				 &s.at.addr, &s.from.addr, v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP);
			len = v6 ? 40 : 20;
			assert_int_equal(p.len, p.l4 + 8 + len + 8);
			assert_int_equal(inner_proto(data + p.l4 + 8), IPPROTO_UDP);
			assert_int_equal(get16(data + p.l4 + 8 + len), s.from.port);
			assert_int_equal(get16(data + p.l4 + 8 + len + 2), s.at.port);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_syn_as_it_came),
		cmocka_unit_test(a_reset_that_counts),
		cmocka_unit_test(errors_about_what_was_sent),
	};

	return MVPN_RUN(tests);
}
