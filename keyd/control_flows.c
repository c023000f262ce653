/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The verb `flows`: what the network shim has counted, and whose it is. That comes from the socket and transport shims, who
 * remember; where they were not yet there, and for what an open connection has moved until now, from the kernel.
 */
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cgroups.h"
#include "control.h"
#include "peers.h"
#include "sockdiag.h"

struct flow_list {
	struct keyd *k;
	struct flow_row {
		struct mvpn_flow_key key;
		struct mvpn_flow flow;
	} * rows;
	size_t n, size;
};

static int flow_collect(void *arg, const struct mvpn_flow_key *key, const struct mvpn_flow *f)
{
	struct flow_list *l = arg;
	struct flow_row *more;

	if (l->n == l->size) {
		l->size = l->size ? l->size * 2 : 256;
		more = reallocarray(l->rows, l->size, sizeof(*more));
		if (!more)
			return -1;
		l->rows = more;
	}
	l->rows[l->n].key = *key;
	l->rows[l->n++].flow = *f;
	return 0;
}

static int flow_newest(const void *a, const void *b)
{
	uint64_t x = ((const struct flow_row *)a)->flow.last_ns,
		 y = ((const struct flow_row *)b)->flow.last_ns;

	return x < y ? 1 : x > y ? -1 : 0;
}

/* whose socket it is, as far as anybody knows */
struct origin {
	bool known;
	struct mvpn_socket s;
	uint32_t inode; /* of an open socket: /proc tells by it which processes have it */
	bool tcp;	/* s has what it has moved */
};

struct origins {
	struct keyd *k;
	struct sockdiag *diag; /* NULL: nobody to ask */
	struct cgroups *groups;
	unsigned asked;
};

static struct origin origin_of(struct origins *o, const struct flow_row *row)
{
	struct origin ret = {};
	struct socket_info info;

	if (row->flow.cookie)
		ret.known = shim_socket_get(o->k->shim, row->flow.cookie, &ret.s) == 0;
	if (ret.known && ret.s.ended_ns) {
		ret.tcp = true;
		return ret;
	}
	if (!row->flow.cookie || !o->diag || o->asked++ >= MVPN_FLOWS_ASKED_MAX ||
	    sockdiag_get(o->diag, &row->key, row->flow.cookie, &info) < 0)
		return ret;
	if (!ret.known) {
		ret.s.uid = info.uid;
		ret.s.cgroup = info.cgroup;
		ret.known = true;
	}
	ret.inode = info.inode;
	ret.tcp = info.tcp;
	ret.s.bytes_in = info.bytes_in;
	ret.s.bytes_out = info.bytes_out;
	ret.s.srtt_us = info.rtt_us;
	return ret;
}

static json_t *show_process(const struct origins *o, const struct origin *g, uint64_t now)
{
	const char *path = g->s.cgroup ? cgroups_path(o->groups, g->s.cgroup) : NULL;
	char unit[256] = "", comm[sizeof(g->s.comm) + 1];

	if (!g->known)
		return json_null();
	if (path)
		cgroup_unit(unit, sizeof(unit), path);
	snprintf(comm, sizeof(comm), "%.*s", (int)sizeof(g->s.comm), g->s.comm);
	for (char *c = comm; *c; c++)
		if (*c & 0x80) /* a process may call itself anything; JSON is UTF-8 */
			*c = '?';
	return json_pack("{s:o, s:o, s:I, s:s?, s:s?, s:b, s:o, s:o}", "pid",
			 g->s.pid ? json_integer(g->s.pid) : json_null(), "comm",
			 *comm ? json_string(comm) : json_null(), "uid", (json_int_t)g->s.uid,
			 "cgroup", path, "unit", *unit ? unit : NULL, "accepted",
			 g->s.flags & MVPN_SOCKET_ACCEPTED, "inode",
			 g->inode ? json_integer(g->inode) : json_null(), "since_s",
			 g->s.since_ns ? json_real((now - g->s.since_ns) / 1e9) : json_null());
}

static json_t *show_flow(struct origins *l, const struct flow_row *row)
{
	const struct mvpn_flow *f = &row->flow;
	struct peer *p = peer_by_index(l->k, f->peer);
	struct origin g = origin_of(l, row);
	struct mvpn_addr dst;
	uint64_t now = mono_ns();
	uint8_t mac[6];
	char type[8];
	json_t *o;

	memcpy(dst.b, row->key.dst, sizeof(dst.b));
	o = json_pack("{s:o, s:o, s:i, s:i, s:i, s:o, s:I, s:I, s:f, s:f, s:s, s:s, s:o}", "src",
		      show_addr16(row->key.src), "dst", show_addr16(row->key.dst), "proto",
		      row->key.proto, "sport", be16toh(row->key.sport), "dport",
		      be16toh(row->key.dport), "peer", p ? json_string(peer_label(p)) : json_null(),
		      "packets", (json_int_t)f->packets, "bytes", (json_int_t)f->bytes, "first_s",
		      (now - f->first_ns) / 1e9, "last_s", (now - f->last_ns) / 1e9, "verdict",
		      f->verdict < MVPN_C_MAX ? shim_counter_names[f->verdict] : "unknown", "level",
		      "network", "process", show_process(l, &g, now));
	if (g.tcp)
		json_object_set_new(o, "tcp",
				    json_pack("{s:I, s:I, s:f, s:b}", "bytes_in",
					      (json_int_t)g.s.bytes_in, "bytes_out",
					      (json_int_t)g.s.bytes_out, "rtt_ms",
					      g.s.srtt_us / 1e3, "open", !g.s.ended_ns));
	if (mvpn_addr_mac(&dst, mac)) {
		snprintf(type, sizeof(type), "0x%04x", be16toh(row->key.dport));
		json_object_set_new(o, "ethertype", json_string(type));
		json_object_set_new(o, "dport", json_integer(0));
	}
	return o;
}

json_t *show_flows(struct keyd *k)
{
	struct flow_list l = {.k = k};
	struct origins o = {.k = k};
	json_t *list = json_array();
	char root[CGROUP_PATH_MAX] = "";
	size_t i;

	shim_flows_each(k->shim, flow_collect, &l);
	if (l.n)
		qsort(l.rows, l.n, sizeof(*l.rows), flow_newest);
	if (l.n && sockdiag_new(&o.diag))
		o.diag = NULL;
	shim_cgroup_root(root);
	o.groups = cgroups_read(root);
	for (i = 0; o.groups && i < l.n; i++)
		json_array_append_new(list, show_flow(&o, &l.rows[i]));
	cgroups_free(o.groups);
	sockdiag_free(o.diag);
	free(l.rows);
	return json_pack("{s:o}", "flows", list);
}
