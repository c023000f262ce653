/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Datagrams that come in fragments, on a gateway that translates. All fragments go on with what the first one's flow has become, and on
 * the way out, where the address is known without it, in any order.
 *
 *   out   two devices' fragments look like one sender's to a host behind: so an identification is one's alone there, for
 *         MVPN_FRAGMENT_S; a device's own as long as nobody else has it
 *   in    only the first one says whose it is. One that overtakes it is left to the stack, as any of this host's own
 *
 * Refused, and all others of the datagram with it: what lies over the first one, or is a second first one (RFC 1858, 3128, 5722).
 */
#ifndef BPF_TRANSLATE_FRAGMENT_H
#define BPF_TRANSLATE_FRAGMENT_H

#include "fragment.h"
#include "maps.h"

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, MVPN_FRAGMENTS_MAX);
	__type(key, struct mvpn_fragments_key);
	__type(value, struct mvpn_fragments);
} fragments_out SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, MVPN_FRAGMENTS_MAX);
	__type(key, struct mvpn_fragments_key);
	__type(value, struct mvpn_fragments);
} fragments_in SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, MVPN_FRAGMENTS_MAX);
	__type(key, struct mvpn_fragment_id);
	__type(value, struct mvpn_fragment_holder);
} fragment_ids SEC(".maps");

static __always_inline bool same_addr(const __u8 a[16], const __u8 b[16])
{
	__u64 x[2], y[2];

	__builtin_memcpy(x, a, 16);
	__builtin_memcpy(y, b, 16);
	return x[0] == y[0] && x[1] == y[1];
}

static __always_inline bool old(__u64 since_ns, __u64 now)
{
	return now - since_ns > MVPN_FRAGMENT_S * 1000000000ULL;
}

/* of who sends, whose addresses may be several */
static __always_inline __u32 fragments_slot(const struct pkt *p, __be32 id)
{
	__u32 n = bpf_ntohl(id) ^ p->flow.src[15]; /* IPv4's is in the upper half */

	return (n ^ n >> 16) & (MVPN_FRAGMENTS_EACH - 1);
}

/* All of it has come, as far as sizes tell: whoever contrives that is refused one over a transport header all the same */
static __always_inline bool fragments_whole(const struct mvpn_fragments *f)
{
	return f->first_end && f->total && f->got == f->total && !f->refused;
}

/* is it still that datagram? */
static __always_inline bool fragments_of(const struct mvpn_fragments *f, const struct pkt *p,
					 const struct part *t)
{
	return f->id == t->id && f->proto == t->proto && same_addr(f->src, p->flow.src) &&
	       same_addr(f->dst, p->flow.dst) && !fragments_whole(f) &&
	       !old(f->since_ns, bpf_ktime_get_ns());
}

/* One more of it. false: refused. */
static __always_inline bool fragments_take(struct mvpn_fragments *f, const struct part *t)
{
	if (t->at) {
		if (t->at < f->first_end)
			f->refused = true;
		if (!f->low || t->at < f->low)
			f->low = t->at;
	} else {
		if (f->first_end && (f->first_end != t->end || f->head != t->head))
			f->refused = true;
		if (f->low && t->end > f->low)
			f->refused = true;
		f->first_end = t->end;
		f->head = t->head;
	}
	f->got += t->end - t->at;
	if (!t->more)
		f->total = t->end;
	return !f->refused;
}

/* that of the datagram whose place is taken */
static __always_inline void fragment_id_leave(const struct mvpn_fragments *f)
{
	struct mvpn_fragment_id k = {};
	const struct mvpn_fragment_holder *holder;

	k.id = f->as;
	k.proto = f->proto;
	__builtin_memcpy(k.dst, f->dst, 16);
	holder = bpf_map_lookup_elem(&fragment_ids, &k);
	if (holder && holder->id == f->id && same_addr(holder->src, f->src))
		bpf_map_delete_elem(&fragment_ids, &k);
}

/* what one on the way goes on as */
struct going {
	__u8 to[16];
	__be32 id;
};

#define FRAGMENT_NO_SLOT MVPN_FRAGMENTS_EACH

enum fragment { FRAGMENT_REFUSED, FRAGMENT_FULL, FRAGMENT_UNKNOWN, FRAGMENT_TAKEN };

static __always_inline enum fragment fragments_known(struct mvpn_fragments *f, const struct part *t,
						     struct going *g)
{
	if (!fragments_take(f, t))
		return FRAGMENT_REFUSED;
	__builtin_memcpy(g->to, f->to, 16);
	g->id = f->as;
	return FRAGMENT_TAKEN;
}

/* The datagram is new. Not inlined, like all below: verified once, and with a stack of its own. */
__noinline int fragments_make(const struct pkt *p, const struct part *t, const struct going *g,
			      const struct mvpn_fragments_key *key, bool out)
{
	struct mvpn_fragments_key k;
	struct mvpn_fragments new = {};

	if (!p || !t || !g || !key)
		return 0;
	k = *key; /* 6.1 takes a key from the stack alone */
	__builtin_memcpy(new.src, p->flow.src, 16);
	__builtin_memcpy(new.dst, p->flow.dst, 16);
	__builtin_memcpy(new.to, g->to, 16);
	new.since_ns = bpf_ktime_get_ns();
	new.id = t->id;
	new.as = g->id;
	new.proto = t->proto;
	fragments_take(&new, t);
	if (out)
		bpf_map_update_elem(&fragments_out, &k, &new, BPF_ANY);
	else
		bpf_map_update_elem(&fragments_in, &k, &new, BPF_ANY);
	return 0;
}

/* What the datagram is told by there, in g->id. 0: others have all that were tried. */
__noinline int fragment_id_take(const struct pkt *p, const struct part *t, struct going *g)
{
	struct mvpn_fragment_holder us = {}, *holder;
	struct mvpn_fragment_id k = {};

	if (!p || !t || !g)
		return false;
	__builtin_memcpy(us.src, p->flow.src, 16);
	us.since_ns = bpf_ktime_get_ns();
	us.id = t->id;
	__builtin_memcpy(k.dst, p->flow.dst, 16);
	k.proto = t->proto;
	k.id = t->id;
	for (int i = 0; i < MVPN_FRAGMENT_IDS_TRIED; i++) {
		holder = bpf_map_lookup_elem(&fragment_ids, &k);
		if (!holder || old(holder->since_ns, us.since_ns) ||
		    (holder->id == us.id && same_addr(holder->src, us.src))) {
			g->id = k.id;
			return !bpf_map_update_elem(&fragment_ids, &k, &us,
						    holder ? BPF_ANY : BPF_NOEXIST);
		}
		k.id = bpf_get_prandom_u32();
		if (p->type == bpf_htons(ETH_P_IP))
			k.id &= bpf_htonl(0xffff0000);
	}
	return false;
}

/* FRAGMENT_UNKNOWN: it is the first one of its datagram that is seen */
__noinline int fragment_out_known(const struct pkt *p, const struct part *t,
				  struct mvpn_fragments_key *k, struct going *g)
{
	struct mvpn_fragments *f;
	struct mvpn_fragments_key key;

	if (!p || !t || !k || !g)
		return FRAGMENT_REFUSED;
	k->slot = fragments_slot(p, t->id);
	key = *k;
	f = bpf_map_lookup_elem(&fragments_out, &key);
	if (f && fragments_of(f, p, t))
		return fragments_known(f, t, g);
	if (f)
		fragment_id_leave(f);
	return FRAGMENT_UNKNOWN;
}

/* g->to: what the address becomes, if it is the first one of its datagram that is seen */
static __always_inline enum fragment fragment_out(const struct pkt *p, const struct part *t,
						  __u32 peer, struct going *g, __u32 *ret_slot)
{
	struct mvpn_fragments_key k = {};
	int r;

	*(__u32 *)k.from = peer;
	r = fragment_out_known(p, t, &k, g);
	*ret_slot = k.slot;
	if (r != FRAGMENT_UNKNOWN)
		return r;
	if (!fragment_id_take(p, t, g))
		return FRAGMENT_FULL;
	fragments_make(p, t, g, &k, true);
	return FRAGMENT_TAKEN;
}

/* g->to: whose it is, of a first one */
__noinline int fragment_in(const struct pkt *p, const struct part *t, struct going *g)
{
	struct mvpn_fragments_key k = {};
	struct mvpn_fragments *f;

	if (!p || !t || !g)
		return FRAGMENT_REFUSED;
	__builtin_memcpy(k.from, p->flow.src, 16);
	k.slot = fragments_slot(p, t->id);
	f = bpf_map_lookup_elem(&fragments_in, &k);
	if (f && fragments_of(f, p, t))
		return fragments_known(f, t, g);
	if (t->at)
		return FRAGMENT_UNKNOWN;
	g->id = t->id;
	fragments_make(p, t, g, &k, false);
	return FRAGMENT_TAKEN;
}

/* the first one of the datagram there cannot be translated: what is left of it stays here */
__noinline int fragment_out_end(__u32 peer, __u32 slot)
{
	struct mvpn_fragments_key k = {};
	struct mvpn_fragments *f;

	*(__u32 *)k.from = peer;
	k.slot = slot;
	f = bpf_map_lookup_elem(&fragments_out, &k);
	if (f)
		f->refused = true;
	return 0;
}

#endif
