/* SPDX-License-Identifier: BSD-2-Clause */
/* Those who wait on the control socket for a check of the audit trail: one step a round of the loop for all of them together. */
#ifndef SERVER_AUDIT_CHECK_H
#define SERVER_AUDIT_CHECK_H

#include "ipc.h"
#include "server.h"

struct audit_checks;

/* what is shown once it is known */
struct audit_asked {
	bool follow;
	uint64_t from;
	unsigned limit;
};

/* r as of audit_verify_step, with the first bad row; must answer the call */
typedef void audit_checked_fn(struct server *s, struct ipc_call *call, const struct audit_asked *asked, int r,
			      uint64_t bad);

int audit_checks_new(struct server *s);
void audit_checks_free(struct audit_checks *k); /* after the control socket; NULL is fine */
int audit_check(struct server *s, struct ipc_call *call, const struct audit_asked *asked, audit_checked_fn *done);

#endif
