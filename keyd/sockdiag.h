/* SPDX-License-Identifier: BSD-2-Clause */
/* What the kernel knows of a socket that is open in this network namespace (sock_diag(7)). */
#ifndef MVPN_SOCKDIAG_H
#define MVPN_SOCKDIAG_H

#include <stdbool.h>
#include <stdint.h>

#include "mvpn/maps.h"

struct sockdiag;
struct socket_info {
	uint64_t cookie, cgroup; /* cgroup 0: an older kernel does not say */
	uint32_t uid, inode;	 /* inode 0: no process has it any more */
	bool tcp;		 /* what follows is there */
	uint64_t bytes_in, bytes_out; /* payload received, and acknowledged by the other end */
	uint32_t rtt_us;
};

int sockdiag_new(struct sockdiag **ret);
void sockdiag_free(struct sockdiag *d);
/* of the local end of a flow, TCP or UDP; with a cookie, that socket alone. -ENOENT, -ESTALE: not (that one); -EPROTONOSUPPORT */
int sockdiag_get(struct sockdiag *d, const struct mvpn_flow_key *flow, uint64_t cookie,
		 struct socket_info *ret);
/* the remote port, host order, of each UDP socket that is connected */
int sockdiag_udp_connected(struct sockdiag *d, void (*fn)(void *arg, uint16_t port), void *arg);

#endif
