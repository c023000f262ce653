/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Services: a protocol, and the ports on which one end of a pair offers it to the other. Lists are sorted by protocol and port, and
 * what overlaps or adjoins is one range, so that the same services always are the same list.
 */
#ifndef MVPN_SERVICE_H
#define MVPN_SERVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mvpn_service {
	uint8_t proto;	 /* IP's; IPPROTO_ICMP stands for that of either family */
	uint16_t lo, hi; /* host order, inclusive; 0 to 65535: every port, or the protocol has none */
};

/* ports are where TCP has them: the first four bytes of the header */
bool mvpn_proto_has_ports(unsigned proto);
/* tcp, udp, sctp, icmp, or a number as mvpn_proto_name() gives it; -EINVAL, also for IPv6 extension headers */
int mvpn_proto_parse(const char *text, size_t len);
const char *mvpn_proto_name(unsigned proto, char buf[static 8]);

/* joined with what there is; -ENOSPC: it would be more than max */
int mvpn_services_add(struct mvpn_service *list, unsigned *n, unsigned max, struct mvpn_service s);
bool mvpn_services_have(const struct mvpn_service *list, unsigned n, uint8_t proto, uint16_t port);
bool mvpn_services_have_proto(const struct mvpn_service *list, unsigned n, uint8_t proto);
/* is all of b in a? */
bool mvpn_services_cover(const struct mvpn_service *a, unsigned na, const struct mvpn_service *b,
			 unsigned nb);
bool mvpn_services_eq(const struct mvpn_service *a, unsigned na, const struct mvpn_service *b,
		      unsigned nb);
/* is it a list as above? */
bool mvpn_services_valid(const struct mvpn_service *list, unsigned n);

/* on the wire: proto u8 | first port u16 | last port u16 */
#define MVPN_SERVICE_B 5
void mvpn_service_encode(uint8_t ret[static MVPN_SERVICE_B], const struct mvpn_service *s);
void mvpn_service_decode(struct mvpn_service *ret, const uint8_t v[static MVPN_SERVICE_B]);

#define MVPN_SERVICESTRLEN 24
/* "tcp 22", "udp 6000-6063", "tcp" for every port, "icmp", "47" */
const char *mvpn_service_str(const struct mvpn_service *s, char buf[static MVPN_SERVICESTRLEN]);
/* "tcp 22, 80-81, udp 53", for people; what does not fit is left out for an ellipsis. "nothing" for none */
void mvpn_services_str(const struct mvpn_service *list, unsigned n, char *buf, size_t size);

#endif
