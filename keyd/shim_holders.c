/* SPDX-License-Identifier: BSD-2-Clause */
/* Who has sockets open now: a walk through all processes, loaded when it is first asked for. */
#include <errno.h>
#include <stdlib.h>

#include "shim_priv.h"
#include "whose.skel.h"

struct shim_holders {
	struct whose_bpf *bpf;
	struct bpf_link *walk;
};

void shim_holders_free(struct shim *s)
{
	struct shim_holders *h = s->holders;

	if (!h)
		return;
	bpf_link__destroy(h->walk);
	whose_bpf__destroy(h->bpf);
	free(h);
	s->holders = NULL;
}

static int load(struct shim *s)
{
	struct shim_holders *h;
	int r;

	if (s->holders)
		return 0;
	h = s->holders = calloc(1, sizeof(*h));
	if (!h)
		return -ENOMEM;
	h->bpf = whose_bpf__open();
	r = h->bpf ? whose_bpf__load(h->bpf) : -errno;
	if (r == 0) {
		h->walk = bpf_program__attach_iter(h->bpf->progs.holder, NULL);
		r = h->walk ? 0 : -errno;
	}
	if (r < 0)
		shim_holders_free(s);
	return r;
}

struct told {
	shim_holder_fn *fn;
	void *arg;
};

static void tell(void *arg, const void *record)
{
	const struct told *t = arg;

	t->fn(t->arg, record);
}

int shim_holders(struct shim *s, const uint64_t *cookies, unsigned n, shim_holder_fn *fn, void *arg)
{
	struct told told = {fn, arg};
	int r = load(s), map;

	if (r < 0)
		return r;
	map = bpf_map__fd(s->holders->bpf->maps.asked);
	for (unsigned i = 0; i < n && r == 0; i++)
		r = shim_map_set(map, &cookies[i], &(uint32_t){1}, BPF_ANY);
	if (r == 0)
		r = shim_walk(s->holders->walk, sizeof(struct mvpn_holder), tell, &told);
	shim_clear_but(map, NULL, 0, sizeof(*cookies));
	return r;
}
