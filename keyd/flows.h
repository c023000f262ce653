/* SPDX-License-Identifier: BSD-2-Clause */
/* Flows that the shim reports: a packet to a protected destination for which there is no session. */
#ifndef MVPN_FLOWS_H
#define MVPN_FLOWS_H

#include "keyd.h"

int flows_init(struct keyd *k);

#endif
