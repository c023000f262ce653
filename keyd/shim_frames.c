/* SPDX-License-Identifier: BSD-2-Clause */
/* Frames that are no IP packets: the maps about them. */
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "shim_priv.h"

static struct mvpn_frame_key key_of(const uint8_t mac[6], uint16_t type)
{
	struct mvpn_frame_key k = {.type = htons(type)};

	memcpy(k.mac, mac, sizeof(k.mac));
	return k;
}

int shim_frame_set(struct shim *s, const uint8_t mac[6], uint16_t type, uint32_t peer,
		   uint32_t flags)
{
	struct mvpn_frame_key k = key_of(mac, type);
	struct mvpn_frame v = {.peer = peer, .flags = flags};

	if (peer >= MVPN_PEERS_MAX)
		return -EINVAL;
	return shim_map_set(bpf_map__fd(s->bpf->maps.frames), &k, &v, BPF_ANY);
}

int shim_frame_unset(struct shim *s, const uint8_t mac[6], uint16_t type)
{
	struct mvpn_frame_key k = key_of(mac, type);

	return bpf_map_delete_elem(bpf_map__fd(s->bpf->maps.frames), &k) < 0 ? -errno : 0;
}

int shim_frames_each(struct shim *s,
		     int (*fn)(void *arg, const uint8_t mac[6], uint16_t type,
			       const struct mvpn_frame *v),
		     void *arg)
{
	int fd = bpf_map__fd(s->bpf->maps.frames), r;
	struct mvpn_frame_key keys[2];
	struct mvpn_frame v;
	unsigned i = 0;

	r = bpf_map_get_next_key(fd, NULL, &keys[0]);
	for (; r == 0; i = !i) {
		/* before fn, which may take this one out */
		r = bpf_map_get_next_key(fd, &keys[i], &keys[!i]);
		if (bpf_map_lookup_elem(fd, &keys[i], &v) == 0) {
			int stop = fn(arg, keys[i].mac, ntohs(keys[i].type), &v);

			if (stop)
				return stop;
		}
	}
	return 0;
}

int shim_ports_set(struct shim *s, const struct shim_port *ports, unsigned n)
{
	int fd = bpf_map__fd(s->bpf->maps.ports), r = 0;
	struct mvpn_port_key keep[MVPN_MACS_MAX] = {0};

	if (n > MVPN_MACS_MAX)
		return -ENOSPC;
	for (unsigned i = 0; i < n && r == 0; i++) {
		memcpy(keep[i].mac, ports[i].mac, 6);
		r = shim_map_set(fd, &keep[i], &(__u32){ports[i].ifindex}, BPF_ANY);
	}
	return r < 0 ? r : shim_clear_but(fd, keep, n, sizeof(keep[0]));
}
