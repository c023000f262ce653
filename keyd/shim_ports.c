/* SPDX-License-Identifier: BSD-2-Clause */
/* Ports that the socket shim lets nobody else bind. */
#include <arpa/inet.h>
#include <errno.h>

#include "shim_priv.h"

static int fd_of(const struct shim *s)
{
	return bpf_map__fd(s->bpf->maps.kept_ports);
}

static struct mvpn_kept_port key_of(uint8_t proto, uint16_t port)
{
	return (struct mvpn_kept_port){.port = htons(port), .proto = proto};
}

int shim_port_keep(struct shim *s, uint8_t proto, uint16_t port)
{
	struct mvpn_kept_port key = key_of(proto, port);

	return shim_map_set(fd_of(s), &key, &(uint32_t){1}, BPF_NOEXIST);
}

void shim_port_give(struct shim *s, uint8_t proto, uint16_t port)
{
	struct mvpn_kept_port key = key_of(proto, port);

	bpf_map_delete_elem(fd_of(s), &key);
}

int shim_ports_each(struct shim *s, int (*fn)(void *arg, uint8_t proto, uint16_t port), void *arg)
{
	struct mvpn_kept_port keys[2];
	unsigned i = 0;
	int r = bpf_map_get_next_key(fd_of(s), NULL, &keys[0]), stop;

	while (r == 0) {
		/* before fn, which may take this one out */
		r = bpf_map_get_next_key(fd_of(s), &keys[i], &keys[!i]);
		stop = fn(arg, keys[i].proto, ntohs(keys[i].port));
		if (stop)
			return stop;
		i = !i;
	}
	return 0;
}
