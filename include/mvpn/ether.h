/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Ethernet frames that are no IP packets: which EtherTypes policy can protect, and what a device may do with one. Shared
 * by the BPF programs, keyd and the server.
 */
#ifndef MVPN_ETHER_H
#define MVPN_ETHER_H

#ifdef __bpf__
#include "vmlinux.h"
#else
#include <stdbool.h>
#endif

/* IEEE Registration Authority, EtherTypes; below ETHER_TYPE_MIN the field is a length (IEEE 802.3 3.2.6) */
#define ETHER_TYPE_MIN 0x0600
#define ETHER_IP4 0x0800
#define ETHER_ARP 0x0806
#define ETHER_VLAN 0x8100
#define ETHER_IP6 0x86dd
#define ETHER_SLOW 0x8809
#define ETHER_EAPOL 0x888e
#define ETHER_QINQ 0x88a8
#define ETHER_LLDP 0x88cc

#define ETHER_ANY 0 /* in a table: every type that can be protected */

/* what belongs to the link itself or has its own protection, and is never sealed as a frame; host byte order */
static inline bool ether_never(unsigned type)
{
	return type < ETHER_TYPE_MIN || type == ETHER_IP4 || type == ETHER_ARP ||
	       type == ETHER_VLAN || type == ETHER_IP6 || type == ETHER_SLOW ||
	       type == ETHER_EAPOL || type == ETHER_QINQ || type == ETHER_LLDP;
}

/* of an entry (peer's MAC address, EtherType) */
enum mvpn_frame_flags {
	MVPN_FRAME_TX = 1, /* we may send such frames to that address */
	MVPN_FRAME_RX = 2, /* such frames may come from that address */
};

#endif
