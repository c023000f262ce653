/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Thousands of devices on one event loop that speak the real channel to a server and are introduced to each other, without a
 * data path: no call waits, whatever happens is told to a callback. Each device calls from a loopback address of its own.
 */
#ifndef MVPN_TESTS_SWARM_H
#define MVPN_TESTS_SWARM_H

#include <stdbool.h>
#include <stdint.h>

#include "backoff.h"
#include "chan.h"
#include "intro.h"
#include "loop.h"
#include "mvpn/auth.h"

struct swarm;

struct swarm_device {
	struct swarm *w;
	uint32_t index;
	/* filled by the caller: what enrolment gave */
	uint8_t sk[32], pk[32], psk[32], id[16];
	uint64_t boot_gen;
	/* of the present channel */
	int fd;
	struct loop_source *io;
	struct chan *ch;
	bool want_out, welcomed, ready;
	uint64_t rev; /* policy, as of the last commit */
	bool knows_set;
	bool has_ticket;
	uint8_t ticket[MVPN_TICKET_B];
	uint8_t set[32]; /* SET of the last commit */
	struct loop_timer *again;
	struct backoff backoff;
	uint32_t return_ms; /* as the server said last */
	/* the introduction that it has asked for: one at a time */
	struct intro_a *asked;
	uint8_t nonce[16];
	uint64_t asked_ns;
	bool offered; /* the peer has the offer */
};

enum swarm_event {
	SWARM_READY,   /* WELCOME and the whole protected set are here */
	SWARM_LOST,    /* the channel is over */
	SWARM_COMMIT,  /* a change of the protected set or of the policy, after READY */
	SWARM_OFFER,   /* peer asks for a session; ACCEPT goes out next */
	SWARM_SESSION, /* the ANSWER to its REQUEST is authentic: it has keys for peer */
	SWARM_FAIL,    /* FAIL to its REQUEST */
	SWARM_REVOKED, /* REVOKE or PEER_RESET of its sessions with peer (NULL: none of ours) */
};

struct swarm {
	struct loop *loop;
	struct swarm_device *devices;
	unsigned n;
	uint16_t port;
	uint8_t server_pk[32], net_id[8];
	bool reconnect; /* lost channels are made again, after keyd's waits */
	unsigned nready;
	uint64_t fails;		/* FAIL, and handshakes that did not authenticate */
	uint64_t replies[256];	/* messages by type */
	uint64_t bytes;		/* read */
	/* must not hang up */
	void (*on_event)(void *arg, struct swarm_device *d, enum swarm_event e,
			 struct swarm_device *peer);
	void *arg;
	struct loop_timer *beat;
	unsigned beat_at;
};

int swarm_init(struct swarm *w, struct loop *l, unsigned n); /* devices zeroed but for w and index; 0 or -errno */
void swarm_free(struct swarm *w);
/* the address that a device says it has: the nth of 10.0.0.0/8 */
struct mvpn_addr swarm_addr(uint32_t index);
int swarm_connect(struct swarm_device *d); /* log in; 0 or -errno */
void swarm_hang_up(struct swarm_device *d);
int swarm_request(struct swarm_device *a, const struct swarm_device *b);

#endif
