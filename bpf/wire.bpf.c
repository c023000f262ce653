/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * XDP on the wire interface: a sealed packet for one of our SPIs goes to the AF_XDP socket of its queue. Everything else,
 * and every sealed packet that needs the stack's help (IP options, fragments, extension headers) or does not fit the socket's
 * frames, passes: our UDP socket takes it.
 */
#define MVPN_WIRE
#include "vmlinux.h"
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "maps.h"
#include "mvpn/wire.h"
#include "parse.h"

#define XSKS_MAX 64 /* RX queues of one interface */
#define WIRE_VLAN_TAGS_MAX 2

/* not pinned by name but by interface: each has its own sockets */
struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, XSKS_MAX);
	__type(key, __u32);
	__type(value, __u32);
} xsks SEC(".maps");

/*
 * Bytes of a packet that the sockets' frames hold; longer ones go to the stack. 0: any length, a packet may take several
 * frames. Set when the program is loaded.
 */
const volatile __u32 frame_max = 0;

/* the UDP header, or NULL */
static __always_inline const struct udp_hdr *parse_udp(const void *data, const void *end)
{
	const __be16 *type = data + ETH_TYPE_OFF;
	const void *l3 = data + ETH_HLEN;

	if (l3 > end)
		return NULL;
#pragma unroll
	for (int i = 0; i < WIRE_VLAN_TAGS_MAX; i++) {
		if (!is_vlan(*type))
			break;
		type = l3 + 2;
		l3 += VLAN_HLEN;
		if (l3 > end)
			return NULL;
	}
	if (*type == bpf_htons(ETH_P_IP)) {
		const struct ip4_hdr *ip = l3;

		if ((const void *)(ip + 1) > end || ip->ver_ihl != 0x45 ||
		    ip->proto != IPPROTO_UDP || (ip->frag & bpf_htons(IP_FRAGMENT_BITS)))
			return NULL;
		return (const void *)(ip + 1);
	}
	if (*type == bpf_htons(ETH_P_IPV6)) {
		const struct ip6_hdr *ip = l3;

		if ((const void *)(ip + 1) > end || ip->next != IPPROTO_UDP ||
		    (ip->ver_class_flow & bpf_htonl(0xf0000000)) != bpf_htonl(0x60000000))
			return NULL;
		return (const void *)(ip + 1);
	}
	return NULL;
}

static __always_inline int receive(struct xdp_md *ctx, __u64 len)
{
	const void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	const struct udp_hdr *udp = parse_udp(data, end);
	const struct mvpn_config *c = config_get();
	const struct mvpn_hdr *h;
	const __u32 *known;
	__u32 spi, slot;
	int r;

	if (!udp || !c || !c->udp_port || (const void *)(udp + 1) > end ||
	    udp->dport != bpf_htons(c->udp_port) || (frame_max && len > frame_max))
		goto pass;
	h = (const void *)(udp + 1);
	if ((const void *)(h + 1) > end || h->type < MVPN_TUNNEL || h->type > MVPN_FRAME)
		goto pass;
	spi = bpf_ntohl(h->spi);
	slot = spi & (MVPN_SPI_SLOTS - 1);
	known = bpf_map_lookup_elem(&spis, &slot);
	if (!known || !spi || *known != spi) {
		count(MVPN_C_WIRE_UNKNOWN_SPI, 1);
		return XDP_PASS;
	}
	/* no socket on this queue (keyd has gone): the verdict is the flags argument */
	r = bpf_redirect_map(&xsks, ctx->rx_queue_index, XDP_PASS);
	count(r == XDP_REDIRECT ? MVPN_C_WIRE_REDIRECT : MVPN_C_WIRE_PASS, 1);
	return r;
pass:
	count(MVPN_C_WIRE_PASS, 1);
	return XDP_PASS;
}

SEC("xdp")
int wire(struct xdp_md *ctx)
{
	return receive(ctx, ctx->data_end - ctx->data);
}

/* Where a packet may come in several buffers: large MTUs of some drivers, joined datagrams in generic mode. */
SEC("xdp.frags")
int wire_frags(struct xdp_md *ctx)
{
	__u64 len = bpf_xdp_get_buff_len(ctx);

	/* only a socket that takes several frames takes several buffers */
	if (frame_max && len > (__u64)(ctx->data_end - ctx->data)) {
		count(MVPN_C_WIRE_PASS, 1);
		return XDP_PASS;
	}
	return receive(ctx, len);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
