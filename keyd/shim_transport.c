/* SPDX-License-Identifier: BSD-2-Clause */
/* The transport shim: on the root of the cgroup tree, by a pinned link, for the connections of our network namespace alone. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shim_priv.h"
#include "sockops.skel.h"

#define PIN_NAME "transport"

/* with the shim's maps, all of them: none is made */
static int load(struct shim *s, struct sockops_bpf **ret, char **ret_error)
{
	struct sockops_bpf *b;
	__u64 cookie;
	int r = shim_own_netns(&cookie, ret_error);

	if (r < 0)
		return r;
	b = sockops_bpf__open();
	if (!b)
		return shim_fail(ret_error, -errno, "cannot open the sockops program: %s",
				 strerror(errno));
	b->rodata->netns_cookie = cookie;
	r = shim_load(s, b->skeleton, "sockops program", ret_error);
	if (r < 0)
		sockops_bpf__destroy(b);
	else
		*ret = b;
	return r;
}

int shim_transport_attach(struct shim *s)
{
	struct sockops_bpf *b = NULL;
	int r;

	if (s->transport)
		return 0;
	free(s->transport_error);
	s->transport_error = NULL;
	shim_log_reset();
	r = shim_cgroup_find(s, &s->transport_error);
	if (r == 0)
		r = load(s, &b, &s->transport_error);
	if (r == 0)
		r = shim_cgroup_link(s, PIN_NAME, bpf_program__fd(b->progs.transport),
				     BPF_CGROUP_SOCK_OPS, &s->transport_error);
	sockops_bpf__destroy(b);
	s->transport = r == 0;
	return r;
}

void shim_transport_detach(struct shim *s)
{
	shim_cgroup_unlink(s, PIN_NAME);
	s->transport = false;
}

const char *shim_transport(const struct shim *s, const char **ret_error)
{
	*ret_error = s->transport_error;
	return s->transport ? s->cgroup : NULL;
}
