/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The fast path in user space: super-packet to sealed packet and back, from keyd/dp as it is, with a wire and a tap that swallow.
 * A session's two directions have one key and its own SPI, so that what it seals it opens again: one table serves both ways.
 */
#include "scale.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "../../keyd/dp/worker.h"
#include "loop.h"

#define PACKETS 32768 /* measured at once */
#define BATCH 64      /* of a worker's turn */
#define SEALED_B 256

struct path {
	struct scale_size size;
	struct keytab *kt;
	struct worker *w;
	uint32_t *order; /* destinations, random */
	unsigned lengths[PACKETS];
	struct wire_from from[PACKETS];
};
static struct path by_peers[SCALE_SIZES], by_prefixes[SCALE_SIZES];
static uint8_t (*plain)[SCALE_PACKET_B], (*sealed)[SEALED_B];

/* ---- a wire and a tap without an end ---- */
struct null_wire {
	struct wire w;
	uint8_t *at; /* where the next packet goes */
	unsigned n;
};
static struct null_wire wire;
static uint64_t delivered;

static uint8_t *null_reserve(struct wire *w, const struct kt_endpoint *ep, size_t len, uint8_t tos)
{
	return len <= SEALED_B ? wire.at : NULL;
}

static void null_commit(struct wire *w, size_t len)
{
	wire.at += SEALED_B;
	wire.n++;
}

static void null_write(void *arg, const struct virtio_net_hdr *h, uint8_t *data, size_t len)
{
	delivered++;
}

static const struct wire_ops null_ops = {
	.name = "null", .reserve = null_reserve, .commit = null_commit};

/* ---- making ---- */
static struct worker *worker_make(struct keytab *kt)
{
	struct worker *w = aligned_alloc(64, (sizeof(*w) + 63) & ~63ul);

	scale_must(w, "memory");
	memset(w, 0, sizeof(*w));
	wire.w.ops = &null_ops;
	w->kt = kt;
	w->udp = &wire.w;
	w->now = mono_ns();
	w->packet = (uint8_t *)malloc(TAP_HEADROOM + TAP_PACKET_MAX) + TAP_HEADROOM;
	scale_must(!hold_new(&w->hold) && !coalesce_init(&w->coalescer, true, null_write, w),
		   "memory");
	kt_worker_online(kt, 0);
	return w;
}

static struct kt_session *session_make(struct keytab *kt, uint32_t peer, unsigned lanes)
{
	static const uint8_t id[MVPN_ID_LEN];
	struct intro_keys k = {.suite = aead_suites() & 1 << (MVPN_AES256_GCM - 1)
						? MVPN_AES256_GCM
						: MVPN_CHACHA20_POLY1305,
			       .tx_lanes = (uint8_t)lanes,
			       .rx_lanes = (uint8_t)lanes};
	struct mvpn_prefix any = {.len = 0};
	struct kt_endpoint ep = {.to = {.addr = scale_host(peer), .port = MVPN_DATA_PORT}};
	struct kt_session *s;

	k.peer_spi = kt_spi_alloc(kt);
	memcpy(k.tx, &peer, sizeof(peer));
	memcpy(k.rx, &peer, sizeof(peer));
	scale_must(!kt_session_new(kt, &s, id, peer, k.peer_spi, &k, &any, 1, &any, 1) &&
			   !kt_peer_set_endpoint(kt, peer, &ep),
		   "cannot make the sessions (memory, or ulimit -l)");
	atomic_store(&s->confirmed, true);
	kt_session_arm_rx(kt, s);
	kt_session_arm_tx(kt, s);
	return s;
}

static void path_make(struct path *p, unsigned peers, unsigned prefixes)
{
	struct lpm *lpm;

	p->size = (struct scale_size){peers, prefixes, peers};
	scale_must(!kt_new(&p->kt) && !lpm_new(&lpm), "memory");
	for (unsigned i = 1; i <= peers; i++) {
		struct mvpn_addr a = scale_host(i);
		struct mvpn_prefix host = mvpn_prefix_host(&a);

		session_make(p->kt, i, 1);
		if (!prefixes)
			scale_must(!lpm_set(lpm, &host, i), "memory");
	}
	for (unsigned n = 0; n < prefixes; n++) {
		struct mvpn_prefix x = scale_prefix(n);

		scale_must(!lpm_set(lpm, &x, 1 + n % peers), "memory");
	}
	if (!prefixes)
		p->size.prefixes = peers;
	kt_set_prefixes(p->kt, lpm);
	p->w = worker_make(p->kt);
	p->order = calloc(PACKETS, sizeof(*p->order));
	scale_must(p->order, "memory");
	for (unsigned n = 0; n < PACKETS; n++)
		p->order[n] = prefixes ? scale_random(prefixes) : 1 + scale_random(peers);
}

/* what a session takes: the process's memory before and after many */
static void memory_of_sessions(unsigned lanes, const char *metric)
{
	const unsigned many = 10000;
	struct mallinfo2 before, after;
	struct keytab *kt;

	scale_must(!kt_new(&kt), "memory");
	before = mallinfo2();
	for (unsigned i = 1; i <= many; i++)
		session_make(kt, i, lanes);
	kt_reclaim(kt);
	after = mallinfo2();
	scale_value(metric, (struct scale_size){many, 0, many}, SCALE_ALL,
		    (double)(after.uordblks - before.uordblks + kt_locked_b(kt)) / many, "B");
	kt_free(kt);
}

void scale_path_make(void)
{
	plain = calloc(PACKETS, sizeof(*plain));
	sealed = calloc(PACKETS, sizeof(*sealed));
	scale_must(plain && sealed, "memory");
	for (unsigned i = 0; i < SCALE_SIZES; i++) {
		path_make(&by_peers[i], scale_peers[i], 0);
		path_make(&by_prefixes[i], 100, scale_prefixes[i]);
	}
	memory_of_sessions(1, "session_1lane_memory");
	memory_of_sessions(4, "session_4lanes_memory");
}

/* ---- measuring ---- */
static void fill(struct path *p, bool hot)
{
	bool hosts = p >= by_peers && p < by_peers + SCALE_SIZES;

	for (unsigned n = 0; n < PACKETS; n++) {
		uint32_t which = p->order[hot ? 0 : n];
		struct mvpn_addr a = hosts ? scale_host(which) : scale_addr(which);

		p->lengths[n] = scale_packet(plain[n], &a);
		p->from[n].ep.addr = scale_host(hosts ? which : 1 + which % p->size.peers);
		p->from[n].ep.port = MVPN_DATA_PORT;
	}
}

static void look_up(struct path *p, enum scale_access access)
{
	struct mvpn_addr *a = malloc(PACKETS * sizeof(*a));
	uint64_t sum = 0, since;

	scale_must(a, "memory");
	for (unsigned n = 0; n < PACKETS; n++) {
		struct packet parsed;

		packet_parse(&parsed, plain[n], p->lengths[n]);
		a[n] = parsed.dst;
	}
	since = scale_cpu_ns();
	for (unsigned n = 0; n < PACKETS; n++)
		sum += kt_lookup_dst(p->kt, &a[n])->index;
	scale_value("lookup_dst", p->size, access, (double)(scale_cpu_ns() - since) / PACKETS,
		    "ns");
	scale_must(sum, "look-up");
	free(a);
}

static void out(struct path *p, enum scale_access access)
{
	struct virtio_net_hdr h = {.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM};
	uint64_t since;

	wire.at = sealed[0];
	wire.n = 0;
	p->w->now = mono_ns();
	since = scale_cpu_ns();
	for (unsigned n = 0; n < PACKETS; n++) {
		bool v6 = plain[n][0] >> 4 == 6;

		memcpy(p->w->packet, plain[n], p->lengths[n]);
		h.csum_start = v6 ? 40 : 20;
		h.csum_offset = 6;
		seal_super(p->w, &h, p->lengths[n]);
	}
	scale_value("out", p->size, access, (double)(scale_cpu_ns() - since) / PACKETS, "ns");
	scale_must(wire.n == PACKETS, "a packet was not sealed");
}

static void in(struct path *p, enum scale_access access)
{
	uint64_t before = delivered, since;

	p->w->now = mono_ns();
	since = scale_cpu_ns();
	for (unsigned n = 0; n < PACKETS; n++) {
		open_datagram(p->w, sealed[n], p->lengths[n] + MVPN_OVERHEAD, &p->from[n]);
		if (n % BATCH == BATCH - 1)
			open_finish(p->w);
	}
	open_finish(p->w);
	scale_value("in", p->size, access, (double)(scale_cpu_ns() - since) / PACKETS, "ns");
	scale_must(delivered > before, "a packet was not opened");
}

static void measure(struct path *p)
{
	for (enum scale_access access = SCALE_HOT; access <= SCALE_RANDOM; access++) {
		fill(p, access == SCALE_HOT);
		look_up(p, access);
		out(p, access);
		in(p, access);
	}
}

void scale_path_round(void)
{
	for (unsigned i = 0; i < SCALE_SIZES; i++)
		measure(&by_peers[i]);
	for (unsigned i = 0; i < SCALE_SIZES; i++)
		measure(&by_prefixes[i]);
}
