/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* At which level the policy wants what goes to a peer: the map `levels` has an entry if it is not the network's. */
#ifndef BPF_LEVEL_H
#define BPF_LEVEL_H

#include "maps.h"

static __always_inline bool at_socket(__u32 peer, bool *ret_layered)
{
	const struct mvpn_diversion *d = bpf_map_lookup_elem(&levels, &peer);

	*ret_layered = d && (d->flags & MVPN_DIVERSION_LAYERED);
	return d;
}

/* are streams with that peer packets like others, which are sealed once more? */
static __always_inline bool layered(__u32 peer)
{
	bool ret;

	at_socket(peer, &ret);
	return ret;
}

#endif
