/* SPDX-License-Identifier: BSD-2-Clause */
/* Flows that the shim reports: a packet, or a socket that is about to send one, to a protected destination without a session. */
#ifndef MVPN_FLOWS_H
#define MVPN_FLOWS_H

#include "keyd.h"

int flows_init(struct keyd *k);

#endif
