/* SPDX-License-Identifier: BSD-2-Clause */
#include "processes.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "fsutil.h"
#include "log.h"
#include "peers.h"
#include "streams.h"

#define KEPT_FILE "processes"

/* ---- kept ---- */

static void save(struct keyd *k, const uint8_t *tlvs, size_t len)
{
	char *path = path_join(k->state_dir, KEPT_FILE);
	int r = path ? file_replace(path, tlvs, len, 0600) : -ENOMEM;

	if (r)
		log_err("cannot keep the policy's lines about processes in %s/" KEPT_FILE
			": %s; after a restart the ones before hold until the server is reached",
			k->state_dir, strerror(-r));
	free(path);
}

static int load(struct keyd *k)
{
	struct processes *x = k->processes;
	char *path = path_join(k->state_dir, KEPT_FILE), *text = NULL;
	size_t len = 0;
	int r = path ? file_read(path, MVPN_PROCESS_TABLE_B, &text, &len) : -ENOMEM;

	free(path);
	if (r == -ENOENT)
		return 0;
	if (r == 0)
		r = process_table_parse((const uint8_t *)text, len, &x->table);
	free(text);
	if (r == 0 || r == -ENOMEM)
		return r;
	x->unknown = true;
	log_err("%s/" KEPT_FILE " is damaged (%s): which processes may send is not known, and none may "
		"until the server is reached",
		k->state_dir, strerror(-r));
	return 0;
}

/* ---- guards ---- */

static uint64_t traits_of(const struct process_line *l, unsigned kind, bool *ret_asked)
{
	uint64_t bits = 0;

	for (unsigned i = 0; i < l->nby; i++) {
		if (l->by[i].kind != kind)
			continue;
		*ret_asked = true;
		if (l->by[i].trait >= 0)
			bits |= 1ULL << l->by[i].trait;
	}
	return bits;
}

static struct mvpn_guard_line line_of(const struct process_line *l)
{
	struct mvpn_guard_line ret = {.line = l->line, .hi = UINT16_MAX};

	for (unsigned kind = 0; kind < MVPN_BY_KINDS; kind++) {
		bool asked = false;

		ret.traits[kind] = traits_of(l, kind, &asked);
		if (asked && !ret.traits[kind])
			ret.flags = MVPN_GUARD_NOBODY;
	}
	return ret;
}

static void nobody(struct mvpn_guard *g, uint32_t line)
{
	g->n = 1;
	g->lines[0] = (struct mvpn_guard_line){
		.line = line, .hi = UINT16_MAX, .flags = MVPN_GUARD_NOBODY};
}

static void add_lines(struct processes *x, struct peer *p, const struct process_line *l)
{
	struct mvpn_guard_line v = line_of(l);
	struct mvpn_guard *g = p->guard;

	for (unsigned i = 0; i < (l->nservices ? l->nservices : 1); i++) {
		if (g->n && g->lines[0].flags & MVPN_GUARD_NOBODY && !g->lines[0].proto)
			return;
		if (g->n == MVPN_GUARD_LINES) {
			log_err("the policy has more than %d services in lines about processes that go "
				"to %s: all of them are refused",
				MVPN_GUARD_LINES, peer_label(p));
			x->cut++;
			nobody(g, l->line);
			return;
		}
		if (l->nservices) {
			v.proto = l->services[i].proto;
			v.lo = l->services[i].lo;
			v.hi = l->services[i].hi;
		}
		g->lines[g->n++] = v;
	}
}

static int guard_peer(struct keyd *k, const uint8_t id[MVPN_ID_LEN], const struct process_line *l)
{
	struct peer *p = peer_ensure(k, id);

	if (p && !p->guard)
		p->guard = calloc(1, sizeof(*p->guard));
	if (!p || !p->guard)
		return p ? -ENOMEM : -ENOSPC;
	add_lines(k->processes, p, l);
	return 0;
}

static int make_guards(struct keyd *k)
{
	const struct process_table *t = k->processes->table;
	int r = 0;

	for (uint32_t i = 1; i <= k->npeers; i++) {
		free(k->peers[i]->guard);
		k->peers[i]->guard = NULL;
	}
	for (unsigned i = 0; t && i < t->n; i++)
		for (unsigned n = 0; n < t->lines[i].npeers && r == 0; n++)
			r = guard_peer(k, t->lines[i].peers[n], &t->lines[i]);
	for (uint32_t i = 1; k->processes->unknown && i <= k->npeers; i++) {
		struct peer *p = k->peers[i];

		if (p->layer != MVPN_LAYER_NETWORK)
			continue;
		if (!p->guard)
			p->guard = calloc(1, sizeof(*p->guard));
		if (!p->guard)
			return -ENOMEM;
		nobody(p->guard, 0);
	}
	return r;
}

static int put_guards(struct keyd *k)
{
	int r = 0;

	for (uint32_t i = 1; i <= k->npeers && r == 0; i++) {
		struct peer *p = k->peers[i];

		if (p->guard)
			r = shim_guard_set(k->shim, p->index, p->guard);
		else if (p->guarded)
			r = shim_guard_clear(k->shim, p->index);
		if (r == 0)
			p->guarded = p->guard;
	}
	return r;
}

/* ---- traits ---- */

static void number(struct processes *x)
{
	x->cut = 0;
	traits_begin(&x->traits);
	for (unsigned i = 0; x->table && i < x->table->n; i++) {
		struct process_line *l = &x->table->lines[i];

		for (unsigned n = 0; n < l->nby; n++) {
			l->by[n].trait = traits_number(&x->traits, l->by[n].kind, l->by[n].value);
			if (l->by[n].trait >= 0)
				continue;
			x->cut++;
			log_err("the policy asks for more than %d different units, users, programs and "
				"control groups of this device: nobody meets %s %s",
				MVPN_TRAITS_MAX, mvpn_by_name(l->by[n].kind), l->by[n].value);
		}
	}
}

static void attach(struct keyd *k)
{
	const char *error;
	int r;

	if (!k->nifaces || !k->processes->table || !k->processes->table->n) {
		shim_process_detach(k->shim);
		return;
	}
	r = shim_process_attach(k->shim);
	if (r < 0) {
		shim_process(k->shim, &error);
		log_ratelimited(LOG_L_ERR,
				"the policy tells processes apart, which cannot be done: %s; what its "
				"lines with `by` are about is refused",
				error ? error : strerror(-r));
	}
}

/*
 * Old numbers go on while sockets get new ones, which takes a walk through all of them; then the guards change. So what the old and
 * the new lines let pass does not pause, and what the old ones refuse does not pass.
 */
static int renumber(struct keyd *k)
{
	struct processes *x = k->processes;
	struct mvpn_processes p = {.generation = mono_ns(), .oldest = x->generation};
	int r;

	number(x);
	traits_resolve(&x->traits, PROCESS_PASSWD, true, x->maps);
	r = shim_traits_add(k->shim, x->maps);
	attach(k);
	if (r == 0)
		r = shim_processes(k->shim, &p);
	if (r == 0 && shim_process_walk(k->shim) < 0 && x->table && x->table->n && k->nifaces)
		log_ratelimited(LOG_L_WARN, "the sockets that there are cannot be looked at: those that "
					    "are open may send again when they are opened anew");
	x->generation = p.oldest = p.generation;
	if (r == 0)
		r = shim_processes(k->shim, &p);
	return r;
}

void processes_apply(struct keyd *k)
{
	struct processes *x = k->processes;
	int r;

	if (!x->generation && !x->unknown && (!x->table || !x->table->n))
		return; /* never any */
	r = renumber(k);
	if (r == 0)
		r = make_guards(k);
	if (r == 0)
		r = put_guards(k);
	if (r == 0) {
		traits_resolve(&x->traits, PROCESS_PASSWD, false, x->maps);
		r = shim_traits_only(k->shim, x->maps);
	}
	if (r == 0) {
		streams_judge(k);
		x->judge_again = true;
	}
	x->failed = r < 0;
	if (r < 0) {
		log_ratelimited(LOG_L_ERR,
				"the policy's lines about processes are not in force (%s): nothing is "
				"sent to any peer; tried again each second",
				strerror(-r));
		k->counters[KC_MAP_FULL]++;
		if (k->tick)
			loop_timer_arm(k->tick, 0);
	}
}

void processes_tick(struct keyd *k)
{
	struct processes *x = k->processes;
	struct shim_traits *now;

	if (x->failed)
		processes_apply(k);
	if (x->judge_again && !x->failed)
		streams_judge(k);
	x->judge_again = false;
	if (x->failed || !x->table || !x->table->n)
		return;
	now = malloc(sizeof(*now));
	if (!now)
		return;
	traits_resolve(&x->traits, PROCESS_PASSWD, false, now);
	if (memcmp(now, x->maps, sizeof(*now)) != 0)
		processes_apply(k);
	free(now);
}

/* ---- PROCESSES ---- */

static int commit(struct keyd *k)
{
	struct processes *x = k->processes;
	struct process_table *t = NULL;
	int r = x->incoming_bad ? -E2BIG
				: process_table_parse(x->incoming, x->incoming_len, &t);

	if (r == -EBADMSG)
		return -EPROTO;
	if (r < 0) {
		log_err("the policy's lines about processes do not fit (%s): none may send", strerror(-r));
		k->counters[KC_MAP_FULL]++;
	} else {
		save(k, x->incoming, x->incoming_len);
	}
	process_table_free(x->table);
	x->table = t;
	x->unknown = r < 0;
	free(x->incoming);
	x->incoming = NULL;
	x->incoming_len = 0;
	processes_apply(k);
	return 0;
}

int processes_message(struct keyd *k, const struct chan_msg *m)
{
	struct processes *x = k->processes;
	uint8_t *more;

	if (m->flags & MVPN_PFX_RESET) {
		x->incoming_len = 0;
		x->incoming_bad = false;
	}
	if (x->incoming_len + m->len > MVPN_PROCESS_TABLE_B)
		x->incoming_bad = true;
	if (!x->incoming_bad && m->len) {
		more = realloc(x->incoming, x->incoming_len + m->len);
		if (more) {
			memcpy(more + x->incoming_len, m->tlvs, m->len);
			x->incoming = more;
			x->incoming_len += m->len;
		} else {
			x->incoming_bad = true;
		}
	}
	return m->flags & MVPN_PFX_COMMIT ? commit(k) : 0;
}

void processes_lost(struct keyd *k)
{
	struct processes *x = k->processes;

	free(x->incoming);
	x->incoming = NULL;
	x->incoming_len = 0;
	x->incoming_bad = false;
}

/* ---- life ---- */

int processes_init(struct keyd *k)
{
	struct processes *x = k->processes = calloc(1, sizeof(*x));
	static const struct mvpn_processes none;
	int r;

	if (!x)
		return -ENOMEM;
	x->maps = calloc(1, sizeof(*x->maps));
	if (!x->maps)
		return -ENOMEM;
	/* peers are numbered anew, and nothing passes before keyd breathes */
	r = shim_guards_clear_all(k->shim);
	if (r == 0)
		r = shim_traits_only(k->shim, x->maps);
	if (r == 0)
		r = shim_processes(k->shim, &none);
	if (r == 0)
		r = load(k);
	if (r == 0)
		r = process_audit_init(k);
	if (r == 0)
		processes_apply(k);
	return r;
}

void processes_free(struct keyd *k)
{
	struct processes *x = k->processes;

	if (!x)
		return;
	process_audit_free(x->audit);
	process_table_free(x->table);
	free(x->incoming);
	free(x->maps);
	free(x);
	k->processes = NULL;
}
