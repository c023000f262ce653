/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Outer headers of the AF_XDP wire, where no stack writes or checks them: Ethernet, IPv4 (RFC
 * 791) or IPv6 (RFC 8200), UDP.
 */
#ifndef MVPN_FRAME_H
#define MVPN_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire.h"

#define FRAME_HEAD_IP4 (14 + 20 + 8)
#define FRAME_HEAD_IP6 (14 + 40 + 8)
#define FRAME_HEAD_MAX FRAME_HEAD_IP6

/*
 * The memory of one frame, and the largest IP packet that AF_XDP takes in it each way: less the
 * room that the kernel keeps before a received packet (XDP_PACKET_HEADROOM), Ethernet and two
 * VLAN tags.
 */
#define FRAME_B 4096
#define FRAME_HEADROOM_B 256
#define FRAME_MTU_MAX (FRAME_B - FRAME_HEADROOM_B - 14 - 2 * 4)

/*
 * Writes the headers of a datagram to ep (has_hop) right before `payload`, which must have
 * FRAME_HEAD_MAX bytes of room there; lengths and checksums are left to frame_finish. Returns
 * how long the headers are: the frame begins at payload - that.
 */
size_t frame_start(uint8_t *payload, const struct kt_endpoint *ep, uint16_t sport, uint8_t tos);
/* the payload has been written and is `len` bytes; head_len is what frame_start said */
void frame_finish(uint8_t *payload, size_t len, size_t head_len);

/*
 * Is this frame a whole UDP datagram to `dport`? Up to two VLAN tags; no IPv4 options, no
 * fragments, no IPv6 extension headers (the XDP program leaves those to the stack and the UDP
 * socket). IPv4's header sum is checked, because the source address may become the peer's
 * endpoint; UDP's is not: on veth and virtio it may be only begun, and AEAD covers the payload.
 */
bool frame_parse(uint8_t *frame, size_t len, uint16_t dport, struct wire_from *ret_from,
		 uint8_t **ret_payload, size_t *ret_len);

#endif
