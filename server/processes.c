/* SPDX-License-Identifier: BSD-2-Clause */
#include "processes.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "crypto.h"
#include "mvpn/auth.h"
#include "mvpn/maps.h"
#include "refusal.h"

#define RULE_TEXT_B 600
#define HEAD_B (RULE_TEXT_B + MVPN_BY_LINE_MAX * (MVPN_BY_MAX_B + 8)) /* and its services */
#define REPORT_GAP_MS 500 /* between two messages of one device; it sends one a second at most */

/* ---- the table ---- */

/* devices to which some line with `by` of this one leads */
struct guarded {
	const struct device **devices;
	unsigned n;
};

static void put_head(struct chan_buf *b, const struct policy_rule *r)
{
	uint8_t v[4 + RULE_TEXT_B], service[MVPN_SERVICE_B], by[1 + MVPN_BY_MAX_B];
	uint32_t line = htobe32(r->line);
	char text[RULE_TEXT_B];

	policy_rule_str(r, text, sizeof(text));
	memcpy(v, &line, 4);
	memcpy(v + 4, text, strlen(text));
	chan_put(b, MVPN_TLV_PROCESS_LINE, v, 4 + strlen(text));
	for (unsigned i = 0; i < r->nservices; i++) {
		mvpn_service_encode(service, &r->services[i]);
		chan_put(b, MVPN_TLV_PROCESS_SERVICE, service, sizeof(service));
	}
	for (unsigned i = 0; i < r->nby; i++) {
		size_t len = strlen(r->by[i].value);

		by[0] = (uint8_t)r->by[i].kind;
		memcpy(by + 1, r->by[i].value, len);
		chan_put(b, MVPN_TLV_PROCESS_BY, by, 1 + len);
	}
}

/* a line goes on in the next part by saying it again */
static void put_rule(const struct server *s, const struct policy_rule *r, const struct device *self,
		     const struct guarded *g, struct table *t)
{
	struct policy_subject src = registry_subject(self);
	struct chan_buf *b = NULL;

	for (unsigned i = 0; i < g->n; i++) {
		struct policy_subject dst = registry_subject(g->devices[i]);
		struct chan_buf *in;

		if (!policy_rule_begins(s->policy, r, &src, &dst))
			continue;
		in = table_room(t, b ? MVPN_ID_LEN + 4 : HEAD_B);
		if (!in)
			return;
		if (in != b)
			put_head(in, r);
		b = in;
		chan_put(b, MVPN_TLV_PROCESS_PEER, g->devices[i]->row.id, MVPN_ID_LEN);
	}
}

static int find_guarded(const struct server *s, const struct device *self, struct guarded *ret)
{
	struct policy_subject src = registry_subject(self);
	const struct registry *reg = s->reg;

	if (!policy_by_about(s->policy, &src))
		return 0;
	ret->devices = calloc(reg->size + 1UL, sizeof(*ret->devices));
	for (uint32_t i = 0; ret->devices && i < reg->size; i++) {
		struct policy_subject dst;

		if (!reg->devices[i] || reg->devices[i] == self)
			continue;
		dst = registry_subject(reg->devices[i]);
		if (policy_by_pair(s->policy, &src, &dst))
			ret->devices[ret->n++] = reg->devices[i];
	}
	return ret->devices ? 0 : -ENOMEM;
}

/* every line about the pairs that one with `by` is about: another one may let all processes pass */
static int make(const struct server *s, const struct device *self, struct table *t)
{
	unsigned nrules;
	const struct policy_rule *rules = policy_rules(s->policy, &nrules);
	struct guarded g = {0};
	int r = find_guarded(s, self, &g);

	for (unsigned i = 0; g.n && i < nrules; i++)
		put_rule(s, &rules[i], self, &g, t);
	free(g.devices);
	return r;
}

static void told(struct conn *c, const struct table *t)
{
	(void)t;
	count(c->s, processes_told);
}

const struct table_kind processes_table = {.what = "the lines with \"by\"",
					   .msg = MVPN_MSG_PROCESSES,
					   .make = make,
					   .told = told};

static bool cannot(const struct device *d)
{
	return d->conn && !d->conn->tells_processes;
}

bool processes_beyond(const struct policy *p, const struct device *a, const struct device *b)
{
	struct policy_subject sa, sb;

	if (!policy_has_by(p) || (!cannot(a) && !cannot(b)))
		return false;
	sa = registry_subject(a);
	sb = registry_subject(b);
	return (cannot(a) && policy_by_pair(p, &sa, &sb)) ||
	       (cannot(b) && policy_by_pair(p, &sb, &sa));
}

/* ---- refusals ---- */

/* three texts, each with its NUL, to the end of the TLV; what is no plain text is made so: it comes from a device, and goes into JSON */
static bool texts(const uint8_t *p, size_t len, char copy[static MVPN_PROCESS_REFUSED_TEXT_B],
		  const char *ret[3])
{
	unsigned n = 0;

	if (!len || len > MVPN_PROCESS_REFUSED_TEXT_B || p[len - 1])
		return false;
	for (size_t i = 0, from = 0; i < len; i++) {
		copy[i] = p[i] && (p[i] < ' ' || p[i] > '~') ? '?' : (char)p[i];
		if (p[i])
			continue;
		if (n == 3)
			return false;
		ret[n++] = copy + from;
		from = i + 1;
	}
	return n == 3;
}

static const char *why_name(unsigned why)
{
	switch (why) {
	case MVPN_REFUSED_CALL:
		return "call";
	case MVPN_REFUSED_PACKET:
		return "packet";
	case MVPN_REFUSED_STREAM:
		return "stream";
	case MVPN_REFUSED_SERVICE:
		return "service";
	}
	return "no-socket";
}

/* rule: NULL, or what the device says of the line */
static void note(struct conn *c, const struct chan_tlv *t, const struct chan_tlv *rule)
{
	char line[MVPN_RULE_TEXT_B + 1] = "";
	char copy[MVPN_PROCESS_REFUSED_TEXT_B], to[MVPN_ADDRSTRLEN], proto[8];
	struct mvpn_process_refused r;
	const struct device *peer;
	const char *text[3];
	struct mvpn_addr dst;
	struct {
		uint8_t device[MVPN_ID_LEN], hash[16];
	} key;
	struct mvpn_part like[] = {{&r, offsetof(struct mvpn_process_refused, pid_be)},
				   {&r.uid_be, sizeof(r.uid_be)},
				   {copy, t->len - sizeof(r)}};

	memcpy(&r, t->value, sizeof(r));
	texts(t->value + sizeof(r), t->len - sizeof(r), copy, text);
	for (size_t i = 0; rule && i < rule->len && i < MVPN_RULE_TEXT_B; i++)
		line[i] = rule->value[i] < ' ' || rule->value[i] > '~' ? '?' : (char)rule->value[i];
	memcpy(dst.b, r.dst, sizeof(dst.b));
	peer = registry_by_id(c->s->reg, r.peer);
	memcpy(key.device, c->dev->row.id, MVPN_ID_LEN);
	mvpn_blake2b(key.hash, sizeof(key.hash), NULL, 0, like, 3);
	refusal_note(c->s, "device", "process-refused", &key, sizeof(key),
		     json_pack("{s:s, s:s*, s:s, s:s, s:i, s:I, s:s*, s:s, s:I, s:I, s:s, s:s, s:s, s:I}",
			       "device", c->dev->row.name, "peer", peer ? peer->row.name : NULL,
			       "dst", mvpn_addr_str(&dst, to), "proto",
			       mvpn_proto_name(r.proto, proto), "port", (int)be16toh(r.port_be),
			       "line", (json_int_t)be32toh(r.line_be), "rule", *line ? line : NULL, "refused", why_name(r.why),
			       "pid", (json_int_t)be32toh(r.pid_be), "uid",
			       (json_int_t)be32toh(r.uid_be), "process", text[0], "exe", text[1],
			       "unit", text[2], "attempts", (json_int_t)be32toh(r.count_be)));
	count(c->s, processes_refused);
}

static bool report_good(const struct chan_msg *m)
{
	char copy[MVPN_PROCESS_REFUSED_TEXT_B];
	size_t pos = 0, head = sizeof(struct mvpn_process_refused);
	const char *text[3];
	struct chan_tlv t;

	while (chan_tlv_next(m, &pos, &t))
		if (t.type == MVPN_TLV_PROCESS_REFUSED && !texts(t.value + head, t.len - head, copy, text))
			return false;
	return true;
}

int processes_message(struct conn *c, const struct chan_msg *m)
{
	uint64_t now = mono_ms();
	struct chan_tlv t, rule;
	unsigned n = 0;
	size_t pos = 0, next;

	if (!report_good(m))
		return -EPROTO;
	if (c->dev->row.state != MVPN_DEV_ACTIVE ||
	    (c->reported_ms && now - c->reported_ms < REPORT_GAP_MS)) {
		count(c->s, processes_unheard);
		return 0;
	}
	c->reported_ms = now;
	while (chan_tlv_next(m, &pos, &t)) {
		next = pos;
		if (t.type == MVPN_TLV_PROCESS_REFUSED && n++ < MVPN_PROCESS_REPORT_MAX)
			note(c, &t, chan_tlv_next(m, &next, &rule) && rule.type == MVPN_TLV_PROCESS_RULE ? &rule : NULL);
	}
	return 0;
}
