/* SPDX-License-Identifier: BSD-2-Clause */
/* What a device's message leads to. */
#ifndef SERVER_DISPATCH_H
#define SERVER_DISPATCH_H

#include "channel.h"

/* 0, or -EPROTO: out of place or malformed, the caller closes the channel */
int dispatch_message(struct conn *c, const struct chan_msg *m);

/* REGISTER (register.c): enrols or logs in, takes the claimed addresses, answers WELCOME */
int register_message(struct conn *c, const struct chan_msg *m);
/* after approval: claims are looked at, WELCOME again, and the protected set */
void register_welcome(struct conn *c);

/* counts one change of what this device registers; true: too many, it stays as it was */
bool device_changes_too_often(struct device *d);

#endif
