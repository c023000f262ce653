/* SPDX-License-Identifier: BSD-2-Clause */
/* Sources that a gateway translates: programs on the interfaces behind it, and their maps. */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shim_priv.h"
#include "translate.skel.h"

struct translated_iface {
	unsigned ifindex;
	int out, in; /* TCX links, -1: clsact filters */
};

struct shim_translate {
	struct translate_bpf *bpf;
	struct translated_iface ifaces[MVPN_TRANSLATE_IFACES_MAX];
	unsigned n;
	struct mvpn_flow_key at; /* where the sweep goes on */
	bool swept;		 /* `at` is set */
};

/* connections outlive keyd: their maps are pinned, and taken up again */
static int load(struct shim *s, struct translate_bpf **ret, char **ret_error)
{
	struct translate_bpf *b = translate_bpf__open();
	char *out = shim_pin(s, "translated"), *in = shim_pin(s, "returning");
	int r = b && out && in ? 0 : -ENOMEM;

	if (r == 0)
		r = bpf_map__set_pin_path(b->maps.translated, out);
	if (r == 0)
		r = bpf_map__set_pin_path(b->maps.returning, in);
	if (r == 0)
		r = shim_share_maps(s, b->obj);
	if (r == 0)
		r = translate_bpf__load(b);
	if (r < 0) {
		translate_bpf__destroy(b);
		shim_fail(ret_error, r,
			  "the kernel does not load the programs that translate: %s (if pinned maps are another version's, remove "
			  "%s and %s: flows that are translated begin anew)\n%s",
			  strerror(-r), out ? out : "", in ? in : "", shim_log_tail());
	} else {
		*ret = b;
	}
	free(out);
	free(in);
	return r;
}

int shim_translate_start(struct shim *s, char **ret_error)
{
	struct shim_translate *t;
	int r;

	if (s->translate)
		return 0;
	shim_log_reset();
	t = calloc(1, sizeof(*t));
	r = t ? load(s, &t->bpf, ret_error) : -ENOMEM;
	if (r < 0)
		free(t);
	else
		s->translate = t;
	return r;
}

/* ---- interfaces ---- */

#define PIN_HEAD "translate-"

/* The link, or a filter's program: so that answers still go to the devices and not to this host while keyd is upgraded. */
static int pin(struct shim *s, unsigned ifindex, const char *way, int fd)
{
	char name[40], *path;
	int r;

	snprintf(name, sizeof(name), PIN_HEAD "%u-%s", ifindex, way);
	path = shim_pin(s, name);
	r = path ? shim_pin_replace(fd, path) : -ENOMEM;
	free(path);
	return r;
}

static struct translated_iface *find(struct shim_translate *t, unsigned ifindex)
{
	for (unsigned i = 0; t && i < t->n; i++)
		if (t->ifaces[i].ifindex == ifindex)
			return &t->ifaces[i];
	return NULL;
}

/* a TCX link goes with its pin and what is open of it */
static void unpin(struct shim *s, const char *name, unsigned ifindex)
{
	char *path = shim_pin(s, name);
	int fd = -1;
	enum shim_pinned p = shim_pin_open(path, &fd);

	if (p == SHIM_PIN_PROG) {
		clsact_unset(s, ifindex,
			     strstr(name, "-in") ? SHIM_TRANSLATE_IN : SHIM_TRANSLATE_OUT);
		clsact_remove_unused(ifindex);
	}
	if (p != SHIM_PIN_NONE) {
		close(fd);
		unlink(path);
	}
	free(path);
}

/* those of interfaces that are not behind this gateway any more, and of an earlier life */
static void unpin_others(struct shim *s)
{
	DIR *d = opendir(s->pin_dir);
	struct dirent *e;

	while (d && (e = readdir(d))) {
		unsigned ifindex;

		if (strncmp(e->d_name, PIN_HEAD, strlen(PIN_HEAD)) != 0)
			continue;
		ifindex = (unsigned)atoi(e->d_name + strlen(PIN_HEAD));
		if (!find(s->translate, ifindex))
			unpin(s, e->d_name, ifindex);
	}
	if (d)
		closedir(d);
}

static int link_on(unsigned ifindex, const struct bpf_program *prog, int hook)
{
	int link = bpf_link_create(bpf_program__fd(prog), (int)ifindex, hook, NULL);

	return link >= 0 ? link : errno == EINVAL ? -EOPNOTSUPP : -errno;
}

static void links_close(struct translated_iface *i)
{
	if (i->in >= 0)
		close(i->in);
	if (i->out >= 0)
		close(i->out);
}

/* before those of an earlier life go: what both see is translated once */
static int attach_tcx(struct shim *s, struct translated_iface *i, const struct bpf_program *out,
		      const struct bpf_program *in)
{
	int r;

	i->out = -1;
	r = i->in = link_on(i->ifindex, in, TCX_INGRESS);
	if (r >= 0)
		r = i->out = link_on(i->ifindex, out, TCX_EGRESS);
	if (r >= 0)
		r = pin(s, i->ifindex, "in", i->in);
	if (r >= 0)
		r = pin(s, i->ifindex, "out", i->out);
	if (r >= 0)
		return 0;
	links_close(i);
	return r;
}

static int attach_clsact(struct shim *s, struct translated_iface *i, const struct bpf_program *out,
			 const struct bpf_program *in)
{
	int in_fd = bpf_program__fd(in), out_fd = bpf_program__fd(out), r;
	bool made, fresh;

	i->out = i->in = -1;
	r = clsact_create(i->ifindex, &made);
	if (r == 0)
		r = clsact_set(s, i->ifindex, SHIM_TRANSLATE_IN, in_fd, &fresh);
	if (r == 0)
		r = pin(s, i->ifindex, "in", in_fd);
	if (r == 0)
		r = clsact_set(s, i->ifindex, SHIM_TRANSLATE_OUT, out_fd, &fresh);
	return r ? r : pin(s, i->ifindex, "out", out_fd);
}

static int attach(struct shim *s, struct translated_iface *i, bool raw)
{
	const struct translate_bpf *b = s->translate->bpf;
	const struct bpf_program *out = raw ? b->progs.translate_out_raw : b->progs.translate_out,
				 *in = raw ? b->progs.translate_in_raw : b->progs.translate_in;
	int r = s->no_tcx ? -EOPNOTSUPP : attach_tcx(s, i, out, in);

	return r == -EOPNOTSUPP ? attach_clsact(s, i, out, in) : r;
}

static bool wanted(const struct shim_behind *list, unsigned n, unsigned ifindex)
{
	for (unsigned i = 0; i < n; i++)
		if (list[i].ifindex == ifindex)
			return true;
	return false;
}

static int set_one(struct shim *s, const struct shim_behind *to, struct mvpn_translate_iface *key)
{
	struct shim_translate *t = s->translate;
	struct translated_iface fresh = {.ifindex = to->ifindex};
	int r = 0;

	*key = (struct mvpn_translate_iface){to->ifindex, mvpn_addr_is_v4(&to->addr)};
	/* the address first: without one the program drops */
	r = shim_map_set(bpf_map__fd(t->bpf->maps.translate_as), key, &to->addr, BPF_ANY);
	if (r < 0 || find(t, to->ifindex))
		return r;
	r = attach(s, &fresh, to->raw);
	if (r == 0)
		t->ifaces[t->n++] = fresh;
	return r;
}

int shim_translate_set(struct shim *s, const struct shim_behind *list, unsigned n)
{
	struct mvpn_translate_iface keep[2 * MVPN_TRANSLATE_IFACES_MAX];
	struct shim_translate *t = s->translate;
	int r = 0, one;

	for (unsigned i = 0; i < t->n;) {
		if (wanted(list, n, t->ifaces[i].ifindex)) {
			i++;
			continue;
		}
		links_close(&t->ifaces[i]);
		t->ifaces[i] = t->ifaces[--t->n];
	}
	unpin_others(s);
	for (unsigned i = 0; i < n; i++) {
		one = set_one(s, &list[i], &keep[i]);
		r = r ? r : one;
	}
	shim_clear_but(bpf_map__fd(t->bpf->maps.translate_as), keep, n, sizeof(keep[0]));
	return r;
}

void shim_translate_stop(struct shim *s)
{
	struct shim_translate *t = s->translate;

	s->translate = NULL;
	unpin_others(s);
	shim_translate_leave(t);
}

void shim_translate_leave(struct shim_translate *t)
{
	for (unsigned i = 0; t && i < t->n; i++)
		links_close(&t->ifaces[i]);
	if (t)
		translate_bpf__destroy(t->bpf);
	free(t);
}

/* ---- entries ---- */

static uint64_t idle_ns(const struct mvpn_flow_key *k, const struct mvpn_translation *t)
{
	const uint8_t fins = MVPN_TRANSLATION_FIN_OUT | MVPN_TRANSLATION_FIN_IN;
	uint64_t s;

	if (k->proto == IPPROTO_UDP)
		s = MVPN_TRANSLATE_UDP_S;
	else if (k->proto != IPPROTO_TCP)
		s = MVPN_TRANSLATE_ICMP_S;
	else if (t->state & MVPN_TRANSLATION_RESET)
		s = MVPN_TRANSLATE_TCP_RESET_S;
	else if ((t->state & fins) == fins)
		s = MVPN_TRANSLATE_TCP_CLOSED_S;
	else if (t->state & fins || !(t->state & MVPN_TRANSLATION_ANSWERED))
		s = MVPN_TRANSLATE_TCP_OTHER_S;
	else
		s = MVPN_TRANSLATE_TCP_S;
	return s * 1000000000ULL;
}

static void back_of(const struct mvpn_flow_key *flow, const struct mvpn_translation *t,
		    struct mvpn_flow_key *ret)
{
	*ret = (struct mvpn_flow_key){.sport = flow->dport, .dport = t->port, .proto = flow->proto};
	memcpy(ret->src, flow->dst, 16);
	memcpy(ret->dst, t->addr, 16);
}

/* an answer's entry: gone when its flow is, or has become idle, or has another port by now */
static bool look_at(struct shim_translate *t, const struct mvpn_flow_key *back, uint64_t now_ns,
		    struct mvpn_flow_key *ret_flow)
{
	int out = bpf_map__fd(t->bpf->maps.translated), in = bpf_map__fd(t->bpf->maps.returning);
	struct mvpn_flow_key own;
	struct mvpn_translation v;

	if (bpf_map_lookup_elem(in, back, ret_flow))
		return false;
	if (bpf_map_lookup_elem(out, ret_flow, &v)) {
		bpf_map_delete_elem(in, back);
		return false;
	}
	back_of(ret_flow, &v, &own);
	if (memcmp(&own, back, sizeof(own))) {
		bpf_map_delete_elem(in, back);
		return false;
	}
	if (now_ns < v.last_ns + idle_ns(ret_flow, &v))
		return true;
	bpf_map_delete_elem(out, ret_flow);
	bpf_map_delete_elem(in, back);
	return false;
}

bool shim_translate_sweep(struct shim *s, unsigned most, uint64_t now_ns, shim_translated_fn *fn,
			  void *arg)
{
	struct shim_translate *t = s->translate;
	int in = t ? bpf_map__fd(t->bpf->maps.returning) : -1;
	struct mvpn_flow_key next, flow;

	if (!t)
		return false;

	for (; most; most--) {
		bool last = bpf_map_get_next_key(in, t->swept ? &t->at : NULL, &next);

		/* only now: a key that has gone is followed by the first one */
		if (t->swept && look_at(t, &t->at, now_ns, &flow))
			fn(arg, &flow);
		t->swept = !last;
		if (last)
			return true;
		t->at = next;
	}
	return false;
}

int shim_translate_most(struct shim *s, unsigned each)
{
	uint32_t most = each;

	return shim_map_set(bpf_map__fd(s->translate->bpf->maps.translate_most), &(uint32_t){0},
			    &most, BPF_ANY);
}

void shim_shares_each(struct shim *s, shim_share_fn *fn, void *arg)
{
	int fd = s->translate ? bpf_map__fd(s->translate->bpf->maps.shares) : -1;
	uint32_t peer, next;
	struct mvpn_share share;
	bool more = !bpf_map_get_next_key(fd, NULL, &next);

	/* at most so many: a key that goes meanwhile is followed by the first one */
	for (unsigned i = 0; more && i < MVPN_PEERS_MAX; i++) {
		peer = next;
		more = !bpf_map_get_next_key(fd, &peer, &next);
		if (!bpf_map_lookup_elem(fd, &peer, &share))
			fn(arg, peer, &share);
	}
}

int shim_share_counted(struct shim *s, uint32_t peer, const struct mvpn_share_counted *c)
{
	const struct translate_bpf *b = s->translate->bpf;

	if (c)
		return shim_map_set(bpf_map__fd(b->maps.shares_counted), &peer, c, BPF_ANY);
	/* in this order: what is made in between begins at 0, and the next count has it */
	bpf_map_delete_elem(bpf_map__fd(b->maps.shares_counted), &peer);
	return bpf_map_delete_elem(bpf_map__fd(b->maps.shares), &peer) ? -errno : 0;
}

int shim_translation_get(struct shim *s, const struct mvpn_flow_key *flow,
			 struct mvpn_translation *ret)
{
	if (!s->translate)
		return -ENOENT;
	return bpf_map_lookup_elem(bpf_map__fd(s->translate->bpf->maps.translated), flow, ret)
		       ? -errno
		       : 0;
}

int shim_translate_counters(struct shim *s, uint64_t ret[MVPN_T_MAX])
{
	int cpus = libbpf_num_possible_cpus();
	uint64_t *values = cpus > 0 ? calloc((size_t)cpus, sizeof(*values)) : NULL;
	int fd = s->translate ? bpf_map__fd(s->translate->bpf->maps.translate_counters) : -1;
	int r = fd < 0 ? -ENOENT : values ? 0 : -ENOMEM;

	memset(ret, 0, MVPN_T_MAX * sizeof(*ret));
	for (__u32 i = 0; i < MVPN_T_MAX && r == 0; i++) {
		r = bpf_map_lookup_elem(fd, &i, values) ? -errno : 0;
		for (int c = 0; c < cpus && r == 0; c++)
			ret[i] += values[c];
	}
	free(values);
	return r;
}
