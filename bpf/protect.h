/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Which protected prefix an address is in: as in lib/lpm.h a hash table of (address cut to a length, length), asked for each
 * length that may be there, longest first. A trie of a million prefixes is some twenty nodes deep, each a cache miss; here the cost
 * is that of the lengths in use near the address, most often one or none, however many prefixes there are.
 *
 * An entry that goes while it is read may be another's already (the kernel reuses it at once); the last hook judges once more.
 */
#ifndef BPF_PROTECT_H
#define BPF_PROTECT_H

#include "maps.h"
#include <bpf/bpf_endian.h>

/* number of trailing zeroes of a word with one bit set, by de Bruijn's sequence (Leiserson et al., 1998): BPF has no such instruction */
static const __u8 bit_number[64] = {
	0,  1,	2,  53, 3,  7,	54, 27, 4,  38, 41, 8,	34, 55, 48, 28, 62, 5,	39, 46, 44, 42,
	22, 9,	24, 35, 59, 56, 49, 18, 29, 11, 63, 52, 6,  26, 37, 40, 33, 47, 61, 45, 43, 21,
	23, 58, 17, 10, 51, 25, 36, 32, 60, 20, 57, 16, 50, 31, 19, 15, 30, 14, 13, 12};
#define DE_BRUIJN 0x022fdd63cc95386dULL

/* an address in host order, most significant half first */
struct halves {
	__u64 hi, lo;
};

static __always_inline __u32 lowest(__u64 bits)
{
	return bit_number[((bits & -bits) * DE_BRUIJN) >> 58];
}

/* the first `len` bits of 64 */
static __always_inline __u64 cut(__u64 v, __u32 len)
{
	return len ? v & (~0ULL << ((64 - len) & 63)) : 0;
}

/* A function of its own, not inlined, so that the verifier walks through its loops once. The value's flags and peer, or NOT_FOUND. */
#define NOT_FOUND (~0ULL)
__noinline __u64 protected_probe(const struct halves *a, __u32 entry)
{
	struct mvpn_lpm_key k __attribute__((aligned(8))) = {};
	const struct mvpn_protected *found;
	const struct mvpn_lengths *l;

	if (!a)
		return NOT_FOUND;
	l = bpf_map_lookup_elem(&prefix_lengths, &entry);
	if (!l)
		return NOT_FOUND;
#pragma unroll
	for (int word = 0; word < MVPN_LENGTH_WORDS; word++) {
		__u64 bits = l->bits[word];

		for (int i = 0; i < 64 && bits; i++) {
			__u64 hi = a->hi, lo = a->lo;
			__u32 len = 128 - 64 * word - lowest(bits);

			bits &= bits - 1;
			k.prefixlen = len;
			hi = bpf_cpu_to_be64(word ? cut(hi, len) : hi);
			lo = bpf_cpu_to_be64(word ? 0 : cut(lo, len - 64));
			__builtin_memcpy(k.addr, &hi, 8);
			__builtin_memcpy(k.addr + 8, &lo, 8);
			found = bpf_map_lookup_elem(&protected, &k);
			if (found)
				return (__u64)found->flags << 32 | found->peer;
		}
	}
	return NOT_FOUND;
}

/* false: in none */
static __always_inline bool protected_by(const __u8 addr[16], struct mvpn_protected *ret)
{
	struct halves a;
	__u64 found;
	bool v4;

	__builtin_memcpy(&a, addr, 16);
	a.hi = bpf_be64_to_cpu(a.hi);
	a.lo = bpf_be64_to_cpu(a.lo);
	v4 = !a.hi && a.lo >> 32 == 0xffff;
	found = protected_probe(&a, mvpn_lengths_entry(a.hi, a.lo));
	if (found == NOT_FOUND)
		found = protected_probe(&a, v4 ? MVPN_LENGTHS_SHORT_V4 : MVPN_LENGTHS_SHORT_V6);
	if (found == NOT_FOUND)
		return false;
	ret->peer = (__u32)found;
	ret->flags = found >> 32;
	return true;
}

#endif
