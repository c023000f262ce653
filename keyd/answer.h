/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What keyd says to a socket of this host's in the name of the remote end: packets from the address of ours that stands beside the
 * true one, by raw sockets. The kernel takes them as it takes any, so every program sees what it knows.
 */
#ifndef MVPN_ANSWER_H
#define MVPN_ANSWER_H

#include <stddef.h>
#include <stdint.h>

#include "addr.h"

#define ANSWER_TCP_MAX_B 60
#define ANSWER_MAX_B 1280 /* of a packet */

/* ICMP's word for "unreachable", of either family (dp/icmp.h) */
enum answer_error {
	ANSWER_HOST,
	ANSWER_PORT,
	ANSWER_PROHIBITED,
};

struct answer;
int answer_new(struct answer **ret);
void answer_free(struct answer *a);
/* one of its sockets, `i` 0 and 1; -1: it has no such one */
int answer_fd(const struct answer *a, unsigned i);

/* the SYN of an application's connection, which has not reached keyd's listener */
struct answer_syn {
	struct mvpn_endpoint from, at; /* the application's end, and keyd's that it goes to */
	uint8_t len;		       /* of `tcp` */
	uint8_t tcp[ANSWER_TCP_MAX_B]; /* header and options */
};
uint32_t answer_syn_number(const struct answer_syn *s);

/* All of them: 0 or -errno; -EAFNOSUPPORT: this host has no such family. */
int answer_again(const struct answer *a, const struct answer_syn *s); /* as it came, but for what data it had */
int answer_reset(const struct answer *a, const struct answer_syn *s); /* RFC 9293 §3.5.2 */
int answer_unreachable(const struct answer *a, const struct answer_syn *s, enum answer_error what);
/* to what the application at `from` has sent from a UDP socket to keyd's at `at` */
int answer_datagram(const struct answer *a, const struct mvpn_endpoint *from,
		    const struct mvpn_endpoint *at, enum answer_error what);

/* the packets, for whoever sends them: their length; `ret` takes ANSWER_MAX_B */
size_t answer_again_packet(uint8_t *ret, const struct answer_syn *s);
size_t answer_reset_packet(uint8_t *ret, const struct answer_syn *s);
size_t answer_unreachable_packet(uint8_t *ret, const struct answer_syn *s, enum answer_error what);
size_t answer_datagram_packet(uint8_t *ret, const struct mvpn_endpoint *from,
			      const struct mvpn_endpoint *at, enum answer_error what);

#endif
