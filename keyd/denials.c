/* SPDX-License-Identifier: BSD-2-Clause */
/* Peers with which the server or the policy allows no session: for a while their packets are refused at once, and nothing is asked. */
#include "sessions.h"

void peer_deny(struct keyd *k, struct peer *p, enum mvpn_reason why)
{
	struct mvpn_key key = {.state = MVPN_KEY_DENIED, .epoch = p->epoch};
	struct kt_peer *kp = kt_peer_get(k->kt, p->index);

	p->denied_until_ms = mono_ms() + MVPN_DENY_CACHE_S * 1000;
	p->error = why;
	peer_watch(k, p);
	if (kp)
		kp->denied = true;
	shim_key_set(k->shim, p->index, &key);
	dp_drop_held(k->dp, p->index, true);
}

void peer_undeny(struct keyd *k, struct peer *p)
{
	struct kt_peer *kp = kt_peer_get(k->kt, p->index);

	if (!p->denied_until_ms)
		return;
	p->denied_until_ms = 0;
	if (kp)
		kp->denied = false;
	shim_key_clear(k->shim, p->index);
}

void sessions_policy_changed(struct keyd *k)
{
	struct peer *p;

	for (p = k->watched; p; p = p->watched_next) {
		if (p->denied_until_ms)
			p->error = 0; /* of a policy that is no longer in force */
		peer_undeny(k, p);
		p->backoff_until_ms = 0;
	}
}
