/* SPDX-License-Identifier: BSD-2-Clause */
#include "process_table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "chan.h"

/* room for one more; arrays double at powers of two */
static int grow(void *array, unsigned n, size_t size)
{
	void **a = array, *more;

	if (n & (n - 1))
		return 0;
	more = reallocarray(*a, n ? 2UL * n : 1, size);
	if (!more)
		return -ENOMEM;
	*a = more;
	return 0;
}

static int line_begin(struct process_table *t, const struct chan_tlv *v)
{
	struct process_line *l;
	int r;

	if (v->len < 4)
		return -EBADMSG;
	r = grow(&t->lines, t->n, sizeof(*t->lines));
	if (r < 0)
		return r;
	l = &t->lines[t->n];
	memset(l, 0, sizeof(*l));
	l->text = strndup((const char *)v->value + 4, v->len - 4U);
	if (!l->text)
		return -ENOMEM;
	for (char *c = l->text; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 127)
			*c = '?';
	l->line = (uint32_t)v->value[0] << 24 | v->value[1] << 16 | v->value[2] << 8 | v->value[3];
	t->n++;
	return 0;
}

static int add_service(struct process_line *l, const struct chan_tlv *v)
{
	struct mvpn_service s;
	int r;

	if (v->len != MVPN_SERVICE_B || l->nservices == MVPN_SERVICES_MAX)
		return -EBADMSG;
	mvpn_service_decode(&s, v->value);
	if (!s.proto || s.hi < s.lo)
		return -EBADMSG;
	r = grow(&l->services, l->nservices, sizeof(s));
	if (r == 0)
		l->services[l->nservices++] = s;
	return r;
}

static int add_by(struct process_line *l, const struct chan_tlv *v)
{
	struct process_by by = {.trait = -1};
	int r;

	if (v->len < 2 || v->value[0] >= MVPN_BY_KINDS || l->nby == MVPN_BY_LINE_MAX)
		return -EBADMSG;
	by.kind = v->value[0];
	r = grow(&l->by, l->nby, sizeof(by));
	if (r < 0)
		return r;
	by.value = strndup((const char *)v->value + 1, v->len - 1U);
	if (!by.value)
		return -ENOMEM;
	l->by[l->nby++] = by;
	return mvpn_by_wrong(by.kind, by.value) || strlen(by.value) != v->len - 1U ? -EBADMSG : 0;
}

static int add_peer(struct process_line *l, const struct chan_tlv *v)
{
	int r;

	if (v->len != MVPN_ID_LEN)
		return -EBADMSG;
	r = grow(&l->peers, l->npeers, sizeof(*l->peers));
	if (r == 0)
		memcpy(l->peers[l->npeers++], v->value, MVPN_ID_LEN);
	return r;
}

static int take(struct process_table *t, const struct chan_tlv *v)
{
	if (v->type == MVPN_TLV_PROCESS_LINE)
		return line_begin(t, v);
	if (!t->n)
		return -EBADMSG;
	switch (v->type) {
	case MVPN_TLV_PROCESS_SERVICE:
		return add_service(&t->lines[t->n - 1], v);
	case MVPN_TLV_PROCESS_BY:
		return add_by(&t->lines[t->n - 1], v);
	case MVPN_TLV_PROCESS_PEER:
		return add_peer(&t->lines[t->n - 1], v);
	}
	return -EBADMSG; /* what a line has besides decides whom it lets pass */
}

int process_table_parse(const uint8_t *tlvs, size_t len, struct process_table **ret)
{
	struct process_table *t = calloc(1, sizeof(*t));
	struct chan_msg m = {.tlvs = tlvs, .len = len};
	struct chan_tlv v;
	size_t pos = 0;
	int r = t ? 0 : -ENOMEM;

	while (r == 0 && chan_tlv_next(&m, &pos, &v))
		r = take(t, &v);
	if (r == 0 && pos != len)
		r = -EBADMSG;
	if (r < 0) {
		process_table_free(t);
		return r;
	}
	*ret = t;
	return 0;
}

static void line_free(struct process_line *l)
{
	for (unsigned i = 0; i < l->nby; i++)
		free(l->by[i].value);
	free(l->by);
	free(l->services);
	free(l->peers);
	free(l->text);
}

void process_table_free(struct process_table *t)
{
	if (!t)
		return;
	for (unsigned i = 0; i < t->n; i++)
		line_free(&t->lines[i]);
	free(t->lines);
	free(t);
}

const char *process_table_text(const struct process_table *t, uint32_t line)
{
	for (unsigned i = 0; t && i < t->n; i++)
		if (t->lines[i].line == line)
			return t->lines[i].text;
	return NULL;
}
