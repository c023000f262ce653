/* SPDX-License-Identifier: BSD-2-Clause */
/* Who has sockets open now: a walk through all processes, loaded when it is first asked for. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

/* from buf, what is whole; returns how much of it that was */
static size_t tell(const char *buf, size_t len, shim_holder_fn *fn, void *arg)
{
	struct mvpn_holder e;
	size_t at;

	for (at = 0; len - at >= sizeof(e); at += sizeof(e)) {
		memcpy(&e, buf + at, sizeof(e));
		fn(arg, &e);
	}
	return at;
}

static int walk(const struct shim_holders *h, shim_holder_fn *fn, void *arg)
{
	char buf[16 * sizeof(struct mvpn_holder)];
	int fd = bpf_iter_create(bpf_link__fd(h->walk));
	size_t have = 0, took;
	ssize_t n;

	if (fd < 0)
		return -errno;
	do {
		n = read(fd, buf + have, sizeof(buf) - have);
		have += n > 0 ? (size_t)n : 0;
		took = tell(buf, have, fn, arg);
		have -= took;
		memmove(buf, buf + took, have);
	} while (n > 0 || (n < 0 && errno == EAGAIN));
	n = n < 0 ? -errno : 0;
	close(fd);
	return (int)n;
}

int shim_holders(struct shim *s, const uint64_t *cookies, unsigned n, shim_holder_fn *fn, void *arg)
{
	int r = load(s), map;

	if (r < 0)
		return r;
	map = bpf_map__fd(s->holders->bpf->maps.asked);
	for (unsigned i = 0; i < n && r == 0; i++)
		r = shim_map_set(map, &cookies[i], &(uint32_t){1}, BPF_ANY);
	if (r == 0)
		r = walk(s->holders, fn, arg);
	shim_clear_but(map, NULL, 0, sizeof(*cookies));
	return r;
}
