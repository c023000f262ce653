/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Several networks on one host: the maps that their shims share, below a directory of their own (include/mvpn/maps.h). Who is alone has
 * them among the others.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fsutil.h"
#include "shim_priv.h"

#define FD(s, map) bpf_map__fd((s)->bpf->maps.map)

static const char *const shared[] = {"claims", "claimants",   "attached", "data_ports",
				     "host",   "own_sockets", "exempt"};
#define NSHARED (sizeof(shared) / sizeof(shared[0]))

bool shim_is_shared(const char *map)
{
	for (unsigned i = 0; i < NSHARED; i++)
		if (!strcmp(map, shared[i]))
			return true;
	return false;
}

int shim_networks_init(struct shim *s)
{
	__u32 zero = 0, mark = 0, id = s->share_dir ? s->network : 0;
	int r = shim_map_set(FD(s, network), &zero, &id, BPF_ANY);

	if (r == 0 && bpf_map_lookup_elem(FD(s, host), &zero, &mark) < 0)
		r = -errno;
	if (r == 0 && !mark) {
		mark = randombytes_random() | 1; /* never 0, which is no mark */
		r = shim_map_set(FD(s, host), &zero, &mark, BPF_ANY);
	}
	return r;
}

/* ---- prefixes ---- */

static struct mvpn_claim_key claim_key(const struct mvpn_prefix *p)
{
	struct mvpn_claim_key k = {.prefixlen = p->len};

	memcpy(k.addr, p->addr.b, sizeof(k.addr));
	return k;
}

static bool is_ours(struct shim *s, const struct mvpn_claim_key *k)
{
	__u32 whose;

	return bpf_map_lookup_elem(FD(s, claimants), k, &whose) == 0 && whose == s->network;
}

int shim_claim(struct shim *s, const struct mvpn_prefix *p, uint32_t flags)
{
	struct mvpn_claim_key k = claim_key(p);
	int r;

	if (!s->share_dir || (flags & MVPN_PROT_LOCAL))
		return 0;
	r = shim_map_set(FD(s, claimants), &k, &s->network, BPF_NOEXIST);
	if (r == -EEXIST && !is_ours(s, &k)) {
		s->conflicts++; /* who came first has it */
		return 0;
	}
	return r && r != -EEXIST ? r : shim_map_set(FD(s, claims), &k, &s->network, BPF_ANY);
}

void shim_unclaim(struct shim *s, const struct mvpn_prefix *p)
{
	struct mvpn_claim_key k = claim_key(p);

	if (!s->share_dir || !is_ours(s, &k))
		return;
	bpf_map_delete_elem(FD(s, claims), &k);
	bpf_map_delete_elem(FD(s, claimants), &k);
}

uint64_t shim_conflicts(const struct shim *s)
{
	return s->conflicts;
}

bool shim_is_anothers(struct shim *s, const struct mvpn_addr *a)
{
	struct mvpn_claim_key k = {.prefixlen = 128};
	struct mvpn_attached_key any = {0};
	__u32 one;

	memcpy(k.addr, a->b, sizeof(k.addr));
	return s->share_dir && bpf_map_lookup_elem(FD(s, claims), &k, &any.network) == 0 &&
	       any.network != s->network && bpf_map_lookup_elem(FD(s, attached), &any, &one) == 0;
}

/* ---- interfaces and ports ---- */

static bool on_some_interface(struct shim *s)
{
	struct mvpn_attached_key at, next;
	int fd = FD(s, attached), r = bpf_map_get_next_key(fd, NULL, &next);

	for (; r == 0; r = bpf_map_get_next_key(fd, &at, &next)) {
		if (next.network == s->network && next.ifindex)
			return true;
		at = next;
	}
	return false;
}

int shim_attached_add(struct shim *s, unsigned ifindex)
{
	struct mvpn_attached_key at = {.ifindex = ifindex, .network = s->network};
	struct mvpn_attached_key any = {.network = s->network};
	int r;

	if (!s->share_dir)
		return 0;
	r = shim_map_set(FD(s, attached), &at, &(__u32){1}, BPF_ANY);
	return r ? r : shim_map_set(FD(s, attached), &any, &(__u32){1}, BPF_ANY);
}

void shim_attached_del(struct shim *s, unsigned ifindex)
{
	struct mvpn_attached_key at = {.ifindex = ifindex, .network = s->network};
	struct mvpn_attached_key any = {.network = s->network};

	if (!s->share_dir)
		return;
	bpf_map_delete_elem(FD(s, attached), &at);
	if (!on_some_interface(s))
		bpf_map_delete_elem(FD(s, attached), &any);
}

int shim_data_port(struct shim *s, uint16_t port)
{
	uint16_t k = htons(port);
	int r, lock;

	if (!s->share_dir)
		return 0;
	r = shim_map_set(FD(s, data_ports), &k, &s->network, BPF_ANY);
	if (r == 0)
		r = shim_clear_own(FD(s, data_ports), &k, 1, sizeof(k), &s->network);
	if (r)
		return r;
	lock = shim_share_lock(s->share_dir);
	if (lock < 0)
		return lock;
	r = shim_share_check(s);
	close(lock);
	return r;
}

/* ---- leaving ---- */

static bool is_empty(int fd)
{
	char key[64];

	return bpf_map_get_next_key(fd, NULL, key) < 0;
}

void shim_networks_leave(struct shim *s)
{
	bool last;
	int lock;

	if (!s->share_dir)
		return;
	lock = shim_share_lock(s->share_dir);
	shim_clear_own(FD(s, claims), NULL, 0, 0, &s->network);
	shim_clear_own(FD(s, claimants), NULL, 0, 0, &s->network);
	shim_clear_own(FD(s, data_ports), NULL, 0, 0, &s->network);
	shim_own_sockets_clear(s);
	shim_exempt_clear(s);
	last = lock >= 0 && is_empty(FD(s, claimants)) && is_empty(FD(s, attached)) &&
	       is_empty(FD(s, data_ports)) && is_empty(FD(s, own_sockets)) &&
	       is_empty(FD(s, exempt));
	for (unsigned i = 0; last && i < NSHARED; i++) {
		char *path = path_join(s->share_dir, shared[i]);

		if (path)
			unlink(path);
		free(path);
	}
	if (last)
		rmdir(s->share_dir);
	if (lock >= 0)
		close(lock);
}
