/* SPDX-License-Identifier: BSD-2-Clause */
/* keyd's main thread: PREFIXES from the server into its tables and the BPF map, a change of one prefix, and an idle second. */
#include "scale.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../keyd/conf.h"
#include "../../keyd/endpoint.h"
#include "../../keyd/prefixes.h"
#include "../../keyd/peers.h"
#include "../../keyd/forwards.h"
#include "../../keyd/relay_tcp.h"
#include "../../keyd/sessions.h"
#include "log.h"

#define PER_MESSAGE 1000
#define SESSIONS 100000
#define TURNS 50 /* measured at once */

static struct keyd k;
static char dir[] = "/tmp/mvpn-scale-XXXXXX";

static void id_of(unsigned n, uint8_t ret[MVPN_ID_LEN])
{
	memset(ret, 0x5a, MVPN_ID_LEN);
	memcpy(ret, &n, sizeof(n));
}

static void put(struct chan_buf *b, const struct mvpn_prefix *p, unsigned owner)
{
	uint8_t v[34] = {1, p->len};

	memcpy(v + 2, p->addr.b, 16);
	id_of(owner, v + 18);
	chan_put(b, MVPN_TLV_PREFIX, v, sizeof(v));
}

static void tell(const struct chan_buf *b)
{
	struct chan_msg m = {
		.type = b->data[0], .flags = b->data[1], .tlvs = b->data + 4, .len = b->len - 4};

	scale_must(!b->error && !peers_message(&k, &m), "keyd does not take the prefixes");
}

static void tell_all(unsigned prefixes, unsigned peers)
{
	struct chan_buf b = {0};

	for (unsigned n = 0; n < prefixes; n++) {
		struct mvpn_prefix p = scale_prefix(n);

		if (n % PER_MESSAGE == 0)
			chan_begin(&b, MVPN_MSG_PREFIXES,
				   (n ? 0 : MVPN_PFX_RESET) |
					   (n + PER_MESSAGE >= prefixes ? MVPN_PFX_COMMIT : 0),
				   0);
		put(&b, &p, n % peers);
		if (n % PER_MESSAGE == PER_MESSAGE - 1 || n == prefixes - 1)
			tell(&b);
	}
	chan_buf_free(&b);
}

static void sessions_make(void)
{
	struct intro_selectors sel = {
		.na = 1, .nb = 1, .a = {scale_prefix(0)}, .b = {scale_prefix(1)}};
	struct intro_keys keys = {
		.suite = MVPN_CHACHA20_POLY1305, .tx_lanes = 1, .rx_lanes = 1, .peer_spi = 1};
	struct session *s;
	uint8_t id[MVPN_ID_LEN];

	for (unsigned n = 0; n < SESSIONS; n++) {
		struct session_spec spec = {
			.id = id, .ttl_s = 86400, .keys = &keys, .selectors = &sel};

		id_of(n, id);
		spec.rx_spi = kt_spi_alloc(k.kt);
		spec.endpoint.port = MVPN_DATA_PORT;
		scale_must(!session_install(&k, peer_by_id(&k, id), &spec, &s),
			   "cannot make the sessions (memory, or ulimit -l)");
	}
}

void scale_keyd_make(void)
{
	struct dp_config dc = {.tap_name = "mvpn0"};
	char pins[64], *error = NULL;

	snprintf(pins, sizeof(pins), "/sys/fs/bpf/mvpn-scale-%d-keyd", getpid());
	scale_must(mkdtemp(dir) && !unshare(CLONE_NEWNET), "needs root");
	conf_defaults(&k.conf, NULL);
	k.state_dir = dir;
	k.max_offline_s = MVPN_MAX_OFFLINE_S;
	log_init("scale", LOG_L_ERR);
	scale_must(!loop_new(&k.loop) && !nl_new(&k.nl) && !shim_open(&k.shim, pins, &error) &&
			   !kt_new(&k.kt) && !dp_new(&k.dp, k.kt, &dc) && !sessions_init(&k) &&
			   !peers_init(&k) && !endpoint_init(&k) &&
				   !relay_tcp_init(&k) && !forwards_init(&k),
		   error ? error : "cannot make a keyd");
}

static void changes(struct scale_size size)
{
	struct chan_buf b = {0};
	uint64_t since = scale_cpu_ns();

	for (unsigned n = 0; n < TURNS; n++) {
		struct mvpn_prefix p = scale_prefix(scale_random(size.prefixes));

		chan_begin(&b, MVPN_MSG_PREFIXES, MVPN_PFX_COMMIT, 0);
		put(&b, &p, scale_random(size.peers));
		tell(&b);
	}
	scale_value("prefix_change", size, SCALE_ALL, (double)(scale_cpu_ns() - since) / TURNS,
		    "ns");
	since = scale_cpu_ns();
	for (unsigned n = 0; n < TURNS; n++) {
		k.server_heard_ms = mono_ms();
		sessions_tick(&k);
		kt_reclaim(k.kt);
	}
	scale_value("idle_second", size, SCALE_ALL, (double)(scale_cpu_ns() - since) / TURNS, "ns");
}

/* once: from the smallest set to the largest, then sessions with every peer */
void scale_keyd_run(unsigned rounds)
{
	for (unsigned i = 0; i < SCALE_SIZES; i++) {
		struct scale_size size = {scale_prefixes[i] < SESSIONS ? scale_prefixes[i]
								       : SESSIONS,
					  scale_prefixes[i], 0};
		uint64_t since = scale_cpu_ns();

		tell_all(size.prefixes, size.peers);
		scale_value("prefixes_load", size, SCALE_ALL,
			    (double)(scale_cpu_ns() - since) / 1e9, "s");
		for (unsigned r = 0; r < rounds; r++)
			changes(size);
		if (i == SCALE_SIZES - 1) {
			sessions_make();
			size.sessions = SESSIONS;
			for (unsigned r = 0; r < rounds; r++)
				changes(size);
		}
	}
}

void scale_keyd_free(void)
{
	char cmd[64];

	endpoint_free(&k);
	relay_tcp_free(&k);
	sessions_free(&k);
	peers_free(&k);
	dp_free(k.dp);
	kt_free(k.kt);
	forwards_free(&k);
	shim_purge(k.shim);
	shim_close(k.shim);
	nl_free(k.nl);
	loop_free(k.loop);
	conf_free(&k.conf);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	scale_must(!system(cmd), cmd);
}
