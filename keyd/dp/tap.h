/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The tap: a TUN device with virtio-net headers, where the kernel hands over plaintext as
 * super-packets of up to 64 KB with unfinished checksums, and takes the same back. It lives as long
 * as a queue of it is open.
 */
#ifndef MVPN_TAP_H
#define MVPN_TAP_H

#include <linux/virtio_net.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* writable bytes that must lie in front of a packet: the virtio-net header travels there */
#define TAP_HEADROOM 64
#define TAP_PACKET_MAX 65536
#define TAP_GSO_UDP_L4 5 /* VIRTIO_NET_HDR_GSO_UDP_L4: Linux 6.2's headers */

struct tap_queue {
	int fd;
	bool uso; /* the kernel takes and gives UDP super-packets */
};

/*
 * Opens one more queue of the device `name`; the first one makes it and brings it up.
 * *ret_ifindex may be NULL.
 */
int tap_open(struct tap_queue *q, const char *name, bool first, unsigned *ret_ifindex);
/*
 * The low bits of a packet's hash choose the queue, for as long as the device lives: egress has put the lane there (bpf/shim.bpf.c).
 * Without it the kernel moves a flow to the queue where its answers were last written, and the flow's packets overtake each
 * other. -errno when the kernel refuses.
 */
int tap_steer(struct tap_queue *q);
/* the same for Ethernet frames: no super-packets, no checksums left open, no IP stack on it */
int tap_open_frames(struct tap_queue *q, const char *name, bool first, unsigned *ret_ifindex);
void tap_close(struct tap_queue *q);
/* Packet length, 0 when there is none, or -errno. At most TAP_PACKET_MAX bytes go to data. */
ssize_t tap_read(struct tap_queue *q, uint8_t *data, struct virtio_net_hdr *ret);
int tap_write(struct tap_queue *q, const struct virtio_net_hdr *h, uint8_t *data, size_t len);

#endif
