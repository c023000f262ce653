/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The pinned maps (include/mvpn/maps.h has the structs and their meaning). A program gets from here only the maps that
 * it names: MVPN_WIRE leaves out what XDP does not use, so that its object carries no map of its own by accident.
 */
#ifndef BPF_MAPS_H
#define BPF_MAPS_H

#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include "mvpn/maps.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct mvpn_config);
} config SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MVPN_SPI_SLOTS);
	__type(key, __u32);
	__type(value, __u32);
} spis SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, MVPN_C_MAX);
	__type(key, __u32);
	__type(value, __u64);
} counters SEC(".maps");

#ifndef MVPN_WIRE

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MVPN_PREFIXES_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct mvpn_lpm_key);
	__type(value, struct mvpn_protected);
} protected SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MVPN_LENGTHS_ENTRIES);
	__type(key, __u32);
	__type(value, struct mvpn_lengths);
} prefix_lengths SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MVPN_PEERS_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct mvpn_key);
} keys SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MVPN_EXEMPT_MAX);
	__type(key, struct mvpn_exempt);
	__type(value, __u32);
} exempt SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MVPN_OWN_SOCKETS_MAX);
	__type(key, __u64);
	__type(value, __u32);
} own_sockets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} network SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, MVPN_CLAIMS_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct mvpn_claim_key);
	__type(value, __u32);
} claims SEC(".maps");

/* by user space alone: whose a prefix is that several networks have; LPM tries before Linux 6.13 overwrite what is there */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MVPN_CLAIMS_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct mvpn_claim_key);
	__type(value, __u32);
} claimants SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MVPN_NETWORKS_MAX * MVPN_IFACES_MAX);
	__type(key, struct mvpn_attached_key);
	__type(value, __u32);
} attached SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MVPN_NETWORKS_MAX);
	__type(key, __be16);
	__type(value, __u32);
} data_ports SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} host SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_CLONE);
	__type(key, __u32);
	__type(value, __u32);
} own_streams SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MVPN_PEERS_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct mvpn_diversion);
} levels SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, MVPN_TALKS_MAX);
	__type(key, struct mvpn_end);
	__type(value, __u64);
} packet_talks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MVPN_KEPT_PORTS_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct mvpn_kept_port);
	__type(value, __u32);
} kept_ports SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, MVPN_FLOWS_MAX);
	__type(key, struct mvpn_flow_key);
	__type(value, struct mvpn_flow);
} flows SEC(".maps");

/* peer index -> time of its last miss event */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MVPN_PEERS_MAX);
	__type(key, __u32);
	__type(value, __u64);
} event_rate SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, MVPN_EVENT_RING_B);
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MVPN_FRAMES_MAP);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct mvpn_frame_key);
	__type(value, struct mvpn_frame);
} frames SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct mvpn_frame_tap);
} frame_tap SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 2 * MVPN_MACS_MAX); /* old ones and new ones while they change */
	__type(key, struct mvpn_port_key);
	__type(value, __u32);
} ports SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 2 * MVPN_ARRIVALS_MAX); /* old ones and new ones while they change */
	__type(key, struct mvpn_arrival_key);
	__type(value, struct mvpn_arrival);
} arrivals SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, MVPN_SOCKETS_MAX);
	__type(key, __u64);
	__type(value, struct mvpn_socket);
} sockets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct mvpn_sock_last);
} sock_last SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MVPN_GUARDS_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct mvpn_guard);
} guards SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MVPN_TRAITS_MAX);
	__type(key, __u32);
	__type(value, __u64);
} uids SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MVPN_TRAITS_MAX);
	__type(key, struct mvpn_exe);
	__type(value, __u64);
} exes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MVPN_TRAITS_MAX * MVPN_GROUP_DEPTH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct mvpn_group_key);
	__type(value, struct mvpn_group);
} groups SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct mvpn_processes);
} processes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_CLONE);
	__type(key, int);
	__type(value, struct mvpn_process);
} sock_process SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, MVPN_VOUCHED_MAX);
	__type(key, struct mvpn_flow_key);
	__type(value, struct mvpn_vouched);
} vouched SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, MVPN_REFUSED_MAX);
	__type(key, struct mvpn_refused_key);
	__type(value, struct mvpn_refused_state);
} refused SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, MVPN_REFUSAL_RING_B);
} refusals SEC(".maps");

/* used by user space alone: what was done to each interface */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MVPN_IFACES_MAX);
	__type(key, struct mvpn_iface_key);
	__type(value, struct mvpn_iface);
} ifaces SEC(".maps");

#endif /* MVPN_WIRE */

static __always_inline void count(enum mvpn_counter which, __u64 packets)
{
	__u32 k = which;
	__u64 *n = bpf_map_lookup_elem(&counters, &k);

	if (n)
		*n += packets;
}

static __always_inline const struct mvpn_config *config_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&config, &zero);
}

static __always_inline bool keyd_runs(const struct mvpn_config *c)
{
	/* signed: keyd may breathe on another CPU after we have looked at the clock */
	return c && c->tap_ifindex &&
	       (__s64)(bpf_ktime_get_ns() - c->alive_ns) <= MVPN_ALIVE_S * 1000000000LL;
}

#endif
