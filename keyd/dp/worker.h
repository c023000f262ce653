/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One worker: a tap queue, a UDP socket, an AF_XDP socket of each interface, and a thread that
 * moves packets between them. Worker i sends on lane i of a session and on no other: the nonce
 * counter is there.
 */
#ifndef MVPN_WORKER_H
#define MVPN_WORKER_H

#include <pthread.h>
#include <stdatomic.h>

#include "coalesce.h"
#include "dp.h"
#include "errqueue.h"
#include "hold.h"
#include "icmp.h"
#include "relay.h"
#include "ring.h"
#include "segment.h"
#include "shape.h"
#include "spin.h"
#include "tap.h"
#include "wire.h"

/* sessions remembered for the rate limit of DP_EV_ENDPOINT; a collision means one event more */
#define ENDPOINT_SEEN 256

#define RX_BUDGET 256 /* payloads of one wire before the others get their turn */

#define ECHO_GATES 64 /* by the id of the echo */

/* sessions remembered for quotes in ICMP errors; a collision means one hint less */
#define WORKER_SENT 256
struct worker_sent {
	uint32_t spi; /* the peer's */
	uint32_t peer;
	uint64_t next; /* counter of our lane */
	uint64_t hinted_ns;
};

struct worker_xsk {
	unsigned ifindex;
	struct wire *wire;
	bool sends;  /* wire_xdp_sends */
	bool broken; /* has reported DP_EV_ERROR: not touched again until it is removed */
};

/* what is added up over a run of packets of one session and lane before it is published */
struct rx_run {
	struct kt_session *session;
	struct kt_rx_lane *lane;
	struct kt_peer *peer;
	uint64_t packets, bytes;
};

struct worker {
	/* fixed while the thread runs */
	unsigned index;
	struct keytab *kt;
	int event_fd;			 /* all workers' */
	int wake_fd;			 /* own: a command, or the end */
	struct tap_queue tap, frame_tap; /* frame_tap.fd -1: there is none */
	struct wire *udp;
	struct worker_xsk xsk[MVPN_IFACES_MAX];
	unsigned nxsk;
	struct worker *const *team; /* all workers, by index */
	unsigned nteam;
	struct relay *in[MVPN_WORKERS_MAX]; /* from worker i to this one; in[index]: what is kept */
	pthread_t thread;
	bool running;
	_Atomic bool stop;

	/* the thread's own */
	uint64_t now;				       /* CLOCK_MONOTONIC of this turn */
	bool udp_poll_error; /* poll() says that errors wait at the UDP wire */
	bool udp_broken, tap_broken, frame_tap_broken; /* as worker_xsk.broken */
	struct spin spin;
	struct coalescer coalescer;
	struct hold *hold;
	bool flushing; /* what is being sealed was held */
	struct shaper *shaper;
	bool waited; /* what is being sealed has waited in the shaper: it goes */
	struct rx_run run;
	unsigned relayed_by;  /* who handed over the packet that is being opened; index: nobody */
	unsigned relays_late; /* turns for which what was handed over has waited */
	uint32_t to_wake;     /* workers that were handed something, by bit */
	unsigned nawaited;    /* lanes that are being given to this worker */
	struct {
		uint32_t spi;
		uint8_t lane;
	} awaited[MVPN_LANES_AWAITED_MAX];
	uint8_t offers[MVPN_WORKERS_MAX]; /* lanes offered to worker i that it has not answered */
	uint8_t *packet;	 /* TAP_PACKET_MAX bytes behind TAP_HEADROOM */
	uint8_t *scratch;	 /* ICMP_ERROR_MAX_B or a control packet, likewise */
	uint64_t icmp_tokens_ns; /* token bucket: up to a second's worth */
	uint64_t echo_after_ns[ECHO_GATES]; /* no answer to an echo is handed on before then */
	uint32_t ip6_id;	 /* segment_start()'s; begins at random */
	struct {
		uint32_t spi;
		uint64_t at_ns;
	} endpoint_seen[ENDPOINT_SEEN];

	struct worker_sent sent[WORKER_SENT];

	_Atomic uint64_t counters[DP_C_MAX] __attribute__((aligned(64)));
	struct cmd_ring cmds;
	struct event_ring events;
};

/* only the worker itself adds */
static inline void count(struct worker *w, enum dp_counter c, uint64_t n)
{
	kt_add(&w->counters[c], n);
}

/* ---- worker.c ---- */
int worker_start(struct worker *w);
void worker_stop(struct worker *w);
void worker_wake(struct worker *w);
bool worker_event(struct worker *w, const struct dp_event *e); /* false: no room, counted */
/* for payloads of up to `max` bytes */
struct wire *worker_wire(struct worker *w, const struct kt_endpoint *ep, size_t max);
void worker_tap_write(void *arg, const struct virtio_net_hdr *h, uint8_t *data,
		      size_t len); /* coalesce_write_fn */
void worker_icmp(struct worker *w, const struct packet *p, enum icmp_error what, unsigned mtu);

/* ---- seal.c: out ---- */
unsigned seal_inner_max(const struct kt_endpoint *ep); /* the largest inner packet */
/* one packet from the tap, at w->packet */
void seal_super(struct worker *w, const struct virtio_net_hdr *h, size_t len);
/* p as ether.c makes it */
void seal_frame(struct worker *w, struct kt_peer *peer, const struct packet *p, uint16_t type);
bool seal_shaped(struct worker *w); /* what has waited for a limit's tokens; true: some went */
void seal_flush_held(struct worker *w, uint32_t peer);
void seal_drop_held(struct worker *w, uint32_t peer, bool prohibited);
/* control packet on a session to ep; false: not sent */
bool seal_ctrl(struct worker *w, struct kt_session *s, const struct kt_endpoint *ep,
	       enum mvpn_ctrl_type type, uint64_t token, unsigned pad);

/* ---- quote.c ---- */
void quote_take(void *arg, const struct quote *q); /* wire_error_fn */

/* ---- open.c: in ---- */
void open_datagram(void *arg, uint8_t *data, size_t len,
		   const struct wire_from *from); /* wire_rx_fn */
/* the same for one that was kept until its lane came; s as its SPI says, may be NULL */
void open_kept(struct worker *w, struct kt_session *s, uint8_t *data, size_t len,
	       const struct wire_from *from);
void open_run_end(struct worker *w); /* publish statistics, let go of the lane */
void open_finish(struct worker *w);  /* after a batch: that, and flush the coalescer */

/* ---- owner.c: in, lanes of which other workers have received a packet, or own ---- */
/* may this worker open packets of the lane now? Takes it if nobody has it. */
bool owner_is(struct worker *w, struct kt_session *s, unsigned lane);
/* hand a datagram over to the lane's owner */
void owner_send(struct worker *w, struct kt_session *s, unsigned lane, const uint8_t *data,
		size_t len, const struct wire_from *from);
void owner_opened(struct worker *w, struct kt_session *s, unsigned lane); /* an authentic packet */
/* open what others have handed over, unless older packets wait in a wire; true: there was work, or will be */
bool owner_relays(struct worker *w, bool wires_empty);
void owner_wake(struct worker *w); /* those who were handed something */

/* ---- dp.c ---- */
struct dp {
	struct keytab *kt;
	char tap_name[16];
	unsigned tap_ifindex;
	char frame_tap_name[16]; /* "": there is none */
	uint16_t udp_port;
	bool busy_poll, latency, tap_steered;
	unsigned spin_us;
	int event_fd;
	unsigned nworkers,
		next_event; /* where the search for events goes on, so that no worker is favoured */
	struct worker *worker[MVPN_WORKERS_MAX];
};

#endif
