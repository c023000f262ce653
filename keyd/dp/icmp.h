/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ICMP errors that keyd makes itself for the local stack, as if the destination had sent them: the
 * fast path, and the socket level (../answer.h).
 */
#ifndef MVPN_ICMP_H
#define MVPN_ICMP_H

#include "packet.h"

enum icmp_error {
	ICMP_E_TOO_BIG,	   /* RFC 1191 "fragmentation needed", RFC 8201 "packet too big": `mtu`, for IPv6
			      not below 1280, which senders ignore: what is smaller and does not fit
			      goes in fragments */
	ICMP_E_PROHIBITED, /* RFC 1812 "communication administratively prohibited"; ICMPv6 type 1
			      code 1 */
	ICMP_E_HOST,	   /* host unreachable: RFC 792 type 3 code 1; ICMPv6 type 1 code 3 */
	ICMP_E_PORT,	   /* port unreachable: type 3 code 3; ICMPv6 type 1 code 4 */
};

#define ICMP_ERROR_MAX_B 1280

/*
 * Answer to `p`: length of the packet written to `out` (ICMP_ERROR_MAX_B bytes), 0 where RFC 1122
 * §3.2.2 and RFC 4443 §2.4 forbid one: to ICMP errors, multicast, broadcast, later fragments.
 */
size_t icmp_error(uint8_t *out, const struct packet *p, enum icmp_error what, unsigned mtu);

#endif
