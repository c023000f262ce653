/* SPDX-License-Identifier: BSD-2-Clause */
/* Addresses and prefixes: always 16 bytes, IPv4 as ::ffff:a.b.c.d (RFC 4291 §2.5.5.2), prefix length 0..128. */
#ifndef MVPN_ADDR_H
#define MVPN_ADDR_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

struct mvpn_addr {
	uint8_t b[16];
};
struct mvpn_prefix {
	struct mvpn_addr addr; /* host bits zero */
	uint8_t len;
};
struct mvpn_endpoint {
	struct mvpn_addr addr;
	uint16_t port; /* host order */
};

#define MVPN_ADDRSTRLEN 64 /* enough for any of the formats below: "[v6]:port", "v6/128" */

bool mvpn_addr_is_v4(const struct mvpn_addr *a);
bool mvpn_addr_is_zero(const struct mvpn_addr *a);
bool mvpn_addr_eq(const struct mvpn_addr *a, const struct mvpn_addr *b);
bool mvpn_addr_is_loopback(const struct mvpn_addr *a); /* 127/8, ::1 */
/* unicast that a device may own: not unspecified, loopback, link-local, multicast, broadcast */
bool mvpn_addr_is_ownable(const struct mvpn_addr *a);
void mvpn_addr_from_v4(struct mvpn_addr *ret, const void *be32);
/* -EAFNOSUPPORT unless AF_INET or AF_INET6 */
int mvpn_endpoint_from_sockaddr(struct mvpn_endpoint *ret, const struct sockaddr *sa);
/* IPv4 gives a sockaddr_in (or, with v6only_socket, a v4-mapped sockaddr_in6); returns its length */
socklen_t mvpn_endpoint_to_sockaddr(const struct mvpn_endpoint *e, bool v4_mapped, struct sockaddr_storage *ret);

/* Text. Parsers take the whole string or fail with -EINVAL; prefixes with host bits set fail with -EINVAL too. */
int mvpn_addr_parse(struct mvpn_addr *ret, const char *s);
int mvpn_prefix_parse(struct mvpn_prefix *ret, const char *s); /* "10.0.0.0/8", "fd00::/8", or a lone address */
/* "host:port", "[v6]:port", a lone host with default_port; numeric only */
int mvpn_endpoint_parse(struct mvpn_endpoint *ret, const char *s, uint16_t default_port);
const char *mvpn_addr_str(const struct mvpn_addr *a, char buf[static MVPN_ADDRSTRLEN]);
const char *mvpn_prefix_str(const struct mvpn_prefix *p, char buf[static MVPN_ADDRSTRLEN]);
const char *mvpn_endpoint_str(const struct mvpn_endpoint *e, char buf[static MVPN_ADDRSTRLEN]);

bool mvpn_prefix_contains(const struct mvpn_prefix *p, const struct mvpn_addr *a);
/* one of n does; linear, for the few prefixes of a session (crypto-routing) */
bool mvpn_prefixes_contain(const struct mvpn_prefix *p, unsigned n, const struct mvpn_addr *a);
bool mvpn_prefix_overlaps(const struct mvpn_prefix *a, const struct mvpn_prefix *b);
bool mvpn_prefix_valid(const struct mvpn_prefix *p); /* len <= 128, host bits zero */
/* the prefix of exactly this address */
struct mvpn_prefix mvpn_prefix_host(const struct mvpn_addr *a);

/* ---- MAC addresses (IEEE 802) ---- */
#define MVPN_MACSTRLEN 18
const char *mvpn_mac_str(const uint8_t mac[6], char ret[static MVPN_MACSTRLEN]); /* "02:00:00:00:00:01" */
int mvpn_mac_parse(uint8_t ret[6], const char *text); /* six pairs of hex digits with colons; -EINVAL */
bool mvpn_mac_is_ownable(const uint8_t mac[6]);	      /* one interface's: not zero, no group */
/*
 * Written where an address is expected: ff00::MAC, multicast of the reserved scope 0 (RFC 4291 2.7), which no packet has.
 * false: it is another address.
 */
struct mvpn_addr mvpn_mac_addr(const uint8_t mac[6]);
bool mvpn_addr_mac(const struct mvpn_addr *a, uint8_t ret[6]);

#endif
