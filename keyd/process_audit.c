/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What `by` in the policy has refused: into the log, and to the server's audit trail, the first of each kind within a second and those
 * like it together each ten seconds.
 */
#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cgroups.h"
#include "channel.h"
#include "holders.h"
#include "log.h"
#include "peers.h"
#include "processes.h"

#define REPORT_MS 1000 /* between two reports */
#define AGAIN_MS 10000 /* between two about the same kind */
#define PROC_B 600

struct kind {
	struct mvpn_process_refused head;
	char comm[17], exe[256], unit[MVPN_GROUP_NAME_B];
	char rule[MVPN_RULE_TEXT_B + 1];
	uint64_t count;	  /* not told yet */
	uint64_t told_ms; /* 0: never */
};
struct process_audit {
	struct keyd *k;
	struct loop_timer *timer;
	uint64_t told_ms;
	uint64_t looked_ms; /* since then `looks` times for who has a socket, each of which walks through all processes */
	unsigned looks;
	struct kind kinds[MVPN_PROCESS_REPORT_MAX];
	unsigned n;
};

/* ---- who it was ---- */

static void plain(char *ret, size_t size, const char *from)
{
	size_t n = 0;

	for (; from[n] && n < size - 1; n++)
		ret[n] = from[n] < ' ' || from[n] > '~' ? '?' : from[n];
	ret[n] = '\0';
}

/* the policy's path if it is one of those, else what /proc lets us see, else the file's name alone */
static void exe_path(struct keyd *k, const struct mvpn_refusal *e, char ret[static 256])
{
	const struct shim_traits *maps = k->processes->maps;
	char link[32], path[256];
	ssize_t n = -1;

	for (unsigned i = 0; e->inode && i < maps->nexes; i++)
		if (maps->exes[i].inode == e->inode && maps->exes[i].dev == e->dev)
			for (unsigned t = 0; t < MVPN_TRAITS_MAX; t++)
				if (maps->exe_traits[i] >> t & 1) {
					plain(ret, 256, k->processes->traits.list[t].value);
					return;
				}
	if (e->pid) {
		snprintf(link, sizeof(link), "/proc/%u/exe", e->pid);
		n = readlink(link, path, sizeof(path) - 1);
	}
	path[n > 0 ? n : 0] = '\0';
	plain(ret, 256, n > 0 ? path : e->exe);
}

/* a line of /proc/PID/NAME that begins so, without its beginning; "" if there is none */
static void proc_line(uint32_t pid, const char *name, const char *begins, char ret[static PROC_B])
{
	char path[48], line[PROC_B];
	size_t len = strlen(begins);
	FILE *f;

	*ret = '\0';
	snprintf(path, sizeof(path), "/proc/%u/%s", pid, name);
	f = pid ? fopen(path, "re") : NULL;
	while (f && !*ret && fgets(line, sizeof(line), f))
		if (!strncmp(line, begins, len)) {
			line[strcspn(line, "\n")] = '\0';
			snprintf(ret, PROC_B, "%s", line + len);
		}
	if (f)
		fclose(f);
}

static void identify(struct keyd *k, const struct mvpn_refusal *e, struct kind *ret)
{
	char text[PROC_B], comm[sizeof(e->comm) + 1];

	snprintf(comm, sizeof(comm), "%.*s", (int)sizeof(e->comm), e->comm);
	if (!*comm) {
		proc_line(e->pid, "comm", "", text);
		text[sizeof(e->comm)] = '\0';
		snprintf(comm, sizeof(comm), "%.16s", text);
	}
	plain(ret->comm, sizeof(ret->comm), comm);
	exe_path(k, e, ret->exe);
	snprintf(text, sizeof(text), "%.*s", (int)sizeof(e->unit), e->unit);
	if (!*text && e->pid) {
		proc_line(e->pid, "cgroup", "0::", text);
		cgroup_unit(ret->unit, sizeof(ret->unit), text);
	} else {
		plain(ret->unit, sizeof(ret->unit), text);
	}
}

/* ---- telling ---- */

static void say(struct keyd *k, const struct kind *n, const struct peer *p)
{
	const char *line = *n->rule ? n->rule : "unknown";
	char to[MVPN_ADDRSTRLEN], proto[8], who[512];
	struct mvpn_addr dst;

	memcpy(dst.b, n->head.dst, sizeof(dst.b));
	if (n->head.pid_be)
		snprintf(who, sizeof(who), "%s (pid %u, uid %u, %s, unit %s)",
			 *n->comm ? n->comm : "?", be32toh(n->head.pid_be), be32toh(n->head.uid_be),
			 *n->exe ? n->exe : "program unknown", *n->unit ? n->unit : "none");
	else
		snprintf(who, sizeof(who), "%s", n->head.why >= MVPN_REFUSED_STREAM ? "a process that is not known"
										     : "a packet without a process of this host");
	log_warn("%s: %s to %s, %s port %u of %s; policy line %u%s: %s",
		 n->head.why >= MVPN_REFUSED_STREAM ? "reset" : "refused", who, mvpn_addr_str(&dst, to),
		 mvpn_proto_name(n->head.proto, proto), be16toh(n->head.port_be), p ? peer_label(p) : "?",
		 be32toh(n->head.line_be), n->head.why == MVPN_REFUSED_SERVICE ? ", which is no more" : "", line);
}

static void put(struct chan_buf *b, struct kind *n)
{
	uint8_t v[sizeof(n->head) + MVPN_PROCESS_REFUSED_TEXT_B];
	const char *const text[] = {n->comm, n->exe, n->unit};
	size_t len = sizeof(n->head);

	n->head.count_be = htobe32(n->count > UINT32_MAX ? UINT32_MAX : (uint32_t)n->count);
	memcpy(v, &n->head, sizeof(n->head));
	for (unsigned i = 0; i < 3; i++) {
		size_t l = strlen(text[i]) + 1;

		memcpy(v + len, text[i], l);
		len += l;
	}
	chan_put(b, MVPN_TLV_PROCESS_REFUSED, v, len);
	if (*n->rule)
		chan_put(b, MVPN_TLV_PROCESS_RULE, n->rule, strlen(n->rule));
}

static bool due(const struct kind *n, uint64_t now)
{
	return n->count && (!n->told_ms || now - n->told_ms >= AGAIN_MS);
}

/* what was told and has not happened again is forgotten when it would have been told again */
static void told(struct process_audit *a, uint64_t now)
{
	unsigned n = 0;

	for (unsigned i = 0; i < a->n; i++) {
		struct kind *x = &a->kinds[i];

		if (due(x, now)) {
			x->told_ms = now;
			x->count = 0;
		}
		if (x->count || now - x->told_ms < AGAIN_MS)
			a->kinds[n++] = *x;
	}
	a->n = n;
}

static void report(void *arg)
{
	struct process_audit *a = arg;
	struct chan_buf b = {0};
	uint64_t now = mono_ms();
	unsigned n = 0;

	chan_begin(&b, MVPN_MSG_PROCESSES, 0, 0);
	for (unsigned i = 0; i < a->n; i++)
		if (due(&a->kinds[i], now)) {
			put(&b, &a->kinds[i]);
			n++;
		}
	if (!n || channel_send(a->k, &b) == 0) {
		told(a, now);
		a->told_ms = n ? now : a->told_ms;
	}
	chan_buf_free(&b);
	if (a->n)
		loop_timer_arm(a->timer, REPORT_MS);
}

static bool alike(const struct kind *a, const struct kind *b)
{
	struct mvpn_process_refused x = a->head, y = b->head;

	x.pid_be = y.pid_be = x.count_be = y.count_be = 0;
	return !memcmp(&x, &y, sizeof(x)) && !strcmp(a->comm, b->comm) && !strcmp(a->exe, b->exe) &&
	       !strcmp(a->unit, b->unit);
}

/* of many connections that are cut at once not each one's is known: what is not reported for want of room either */
static bool look(struct process_audit *a, const struct mvpn_flow_key *socket, struct mvpn_holder *ret)
{
	uint64_t now = mono_ms();

	if (now - a->looked_ms >= REPORT_MS) {
		a->looked_ms = now;
		a->looks = 0;
	}
	return socket && a->looks++ < MVPN_PROCESS_REPORT_MAX && holder_of(a->k, socket, ret);
}

static void refused(struct process_audit *a, const struct mvpn_refusal *e, const char *rule, const struct mvpn_holder *who)
{
	struct keyd *k = a->k;
	const struct peer *p = peer_by_index(k, e->peer);
	struct kind now = {.count = e->count};
	uint64_t since = mono_ms() - a->told_ms;
	unsigned i = 0;

	memcpy(now.head.dst, e->flow.dst, 16);
	if (p)
		memcpy(now.head.peer, p->id, MVPN_ID_LEN);
	now.head.port_be = e->flow.dport;
	now.head.proto = e->flow.proto;
	now.head.why = (uint8_t)e->why;
	now.head.line_be = htobe32(e->line);
	now.head.pid_be = htobe32(e->pid);
	now.head.uid_be = htobe32(e->uid);
	identify(k, e, &now);
	if (who && *who->exe)
		plain(now.exe, sizeof(now.exe), who->exe);
	if (!rule)
		rule = process_table_text(k->processes->table, e->line);
	plain(now.rule, sizeof(now.rule), rule ?: "");
	k->counters[KC_PROCESS_REFUSED] += e->count;
	while (i < a->n && !alike(&a->kinds[i], &now))
		i++;
	if (i == MVPN_PROCESS_REPORT_MAX) {
		k->counters[KC_PROCESS_UNREPORTED] += e->count;
		return;
	}
	if (i == a->n) {
		a->kinds[a->n++] = now;
		say(k, &now, p);
	} else {
		a->kinds[i].count += e->count;
		a->kinds[i].head.pid_be = now.head.pid_be;
	}
	if (!a->told_ms || since >= REPORT_MS)
		loop_timer_arm(a->timer, 0);
	else if (!loop_timer_armed(a->timer))
		loop_timer_arm(a->timer, REPORT_MS - since);
}

void process_audit_stream(struct process_audit *a, const struct mvpn_refusal *e, const char *rule,
			  const struct mvpn_flow_key *socket)
{
	struct mvpn_refusal known = *e;
	struct mvpn_holder who;
	bool found = look(a, socket, &who);

	if (found) {
		known.pid = who.pid;
		known.uid = who.uid;
		known.cgroup = who.cgroup;
		memcpy(known.comm, who.comm, sizeof(known.comm));
	}
	refused(a, &known, rule, found ? &who : NULL);
}

static void on_refusal(void *arg, const struct mvpn_refusal *e)
{
	refused(arg, e, NULL, NULL);
}

int process_audit_init(struct keyd *k)
{
	struct process_audit *a = k->processes->audit = calloc(1, sizeof(*a));

	if (!a)
		return -ENOMEM;
	a->k = k;
	shim_on_refusal(k->shim, on_refusal, a);
	return loop_timer_new(k->loop, report, a, &a->timer);
}

void process_audit_free(struct process_audit *a)
{
	if (!a)
		return;
	shim_on_refusal(a->k->shim, NULL, NULL);
	loop_timer_free(a->timer);
	free(a);
}
