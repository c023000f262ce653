/* SPDX-License-Identifier: BSD-2-Clause */
/* The socket shim: eight programs on the root of the cgroup tree, all or none, by pinned links. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shim_priv.h"
#include "sock.skel.h"

static const struct {
	const char *pin, *program;
	enum bpf_attach_type type;
} hooks[] = {
	{"sock_connect4", "connect4", BPF_CGROUP_INET4_CONNECT},
	{"sock_connect6", "connect6", BPF_CGROUP_INET6_CONNECT},
	{"sock_sendmsg4", "sendmsg4", BPF_CGROUP_UDP4_SENDMSG},
	{"sock_sendmsg6", "sendmsg6", BPF_CGROUP_UDP6_SENDMSG},
	{"sock_bind4", "bind4", BPF_CGROUP_INET4_BIND},
	{"sock_bind6", "bind6", BPF_CGROUP_INET6_BIND},
	{"sock_create", "create", BPF_CGROUP_INET_SOCK_CREATE},
	{"sock_option", "set_option", BPF_CGROUP_SETSOCKOPT},
};
#define NHOOKS (sizeof(hooks) / sizeof(hooks[0]))

static int load(struct shim *s, struct sock_bpf **ret, char **ret_error)
{
	struct sock_bpf *b;
	__u64 cookie;
	int r = shim_own_netns(&cookie, ret_error);

	if (r < 0)
		return r;
	b = sock_bpf__open();
	if (!b)
		return shim_fail(ret_error, -errno, "cannot open the socket programs: %s",
				 strerror(errno));
	b->rodata->netns_cookie = cookie;
	b->rodata->namespaces = s->namespaces;
	r = shim_load(s, b->skeleton, "socket programs", ret_error);
	if (r < 0)
		sock_bpf__destroy(b);
	else
		*ret = b;
	return r;
}

static void unlink_all(struct shim *s)
{
	for (unsigned i = 0; i < NHOOKS; i++)
		shim_cgroup_unlink(s, hooks[i].pin);
}

int shim_socket_attach(struct shim *s)
{
	struct sock_bpf *b = NULL;
	int r;

	if (s->socket)
		return 0;
	free(s->socket_error);
	s->socket_error = NULL;
	shim_log_reset();
	r = shim_cgroup_find(s, &s->socket_error);
	if (r == 0)
		r = load(s, &b, &s->socket_error);
	for (unsigned i = 0; i < NHOOKS && r == 0; i++) {
		const struct bpf_program *p =
			bpf_object__find_program_by_name(b->obj, hooks[i].program);

		r = shim_cgroup_link(s, hooks[i].pin, bpf_program__fd(p), hooks[i].type,
				     &s->socket_error);
	}
	if (r < 0)
		unlink_all(s);
	sock_bpf__destroy(b);
	s->socket = r == 0;
	return r;
}

void shim_socket_detach(struct shim *s)
{
	unlink_all(s);
	s->socket = false;
}

enum mvpn_namespaces shim_namespaces(const struct shim *s)
{
	return s->namespaces;
}

const char *shim_socket(const struct shim *s, const char **ret_error)
{
	*ret_error = s->socket_error;
	return s->socket ? s->cgroup : NULL;
}
