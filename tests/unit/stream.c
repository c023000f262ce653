/* SPDX-License-Identifier: BSD-2-Clause */
/* lib/stream.c: what one end says the other hears, and nothing else is believed. */
#include "test.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "stream.h"

static const uint8_t id[16] = {1}, k_opener[32] = {2}, k_acceptor[32] = {3}, other[32] = {4};
static const uint8_t nonce[STREAM_NONCE_B] = {5};

static struct stream_session session(unsigned suite)
{
	return (struct stream_session){id, k_opener, k_acceptor, (uint8_t)suite};
}

static struct stream_tuple tuple(void)
{
	struct stream_tuple t;

	assert_int_equal(mvpn_endpoint_parse(&t.src, "10.0.0.1:40000", 0), 0);
	assert_int_equal(mvpn_endpoint_parse(&t.dst, "10.0.0.2:443", 0), 0);
	return t;
}

/* both ends, as after OPEN and its answer; tx of one is rx of the other */
struct ends {
	struct stream_dir otx, orx, atx, arx;
};
static struct ends *ends_new(unsigned suite)
{
	struct ends *e = aligned_alloc(64, sizeof(*e));
	struct stream_session s = session(suite);
	uint8_t open[STREAM_OPEN_B];
	struct stream_tuple t = tuple();

	assert_int_equal(stream_open_seal(open, &s, 9, 0, STREAM_CONNECTION, &t), 0);
	assert_int_equal(stream_dirs(&e->otx, &e->orx, true, &s, open, nonce), 0);
	assert_int_equal(stream_dirs(&e->atx, &e->arx, false, &s, open, nonce), 0);
	return e;
}

static void open_names_the_connection(void **state)
{
	struct stream_session s = session(MVPN_CHACHA20_POLY1305), wrong = s;
	struct stream_tuple t = tuple(), got;
	uint8_t open[STREAM_OPEN_B];
	uint64_t number;
	uint32_t spi;
	enum stream_kind kind;

	assert_int_equal(stream_open_seal(open, &s, 0x12345678, 1ULL << 40, STREAM_CONNECTION, &t),
			 0);
	assert_true(stream_open_head(open, &spi, &number));
	assert_int_equal(spi, 0x12345678);
	assert_int_equal(number, 1ULL << 40);
	assert_int_equal(stream_open_open(open, &s, &kind, &got), 0);
	assert_int_equal(kind, STREAM_CONNECTION);
	assert_memory_equal(&got.src.addr, &t.src.addr, 16);
	assert_memory_equal(&got.dst.addr, &t.dst.addr, 16);
	assert_int_equal(got.src.port, 40000);
	assert_int_equal(got.dst.port, 443);
	for (unsigned bit = 0; bit < 8 * sizeof(open); bit++) {
		open[bit / 8] ^= 1 << bit % 8;
		assert_int_equal(stream_open_open(open, &s, &kind, &got), -EBADMSG);
		open[bit / 8] ^= 1 << bit % 8;
	}
	/* of another session, and of the acceptor's own: it cannot be sent back */
	wrong.id = other;
	assert_int_equal(stream_open_open(open, &wrong, &kind, &got), -EBADMSG);
	wrong = (struct stream_session){id, k_acceptor, k_opener, s.suite};
	assert_int_equal(stream_open_open(open, &wrong, &kind, &got), -EBADMSG);
}

static void probes_and_senseless_opens(void **state)
{
	struct stream_session s = session(MVPN_CHACHA20_POLY1305);
	struct stream_tuple t = tuple(), got;
	uint8_t open[STREAM_OPEN_B];
	enum stream_kind kind;

	assert_int_equal(stream_open_seal(open, &s, 9, 0, STREAM_PROBE, NULL), 0);
	assert_int_equal(stream_open_open(open, &s, &kind, &got), 0);
	assert_int_equal(kind, STREAM_PROBE);
	t.dst.port = 0;
	assert_int_equal(stream_open_seal(open, &s, 9, 1, STREAM_CONNECTION, &t), 0);
	assert_int_equal(stream_open_open(open, &s, &kind, &got), -EPROTO);
	t = tuple();
	assert_int_equal(mvpn_addr_parse(&t.src.addr, "fd00::1"), 0); /* one family */
	assert_int_equal(stream_open_seal(open, &s, 9, 2, STREAM_CONNECTION, &t), 0);
	assert_int_equal(stream_open_open(open, &s, &kind, &got), -EPROTO);
}

static void both_ways(unsigned suite)
{
	struct ends *e = ends_new(suite);
	uint8_t *record = malloc(STREAM_RECORD_MAX_B), *data = malloc(MVPN_STREAM_DATA_MAX_B),
		*got = malloc(MVPN_STREAM_DATA_MAX_B);
	const size_t sizes[] = {1, 2, 15, 16, 17, 1000, MVPN_STREAM_DATA_MAX_B};
	enum stream_record type;
	size_t len;

	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		randombytes_buf(data, sizes[i]);
		len = stream_seal(&e->otx, STREAM_DATA, data, sizes[i], record);
		assert_int_equal(len, sizes[i] + STREAM_OVERHEAD_B);
		assert_int_equal(stream_record_len(record), len);
		assert_int_equal(stream_unseal(&e->arx, record, len, &type, got), sizes[i]);
		assert_int_equal(type, STREAM_DATA);
		assert_memory_equal(got, data, sizes[i]);
		/* neither again, nor by the one who sent it */
		assert_int_equal(stream_unseal(&e->arx, record, len, &type, got), -EBADMSG);
		assert_int_equal(stream_unseal(&e->orx, record, len, &type, got), -EBADMSG);
		len = stream_seal(&e->atx, STREAM_DATA, data, sizes[i], record);
		assert_int_equal(stream_unseal(&e->orx, record, len, &type, got), sizes[i]);
		assert_memory_equal(got, data, sizes[i]);
	}
	free(record);
	free(data);
	free(got);
	free(e);
}

static void bytes_go_both_ways(void **state)
{
	for (unsigned suite = 1; suite <= 2; suite++)
		if (aead_suites() & 1 << (suite - 1))
			both_ways(suite);
}

static void every_changed_bit_of_a_record_is_seen(void **state)
{
	struct ends *e = ends_new(MVPN_CHACHA20_POLY1305);
	uint8_t record[10 + STREAM_OVERHEAD_B], got[10];
	enum stream_record type;
	size_t len = stream_seal(&e->otx, STREAM_DATA, "0123456789", 10, record);
	int r;

	assert_int_equal(len, sizeof(record));
	for (unsigned bit = 0; bit < 8 * sizeof(record); bit++) {
		record[bit / 8] ^= 1 << bit % 8;
		r = stream_unseal(&e->arx, record, len, &type, got);
		assert_true(r == -EBADMSG || r == -EPROTO);
		record[bit / 8] ^= 1 << bit % 8;
	}
	assert_int_equal(stream_unseal(&e->arx, record, len, &type, got), 10);
	free(e);
}

static void the_end_is_the_end(void **state)
{
	struct ends *e = ends_new(MVPN_CHACHA20_POLY1305);
	uint8_t record[64], got[64];
	enum stream_record type;
	size_t len = stream_seal(&e->otx, STREAM_FINAL, NULL, 0, record);

	assert_int_equal(len, STREAM_OVERHEAD_B);
	assert_int_equal(stream_unseal(&e->arx, record, len, &type, got), 0);
	assert_int_equal(type, STREAM_FINAL);
	assert_true(e->arx.over);
	/* nothing but a reset comes after it */
	len = stream_seal(&e->otx, STREAM_DATA, "x", 1, record);
	assert_int_equal(stream_unseal(&e->arx, record, len, &type, got), -EPROTO);
	e->otx.next--;
	len = stream_seal(&e->otx, STREAM_ABORT, "\0\1", 2, record);
	assert_int_equal(stream_unseal(&e->arx, record, len, &type, got), 2);
	assert_int_equal(type, STREAM_ABORT);
	free(e);
}

static void lengths_are_bounded(void **state)
{
	const struct {
		uint8_t head[4];
		int len;
	} cases[] = {
		{{STREAM_DATA, 0, 0, 17}, 21},	  {{STREAM_DATA, 0, 0, 16}, -EPROTO},
		{{STREAM_DATA, 0, 0, 0}, -EPROTO}, {{STREAM_DATA, 1, 0, 16}, STREAM_RECORD_MAX_B},
		{{STREAM_DATA, 1, 0, 17}, -EPROTO}, {{STREAM_DATA, 0xff, 0xff, 0xff}, -EPROTO},
		{{STREAM_FINAL, 0, 0, 16}, 20},	  {{STREAM_FINAL, 0, 0, 17}, -EPROTO},
		{{STREAM_REPLY, 0, 0, 18}, 22},	  {{STREAM_ABORT, 0, 0, 18}, 22},
		{{STREAM_ABORT, 0, 0, 19}, -EPROTO}, {{0, 0, 0, 17}, -EPROTO},
		{{5, 0, 0, 17}, -EPROTO},
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(stream_record_len(cases[i].head), cases[i].len);
}

/* another nonce, another OPEN: other keys */
static void no_key_comes_twice(void **state)
{
	struct stream_session s = session(MVPN_CHACHA20_POLY1305);
	struct ends *e = ends_new(s.suite);
	uint8_t open[STREAM_OPEN_B], nonce2[STREAM_NONCE_B] = {6};
	struct stream_tuple t = tuple();
	struct stream_dir *d = aligned_alloc(64, 2 * sizeof(*d));

	assert_memory_not_equal(e->otx.chain, e->orx.chain, 32);
	assert_memory_equal(e->otx.chain, e->arx.chain, 32);
	assert_int_equal(stream_open_seal(open, &s, 9, 0, STREAM_CONNECTION, &t), 0);
	assert_int_equal(stream_dirs(&d[0], &d[1], true, &s, open, nonce2), 0);
	assert_memory_not_equal(d[0].chain, e->otx.chain, 32);
	assert_int_equal(stream_open_seal(open, &s, 9, 1, STREAM_CONNECTION, &t), 0);
	assert_int_equal(stream_dirs(&d[0], &d[1], true, &s, open, nonce), 0);
	assert_memory_not_equal(d[0].chain, e->otx.chain, 32);
	assert_memory_not_equal(d[1].chain, e->orx.chain, 32);
	free(d);
	free(e);
}

static void keys_are_followed_by_others(void **state)
{
	struct ends *e = ends_new(MVPN_CHACHA20_POLY1305);
	uint8_t record[64], got[64], before[32];
	enum stream_record type;

	memcpy(before, e->otx.chain, 32);
	e->otx.next = e->arx.next = MVPN_STREAM_REKEY_RECORDS - 1;
	for (unsigned i = 0; i < 3; i++) {
		size_t len = stream_seal(&e->otx, STREAM_DATA, "abc", 3, record);

		assert_int_equal(stream_unseal(&e->arx, record, len, &type, got), 3);
		assert_memory_equal(got, "abc", 3);
	}
	assert_memory_not_equal(e->otx.chain, before, 32);
	assert_memory_equal(e->otx.chain, e->arx.chain, 32);
	free(e);
}

/* all datagrams between two hosts: it names no connection */
static void open_for_datagrams(void **state)
{
	struct stream_session s = session(MVPN_CHACHA20_POLY1305);
	uint8_t open[STREAM_OPEN_B];
	struct stream_tuple got;
	enum stream_kind kind;

	assert_int_equal(stream_open_seal(open, &s, 9, 3, STREAM_DATAGRAMS, NULL), 0);
	assert_int_equal(stream_open_open(open, &s, &kind, &got), 0);
	assert_int_equal(kind, STREAM_DATAGRAMS);
	assert_int_equal(got.src.port, 0);
}

static void datagram_heads(void **state)
{
	static const char *const ends[][2] = {{"192.0.2.1:5000", "192.0.2.2:53"},
					      {"[2001:db8::1]:5000", "[2001:db8::2]:53"}};
	uint8_t head[STREAM_DATAGRAM_HEAD_MAX_B];
	struct stream_tuple t, got;

	for (unsigned i = 0; i < 2; i++) {
		size_t len;

		assert_int_equal(mvpn_endpoint_parse(&t.src, ends[i][0], 0), 0);
		assert_int_equal(mvpn_endpoint_parse(&t.dst, ends[i][1], 0), 0);
		len = stream_datagram_put(head, &t);
		assert_int_equal(len, i ? 38 : 14);
		assert_int_equal(stream_datagram_get(head, len, &got), len);
		assert_memory_equal(&got, &t, sizeof(t));
		assert_int_equal(stream_datagram_get(head, len - 1, &got), -EPROTO);
		assert_int_equal(stream_datagram_get(head, 0, &got), -EPROTO);
		head[1] = 1;
		assert_int_equal(stream_datagram_get(head, len, &got), -EPROTO);
		head[1] = 0;
		head[0] = 5;
		assert_int_equal(stream_datagram_get(head, len, &got), -EPROTO);
		head[0] = i ? 6 : 4;
		head[2] = head[3] = 0; /* no port */
		assert_int_equal(stream_datagram_get(head, len, &got), -EPROTO);
	}
	/* IPv4 is not said as IPv6 */
	memset(head, 0, sizeof(head));
	head[0] = 6;
	head[3] = head[5] = 1;
	memset(head + 16, 0xff, 2);
	memset(head + 32, 0xff, 2);
	assert_int_equal(stream_datagram_get(head, sizeof(head), &got), -EPROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(open_names_the_connection),
		cmocka_unit_test(probes_and_senseless_opens),
		cmocka_unit_test(open_for_datagrams),
		cmocka_unit_test(datagram_heads),
		cmocka_unit_test(bytes_go_both_ways),
		cmocka_unit_test(every_changed_bit_of_a_record_is_seen),
		cmocka_unit_test(the_end_is_the_end),
		cmocka_unit_test(lengths_are_bounded),
		cmocka_unit_test(no_key_comes_twice),
		cmocka_unit_test(keys_are_followed_by_others),
	};

	return aead_init() ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
