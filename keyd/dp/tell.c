/* SPDX-License-Identifier: BSD-2-Clause */
/* What the main thread tells the workers and hears from them: commands, events, counters. */
#include <time.h>
#include <unistd.h>

#include "loop.h"
#include "opener.h"
#include "worker.h"

/* ---- events ---- */
int dp_event_fd(const struct dp *dp)
{
	return dp->event_fd;
}

static bool find_event(struct dp *dp, struct dp_event *ret)
{
	for (unsigned i = 0; i < dp->nworkers; i++) {
		struct worker *w = dp->worker[dp->next_event++ % dp->nworkers];

		if (RING_GET(&w->events, ret))
			return true;
	}
	return false;
}

bool dp_next_event(struct dp *dp, struct dp_event *ret)
{
	uint64_t n;

	if (find_event(dp, ret))
		return true;
	/*
	 * an event that comes after the read makes the fd readable again; one that came before
	 * it is found now
	 */
	if (read(dp->event_fd, &n, sizeof(n)) != sizeof(n))
		return false;
	return find_event(dp, ret);
}

/* ---- commands ---- */
static int command(struct worker *w, const struct dp_cmd *c)
{
	if (!RING_PUT(&w->cmds, c))
		return -ENOBUFS;
	worker_wake(w);
	return 0;
}

/* everything told to w so far has been done, or the time is over */
static void command_wait(struct worker *w, unsigned ms)
{
	uint64_t deadline = mono_ms() + ms;

	while (w->running &&
	       atomic_load_explicit(&w->cmds.head, memory_order_acquire) !=
		       atomic_load(&w->cmds.tail) &&
	       mono_ms() < deadline)
		nanosleep(&(struct timespec){.tv_nsec = 50000}, NULL);
}

unsigned dp_payload_max(void)
{
	return WIRE_PAYLOAD_MAX;
}

int dp_send_ctrl_to(struct dp *dp, uint32_t rx_spi, enum mvpn_ctrl_type type, uint64_t token,
		    const struct mvpn_endpoint *to)
{
	return command(dp->worker[0], &(struct dp_cmd){.type = DP_CMD_CTRL,
						       .spi = rx_spi,
						       .ctrl = type,
						       .token = token,
						       .to = *to});
}

int dp_send_plain(struct dp *dp, const struct mvpn_endpoint *to, const void *data, size_t len)
{
	struct dp_cmd c = {.type = DP_CMD_PLAIN, .to = *to, .len = (unsigned)len};

	if (len > sizeof(c.data))
		return -EMSGSIZE;
	memcpy(c.data, data, len);
	return command(dp->worker[0], &c);
}

int dp_send_opener(struct dp *dp, const struct mvpn_endpoint *to, bool one_link, const void *data,
		   size_t len)
{
	const struct wire *w = dp->worker[0]->udp;

	return opener_send(w->ops->fd(w), to, one_link, data, len);
}

int dp_send_ctrl(struct dp *dp, uint32_t rx_spi, enum mvpn_ctrl_type type, uint64_t token,
		 unsigned pad)
{
	struct dp_cmd c = {
		.type = DP_CMD_CTRL, .spi = rx_spi, .ctrl = type, .token = token, .pad = pad};
	int r;

	if (pad > WIRE_PAYLOAD_MAX - MVPN_OVERHEAD - sizeof(struct mvpn_ctrl))
		return -EMSGSIZE;
	if (pad && RING_USED(&dp->worker[0]->cmds) > RING_ENTRIES / 2)
		return -ENOBUFS;
	r = command(dp->worker[0], &c);
	if (!r && type == MVPN_CTRL_CLOSE)
		command_wait(dp->worker[0], DP_CLOSE_WAIT_MS);
	return r;
}

static int command_all(struct dp *dp, const struct dp_cmd *c)
{
	int r = 0;

	for (unsigned i = 0; i < dp->nworkers; i++) {
		int one = command(dp->worker[i], c);

		r = r < 0 ? r : one;
	}
	return r;
}

int dp_flush_held(struct dp *dp, uint32_t peer)
{
	return command_all(dp, &(struct dp_cmd){.type = DP_CMD_FLUSH_HELD, .peer = peer});
}

int dp_drop_held(struct dp *dp, uint32_t peer, bool prohibited)
{
	return command_all(
		dp,
		&(struct dp_cmd){.type = DP_CMD_DROP_HELD, .peer = peer, .prohibited = prohibited});
}

/* ---- counters ---- */
const char *const dp_counter_names[DP_C_MAX] = {
	[DP_C_TAP_RX] = "tap_rx",
	[DP_C_TAP_TX] = "tap_tx",
	[DP_C_TX_PACKETS] = "tx_packets",
	[DP_C_TX_BYTES] = "tx_bytes",
	[DP_C_RX_PACKETS] = "rx_packets",
	[DP_C_RX_BYTES] = "rx_bytes",
	[DP_C_HELD] = "held",
	[DP_C_HELD_SENT] = "held_sent",
	[DP_C_HELD_DROP_FULL] = "held_drop_full",
	[DP_C_HELD_DROP_TIMEOUT] = "held_drop_timeout",
	[DP_C_HELD_DROP_DENIED] = "held_drop_denied",
	[DP_C_DROP_NO_PEER] = "drop_no_peer",
	[DP_C_DROP_BAD_SRC] = "drop_bad_src",
	[DP_C_DROP_LEVEL] = "drop_level",
	[DP_C_DROP_SERVICE] = "drop_service",
	[DP_C_DROP_LIMIT] = "drop_limit",
	[DP_C_SHAPED] = "shaped",
	[DP_C_DROP_TOO_BIG] = "drop_too_big",
	[DP_C_DROP_MALFORMED_TAP] = "drop_malformed_tap",
	[DP_C_DROP_WIRE_FULL] = "drop_wire_full",
	[DP_C_DROP_TAP_FULL] = "drop_tap_full",
	[DP_C_RX_SHORT] = "rx_short",
	[DP_C_RX_BAD_TYPE] = "rx_bad_type",
	[DP_C_RX_PUNCH] = "rx_punch",
	[DP_C_RX_ECHO] = "rx_echo",
	[DP_C_RX_QUESTION] = "rx_question",
	[DP_C_PASSED] = "passed",
	[DP_C_PASSED_BYTES] = "passed_bytes",
	[DP_C_PASS_LIMITED] = "pass_limited",
	[DP_C_PASS_REFUSED] = "pass_refused",
	[DP_C_RX_UNKNOWN_SPI] = "rx_unknown_spi",
	[DP_C_RX_AUTH_FAIL] = "rx_auth_fail",
	[DP_C_RX_REPLAY] = "rx_replay",
	[DP_C_RX_RELAYED] = "rx_relayed",
	[DP_C_RX_RELAY_FULL] = "rx_relay_full",
	[DP_C_LANES_MOVED] = "lanes_moved",
	[DP_C_RX_BAD_INNER] = "rx_bad_inner",
	[DP_C_RX_LEVEL] = "rx_level",
	[DP_C_RX_SERVICE] = "rx_service",
	[DP_C_RX_LIMIT] = "rx_limit",
	[DP_C_RX_ECN_CE] = "rx_ecn_ce",
	[DP_C_RX_ECN_DROP] = "rx_ecn_drop",
	[DP_C_RX_ECN_ODD] = "rx_ecn_odd",
	[DP_C_TX_FRAMES] = "tx_frames",
	[DP_C_RX_FRAMES] = "rx_frames",
	[DP_C_ICMP_SENT] = "icmp_sent",
	[DP_C_ICMP_TOO_BIG] = "icmp_too_big",
	[DP_C_ICMP_IGNORED] = "icmp_ignored",
	[DP_C_EVENT_LOST] = "event_lost",
	[DP_C_XSK_RX_DROPPED] = "xsk_rx_dropped",
	[DP_C_XSK_RX_RING_FULL] = "xsk_rx_ring_full",
	[DP_C_XSK_FILL_EMPTY] = "xsk_fill_empty",
	[DP_C_XSK_RX_INVALID] = "xsk_rx_invalid",
	[DP_C_XSK_TX_INVALID] = "xsk_tx_invalid",
	[DP_C_XSK_TX_EMPTY] = "xsk_tx_ring_empty",
};

void dp_counters(struct dp *dp, uint64_t ret[DP_C_MAX])
{
	memset(ret, 0, DP_C_MAX * sizeof(*ret));
	for (unsigned i = 0; i < dp->nworkers; i++) {
		struct worker *w = dp->worker[i];

		for (unsigned c = 0; c < DP_C_MAX; c++)
			ret[c] += atomic_load_explicit(&w->counters[c], memory_order_relaxed);
		w->udp->ops->stats(w->udp, ret);
		for (unsigned x = 0; x < w->nxsk; x++)
			w->xsk[x].wire->ops->stats(w->xsk[x].wire, ret);
	}
}
