/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a relay knows of the pairs whose sealed packets it passes on: found by the session, and each end by the SPI that it receives
 * by; the pair that nobody has spoken of for longest first. Used by the server (server/relay.c) and by devices that relay
 * (keyd/forwards.c); both put it at the beginning of what else they keep of a pair. Nothing here has a key.
 */
#ifndef MVPN_FORWARD_H
#define MVPN_FORWARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "htab.h"
#include "mvpn/auth.h"

struct fwd_half {
	struct hnode by_spi;
	struct fwd_pair *pair;
	uint8_t device[MVPN_ID_LEN];
	uint32_t spi; /* it receives by; 0: not known so far */
};

struct fwd_pair {
	struct hnode by_session;
	struct fwd_pair *prev, *next; /* by `at_ms` */
	uint8_t session[MVPN_ID_LEN];
	struct fwd_half half[2];
	uint64_t at_ms; /* when it was last spoken of */
};

struct fwd_table {
	struct htab by_session, by_spi;
	struct fwd_pair *first, *last;
	unsigned count;
};

int fwd_init(struct fwd_table *t); /* -ENOMEM */
void fwd_free(struct fwd_table *t); /* there are no pairs in it any more */
struct fwd_pair *fwd_find(const struct fwd_table *t, const uint8_t session[MVPN_ID_LEN]);
/* p is zero, and the caller's memory */
void fwd_add(struct fwd_table *t, struct fwd_pair *p, const uint8_t session[MVPN_ID_LEN],
	     const uint8_t a[MVPN_ID_LEN], const uint8_t b[MVPN_ID_LEN], uint64_t now_ms);
void fwd_remove(struct fwd_table *t, struct fwd_pair *p);
void fwd_set_spi(struct fwd_table *t, struct fwd_half *h, uint32_t spi);
void fwd_touch(struct fwd_table *t, struct fwd_pair *p, uint64_t now_ms);
/* the pair that was spoken of longest ago, if that is so long; or NULL */
struct fwd_pair *fwd_idle(const struct fwd_table *t, uint64_t now_ms, uint64_t idle_ms);
/* the ends that receive by it, one after the other: begins with NULL, NULL: no more */
struct fwd_half *fwd_by_spi(const struct fwd_table *t, uint32_t spi, struct fwd_half *before);

static inline unsigned fwd_end(const struct fwd_half *h)
{
	return h == &h->pair->half[1];
}

static inline struct fwd_half *fwd_other(struct fwd_half *h)
{
	return &h->pair->half[!fwd_end(h)];
}

/* is this a packet that a relay passes on, as far as that is to be seen, and for whom? */
bool fwd_sealed(const uint8_t *data, size_t len, uint32_t *ret_spi);

/*
 * A rate: *full is zero at first, and belongs to that rate. Takes so many bytes; false: they are too many. MVPN_RELAY_BURST_MS of it may go at once.
 * Any thread.
 */
bool fwd_may(_Atomic uint64_t *full, size_t len, uint32_t kbit, uint64_t now_ns);

#endif
