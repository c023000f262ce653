/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The fast path alone, over the UDP wire, with fixed session keys instead of a server and keyd:
 *
 *   dp_pair end LOCAL_INNER REMOTE_INNER REMOTE_OUTER      one end in the caller's network namespace, until killed
 */
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../keyd/dp/dp.h"
#include "aead.h"
#include "crypto.h"

#define PORT 7469
#define SPI_LOW 0x00010001u
#define SPI_HIGH 0x00020002u

static volatile sig_atomic_t stop;

static void on_signal(int signo)
{
	stop = 1;
}

/* the end with the lower inner address is A */
static int end_session(struct keytab *kt, const struct mvpn_addr *local, const struct mvpn_addr *remote,
		       const struct mvpn_addr *outer)
{
	bool a = memcmp(local, remote, sizeof(*local)) < 0;
	struct intro_keys k = { .suite = MVPN_AES256_GCM, .tx_lanes = 4, .rx_lanes = 4, .peer_spi = a ? SPI_HIGH : SPI_LOW };
	struct mvpn_prefix l = mvpn_prefix_host(local), r = mvpn_prefix_host(remote);
	struct kt_endpoint ep = { .to = { *outer, PORT }, .mtu = getenv("PAIR_MTU") ? atoi(getenv("PAIR_MTU")) : 0 };
	static const uint8_t id[MVPN_ID_LEN] = "dp_pair";
	struct kt_session *s;
	struct lpm *lpm;
	int rc;

	memset(k.tx, a ? 1 : 2, 32);
	memset(k.rx, a ? 2 : 1, 32);
	rc = lpm_new(&lpm) ?: lpm_set(lpm, &r, 1) ?: kt_set_prefixes(kt, lpm);
	if (!rc)
		rc = kt_session_new(kt, &s, id, 1, a ? SPI_LOW : SPI_HIGH, &k, &l, 1, &r, 1) ?:
			     kt_peer_set_endpoint(kt, 1, &ep);
	if (rc)
		return rc;
	kt_session_arm_rx(kt, s);
	kt_session_arm_tx(kt, s);
	return 0;
}

static int end(char **argv)
{
	struct dp_config c = { .tap_name = "mvpn0", .udp_port = PORT, .spin_us = getenv("PAIR_SPIN") ? atoi(getenv("PAIR_SPIN")) : 0 };
	struct mvpn_addr local, remote, outer;
	uint64_t counters[DP_C_MAX];
	struct dp_event e;
	struct keytab *kt;
	struct dp *dp;
	int r;

	if (mvpn_addr_parse(&local, argv[0]) || mvpn_addr_parse(&remote, argv[1]) || mvpn_addr_parse(&outer, argv[2]))
		return 2;
	signal(SIGTERM, on_signal);
	signal(SIGINT, on_signal);
	r = mvpn_crypto_init() ?: aead_init() ?: kt_new(&kt);
	if (!r)
		r = end_session(kt, &local, &remote, &outer) ?: dp_new(&dp, kt, &c);
	if (r) {
		fprintf(stderr, "end: %s\n", strerror(-r));
		return 1;
	}
	while (!stop) {
		struct pollfd p = { .fd = dp_event_fd(dp), .events = POLLIN };

		poll(&p, 1, 200);
		while (dp_next_event(dp, &e))
			fprintf(stderr, "event %d peer %u error %d\n", e.type, e.peer, e.error);
		kt_reclaim(kt);
	}
	dp_counters(dp, counters);
	for (unsigned i = 0; i < DP_C_MAX; i++)
		if (counters[i])
			fprintf(stderr, "%s %" PRIu64 "\n", dp_counter_names[i], counters[i]);
	dp_free(dp);
	kt_free(kt);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 5 && !strcmp(argv[1], "end"))
		return end(argv + 2);
	return 2;
}
