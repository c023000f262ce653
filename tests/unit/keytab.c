/* SPDX-License-Identifier: BSD-2-Clause */
#include "test.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>

#include "../../keyd/keytab.h"
#include "crypto.h"
#include "spi.h"

static const uint8_t id[MVPN_ID_LEN] = "session";
static struct keytab *kt;

static int setup(void **state)
{
	return mvpn_crypto_init() ?: aead_init() ?: kt_new(&kt);
}

static int teardown(void **state)
{
	kt_free(kt);
	return 0;
}

static struct mvpn_prefix prefix(const char *s)
{
	struct mvpn_prefix p;

	assert_int_equal(mvpn_prefix_parse(&p, s), 0);
	return p;
}

static struct kt_session *session(uint32_t peer, unsigned lanes)
{
	struct intro_keys k = {.suite = MVPN_CHACHA20_POLY1305,
			       .tx_lanes = (uint8_t)lanes,
			       .rx_lanes = (uint8_t)lanes,
			       .peer_spi = 0x55550005,
			       .tx = {1},
			       .rx = {2}};
	struct mvpn_prefix l = prefix("10.0.0.1"), r = prefix("10.0.0.2");
	struct kt_session *s;

	assert_int_equal(kt_session_new(kt, &s, id, peer, kt_spi_alloc(kt), &k, &l, 1, &r, 1), 0);
	return s;
}

static void destinations(void **state)
{
	struct mvpn_prefix net = prefix("10.0.0.0/8"), host = prefix("10.1.0.0/16"),
			   none = prefix("10.2.0.0/16");
	struct mvpn_addr a;
	struct lpm *lpm;

	assert_int_equal(mvpn_addr_parse(&a, "10.1.2.3"), 0);
	assert_null(kt_lookup_dst(kt, &a));
	assert_int_equal(lpm_new(&lpm), 0);
	lpm_set(lpm, &net, 7);
	lpm_set(lpm, &host, 100000);
	lpm_set(lpm, &none, 0);
	kt_set_prefixes(kt, lpm);
	assert_null(kt_lookup_dst(kt, &a)); /* a peer that nobody has told of */
	assert_non_null(kt_peer_get(kt, 100000));
	assert_int_equal(kt_lookup_dst(kt, &a)->index, 100000);
	assert_non_null(kt_peer_get(kt, 7));
	mvpn_addr_parse(&a, "10.3.0.1");
	assert_int_equal(kt_lookup_dst(kt, &a)->index, 7);
	mvpn_addr_parse(&a, "10.2.0.1");
	assert_null(kt_lookup_dst(kt, &a)); /* protected, nobody's */
	assert_null(kt_peer_get(kt, MVPN_PEERS_MAX));
	assert_null(kt_peer_get(kt, 0));
	kt_peer_drop(kt, 7);
	assert_null(kt_lookup_peer(kt, 7));
}

static void spis(void **state)
{
	uint32_t spi = kt_spi_alloc(kt);

	kt_spi_free(kt, spi);
	/* the whole table, except the slot in quarantine; then none is left */
	for (unsigned n = 0; n < MVPN_SPI_SLOTS - 1; n++)
		assert_int_not_equal(spi_slot(kt_spi_alloc(kt)), spi_slot(spi));
	assert_int_equal(kt_spi_alloc(kt), 0);
}

static void arming(void **state)
{
	struct kt_session *s = session(3, 2), *t = session(3, 1);
	struct kt_peer *p = kt_lookup_peer(kt, 3);

	assert_non_null(p);
	assert_null(kt_lookup_spi(kt, s->rx_spi)); /* not before it is armed */
	kt_session_arm_rx(kt, s);
	assert_ptr_equal(kt_lookup_spi(kt, s->rx_spi), s);
	assert_null(kt_lookup_spi(
		kt,
		s->rx_spi ^
			1U << MVPN_SPI_SLOT_BITS)); /* the whole SPI counts, not the slot alone */
	kt_session_arm_tx(kt, s);
	assert_ptr_equal(atomic_load(&p->tx), s);
	kt_session_arm_tx(kt, t);
	assert_ptr_equal(atomic_load(&p->tx), t);
	kt_session_disarm_tx(kt, s); /* not the one that transmits */
	assert_ptr_equal(atomic_load(&p->tx), t);
	kt_session_remove(kt, t);
	assert_null(atomic_load(&p->tx));
	kt_peer_drop(kt, 3);
	assert_int_equal(kt_reclaim(kt), 0);
}

/* both ends derive the same keys, a lane's of its own, and the next generation's are ready */
static void lanes(void **state)
{
	struct kt_session *s = session(1, 2), *other;
	struct intro_keys k = {.suite = MVPN_CHACHA20_POLY1305,
			       .tx_lanes = 2,
			       .rx_lanes = 2,
			       .tx = {2},
			       .rx = {1}};
	uint8_t aad[16] = {0}, ct[32], pt[16];

	assert_int_equal(kt_session_new(kt, &other, id, 2, kt_spi_alloc(kt), &k, NULL, 0, NULL, 0),
			 0);
	aead_seal(&s->tx[1].aead, 9, aad, (const uint8_t *)"0123456789abcdef", 16, ct);
	assert_true(aead_open(&other->rx[1].cur, 9, aad, ct, 32, pt));
	assert_false(aead_open(&other->rx[0].cur, 9, aad, ct, 32, pt));
	assert_false(aead_open(&other->rx[1].next, 9, aad, ct, 32, pt));
	intro_lane_next(s->tx[1].l);
	intro_lane_aead(&s->tx[1].aead, s->suite, s->tx[1].l);
	aead_seal(&s->tx[1].aead, 10, aad, (const uint8_t *)"0123456789abcdef", 16, ct);
	assert_true(aead_open(&other->rx[1].next, 10, aad, ct, 32, pt));
}

static void bad_parameters(void **state)
{
	struct intro_keys k = {.suite = MVPN_CHACHA20_POLY1305, .tx_lanes = 17, .rx_lanes = 1};
	struct kt_session *s;

	assert_int_equal(kt_session_new(kt, &s, id, 1, 1 << 16, &k, NULL, 0, NULL, 0), -EINVAL);
	k.tx_lanes = 0;
	assert_int_equal(kt_session_new(kt, &s, id, 1, 1 << 16, &k, NULL, 0, NULL, 0), -EINVAL);
	k.tx_lanes = 1;
	k.suite = 9;
	assert_int_equal(kt_session_new(kt, &s, id, 1, 1 << 16, &k, NULL, 0, NULL, 0), -ENOTSUP);
}

static void nothing_is_freed_under_a_worker(void **state)
{
	struct kt_session *s = session(1, 1);
	struct kt_endpoint e = {.mtu = 1400};

	kt_session_arm_rx(kt, s);
	kt_worker_online(kt, 0);
	kt_worker_online(kt, 1);
	kt_session_remove(kt, s);
	kt_peer_set_endpoint(kt, 1, &e);
	kt_peer_set_endpoint(kt, 1, NULL);
	assert_int_equal(kt_reclaim(kt), 2);
	kt_worker_quiescent(kt, 0);
	assert_int_equal(kt_reclaim(kt), 2);
	assert_int_equal(s->peer, 1); /* still there */
	kt_worker_offline(kt, 1);
	assert_int_equal(kt_reclaim(kt), 0);
	kt_worker_offline(kt, 0);
}

/* a session's keys are wiped when it is freed, and not before */
static void keys_end_with_the_session(void **state)
{
#ifdef __SANITIZE_ADDRESS__
	print_message("skipped: the address sanitizer lets nobody look\n");
	skip();
#else
	struct kt_session *s = session(1, 2), *stays = session(1, 2);
	const uint8_t *tx = (const uint8_t *)s->tx, *rx = (const uint8_t *)s->rx;
	unsigned left = 0;

	assert_non_null(stays);
	kt_worker_online(kt, 0);
	kt_session_remove(kt, s);
	assert_int_equal(kt_reclaim(kt), 1);
	assert_int_equal(s->rx[1].cur.suite, MVPN_CHACHA20_POLY1305);
	kt_worker_quiescent(kt, 0);
	assert_int_equal(kt_reclaim(kt), 0);
	for (size_t i = 0; i < 2 * sizeof(struct kt_tx_lane); i++)
		left |= tx[i];
	for (size_t i = 0; i < 2 * sizeof(struct kt_rx_lane); i++)
		left |= rx[i];
	assert_int_equal(left, 0);
	kt_worker_offline(kt, 0);
#endif
}

/* a worker that looks things up while all of it changes: the address sanitizer sees any slip */
static _Atomic bool stop;

static void *reader(void *arg)
{
	struct mvpn_addr a;
	uint64_t seen = 0;

	mvpn_addr_parse(&a, "10.1.2.3");
	kt_worker_online(kt, 2);
	for (unsigned n = 0; !atomic_load(&stop); n++) {
		struct kt_peer *p = kt_lookup_dst(kt, &a);
		struct kt_session *s = p ? atomic_load(&p->tx) : NULL;
		struct kt_endpoint *e = p ? atomic_load(&p->endpoint) : NULL;

		seen += (s ? s->peer + s->tx[0].gen : 0) + (e ? e->mtu : 0);
		kt_worker_quiescent(kt, 2);
		if (n % 64 == 0) {
			kt_worker_offline(kt, 2);
			sched_yield();
			kt_worker_online(kt, 2);
		}
	}
	kt_worker_offline(kt, 2);
	*(uint64_t *)arg = seen;
	return NULL;
}

static void changes_under_a_reader(void **state)
{
	struct mvpn_prefix net = prefix("10.0.0.0/8");
	struct kt_session *old = NULL;
	uint64_t seen = 0;
	pthread_t t;

	atomic_store(&stop, false);
	assert_int_equal(pthread_create(&t, NULL, reader, &seen), 0);
	for (unsigned n = 0; n < 300; n++) {
		struct kt_endpoint e = {.mtu = 1400 + n};
		struct lpm *lpm;

		assert_int_equal(lpm_new(&lpm), 0);
		lpm_set(lpm, &net, 1);
		kt_set_prefixes(kt, lpm);
		assert_int_equal(kt_peer_set_endpoint(kt, 1, &e), 0);
		if (n % 50 == 49) {
			kt_peer_drop(kt, 1);
			old = NULL;
		} else {
			struct kt_session *s = session(1, 1);

			kt_session_arm_tx(kt, s);
			if (old)
				kt_session_remove(kt, old);
			old = s;
		}
		kt_reclaim(kt);
	}
	atomic_store(&stop, true);
	pthread_join(t, NULL);
	assert_int_equal(kt_reclaim(kt), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(destinations, setup, teardown),
		cmocka_unit_test_setup_teardown(spis, setup, teardown),
		cmocka_unit_test_setup_teardown(arming, setup, teardown),
		cmocka_unit_test_setup_teardown(lanes, setup, teardown),
		cmocka_unit_test_setup_teardown(bad_parameters, setup, teardown),
		cmocka_unit_test_setup_teardown(nothing_is_freed_under_a_worker, setup, teardown),
		cmocka_unit_test_setup_teardown(keys_end_with_the_session, setup, teardown),
		cmocka_unit_test_setup_teardown(changes_under_a_reader, setup, teardown),
	};

	return MVPN_RUN(tests);
}
