/* SPDX-License-Identifier: BSD-2-Clause */
/* The socket level: programs on the root of the cgroup tree, for the sockets of our network namespace alone, and their maps. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shim_priv.h"
#include "stream.skel.h"

#define HOOKS 11
#define LOOPBACK_IFINDEX 1

struct shim_streams {
	struct stream_bpf *bpf;
	struct bpf_link *walk;
	int links[HOOKS], lo; /* lo: TCX; -1: none, or a filter */
	bool filter, made_clsact;
	struct ring_buffer *syns;
	void (*on_syn)(void *arg, const struct mvpn_syn *e); /* while shim_syns() runs */
	void *on_syn_arg;
	unsigned more; /* that it may tell of */
};

static int load(struct shim *s, struct shim_streams *st, char **ret_error)
{
	struct stream_bpf *b;
	__u64 cookie;
	int r = shim_own_netns(&cookie, ret_error);

	if (r < 0)
		return r;
	b = stream_bpf__open();
	if (!b)
		return shim_fail(ret_error, -errno, "cannot open the stream programs: %s",
				 strerror(errno));
	b->rodata->netns_cookie = cookie;
	r = shim_load(s, b->skeleton, "stream programs", ret_error);
	if (r < 0) {
		stream_bpf__destroy(b);
		return r;
	}
	st->bpf = b;
	st->walk = bpf_program__attach_iter(b->progs.stream_owner, NULL);
	return st->walk ? 0
			: shim_fail(ret_error, -errno, "no walk through TCP sockets: %s",
				    strerror(errno));
}

static void destroy(struct shim *s, struct shim_streams *st)
{
	if (!st)
		return;
	if (st->lo >= 0)
		close(st->lo);
	if (st->filter)
		clsact_unset(s, LOOPBACK_IFINDEX, SHIM_EGRESS);
	if (st->made_clsact)
		clsact_remove_unused(LOOPBACK_IFINDEX);
	for (unsigned i = 0; i < HOOKS; i++)
		if (st->links[i] >= 0)
			close(st->links[i]);
	bpf_link__destroy(st->walk);
	ring_buffer__free(st->syns);
	stream_bpf__destroy(st->bpf);
	free(st);
}

#define ENOUGH (-ECANCELED) /* ends ring_buffer__consume(); what is left stays there */

static int syn_in(void *arg, void *data, size_t size)
{
	struct shim_streams *st = arg;

	if (size >= sizeof(struct mvpn_syn))
		st->on_syn(st->on_syn_arg, data);
	return --st->more ? 0 : ENOUGH;
}

static int hooks_attach(struct shim *s, struct shim_streams *st, char **ret_error)
{
	const struct shim_cgroup_hook hooks[HOOKS] = {
		/* last those that divert: the others must be there then */
		{st->bpf->progs.stream_getpeername4, BPF_CGROUP_INET4_GETPEERNAME},
		{st->bpf->progs.stream_getpeername6, BPF_CGROUP_INET6_GETPEERNAME},
		{st->bpf->progs.stream_recvmsg4, BPF_CGROUP_UDP4_RECVMSG},
		{st->bpf->progs.stream_recvmsg6, BPF_CGROUP_UDP6_RECVMSG},
		{st->bpf->progs.stream_ops, BPF_CGROUP_SOCK_OPS},
		{st->bpf->progs.stream_sends, BPF_CGROUP_INET_EGRESS},
		{st->bpf->progs.stream_arrives, BPF_CGROUP_INET_INGRESS},
		{st->bpf->progs.stream_sendmsg4, BPF_CGROUP_UDP4_SENDMSG},
		{st->bpf->progs.stream_sendmsg6, BPF_CGROUP_UDP6_SENDMSG},
		{st->bpf->progs.stream_connect4, BPF_CGROUP_INET4_CONNECT},
		{st->bpf->progs.stream_connect6, BPF_CGROUP_INET6_CONNECT},
	};

	return shim_cgroup_hooks(s, hooks, HOOKS, st->links, ret_error);
}

/* what enters lo */
static int attach_lo(struct shim *s, struct shim_streams *st)
{
	int prog = bpf_program__fd(st->bpf->progs.stream_lo), r = -EOPNOTSUPP;

	if (!s->no_tcx) {
		st->lo = bpf_link_create(prog, LOOPBACK_IFINDEX, TCX_EGRESS, NULL);
		r = st->lo >= 0 ? 0 : errno == EINVAL ? -EOPNOTSUPP : -errno;
	}
	if (r == -EOPNOTSUPP) {
		r = clsact_create(LOOPBACK_IFINDEX, &st->made_clsact);
		if (r == 0)
			r = clsact_set(s, LOOPBACK_IFINDEX, SHIM_EGRESS, prog, &st->filter);
		st->filter = r == 0;
	}
	return r;
}

static int attach(struct shim *s, char **ret_error)
{
	struct shim_streams *st = calloc(1, sizeof(*st));
	int r;

	if (!st)
		return -ENOMEM;
	for (unsigned i = 0; i < HOOKS; i++)
		st->links[i] = -1;
	st->lo = -1;
	r = shim_cgroup_find(s, ret_error);
	if (r == 0)
		r = load(s, st, ret_error);
	if (r == 0) {
		st->syns = ring_buffer__new(bpf_map__fd(st->bpf->maps.syns), syn_in, st, NULL);
		if (!st->syns)
			r = shim_fail(ret_error, -errno, "cannot map the BPF ring of SYNs: %s",
				      strerror(errno));
	}
	if (r == 0) {
		r = attach_lo(s, st);
		if (r < 0)
			shim_fail(ret_error, r, "cannot attach to lo: %s", strerror(-r));
	}
	if (r == 0)
		r = hooks_attach(s, st, ret_error);
	if (r < 0)
		destroy(s, st);
	else
		s->streams = st;
	return r;
}

int shim_streams_attach(struct shim *s)
{
	if (s->streams)
		return 0;
	free(s->streams_error);
	s->streams_error = NULL;
	shim_log_reset();
	return attach(s, &s->streams_error);
}

void shim_streams_detach(struct shim *s)
{
	destroy(s, s->streams);
	s->streams = NULL;
}

bool shim_streams(const struct shim *s, const char **ret_error)
{
	*ret_error = s->streams_error;
	return s->streams;
}

/* ---- maps ---- */

static int fd_of(const struct bpf_map *map)
{
	return bpf_map__fd(map);
}

int shim_stream_own(struct shim *s, int fd)
{
	return shim_map_set(fd_of(s->bpf->maps.own_streams), &fd, &(__u32){1}, BPF_ANY);
}

int shim_divert(struct shim *s, uint32_t peer, const struct mvpn_diversion *d)
{
	return s->streams ? shim_map_set(fd_of(s->bpf->maps.levels), &peer, d, BPF_ANY) : -ENOENT;
}

int shim_undivert(struct shim *s, uint32_t peer)
{
	return bpf_map_delete_elem(fd_of(s->bpf->maps.levels), &peer) < 0 ? -errno : 0;
}

int shim_undivert_all(struct shim *s)
{
	return shim_clear_but(fd_of(s->bpf->maps.levels), NULL, 0, 0);
}

int shim_stream_addresses(struct shim *s, const struct mvpn_addr *list, unsigned n)
{
	int map = s->streams ? fd_of(s->streams->bpf->maps.own_addresses) : -1, r = 0;

	if (map < 0)
		return -ENOENT;
	for (unsigned i = 0; i < n && r == 0; i++)
		r = shim_map_set(map, &list[i], &(__u32){1}, BPF_ANY);
	return r < 0 ? r : shim_clear_but(map, list, n, sizeof(*list));
}

void shim_talks_note(struct shim *s, bool yes)
{
	s->bpf->bss->talks_noted = yes;
}

static void end_put(struct mvpn_end *ret, const struct mvpn_endpoint *e)
{
	memcpy(ret->addr, e->addr.b, 16);
	ret->port = htons(e->port);
	ret->zero = 0;
}

void shim_end_get(struct mvpn_endpoint *ret, const struct mvpn_end *e)
{
	memcpy(ret->addr.b, e->addr, 16);
	ret->port = ntohs(e->port);
}

int shim_diverted(struct shim *s, const struct mvpn_endpoint *from, struct mvpn_endpoint *ret_to)
{
	int map = s->streams ? fd_of(s->streams->bpf->maps.diverted) : -1;
	struct mvpn_end key, to;

	end_put(&key, from);
	if (map < 0 || bpf_map_lookup_elem(map, &key, &to) < 0)
		return -ENOENT;
	shim_end_get(ret_to, &to);
	return 0;
}

void shim_undiverted(struct shim *s, const struct mvpn_endpoint *from)
{
	struct mvpn_end key;

	if (!s->streams)
		return;
	end_put(&key, from);
	bpf_map_delete_elem(fd_of(s->streams->bpf->maps.diverted), &key);
	bpf_map_delete_elem(fd_of(s->streams->bpf->maps.answered), &key);
}

int shim_syns_hold(struct shim *s, int listener)
{
	int prog = s->streams ? bpf_program__fd(s->streams->bpf->progs.stream_syn) : -1;

	return setsockopt(listener, SOL_SOCKET, SO_ATTACH_BPF, &prog, sizeof(prog)) < 0 ? -errno : 0;
}

int shim_syns_fd(struct shim *s)
{
	return s->streams ? ring_buffer__epoll_fd(s->streams->syns) : -ENOENT;
}

int shim_syns(struct shim *s, unsigned most, void (*fn)(void *arg, const struct mvpn_syn *e),
	      void *arg)
{
	struct shim_streams *st = s->streams;
	int r;

	if (!st)
		return -ENOENT;
	st->on_syn = fn;
	st->on_syn_arg = arg;
	st->more = most;
	r = ring_buffer__consume(st->syns);
	return r == ENOUGH || r >= 0 ? 0 : r;
}

int shim_syn_passes(struct shim *s, const struct mvpn_endpoint *from, uint32_t seq)
{
	struct mvpn_end key;
	__be32 value = htonl(seq);

	if (!s->streams)
		return -ENOENT;
	end_put(&key, from);
	return shim_map_set(fd_of(s->streams->bpf->maps.answered), &key, &value, BPF_ANY);
}

int shim_deliver_as(struct shim *s, const struct mvpn_endpoint *from,
		    const struct mvpn_endpoint *client)
{
	struct mvpn_end key, value;
	int map;

	if (!s->streams)
		return -ENOENT;
	map = fd_of(s->streams->bpf->maps.delivered);
	end_put(&key, from);
	if (!client)
		return bpf_map_delete_elem(map, &key) < 0 ? -errno : 0;
	end_put(&value, client);
	return shim_map_set(map, &key, &value, BPF_ANY);
}

struct told {
	shim_owner_fn *fn;
	void *arg;
};

static void owner_tell(void *arg, const void *record)
{
	const struct mvpn_stream_owner *e = record;
	const struct told *t = arg;
	struct mvpn_endpoint self;

	shim_end_get(&self, &e->self);
	t->fn(t->arg, &self, &e->who);
}

int shim_stream_owners(struct shim *s, shim_owner_fn *fn, void *arg)
{
	struct told told = {fn, arg};

	return s->streams ? shim_walk(s->streams->walk, sizeof(struct mvpn_stream_owner), owner_tell, &told)
			  : -ENOENT;
}

/* ---- datagrams ---- */

static int map_of(struct shim *s, const struct bpf_map *(*map)(const struct stream_bpf *b))
{
	return s->streams ? fd_of(map(s->streams->bpf)) : -1;
}

static const struct bpf_map *ports(const struct stream_bpf *b)
{
	return b->maps.datagram_ports;
}

static const struct bpf_map *port_of_end(const struct stream_bpf *b)
{
	return b->maps.port_of_end;
}

static const struct bpf_map *end_of_port(const struct stream_bpf *b)
{
	return b->maps.end_of_port;
}

int shim_datagram_ready(struct shim *s, uint16_t port)
{
	uint32_t be = htons(port);

	return shim_map_set(map_of(s, ports), NULL, &be, BPF_ANY);
}

int shim_datagram_take(struct shim *s, uint16_t *ret_port)
{
	uint32_t be;

	if (bpf_map_lookup_and_delete_elem(map_of(s, ports), NULL, &be) < 0)
		return -errno;
	*ret_port = ntohs((uint16_t)be);
	return 0;
}

int shim_datagram_end(struct shim *s, uint16_t port, struct mvpn_endpoint *ret)
{
	uint32_t be = htons(port);
	struct mvpn_end end;

	if (bpf_map_lookup_elem(map_of(s, end_of_port), &be, &end) < 0)
		return -errno;
	shim_end_get(ret, &end);
	return 0;
}

int shim_datagram_port(struct shim *s, const struct mvpn_endpoint *there, uint16_t *ret_port)
{
	struct mvpn_end end;
	uint32_t be;

	end_put(&end, there);
	if (bpf_map_lookup_elem(map_of(s, port_of_end), &end, &be) < 0)
		return -errno;
	*ret_port = ntohs((uint16_t)be);
	return 0;
}

int shim_datagram_assign(struct shim *s, uint16_t port, const struct mvpn_endpoint *there)
{
	uint32_t be = htons(port);
	struct mvpn_end end;
	int r;

	end_put(&end, there);
	r = shim_map_set(map_of(s, end_of_port), &be, &end, BPF_ANY);
	if (r == 0)
		r = shim_map_set(map_of(s, port_of_end), &end, &be, BPF_NOEXIST);
	if (r < 0)
		bpf_map_delete_elem(map_of(s, end_of_port), &be);
	return r;
}

void shim_datagram_release(struct shim *s, uint16_t port, const struct mvpn_endpoint *there)
{
	uint32_t be = htons(port);
	struct mvpn_end end;

	end_put(&end, there);
	bpf_map_delete_elem(map_of(s, port_of_end), &end);
	bpf_map_delete_elem(map_of(s, end_of_port), &be);
}

uint64_t shim_datagram_refused(struct shim *s)
{
	return s->streams ? __atomic_exchange_n(&s->streams->bpf->bss->datagram_no_port, 0,
						__ATOMIC_RELAXED)
			  : 0;
}
