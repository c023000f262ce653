/* SPDX-License-Identifier: BSD-2-Clause */
/* Where opened packets arrive: on the interface that they would have come by in clear (bpf/arrive.h). */
#ifndef MVPN_ARRIVALS_H
#define MVPN_ARRIVALS_H

#include "keyd.h"

enum arrival { ARRIVE_INTERFACE, ARRIVE_TAP };

/* after addresses, interfaces or what is attached have changed */
void arrivals_refresh(struct keyd *k);

#endif
