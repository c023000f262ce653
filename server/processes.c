/* SPDX-License-Identifier: BSD-2-Clause */
#include "processes.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "crypto.h"
#include "log.h"
#include "mvpn/auth.h"
#include "mvpn/maps.h"
#include "refusal.h"

#define FRAME_FILL_B 60000 /* of MVPN_CHAN_PLAIN_MAX_B; a line's head and an address more fit */
#define RULE_TEXT_B 600
#define REPORT_GAP_MS 500 /* between two messages of one device; it sends one a second at most */

/* ---- the table ---- */

/* the frames of one device, each whole: a line goes on in the next one by saying it again */
struct writer {
	const struct server *s;
	struct chan_buf *frames;
	unsigned n;
	int error;
	/* devices to which some line with `by` of this one leads */
	const struct device **guarded;
	unsigned nguarded;
};

static struct chan_buf *new_frame(struct writer *w)
{
	struct chan_buf *more = reallocarray(w->frames, w->n + 1, sizeof(*more));

	if (!more) {
		w->error = -ENOMEM;
		return NULL;
	}
	w->frames = more;
	memset(&more[w->n], 0, sizeof(*more));
	chan_begin(&more[w->n], MVPN_MSG_PROCESSES, w->n ? 0 : MVPN_PFX_RESET, 0);
	return &w->frames[w->n++];
}

static void put_head(struct chan_buf *b, const struct policy_rule *r)
{
	uint8_t v[4 + RULE_TEXT_B], service[5], by[1 + MVPN_BY_MAX_B];
	uint32_t line = htobe32(r->line);
	char text[RULE_TEXT_B];

	policy_rule_str(r, text, sizeof(text));
	memcpy(v, &line, 4);
	memcpy(v + 4, text, strlen(text));
	chan_put(b, MVPN_TLV_PROCESS_LINE, v, 4 + strlen(text));
	for (unsigned i = 0; i < r->nservices; i++) {
		service[0] = r->services[i].proto;
		service[1] = (uint8_t)(r->services[i].lo >> 8);
		service[2] = (uint8_t)r->services[i].lo;
		service[3] = (uint8_t)(r->services[i].hi >> 8);
		service[4] = (uint8_t)r->services[i].hi;
		chan_put(b, MVPN_TLV_PROCESS_SERVICE, service, sizeof(service));
	}
	for (unsigned i = 0; i < r->nby; i++) {
		size_t len = strlen(r->by[i].value);

		by[0] = (uint8_t)r->by[i].kind;
		memcpy(by + 1, r->by[i].value, len);
		chan_put(b, MVPN_TLV_PROCESS_BY, by, 1 + len);
	}
}

static void put_rule(struct writer *w, const struct policy_rule *r, const struct device *self)
{
	const struct policy *p = w->s->policy;
	struct policy_subject src = registry_subject(self);
	struct chan_buf *b = NULL;

	for (unsigned i = 0; i < w->nguarded && !w->error; i++) {
		struct policy_subject dst = registry_subject(w->guarded[i]);

		if (!policy_rule_begins(p, r, &src, &dst))
			continue;
		if (!b || b->len > FRAME_FILL_B) {
			b = w->frames[w->n - 1].len > FRAME_FILL_B - RULE_TEXT_B - MVPN_BY_LINE_MAX * (MVPN_BY_MAX_B + 8)
				    ? new_frame(w)
				    : &w->frames[w->n - 1];
			if (!b)
				return;
			put_head(b, r);
		}
		chan_put(b, MVPN_TLV_PROCESS_PEER, w->guarded[i]->row.id, MVPN_ID_LEN);
		w->error = b->error;
	}
}

static int find_guarded(struct writer *w, const struct device *self)
{
	struct policy_subject src = registry_subject(self);
	const struct registry *reg = w->s->reg;

	w->guarded = calloc(reg->size + 1UL, sizeof(*w->guarded));
	for (uint32_t i = 0; w->guarded && i < reg->size; i++) {
		struct policy_subject dst;

		if (!reg->devices[i] || reg->devices[i] == self)
			continue;
		dst = registry_subject(reg->devices[i]);
		if (policy_by_pair(w->s->policy, &src, &dst))
			w->guarded[w->nguarded++] = reg->devices[i];
	}
	return w->guarded ? 0 : -ENOMEM;
}

/* every line about the pairs that one with `by` is about: another one may let all processes pass */
static int table_make(struct writer *w, const struct device *self)
{
	unsigned nrules;
	const struct policy_rule *rules = policy_rules(w->s->policy, &nrules);

	if (!new_frame(w))
		return w->error;
	if (policy_has_by(w->s->policy))
		w->error = find_guarded(w, self);
	for (unsigned i = 0; w->nguarded && i < nrules && !w->error; i++)
		put_rule(w, &rules[i], self);
	if (!w->error)
		w->frames[w->n - 1].data[1] |= MVPN_PFX_COMMIT;
	return w->error;
}

static void writer_free(struct writer *w)
{
	for (unsigned i = 0; i < w->n; i++)
		chan_buf_free(&w->frames[i]);
	free(w->frames);
	free(w->guarded);
}

static int table_sum(const struct writer *w, uint8_t ret[32])
{
	struct mvpn_part *parts = calloc(w->n, sizeof(*parts));
	int r = -ENOMEM;

	for (unsigned i = 0; parts && i < w->n; i++)
		parts[i] = (struct mvpn_part){w->frames[i].data, w->frames[i].len};
	if (parts)
		r = mvpn_blake2b(ret, 32, NULL, 0, parts, w->n);
	free(parts);
	return r;
}

static void tell(struct conn *c, bool always)
{
	struct writer w = {.s = c->s};
	uint8_t sum[32];
	int r = table_make(&w, c->dev);

	if (!r)
		r = table_sum(&w, sum);
	if (r < 0) {
		log_err("the lines with \"by\" about %s were not told: %s", c->dev->row.name,
			strerror(-r));
		conn_drop(c); /* it would let processes pass that may not: better it comes again */
	} else if (always || memcmp(sum, c->processes_sum, sizeof(sum))) {
		memcpy(c->processes_sum, sum, sizeof(sum));
		for (unsigned i = 0; i < w.n; i++)
			conn_send(c, &w.frames[i]);
		count(c->s, processes_told);
	}
	writer_free(&w);
}

void processes_subscribe(struct conn *c)
{
	if (!c->doomed)
		tell(c, true);
}

void processes_tell(struct server *s)
{
	for (struct conn *c = s->conns; c; c = c->next)
		if (c->subscribed && !c->doomed && c->dev)
			tell(c, false);
}

static void on_timer(void *arg)
{
	processes_tell(arg);
}

int processes_new(struct server *s)
{
	return loop_timer_new(s->loop, on_timer, s, &s->processes);
}

void processes_changed(struct server *s)
{
	if (!loop_timer_armed(s->processes))
		loop_timer_arm(s->processes, 0);
}

static bool cannot(const struct device *d)
{
	return d->conn && !d->conn->tells_processes;
}

bool processes_beyond(struct server *s, const struct device *a, const struct device *b)
{
	struct policy_subject sa, sb;

	if (!policy_has_by(s->policy) || (!cannot(a) && !cannot(b)))
		return false;
	sa = registry_subject(a);
	sb = registry_subject(b);
	return (cannot(a) && policy_by_pair(s->policy, &sa, &sb)) ||
	       (cannot(b) && policy_by_pair(s->policy, &sb, &sa));
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
	}
	return "no-socket";
}

static int note(struct conn *c, const struct chan_tlv *t)
{
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
	if (!texts(t->value + sizeof(r), t->len - sizeof(r), copy, text))
		return -EPROTO;
	memcpy(dst.b, r.dst, sizeof(dst.b));
	peer = registry_by_id(c->s->reg, r.peer);
	memcpy(key.device, c->dev->row.id, MVPN_ID_LEN);
	mvpn_blake2b(key.hash, sizeof(key.hash), NULL, 0, like, 3);
	refusal_note(c->s, "device", "process-refused", &key, sizeof(key),
		     json_pack("{s:s, s:s*, s:s, s:s, s:i, s:I, s:s, s:I, s:I, s:s, s:s, s:s, s:I}",
			       "device", c->dev->row.name, "peer", peer ? peer->row.name : NULL,
			       "dst", mvpn_addr_str(&dst, to), "proto",
			       mvpn_proto_name(r.proto, proto), "port", (int)be16toh(r.port_be),
			       "line", (json_int_t)be32toh(r.line_be), "refused", why_name(r.why),
			       "pid", (json_int_t)be32toh(r.pid_be), "uid",
			       (json_int_t)be32toh(r.uid_be), "process", text[0], "exe", text[1],
			       "unit", text[2], "attempts", (json_int_t)be32toh(r.count_be)));
	count(c->s, processes_refused);
	return 0;
}

int processes_message(struct conn *c, const struct chan_msg *m)
{
	uint64_t now = mono_ms();
	struct chan_tlv t;
	unsigned n = 0;
	size_t pos = 0;
	int r = 0;

	if (c->dev->row.state != MVPN_DEV_ACTIVE ||
	    (c->reported_ms && now - c->reported_ms < REPORT_GAP_MS)) {
		count(c->s, processes_unheard);
		return 0;
	}
	c->reported_ms = now;
	while (r == 0 && chan_tlv_next(m, &pos, &t))
		if (t.type == MVPN_TLV_PROCESS_REFUSED && n++ < MVPN_PROCESS_REPORT_MAX)
			r = note(c, &t);
	return r;
}
