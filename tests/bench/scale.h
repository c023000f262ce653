/* SPDX-License-Identifier: BSD-2-Clause */
/* The parts of the benchmark of scale; see scale.c. Each makes everything first, then measures once a round. */
#ifndef SCALE_H
#define SCALE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"

/* what a value was measured with; 0 where it does not matter */
struct scale_size {
	unsigned peers, prefixes, sessions;
};
enum scale_access {
	SCALE_ALL,    /* not of one packet */
	SCALE_HOT,    /* one destination, again and again: what it needs is in the caches */
	SCALE_RANDOM, /* each packet another one */
	SCALE_ACCESSES
};

/* one value of this round */
void scale_value(const char *metric, struct scale_size size, enum scale_access access, double value,
		 const char *unit);
/* says what and why, and ends the program, unless ok */
void scale_must(bool ok, const char *what);
uint32_t scale_random(uint32_t below);
double scale_median(double *v, unsigned n); /* sorts them */
uint64_t scale_cpu_ns(void);		    /* of this process so far, the kernel's share too */

#define SCALE_SIZES 4
extern const unsigned scale_peers[SCALE_SIZES], scale_prefixes[SCALE_SIZES];

/* the nth protected prefix of a mixed set, and an address in it: hosts and networks of both families, none twice */
struct mvpn_prefix scale_prefix(unsigned n);
struct mvpn_addr scale_addr(unsigned n);
/* the host that is peer n, 1.. */
struct mvpn_addr scale_host(unsigned n);

/* an IPv4 or IPv6 UDP packet with 64 bytes of payload to dst; returns its length */
#define SCALE_PACKET_B 128
unsigned scale_packet(uint8_t *ret, const struct mvpn_addr *dst);

void scale_path_make(void);
void scale_path_round(void);
void scale_bpf_make(void);
void scale_bpf_round(void);
void scale_bpf_free(void);
void scale_translate_make(void);
void scale_translate_round(void);
void scale_translate_free(void);
void scale_keyd_make(void);
void scale_keyd_run(unsigned rounds);
void scale_keyd_free(void);

#endif
