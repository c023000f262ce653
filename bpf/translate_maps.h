/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the programs that translate sources share. */
#ifndef BPF_TRANSLATE_MAPS_H
#define BPF_TRANSLATE_MAPS_H

#include "maps.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MVPN_TRANSLATIONS_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct mvpn_flow_key);
	__type(value, struct mvpn_translation);
} translated SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MVPN_TRANSLATIONS_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct mvpn_flow_key);
	__type(value, struct mvpn_flow_key);
} returning SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 2 * MVPN_TRANSLATE_IFACES_MAX); /* one of each family */
	__type(key, struct mvpn_translate_iface);
	__type(value, struct mvpn_arrival_key);
} translate_as SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MVPN_PEERS_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct mvpn_share);
} shares SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MVPN_PEERS_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct mvpn_share_counted);
} shares_counted SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} translate_most SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, MVPN_T_MAX);
	__type(key, __u32);
	__type(value, __u64);
} translate_counters SEC(".maps");

static __always_inline void tally(enum mvpn_translate_counter which)
{
	__u32 k = which;
	__u64 *n = bpf_map_lookup_elem(&translate_counters, &k);

	if (n)
		++*n;
}

static __always_inline int drop(enum mvpn_translate_counter why)
{
	tally(why);
	return TC_ACT_SHOT;
}

#endif
