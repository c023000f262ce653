/* SPDX-License-Identifier: BSD-2-Clause */
/* Frame table: see frametab.h. Its keys are written as addresses, so that lpm's hash table holds them. */
#include "frametab.h"

#include <errno.h>
#include <stdlib.h>

#include "addr.h"
#include "lpm.h"

#define LOCAL_AT 7 /* byte of the key that is 1 for an own address */
#define TYPE_AT 8

struct frametab {
	struct lpm *keys;
};

int frametab_new(struct frametab **ret)
{
	struct frametab *t = calloc(1, sizeof(*t));

	if (!t || lpm_new(&t->keys)) {
		free(t);
		return -ENOMEM;
	}
	*ret = t;
	return 0;
}

void frametab_free(struct frametab *t)
{
	if (t)
		lpm_free(t->keys);
	free(t);
}

static struct mvpn_prefix key_of(const uint8_t mac[6], uint16_t type)
{
	struct mvpn_addr a = mvpn_mac_addr(mac);

	a.b[TYPE_AT] = (uint8_t)(type >> 8);
	a.b[TYPE_AT + 1] = (uint8_t)type;
	return mvpn_prefix_host(&a);
}

int frametab_set(struct frametab *t, const uint8_t mac[6], uint16_t type,
		 const struct frame_right *right)
{
	struct mvpn_prefix k = key_of(mac, type);

	return lpm_set(t->keys, &k, right->peer << 2 | right->flags);
}

static struct mvpn_prefix local_key(const uint8_t mac[6])
{
	struct mvpn_prefix k = key_of(mac, 0);

	k.addr.b[LOCAL_AT] = 1;
	return k;
}

int frametab_set_local(struct frametab *t, const uint8_t mac[6])
{
	struct mvpn_prefix k = local_key(mac);

	return lpm_set(t->keys, &k, 0);
}

bool frametab_find(const struct frametab *t, const uint8_t mac[6], uint16_t type,
		   struct frame_right *ret)
{
	static const uint8_t every[6];
	/* in the order in which the BPF programs look (bpf/ether.h) */
	const struct mvpn_prefix keys[] = {key_of(mac, type), key_of(mac, ETHER_ANY),
					   key_of(every, ETHER_ANY), key_of(every, type)};
	uint32_t v;

	for (unsigned i = 0; i < 4; i++)
		if (lpm_get(t->keys, &keys[i], &v)) {
			ret->peer = v >> 2;
			ret->flags = v & 3;
			return true;
		}
	return false;
}

bool frametab_is_local(const struct frametab *t, const uint8_t mac[6])
{
	struct mvpn_prefix k = local_key(mac);
	uint32_t v;

	return lpm_get(t->keys, &k, &v);
}
