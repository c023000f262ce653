/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Who may exchange which Ethernet frames with us: (MAC address, EtherType) -> peer and directions, and our own MAC
 * addresses. Built by the main thread, then published to the workers by kt_set_frames(), and not changed any more.
 */
#ifndef MVPN_FRAMETAB_H
#define MVPN_FRAMETAB_H

#include <stdbool.h>
#include <stdint.h>

#include "mvpn/ether.h"

struct frametab;

struct frame_right {
	uint32_t peer;	/* index; MVPN_PEER_NONE: nobody's, dropped */
	unsigned flags; /* enum mvpn_frame_flags */
};

int frametab_new(struct frametab **ret); /* -ENOMEM */
void frametab_free(struct frametab *t);	 /* NULL is fine */
/* type ETHER_ANY: those without an entry for the address; mac zero: addresses without one for the type. -ENOMEM */
int frametab_set(struct frametab *t, const uint8_t mac[6], uint16_t type, const struct frame_right *right);
int frametab_set_local(struct frametab *t, const uint8_t mac[6]); /* -ENOMEM */
/* false: frames of that type with that address are none of ours. Host byte order. */
bool frametab_find(const struct frametab *t, const uint8_t mac[6], uint16_t type, struct frame_right *ret);
bool frametab_is_local(const struct frametab *t, const uint8_t mac[6]);

#endif
