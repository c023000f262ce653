/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Bytes between peers (PROTOCOL §4). All fields big-endian.
 *
 *   0        1        2        4            8                 16
 *   | type u8| lane u8| gen u16| SPI u32    | counter u64     | ciphertext … | tag 16 |
 *
 * The 16 header bytes are the AAD; nonce = iv XOR (0^32 ‖ counter). The low four bits of the lane byte are the
 * lane (there are at most 16), the high four are flags: authenticated, because they are AAD.
 */
#ifndef MVPN_WIRE_H
#define MVPN_WIRE_H

#ifdef __bpf__
#include "vmlinux.h"
typedef __u8 mvpn_u8;
typedef __be16 mvpn_be16;
typedef __be32 mvpn_be32;
typedef __be64 mvpn_be64;
#else
#include <assert.h>
#include <linux/types.h>
typedef __u8 mvpn_u8;
typedef __be16 mvpn_be16;
typedef __be32 mvpn_be32;
typedef __be64 mvpn_be64;
#endif

enum mvpn_type {
	MVPN_TUNNEL = 0x41,    /* a whole inner IP packet */
	MVPN_TRANSPORT = 0x42, /* reserved: inner IP header elided */
	MVPN_CTRL = 0x43,      /* struct mvpn_ctrl */
	MVPN_FRAME = 0x44,     /* reserved: an Ethernet frame */
	/* no session's: the XDP program leaves them to the socket */
	MVPN_PUNCH = 0x50,	/* nothing but a header; opens the way through the sender's NAT */
	MVPN_ECHO = 0x51,	/* device to server, lib/echo_msg.h */
	MVPN_ECHO_REPLY = 0x52, /* server to device */
};

#define MVPN_ECHO_B 64 /* either of them */

#define MVPN_LANE_MASK 0x0f
/*
 * The inner packet's TCP or UDP checksum field holds only the pseudo-header sum (the sender's stack
 * left the rest to its NIC). AEAD has protected the bytes; the receiver hands it on as VIRTIO_NET_HDR_F_NEEDS_CSUM.
 */
#define MVPN_F_CSUM_PARTIAL 0x80
#define MVPN_LANE_ZERO 0x70 /* kept for later versions: refused when set */

struct mvpn_hdr {
	mvpn_u8 type;
	mvpn_u8 lane;
	mvpn_be16 gen;
	mvpn_be32 spi;
	mvpn_be64 counter;
} __attribute__((packed));
_Static_assert(sizeof(struct mvpn_hdr) == 16, "data header is 16 bytes");

#define MVPN_TAG_LEN 16
#define MVPN_OVERHEAD (16 + MVPN_TAG_LEN)	     /* header and tag */
#define MVPN_OVERHEAD_IP4 (20 + 8 + MVPN_OVERHEAD)   /* 60: outer IPv4 and UDP too */
#define MVPN_OVERHEAD_IP6 (40 + 8 + MVPN_OVERHEAD)   /* 80 */

/* Plaintext of a control packet: this, then `pad` arbitrary bytes (path MTU probes). */
enum mvpn_ctrl_type {
	MVPN_CTRL_CONFIRM = 1, /* A has the keys: B may transmit */
	MVPN_CTRL_PING = 2,    /* answered by PONG with the same token, padding dropped */
	MVPN_CTRL_PONG = 3,
	MVPN_CTRL_CLOSE = 4,   /* the sender has dropped this session */
	/* does the sender, a gateway, reach the hosts of a prefix of its own? token: MVPN_REACH_NOT, if it does not, and the prefix:
	 * the first 8 bytes of BLAKE2b-256("mavp1 reach" || plen u8 || addr[16]) without that bit. Said anew as long as it does not */
	MVPN_CTRL_REACH = 5,
};

#define MVPN_REACH_NOT (1ULL << 63)

struct mvpn_ctrl {
	mvpn_u8 type; /* enum mvpn_ctrl_type */
	mvpn_u8 zero[3];
	mvpn_be32 pad;	 /* bytes that follow */
	mvpn_be64 token; /* opaque to the receiver, echoed */
} __attribute__((packed));
_Static_assert(sizeof(struct mvpn_ctrl) == 16, "control plaintext is 16 bytes");

#endif
