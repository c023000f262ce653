/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Two keyds and a server between them in one process, on a clock of their own: keyd's real code from the channel's bytes to the key
 * table, linked without its main(), BPF and fast path, which are replaced here by the least that seals, opens and holds packets.
 * The server is a short one that does what PROTOCOL §3 says (tests/unit/server_steps.c is about the real one).
 *
 *   keyd A ==== channel ====> server <==== channel ==== keyd B        pair_server.c, pair_intro.c
 *     \_____________ sealed packets, straight __________/             pair_path.c
 *
 * Each message and each packet passes pair->fate, which may lose, double or delay it, or stop and start whom it likes. Time passes
 * only while everybody waits, and all that is random comes from a seed: a run can be repeated. What must hold at every moment is
 * checked at every moment (pair_check); failures are cmocka assertions.
 */
#ifndef MVPN_TESTS_PAIR_H
#define MVPN_TESTS_PAIR_H

#include "../unit/test.h"

#include "../../keyd/keyd.h"
#include "chan.h"
#include "intro.h"
#include "mvpn/auth.h"
#include "mvpn/wire.h"

#define PAIR_SPIS_MAX 512  /* sessions' ends of one run: more would be a loop */
#define PAIR_WAY_MS 5	   /* one way, for messages and packets alike */

struct pair;
struct node;
struct link;

/* ---- what passes ---- */
/* enum mvpn_msg, or a packet of the end that began the session, or of the other */
enum { PAIR_FROM_BEGINNER = 0x100, PAIR_FROM_OTHER };
struct passing {
	struct node *n; /* whose message, or who is told; of packets: the sender */
	bool to_server;
	unsigned what;
	unsigned channel; /* of messages to a device: the one that it had then */
};
struct fate {
	unsigned copies; /* 0: lost */
	unsigned delay_ms[3];
};

/* ---- pair_path.c ---- */
struct dp {
	struct node *n;
	bool held; /* one packet */
	uint64_t want_ms;
};
struct shim {
	struct node *n;
};

struct node {
	struct pair *pair;
	unsigned i;
	struct mvpn_addr addr;
	char dir[80];
	uint8_t sk[32], pk[32], psk[32], id[MVPN_ID_LEN];
	/* keyd */
	bool runs;
	struct keyd k;
	struct dp dp;
	struct shim shim;
	uint64_t life; /* boot_gen */
	struct loop_timer *tick, *start;
	/* its application */
	struct loop_timer *talk;
	unsigned talk_ms;     /* 0: silent */
	unsigned heard;	      /* packets of the other's application */
	uint64_t heard_ms;
	bool central_keys;
};

/* the receiving half of a session, as it was installed */
struct armed {
	const struct node *n;
	uint64_t life;
	uint32_t spi;
	uint8_t tx[32], rx[32]; /* the second chain key of either direction */
};

/* ---- pair_server.c ---- */
struct known {
	struct link *link; /* registered */
	unsigned channel;  /* how many there have been */
	uint64_t boot_gen;
	bool owed; /* PEER_RESET */
	bool owed_revoke;
	bool said_set; /* its last REGISTER */
	uint8_t set[32];
};
struct open_intro {
	bool open;
	unsigned a; /* index of who asked */
	struct mvpn_req req;
	uint8_t session[MVPN_ID_LEN], psk[32], central[32], ctx[32];
	uint64_t seq;
	struct loop_timer *timer;
};
struct pair_server {
	bool runs;
	struct link *links;
	struct known of[2];
	uint8_t sk[32], pk[32];
	struct chan_keys keys;
	uint8_t selectors[2][MVPN_SELECTORS_MAX_B]; /* by who asks */
	size_t selectors_len;
	uint64_t seq;
	bool on_record; /* a session of the two */
	bool forbidden;
	bool deaf; /* takes no new connection */
	unsigned mode; /* enum mvpn_mode */
	struct open_intro intro;
	struct loop_timer *beat, *start;
	unsigned requests, offers, answers, resets, fails[MVPN_R_MAX];
};

struct pair {
	struct loop *loop;
	struct node node[2];
	struct pair_server server;
	struct fate (*fate)(void *arg, const struct passing *p);
	void *fate_arg;
	/* what the server says may come otherwise: then the two ends need not agree, and nothing more is asked of keyd than that it lives */
	void (*mangle)(uint8_t *data, size_t *len); /* not longer */
	bool others; /* keyd may be told of more devices than the other one */
	struct armed armed[PAIR_SPIS_MAX];
	unsigned narmed;
	struct later *later;
	size_t locked_max;
};
enum { A, B };

/* of the test program: who the two are */
int pair_setup(void **state);
int pair_teardown(void **state);
/* what the two have written to disk meanwhile is gone: the next run begins as the first did */
void pair_forget(void);
/* everybody runs and is on-line, and nobody has spoken */
void pair_up(struct pair *p, uint64_t seed, unsigned mode);
void pair_down(struct pair *p);
/* from now on its application sends a packet each so many ms, 0: none */
void pair_talk(struct node *n, unsigned every_ms);
void pair_run(struct pair *p, uint64_t ms);
void pair_leap(uint64_t ms); /* so long nobody has a turn */
/* runs until it holds, so long at most: whether it does */
bool pair_run_until(struct pair *p, bool (*holds)(struct pair *p), uint64_t ms);
/* kill -9, and a start after so long */
void node_restart(struct node *n, unsigned after_ms);
void server_restart(struct pair *p, unsigned after_ms);
void node_cut(struct node *n);	    /* its channel is reset */
/* a part of the protected set, with the other's prefix: enum mvpn_prefixes_flags, with COMMIT what the state is called */
void server_tell_prefixes(struct node *n, uint8_t flags, const uint8_t set[32]);
void server_forbid(struct pair *p); /* as a revocation does, at once and for good */

static inline struct node *node_other(const struct node *n)
{
	return &n->pair->node[!n->i];
}
/* at the network's layer; NULL: not known */
struct peer *node_peer(struct node *n);
bool pair_works(struct pair *p); /* both transmit on the same session, which both have confirmed */
uint64_t pair_random(struct pair *p, uint64_t below);

/* ---- among the files ---- */
void pair_check(struct pair *p);
/* fn after so long; arg is freed with it, and with the pair */
void later(struct pair *p, unsigned ms, void (*fn)(struct pair *p, void *arg), void *arg);
/* what becomes of it is decided, and fn called for each copy, with a copy of the bytes behind a struct passing */
struct passed {
	struct passing what;
	size_t len;
	uint8_t data[];
};
void pass(struct pair *p, struct passing what, const void *data, size_t len,
	  void (*fn)(struct pair *p, void *passed));
void path_talk(struct node *n);
void server_init(struct pair *p);
void server_free(struct pair *p);
int server_accept(struct pair *p, int fd); /* -ECONNREFUSED */

#endif
