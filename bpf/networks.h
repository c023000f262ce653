/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Several networks on one host, each with programs of its own: whose is an address that ours protects, too? */
#ifndef BPF_NETWORKS_H
#define BPF_NETWORKS_H

#include "maps.h"

struct ip_addr {
	__u8 b[16]; /* IPv4 as ::ffff:a.b.c.d */
};

/* Not inlined: the verifier walks through it once. */
__noinline int claimed_by_another(__u32 ifindex, const struct ip_addr *addr)
{
	struct mvpn_claim_key k = {.prefixlen = 128};
	struct mvpn_attached_key at = {.ifindex = ifindex};
	const __u32 *ours, *whose;
	__u32 zero = 0;

	ours = bpf_map_lookup_elem(&network, &zero);
	if (!addr || !ours || !*ours)
		return 0;
	__builtin_memcpy(k.addr, addr->b, sizeof(k.addr));
	whose = bpf_map_lookup_elem(&claims, &k);
	if (!whose || *whose == *ours)
		return 0;
	at.network = *whose;
	return bpf_map_lookup_elem(&attached, &at) != NULL;
}

/*
 * It is another network's that has a narrower prefix around it and programs on this interface (0: on any), which judge it before or
 * after us. Who is alone pays for one look-up.
 */
static __always_inline bool anothers(__u32 ifindex, const __u8 addr[16])
{
	struct ip_addr a;

	__builtin_memcpy(a.b, addr, sizeof(a.b));
	return claimed_by_another(ifindex, &a);
}

#endif
