/* SPDX-License-Identifier: BSD-2-Clause */
#include "restored.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "crypto.h"
#include "log.h"

struct sign {
	const struct device *d;
	const char *what;
	uint64_t theirs, ours;
};

static int record(struct server *s, void *arg)
{
	const struct sign *x = arg;
	char id[2 * MVPN_ID_LEN + 1];

	mvpn_hex(id, x->d->row.id, MVPN_ID_LEN);
	return audit_add(&s->audit, "server", "store-restored",
			 json_pack("{s:s, s:s, s:s, s:I, s:I}", "device", id, "name", x->d->row.name, "what", x->what, "device_has",
				   (json_int_t)(x->theirs & INT64_MAX), "store_has", (json_int_t)x->ours));
}

void restored_sign(struct server *s, const struct device *d, const char *what, uint64_t theirs, uint64_t ours)
{
	struct sign x = {d, what, theirs, ours};

	if (s->restored_alarm)
		return;
	if (asprintf(&s->restored_alarm,
		     "the store is older than what device %s knows (%s %" PRIu64 ", here %" PRIu64 "): it was restored from a copy. What came "
		     "after the copy is gone: revoke again whom you had revoked, apply the policy anew, enrol again who is missing",
		     d->row.name, what, theirs, ours) < 0)
		s->restored_alarm = NULL;
	log_err("%s", s->restored_alarm ? s->restored_alarm : "the store was restored from an old copy");
	server_transact(s, true, record, &x);
}

void restored_policy(struct server *s, const struct device *d, uint64_t rev)
{
	uint64_t newest = 0;
	char *text = NULL;

	if (rev <= s->policy_rev || d->row.state != MVPN_DEV_ACTIVE)
		return;
	/* one that cannot be read any more counts, too */
	if (store_policy_get(s->store, 0, &newest, NULL, &text) == 0)
		free(text);
	if (rev > newest)
		restored_sign(s, d, "policy", rev, newest);
}
