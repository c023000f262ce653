/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Whose each socket is, for lines of the policy with `by`: a program where sockets are made, one that walks through those there are,
 * and the maps of what is asked. The programs go with this process; without keyd nothing passes.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "process.skel.h"
#include "shim_priv.h"
#include "traits.h"

#define HOOKS 2

struct shim_process {
	struct process_bpf *bpf;
	int links[HOOKS];
	struct bpf_link *walk;
};

static void destroy(struct shim_process *p)
{
	if (!p)
		return;
	for (unsigned i = 0; i < HOOKS; i++)
		if (p->links[i] >= 0)
			close(p->links[i]);
	bpf_link__destroy(p->walk);
	process_bpf__destroy(p->bpf);
	free(p);
}

static int load(struct shim *s, struct shim_process *p, char **ret_error)
{
	__u64 cookie;
	int r = shim_own_netns(&cookie, ret_error);

	if (r < 0)
		return r;
	p->bpf = process_bpf__open();
	if (!p->bpf)
		return shim_fail(ret_error, -errno, "cannot open the process programs: %s",
				 strerror(errno));
	p->bpf->rodata->netns_cookie = cookie;
	r = shim_load(s, p->bpf->skeleton, "process programs", ret_error);
	if (r < 0)
		return r;
	p->walk = bpf_program__attach_iter(p->bpf->progs.sock_found, NULL);
	return p->walk ? 0
		       : shim_fail(ret_error, -errno, "no walk through the sockets of processes: %s", strerror(errno));
}

static int attach(struct shim *s, struct shim_process *p, char **ret_error)
{
	int r = shim_cgroup_find(s, ret_error);

	if (r == 0)
		r = load(s, p, ret_error);
	if (r < 0)
		return r;
	return shim_cgroup_hooks(s,
				 (const struct shim_cgroup_hook[HOOKS]){
					 {p->bpf->progs.sock_made, BPF_CGROUP_INET_SOCK_CREATE},
					 {p->bpf->progs.sock_sends, BPF_CGROUP_INET_EGRESS},
				 },
				 HOOKS, p->links, ret_error);
}

int shim_process_attach(struct shim *s)
{
	struct shim_process *p;
	int r;

	if (s->process)
		return 0;
	free(s->process_error);
	s->process_error = NULL;
	shim_log_reset();
	p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	for (unsigned i = 0; i < HOOKS; i++)
		p->links[i] = -1;
	r = attach(s, p, &s->process_error);
	if (r < 0)
		destroy(p);
	else
		s->process = p;
	return r;
}

void shim_process_detach(struct shim *s)
{
	destroy(s->process);
	s->process = NULL;
}

const char *shim_process(const struct shim *s, const char **ret_error)
{
	*ret_error = s->process_error;
	return s->process ? s->cgroup : NULL;
}

/* it writes nothing: the walk is what is wanted */
static void nothing(void *arg, const void *record)
{
}

int shim_process_walk(struct shim *s)
{
	return s->process ? shim_walk(s->process->walk, 1, nothing, NULL) : -ENOENT;
}

/* ---- maps ---- */

static int fd_of(const struct bpf_map *map)
{
	return bpf_map__fd(map);
}

static int put(int fd, const void *keys, size_t key_size, const void *values, size_t value_size,
	       unsigned n)
{
	int r = 0;

	for (unsigned i = 0; i < n && r == 0; i++)
		r = shim_map_set(fd, (const char *)keys + i * key_size,
				 (const char *)values + i * value_size, BPF_ANY);
	return r;
}

int shim_traits_add(struct shim *s, const struct shim_traits *t)
{
	int r = put(fd_of(s->bpf->maps.uids), t->uids, sizeof(*t->uids), t->uid_traits,
		    sizeof(*t->uid_traits), t->nuids);

	if (r == 0)
		r = put(fd_of(s->bpf->maps.exes), t->exes, sizeof(*t->exes), t->exe_traits,
			sizeof(*t->exe_traits), t->nexes);
	if (r == 0)
		r = put(fd_of(s->bpf->maps.groups), t->groups, sizeof(*t->groups), t->group_traits,
			sizeof(*t->group_traits), t->ngroups);
	return r;
}

int shim_traits_only(struct shim *s, const struct shim_traits *t)
{
	int r = shim_clear_but(fd_of(s->bpf->maps.uids), t->uids, t->nuids, sizeof(*t->uids));

	if (r == 0)
		r = shim_clear_but(fd_of(s->bpf->maps.exes), t->exes, t->nexes, sizeof(*t->exes));
	if (r == 0)
		r = shim_clear_but(fd_of(s->bpf->maps.groups), t->groups, t->ngroups,
				   sizeof(*t->groups));
	return r < 0 ? r : shim_traits_add(s, t);
}

int shim_processes(struct shim *s, const struct mvpn_processes *p)
{
	return shim_map_set(fd_of(s->bpf->maps.processes), &(__u32){0}, p, BPF_ANY);
}

int shim_guard_set(struct shim *s, uint32_t peer, const struct mvpn_guard *g)
{
	return shim_map_set(fd_of(s->bpf->maps.guards), &peer, g, BPF_ANY);
}

int shim_guard_clear(struct shim *s, uint32_t peer)
{
	return bpf_map_delete_elem(fd_of(s->bpf->maps.guards), &peer) < 0 ? -errno : 0;
}

int shim_guards_clear_all(struct shim *s)
{
	return shim_clear_but(fd_of(s->bpf->maps.guards), NULL, 0, sizeof(__u32));
}
