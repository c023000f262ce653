/* SPDX-License-Identifier: BSD-2-Clause */
/* The protected prefixes in the map, and the bitmaps of their lengths (bpf/protect.h). */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "shim_priv.h"

#define FD(s, map) bpf_map__fd((s)->bpf->maps.map)
#define V4_BITS 96 /* of the prefix ::ffff:0:0 that every IPv4 address has */
#define LENGTHS_STALE_MIN 4096

/* ---- lengths ---- */

/* the entries that an address in p reads its length from: one, or two if IPv4 is a part of a prefix of IPv6 */
static unsigned entries_of(const struct mvpn_prefix *p, __u32 ret[2])
{
	static const struct mvpn_addr any4 = {.b = {[10] = 0xff, [11] = 0xff}};
	unsigned n = 0;
	__u64 hi, lo;

	memcpy(&hi, p->addr.b, 8);
	memcpy(&lo, p->addr.b + 8, 8);
	ret[0] = mvpn_lengths_entry(be64toh(hi), be64toh(lo));
	if (p->len >= V4_BITS && mvpn_addr_is_v4(&p->addr)) {
		if (p->len < MVPN_LENGTHS_NEAR_V4)
			ret[0] = MVPN_LENGTHS_SHORT_V4;
		return 1;
	}
	if (p->len < MVPN_LENGTHS_NEAR_V6)
		ret[0] = MVPN_LENGTHS_SHORT_V6;
	n = 1;
	if (p->len < V4_BITS && mvpn_prefix_contains(p, &any4))
		ret[n++] = MVPN_LENGTHS_SHORT_V4;
	return n;
}

/* in the table l; tells the programs if `s` */
static int length_set(struct shim *s, struct mvpn_lengths *l, const struct mvpn_prefix *p)
{
	unsigned bit = 128 - p->len;
	__u32 entry[2];
	int r = 0;

	for (unsigned n = entries_of(p, entry); n-- && !r;) {
		struct mvpn_lengths *e = &l[entry[n]];

		if (e->bits[bit / 64] & 1ULL << bit % 64)
			continue;
		e->bits[bit / 64] |= 1ULL << bit % 64;
		if (s)
			r = shim_map_set(FD(s, prefix_lengths), &entry[n], e, BPF_ANY);
		if (r)
			e->bits[bit / 64] &= ~(1ULL << bit % 64);
	}
	return r;
}

struct walk {
	struct mvpn_lengths *lengths;
	size_t n;
};

static int length_seen(void *arg, const struct mvpn_prefix *p, const struct mvpn_protected *v)
{
	struct walk *w = arg;

	w->n++;
	return p->len <= 128 ? length_set(NULL, w->lengths, p) : 0;
}

/* what `protected` has, and nothing else */
static int lengths_anew(struct shim *s)
{
	struct walk w = {.lengths = calloc(MVPN_LENGTHS_ENTRIES, sizeof(*w.lengths))};
	int r;

	if (!w.lengths)
		return -ENOMEM;
	r = shim_protected_each(s, length_seen, &w);
	for (__u32 i = 0; i < MVPN_LENGTHS_ENTRIES && !r; i++)
		if (memcmp(&w.lengths[i], &s->lengths[i], sizeof(*w.lengths)))
			r = shim_map_set(FD(s, prefix_lengths), &i, &w.lengths[i], BPF_ANY);
	if (r) {
		free(w.lengths);
		return r;
	}
	free(s->lengths);
	s->lengths = w.lengths;
	s->nprotected = w.n;
	s->ngone = 0;
	return 0;
}

int shim_lengths_init(struct shim *s)
{
	s->lengths = calloc(MVPN_LENGTHS_ENTRIES, sizeof(*s->lengths));
	if (!s->lengths)
		return -ENOMEM;
	/* the map may be that of an earlier life */
	for (__u32 i = 0; i < MVPN_LENGTHS_ENTRIES; i++)
		if (bpf_map_lookup_elem(FD(s, prefix_lengths), &i, &s->lengths[i]) < 0)
			return -errno;
	return lengths_anew(s);
}

/* ---- prefixes ---- */
static struct mvpn_lpm_key lpm_key(const struct mvpn_prefix *p)
{
	struct mvpn_lpm_key k = {.prefixlen = p->len};

	memcpy(k.addr, p->addr.b, sizeof(k.addr));
	return k;
}

int shim_protect(struct shim *s, const struct mvpn_prefix *p, uint32_t peer, uint32_t flags)
{
	struct mvpn_lpm_key k = lpm_key(p);
	struct mvpn_protected v = {.peer = peer, .flags = flags};
	int r;

	/* an index beyond event_rate would never be announced to keyd */
	if (!mvpn_prefix_valid(p) || peer >= MVPN_PEERS_MAX)
		return -EINVAL;
	if (shim_map_set(FD(s, protected), &k, &v, BPF_EXIST) == 0)
		return shim_claim(s, p, flags); /* another network may have given it up since */
	/* first the length, so that the prefix is in force once it is there */
	r = length_set(s, s->lengths, p);
	if (!r)
		r = shim_map_set(FD(s, protected), &k, &v, BPF_ANY);
	if (r)
		return r;
	s->nprotected++;
	return shim_claim(s, p, flags);
}

int shim_unprotect(struct shim *s, const struct mvpn_prefix *p)
{
	struct mvpn_lpm_key k = lpm_key(p);

	shim_unclaim(s, p);
	if (bpf_map_delete_elem(FD(s, protected), &k) < 0)
		return -errno;
	s->nprotected--;
	/* lengths that are there no more cost look-ups: now and then all of them are gone through */
	if (++s->ngone > LENGTHS_STALE_MIN && s->ngone > s->nprotected)
		return lengths_anew(s);
	return 0;
}

int shim_protected_each(struct shim *s,
			int (*fn)(void *arg, const struct mvpn_prefix *p,
				  const struct mvpn_protected *v),
			void *arg)
{
	struct mvpn_lpm_key keys[2];
	unsigned i = 0;
	int fd = FD(s, protected), r;

	r = bpf_map_get_next_key(fd, NULL, &keys[0]);
	while (r == 0) {
		struct mvpn_lpm_key *k = &keys[i];
		struct mvpn_prefix p = {.len = k->prefixlen};
		struct mvpn_protected v;

		/* before fn, which may take this one out */
		r = bpf_map_get_next_key(fd, k, &keys[!i]);
		memcpy(p.addr.b, k->addr, sizeof(p.addr.b));
		if (bpf_map_lookup_elem(fd, k, &v) == 0) {
			int stop = fn(arg, &p, &v);

			if (stop)
				return stop;
		}
		i = !i;
	}
	return 0;
}
