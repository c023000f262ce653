/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The MTU of the path to one peer, found by probing (RFC 8899, "Packetization Layer Path MTU Discovery for Datagram
 * Transports"): a padded PING is answered only if it arrived whole. Nothing but an answer raises the MTU, nothing but
 * missing answers lowers it: an ICMP error is a reason to probe. This file has no I/O and no clock: it is told the time
 * and what happened, and says what to send. Sizes are of whole outer IP packets; one direction of one path.
 *
 *   IDLE --start--> BURST: the largest size thrice and a ladder of smaller ones, at once
 *   BURST --none answered--> SILENT: the peer does not hear us; the MTU stays
 *         --answered--> the largest answered size is used; SEARCH for more, unless it is what the link allows
 *   SEARCH: the largest once more, the next rung, then halving --> FOUND
 *   FOUND, SILENT: at rest. The next packet after `watch_ms` --> CONFIRM, or BURST when it is time to try larger ones
 *   CONFIRM: the size in use, up to MVPN_PMTU_TRIES times; answered --> FOUND, else BURST
 */
#ifndef MVPN_PMTU_H
#define MVPN_PMTU_H

#include <stdbool.h>
#include <stdint.h>

#include "mvpn/limits.h"

enum pmtu_state { PMTU_IDLE, PMTU_BURST, PMTU_SEARCH, PMTU_FOUND, PMTU_CONFIRM, PMTU_SILENT };
extern const char
	*const pmtu_state_names[]; /* "idle", "probing", "searching", "found", "found", "silent" */

/* send one probe of `size` bytes; a send that fails counts as a lost probe */
typedef void pmtu_send_fn(void *arg, unsigned size, uint64_t token);

#define PMTU_NEVER UINT64_MAX
#define PMTU_TOKEN (1ULL << 63) /* set in the token of every probe, and of no other PING */

struct pmtu {
	/* what others read */
	unsigned mtu; /* in use; changed by any function below */
	enum pmtu_state state;
	uint64_t due_ms;   /* pmtu_timer() is to be called then */
	uint64_t watch_ms; /* pmtu_traffic() is to be called for the first packet sent after that */
	/* its own */
	pmtu_send_fn *send;
	void *arg;
	unsigned min, link; /* bounds: the family's least, the link's or route's */
	uint32_t run;	    /* of the last burst: answers to older probes say nothing about now */
	unsigned best;	    /* largest size answered in this run, 0 none */
	unsigned high;	    /* SEARCH: that size and larger ones do not pass */
	unsigned trying, tries;
	unsigned hint; /* a size that an ICMP error named, 0 none */
	bool fresh;    /* nothing is known of this path: decide at once, search all of it */
	bool raising;
	unsigned rtt_ms; /* smoothed; 0: not known */
	uint64_t raise_ms, raise_gap_ms, silent_gap_ms, hint_ms;
};

/* `run` is a random number */
void pmtu_init(struct pmtu *p, pmtu_send_fn *send, void *arg, uint32_t run);
/*
 * The path is new, or its link is: `link` is what fits the first link. What was found stays in use if `same` is true (and
 * fits), else the link's size is used until the burst is answered.
 */
void pmtu_start(struct pmtu *p, unsigned min, unsigned link, bool same, uint64_t now_ms);
void pmtu_stop(struct pmtu *p); /* IDLE: nobody to probe */
void pmtu_answer(struct pmtu *p, uint64_t token, uint64_t now_ms);
/* an ICMP error or the device says that packets are too big, `size` (0: unknown) would fit */
void pmtu_hint(struct pmtu *p, unsigned size, uint64_t now_ms);
void pmtu_traffic(struct pmtu *p, uint64_t now_ms);
void pmtu_timer(struct pmtu *p, uint64_t now_ms);

#endif
