/* SPDX-License-Identifier: BSD-2-Clause */
/* The state directory: one keyd at a time has it. */
#ifndef MVPN_KEYD_STATE_DIR_H
#define MVPN_KEYD_STATE_DIR_H

#include "cmdline.h"

/* made if it is missing, and locked until the descriptor that is returned is closed; -errno after it was said */
int state_open(const struct cmdline *c);

#endif
