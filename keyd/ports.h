/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Ports of keyd's that applications' sockets send to without knowing it (the socket level). Without keyd such a socket must not find
 * another program there: the socket shim, which outlives keyd, lets nobody else bind them, and the kernel chooses none of them by
 * itself, for they lie outside ip_local_port_range. They are given up once no socket can be connected to them any more.
 */
#ifndef MVPN_PORTS_H
#define MVPN_PORTS_H

#include "keyd.h"

struct ports;

/* The socket, which shim_stream_own() knows, gets a port that is kept. -EADDRINUSE: none is free */
int ports_bind(struct keyd *k, int fd, bool v6, uint8_t proto, uint16_t *ret_port);
void ports_gone(struct keyd *k, uint8_t proto, uint16_t port); /* its socket is closed; the port is kept on */
void ports_tick(struct keyd *k, uint64_t now_ms); /* each second: those that are gone, an earlier life's too */
void ports_free(struct keyd *k);

#endif
