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

#define NOT_FOUND (~0ULL)
/*
 * The lengths of one word of prefix_lengths, longest first: that of its lowest bit is `longest`. A bit's mask is over the half of the
 * address that the word is about; the half before it stays (`hi_stays`), the one behind it is 0 already. The value's flags and
 * peer, or NOT_FOUND. Not inlined: the verifier walks through the loop once.
 */
__noinline __u64 protected_word(__u64 hi, __u64 lo, __u64 hi_stays, __u64 bits, __u32 longest)
{
	struct mvpn_lpm_key k __attribute__((aligned(8))) = {};
	const struct mvpn_protected *found;

	for (int i = 0; i < 64 && bits; i++) {
		__u64 mask = -(bits & -bits);
		__u64 cut[2] = {bpf_cpu_to_be64(hi & (mask | hi_stays)),
				bpf_cpu_to_be64(lo & mask)};

		__builtin_memcpy(k.addr, cut, 16);
		k.prefixlen = longest - lowest(bits);
		found = bpf_map_lookup_elem(&protected, &k);
		if (found)
			return (__u64)found->flags << 32 | found->peer;
		bits &= bits - 1;
	}
	return NOT_FOUND;
}

static __always_inline __u64 protected_near(const struct halves *a, __u32 entry)
{
	const struct mvpn_lengths *l = bpf_map_lookup_elem(&prefix_lengths, &entry);
	__u64 found = NOT_FOUND;

	if (!l)
		return NOT_FOUND;
	if (l->bits[0])
		found = protected_word(a->hi, a->lo, ~0ULL, l->bits[0], 128);
	if (found == NOT_FOUND && l->bits[1])
		found = protected_word(a->hi, 0, 0, l->bits[1], 64);
	if (found == NOT_FOUND && l->bits[2])
		found = protected_word(0, 0, 0, l->bits[2], 0);
	return found;
}

/* Not inlined: verified once. */
__noinline __u64 protected_find(__u64 hi, __u64 lo)
{
	struct halves a = {hi, lo};
	__u64 found = protected_near(&a, mvpn_lengths_entry(hi, lo));

	if (found == NOT_FOUND)
		found = protected_near(&a, !hi && lo >> 32 == 0xffff ? MVPN_LENGTHS_SHORT_V4
								     : MVPN_LENGTHS_SHORT_V6);
	return found;
}

/* false: in none */
static __always_inline bool protected_by(const __u8 addr[16], struct mvpn_protected *ret)
{
	__u64 half[2], found;

	__builtin_memcpy(half, addr, 16);
	found = protected_find(bpf_be64_to_cpu(half[0]), bpf_be64_to_cpu(half[1]));
	if (found == NOT_FOUND)
		return false;
	ret->peer = (__u32)found;
	ret->flags = found >> 32;
	return true;
}

#endif
