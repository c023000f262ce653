/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Traffic classes: what the policy says of a session's packets besides that they may pass: their outer DSCP (RFC 2474), and the rate
 * that they share, each way. A packet's class is that of the service it goes to, else of the service it comes from, else the rest's.
 */
#ifndef MVPN_CLASS_H
#define MVPN_CLASS_H

#include "mvpn/limits.h"
#include "service.h"

#define MVPN_DSCP_MAX 63
/* besides the code points themselves */
#define MVPN_DSCP_COPY 0x80    /* the inner packet's */
#define MVPN_DSCP_NETWORK 0x81 /* as the policy sets it for the whole network */

struct mvpn_class {
	uint8_t dscp;
	uint32_t rate_kbit; /* 1000 bit/s of inner packets, IP header or whole frame; 0: no limit */
	uint32_t burst_b;   /* what may go at once after a pause; 0 without a rate */
};

/* in place of a class: */
#define MVPN_CLASS_PLAIN 0xff /* what no line says anything of */
#define MVPN_CLASS_NONE -1    /* no range has it */

struct mvpn_class_range {
	struct mvpn_service of; /* of a session for frames: proto 0, and EtherTypes as ports */
	uint8_t class;		/* index, or PLAIN */
};

/* of one pair; ranges are sorted as services are, and do not overlap. n 0: nothing is said at all, whatever else stands here */
struct mvpn_classes {
	uint8_t n, rest; /* rest: index, or PLAIN */
	uint8_t nranges[2];
	struct mvpn_class list[MVPN_CLASSES_MAX];
	struct mvpn_class_range ranges[2][MVPN_SERVICES_MAX]; /* services at A, at B */
};

bool mvpn_class_is_plain(const struct mvpn_class *c);
/* what a limit without `burst` has */
uint32_t mvpn_burst_default(uint32_t rate_kbit);

void mvpn_classes_init(struct mvpn_classes *c);
/*
 * One more line, which counts for what no line before it is about: `services` of the ends `at` (bit 0: A, bit 1: B), or everything
 * (n 0), after which no line counts. -ENOSPC: too many classes or ranges, what does not fit is left out.
 */
int mvpn_classes_add(struct mvpn_classes *c, const struct mvpn_class *of,
		     const struct mvpn_service *services, unsigned n, unsigned at);
bool mvpn_classes_eq(const struct mvpn_classes *a, const struct mvpn_classes *b);
/* of a service of one end: index, PLAIN or NONE */
int mvpn_classes_find(const struct mvpn_classes *c, unsigned end, uint8_t proto, uint16_t port);
/* the first range that has any of the protocol */
int mvpn_classes_find_proto(const struct mvpn_classes *c, unsigned end, uint8_t proto);

/*
 *   n u8 | rest u8 | nranges u8 of A | of B | n × (dscp u8 | rate_kbit u32 | burst_b u32) |
 *   ranges × (proto u8 | first u16 | last u16 | class u8)                                    big-endian
 */
#define MVPN_CLASSES_MAX_B (4 + 9 * MVPN_CLASSES_MAX + 2 * 6 * MVPN_SERVICES_MAX)
size_t mvpn_classes_size(const struct mvpn_classes *c);
void mvpn_classes_encode(const struct mvpn_classes *c, uint8_t *ret);
int mvpn_classes_decode(struct mvpn_classes *ret, const uint8_t *p, size_t len); /* -EINVAL; n is not 0 */

/* "ef", "af11", "copy", or a number */
const char *mvpn_dscp_name(unsigned dscp, char buf[static 8]);
int mvpn_dscp_parse(const char *text, size_t len); /* a name, 0..63 or copy; -EINVAL */
#define MVPN_CLASSSTRLEN 48
/* as the policy has it, "dscp ef limit 20mbit burst 64kb"; the burst only if it is not the default. "" for a plain one */
const char *mvpn_class_str(const struct mvpn_class *c, char buf[static MVPN_CLASSSTRLEN]);

#endif
