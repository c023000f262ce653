/* SPDX-License-Identifier: BSD-2-Clause */
/* The sockets of one lane's UDP wire (wire_udp.c), both families in one, unless the kernel has only IPv4. */
#ifndef MVPN_WIRE_UDP_SOCKET_H
#define MVPN_WIRE_UDP_SOCKET_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "addr.h"
#include "wire.h"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#define UDP_GRO 104
#endif
#define SOL_UDP_ 17

union address {
	struct sockaddr sa;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
	struct sockaddr_storage ss;
};

struct udp_sockets {
	int fd;	 /* receives, on the data port */
	int out; /* sends; lane 0: the same */
	bool v4_only;
	uint16_t port, source;
};

/* fd and out are -1 before, and may be closed after an error, too. port 0: any; 0 or -errno */
int udp_sockets_open(struct udp_sockets *s, uint16_t port, unsigned lane);
void udp_sockets_close(struct udp_sockets *s);
unsigned udp_sockets_cookies(const struct udp_sockets *s, uint64_t ret[WIRE_UDP_SOCKETS]); /* how many */
/* of n that share the port each datagram goes to the one that its lane says; 0 or -errno */
int udp_sockets_steer(const struct udp_sockets *s, unsigned n);

#endif
