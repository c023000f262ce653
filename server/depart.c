/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>

#include "channel.h"
#include "crypto.h"
#include "depart.h"
#include "introduce.h"
#include "log.h"
#include "push.h"
#include "session.h"
#include "tables.h"

#define AGAIN_MS 10000 /* the store refused: once more then */

void depart_forget(struct server *s, struct device *d)
{
	push_peer(s, d, true);
	registry_remove(s->reg, d);
	tables_changed(s, TABLE_ETHER);
	tables_changed(s, TABLE_LEVELS);
	tables_changed(s, TABLE_PROCESSES);
}

/* A suspended or revoked one stays on record: it shall not come back as somebody new with the same token. */
static bool waits(const struct device *d)
{
	return d->row.ephemeral_s && !d->conn &&
	       (d->row.state == MVPN_DEV_ACTIVE || d->row.state == MVPN_DEV_PENDING);
}

static uint64_t due_ms(const struct server *s, const struct device *d)
{
	return (d->offline_ms ? d->offline_ms : s->started_ms) + d->row.ephemeral_s * 1000ULL;
}

static void arm(struct server *s, uint64_t at_ms)
{
	uint64_t now = mono_ms();

	if (s->depart_ms && s->depart_ms <= at_ms)
		return;
	s->depart_ms = at_ms;
	loop_timer_arm(s->depart, at_ms > now ? at_ms - now : 0);
}

void depart_offline(struct server *s, struct device *d)
{
	d->offline_ms = mono_ms();
	if (waits(d))
		arm(s, due_ms(s, d));
}

static int remove_transaction(struct server *s, void *arg)
{
	const struct device *d = arg;
	char id[2 * MVPN_ID_LEN + 1];
	int r = store_device_remove(s->store, d->row.id);

	mvpn_hex(id, d->row.id, MVPN_ID_LEN);
	return r < 0 ? r
		     : audit_add(&s->audit, "server", "device-remove",
				 json_pack("{s:s, s:s, s:s, s:I}", "device", id, "name", d->row.name,
					   "why", "ephemeral", "offline_s",
					   (json_int_t)d->row.ephemeral_s));
}

static int depart(struct server *s, struct device *d)
{
	int r = server_transact(s, true, remove_transaction, d);

	if (r < 0)
		return r;
	log_info("device %s is removed: ephemeral, and off-line for %u s", d->row.name,
		 d->row.ephemeral_s);
	count(s, departed);
	introduce_device_gone(s, d, MVPN_R_REVOKED);
	session_cut_device(s, d, MVPN_R_REVOKED);
	depart_forget(s, d);
	return 0;
}

static void on_timer(void *arg)
{
	struct server *s = arg;
	uint64_t now = mono_ms(), next = 0, at;

	s->depart_ms = 0;
	for (uint32_t i = 0; i < s->reg->size; i++) {
		struct device *d = s->reg->devices[i];

		if (!d || !waits(d))
			continue;
		at = due_ms(s, d);
		if (at <= now && depart(s, d) == 0)
			continue;
		if (at <= now)
			at = now + AGAIN_MS;
		if (!next || at < next)
			next = at;
	}
	if (next)
		arm(s, next);
}

int depart_new(struct server *s)
{
	int r = loop_timer_new(s->loop, on_timer, s, &s->depart);

	if (r == 0)
		arm(s, s->started_ms + 1000); /* looks who is waited for */
	return r;
}
