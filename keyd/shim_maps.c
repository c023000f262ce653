/* SPDX-License-Identifier: BSD-2-Clause */
/* The shim's maps, written and read. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "loop.h"
#include "shim_priv.h"
#include "spi.h"

#define FD(s, map) bpf_map__fd((s)->bpf->maps.map)

const char *const shim_counter_names[MVPN_C_MAX] = MVPN_COUNTER_NAMES;

static int set(int fd, const void *key, const void *value)
{
	return shim_map_set(fd, key, value, BPF_ANY);
}

static int unset(int fd, const void *key)
{
	return bpf_map_delete_elem(fd, key) < 0 ? -errno : 0;
}

/*
 * Every key out but the `nkeep` ones at `keep`, each of `size` bytes. The next key is asked for before its predecessor
 * goes, else the walk starts again.
 */
int shim_clear_own(int fd, const void *keep, unsigned nkeep, size_t size, const uint32_t *value)
{
	char a[128], b[128]; /* no key is longer */
	char *cur = a, *next = b, *t;
	uint32_t now;
	bool kept;
	int r;

	r = bpf_map_get_next_key(fd, NULL, cur);
	while (r == 0) {
		r = bpf_map_get_next_key(fd, cur, next);
		kept = value && bpf_map_lookup_elem(fd, cur, &now) == 0 && now != *value;
		for (unsigned i = 0; i < nkeep && !kept; i++)
			kept = memcmp(cur, (const char *)keep + i * size, size) == 0;
		if (!kept && bpf_map_delete_elem(fd, cur) < 0 && errno != ENOENT)
			return -errno;
		t = cur;
		cur = next;
		next = t;
	}
	return 0;
}

int shim_clear_but(int fd, const void *keep, unsigned nkeep, size_t size)
{
	return shim_clear_own(fd, keep, nkeep, size, NULL);
}

static int clear(int fd)
{
	return shim_clear_but(fd, NULL, 0, 0);
}

int shim_config(struct shim *s, const struct mvpn_config *c)
{
	__u32 zero = 0;

	return set(FD(s, config), &zero, c);
}

int shim_get_config(struct shim *s, struct mvpn_config *ret)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(FD(s, config), &zero, ret) < 0 ? -errno : 0;
}

int shim_breathe(struct shim *s)
{
	struct mvpn_config c;
	int r = shim_get_config(s, &c);

	if (r < 0 || !c.tap_ifindex)
		return r;
	c.alive_ns = mono_ns();
	return shim_config(s, &c);
}

int shim_key_set(struct shim *s, uint32_t peer, const struct mvpn_key *k)
{
	return set(FD(s, keys), &peer, k);
}

int shim_key_clear(struct shim *s, uint32_t peer)
{
	return unset(FD(s, keys), &peer);
}

int shim_keys_clear_all(struct shim *s)
{
	return clear(FD(s, keys));
}

static struct mvpn_exempt exempt_key(const struct mvpn_endpoint *tcp)
{
	struct mvpn_exempt e = {.port = htons(tcp->port), .proto = IPPROTO_TCP};

	memcpy(e.addr, tcp->addr.b, sizeof(e.addr));
	return e;
}

int shim_exempt_add(struct shim *s, const struct mvpn_endpoint *tcp)
{
	struct mvpn_exempt e = exempt_key(tcp);

	return set(FD(s, exempt), &e, &s->network);
}

int shim_exempt_clear(struct shim *s)
{
	return shim_clear_own(FD(s, exempt), NULL, 0, 0, &s->network);
}

int shim_exempt_set(struct shim *s, const struct mvpn_endpoint *tcp, unsigned n)
{
	struct mvpn_exempt keep[MVPN_EXEMPT_MAX];
	int r;

	if (n > MVPN_EXEMPT_MAX)
		return -ENOSPC;
	for (unsigned i = 0; i < n; i++)
		keep[i] = exempt_key(&tcp[i]);
	/* what is left of the old set may fill the map: then room is made first, and those that stay, stay */
	for (unsigned i = 0; i < n; i++) {
		r = set(FD(s, exempt), &keep[i], &s->network);
		if (r == -ENOSPC &&
		    (r = shim_clear_own(FD(s, exempt), keep, n, sizeof(keep[0]), &s->network)) == 0)
			r = set(FD(s, exempt), &keep[i], &s->network);
		if (r < 0)
			return r;
	}
	return shim_clear_own(FD(s, exempt), keep, n, sizeof(keep[0]), &s->network);
}

int shim_own_socket_add(struct shim *s, uint64_t cookie)
{
	return set(FD(s, own_sockets), &cookie, &s->network);
}

int shim_own_sockets_clear(struct shim *s)
{
	return shim_clear_own(FD(s, own_sockets), NULL, 0, 0, &s->network);
}

int shim_own_sockets_set(struct shim *s, const uint64_t *cookies, unsigned n)
{
	int fd = FD(s, own_sockets), r;

	if (n > MVPN_OWN_SOCKETS_MAX)
		return -ENOSPC;
	for (unsigned i = 0; i < n; i++) {
		r = shim_own_socket_add(s, cookies[i]);
		if (r == -ENOSPC && (r = shim_clear_own(fd, cookies, n, sizeof(*cookies), &s->network)) == 0)
			r = shim_own_socket_add(s, cookies[i]);
		if (r < 0)
			return r;
	}
	return shim_clear_own(fd, cookies, n, sizeof(*cookies), &s->network);
}

int shim_spi_set(struct shim *s, uint32_t spi)
{
	__u32 slot = spi_slot(spi);

	return spi ? set(FD(s, spis), &slot, &spi) : -EINVAL;
}

int shim_spi_clear(struct shim *s, uint32_t spi)
{
	__u32 slot = spi_slot(spi), now, none = 0;

	if (bpf_map_lookup_elem(FD(s, spis), &slot, &now) < 0)
		return -errno;
	if (now != spi)
		return -ENOENT; /* the slot has another SPI by now */
	return set(FD(s, spis), &slot, &none);
}

int shim_spis_clear_all(struct shim *s)
{
	LIBBPF_OPTS(bpf_map_batch_opts, opts);
	__u32 *slots = malloc(MVPN_SPI_SLOTS * sizeof(*slots));
	__u32 *none = calloc(MVPN_SPI_SLOTS, sizeof(*none));
	__u32 n = MVPN_SPI_SLOTS;
	int r = -ENOMEM;

	if (slots && none) {
		for (__u32 i = 0; i < n; i++)
			slots[i] = i;
		r = bpf_map_update_batch(FD(s, spis), slots, none, &n, &opts) < 0 ? -errno : 0;
	}
	free(slots);
	free(none);
	return r;
}

int shim_counters(struct shim *s, uint64_t ret[MVPN_C_MAX])
{
	int cpus = libbpf_num_possible_cpus();
	__u64 *v;
	int r = 0;

	if (cpus < 0)
		return cpus;
	v = calloc(cpus, sizeof(*v));
	if (!v)
		return -ENOMEM;
	for (__u32 i = 0; i < MVPN_C_MAX && r == 0; i++) {
		if (bpf_map_lookup_elem(FD(s, counters), &i, v) < 0) {
			r = -errno;
			break;
		}
		ret[i] = 0;
		for (int c = 0; c < cpus; c++)
			ret[i] += v[c];
	}
	free(v);
	return r;
}

int shim_flows_each(struct shim *s,
		    int (*fn)(void *arg, const struct mvpn_flow_key *k, const struct mvpn_flow *f),
		    void *arg)
{
	struct mvpn_flow_key cur, next;
	int fd = FD(s, flows);
	struct mvpn_flow f;

	/* a key that is evicted under us sends the walk back to the start: bounded */
	for (unsigned n = 0; n < 2 * MVPN_FLOWS_MAX; n++) {
		if (bpf_map_get_next_key(fd, n ? &cur : NULL, &next) < 0)
			break;
		cur = next;
		if (bpf_map_lookup_elem(fd, &cur, &f) == 0) {
			int stop = fn(arg, &cur, &f);

			if (stop)
				return stop;
		}
	}
	return 0;
}

int shim_socket_get(struct shim *s, uint64_t cookie, struct mvpn_socket *ret)
{
	return bpf_map_lookup_elem(FD(s, sockets), &cookie, ret) < 0 ? -errno : 0;
}

void shim_on_refusal(struct shim *s, void (*fn)(void *arg, const struct mvpn_refusal *e), void *arg)
{
	s->on_refusal = fn;
	s->on_refusal_arg = arg;
}

int shim_events_fd(struct shim *s)
{
	return ring_buffer__epoll_fd(s->ring);
}

int shim_events(struct shim *s, void (*fn)(void *arg, const struct mvpn_event *e), void *arg)
{
	s->on_event = fn;
	s->on_event_arg = arg;
	return ring_buffer__consume(s->ring);
}
