/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Introductions under way (PROTOCOL §3): REQUEST → policy → OFFER → ACCEPT → ANSWER. In memory only: after a crash they
 * are void, B's unconfirmed session dies by itself and A asks again. One open introduction for an unordered pair and
 * layer.
 */
#ifndef SERVER_INTRODUCE_H
#define SERVER_INTRODUCE_H

#include "channel.h"

int intros_new(struct server *s);
void intros_free(struct intros *in);
unsigned intros_count(const struct intros *in);

/* 0 or -EPROTO */
int introduce_request(struct conn *c, const struct chan_msg *m);
int introduce_accept(struct conn *c, const struct chan_msg *m);
int introduce_reject(struct conn *c, const struct chan_msg *m);

/* the device's open introductions are over: A hears FAIL with the reason, B hears CANCEL */
void introduce_device_gone(struct server *s, const struct device *d, enum mvpn_reason reason);
/* it has heard all its tables: what has waited for that goes on */
void introduce_tables_told(struct server *s, const struct device *d);
/* after a change of policy or groups: the open ones that are forbidden now */
void introduce_recheck(struct server *s);

#endif
