/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From B's ACCEPT to A's ANSWER: the session is on record before anybody can transmit, so that a revocation finds it.
 *
 * A transaction costs as much as all the rest of an introduction, so those that B has accepted wait for one another, but not
 * long: the first one after a while is recorded as soon as the loop comes round, and then RECORD_GAP_MS are between one
 * transaction and the next. Until then nothing about them is true: whatever ends an open introduction ends them, too.
 */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "crypto.h"
#include "intro_table.h"
#include "session.h"
#include "tables.h"

#define RECORD_GAP_MS 2
#define RECORD_MAX 64 /* at once: other messages wait meanwhile */

/* A makes K of the channel that the ANSWER comes by: is it still the one of its REQUEST? */
static bool same_channel(const struct intro *i)
{
	uint8_t now[MVPN_KEY_LEN];
	bool same;

	if (i->mode != MVPN_MODE_CENTRAL60)
		return true;
	same = intro_central_key(i, now) == 0 && sodium_memcmp(now, i->key, sizeof(now)) == 0;
	sodium_memzero(now, sizeof(now));
	return same;
}

/* ---- rows ---- */

/* why the two may talk; frames have lines of their own, which policy-test names */
static int audit_introduction(struct server *s, const struct intro *i)
{
	struct policy_subject a = registry_subject(i->a), b = registry_subject(i->b);
	const struct policy_rule *rule =
		i->layer == MVPN_LAYER_LINK ? NULL : policy_allows(s->policy, &a, &b);
	char id[33], text[160];
	json_t *o;

	mvpn_hex(id, i->session_id, sizeof(i->session_id));
	o = json_pack("{s:s, s:s, s:s, s:s, s:b, s:I}", "a", i->a->row.name, "b", i->b->row.name,
		      "session", id, "layer",
		      i->layer == MVPN_LAYER_LINK     ? "link"
		      : i->layer == MVPN_LAYER_SOCKET ? "socket"
						      : "network",
		      "rekey", !sodium_is_zero(i->replaces, sizeof(i->replaces)), "policy_rev",
		      (json_int_t)s->policy_rev);
	if (rule) {
		policy_rule_str(rule, text, sizeof(text));
		json_object_set_new(o, "rule", json_string(text));
		json_object_set_new(o, "line", json_integer(rule->line));
	}
	return audit_add(&s->audit, "server", "introduction", o);
}

static int record_one(struct server *s, const struct intro *i)
{
	struct store_session row = {
		.layer = i->layer,
		.mode = i->mode,
		.services = i->services,
		.state = SESSION_ACTIVE,
		.seq = i->seq,
		.policy_rev = s->policy_rev,
		.created_at = wall_now(),
	};
	char id[2 * MVPN_ID_LEN + 1];
	int r;

	memcpy(row.id, i->session_id, 16);
	memcpy(row.a, i->a->row.id, 16);
	memcpy(row.b, i->b->row.id, 16);
	/* the devices' hard limit: twice the rekey time, or longer while the server is away */
	row.ends_at =
		row.created_at + 2 * (int64_t)server_rekey_s(s) + (int64_t)server_max_offline_s(s);
	r = session_record(s, &row, sodium_is_zero(i->replaces, 16) ? NULL : i->replaces);
	if (r == 0)
		r = audit_introduction(s, i);
	if (r < 0 || i->mode == MVPN_MODE_E2E)
		return r;
	mvpn_hex(id, i->session_id, 16);
	return audit_add(&s->audit, "server", "session-central",
			 json_pack("{s:s, s:s, s:s, s:s}", "a", i->a->row.name, "b", i->b->row.name,
				   "mode", mvpn_mode_name(i->mode), "session", id));
}

static int record_all(struct server *s, void *arg)
{
	const struct intro *i = s->intros->accepted;
	int r = 0;

	for (; i && r == 0; i = i->next_accepted)
		r = record_one(s, i);
	return r;
}

/* ---- the queue: short, and in the order of ACCEPT ---- */

void intro_unqueue(struct intros *in, struct intro *i)
{
	struct intro **at = &in->accepted;

	while (*at && *at != i)
		at = &(*at)->next_accepted;
	if (!*at)
		return;
	*at = i->next_accepted;
	in->naccepted--;
}

void intro_accepted_again(struct intros *in, struct intro *i)
{
	struct intro **at = &in->accepted;
	uint64_t now = mono_ms();

	while (*at)
		at = &(*at)->next_accepted;
	*at = i;
	i->next_accepted = NULL;
	in->naccepted++;
	if (!loop_timer_armed(in->recorder))
		loop_timer_arm(in->recorder, now < in->rest_ms ? in->rest_ms - now : 0);
}

void intro_accepted(struct intros *in, struct intro *i)
{
	intro_accepted_again(in, i);
	if (in->naccepted >= RECORD_MAX)
		intro_record(in);
}

static void wait_for_tables(struct intros *in, struct intro *i)
{
	intro_unqueue(in, i);
	i->answer_waits = true;
	in->nwaiting++;
}

/* those that have become impossible since REQUEST; and whose A does not know yet what it must know before */
static void sort_out(struct server *s)
{
	struct intro *next;

	for (struct intro *i = s->intros->accepted; i; i = next) {
		bool told = device_conn(i->a) && tables_flush(i->a->conn); /* which may queue others of A's, at the end */

		next = i->next_accepted;
		if (!device_conn(i->a))
			intro_abandon(s, i, MVPN_R_PEER_OFFLINE);
		else if (!same_channel(i))
			intro_abandon(s, i, MVPN_R_STALE_BOOT); /* tried again at once */
		else if (!told)
			wait_for_tables(s->intros, i);
	}
}

static void answer(struct server *s, struct intro *i)
{
	struct conn *a = i->a->conn;

	memcpy(a->nonces[a->next_nonce++ % CONN_NONCES], i->nonce, 16);
	intro_send_answer(s, i);
	intro_free(s->intros, i);
}

void intro_record(void *arg)
{
	struct intros *in = arg;
	struct server *s = in->s;
	bool good;

	sort_out(s);
	loop_timer_disarm(in->recorder); /* whatever was queued meanwhile is recorded with them */
	if (!in->accepted)
		return;
	count(s, records);
	good = server_transact(s, false, record_all, NULL) == 0;
	while (in->accepted) {
		if (good)
			answer(s, in->accepted);
		else
			intro_abandon(s, in->accepted, MVPN_R_INTERNAL);
	}
	in->rest_ms = mono_ms() + RECORD_GAP_MS;
}
