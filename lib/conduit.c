/* SPDX-License-Identifier: BSD-2-Clause */
#include "conduit.h"

#include <endian.h>
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "crypto.h"
#include "mvpn/wire.h"

#define OUT_FIRST_B 4096
#define OUT_KEEP_B 16384 /* a larger queue is freed when it is empty */

struct hello {
	char magic[4];
	uint8_t ver, zero[3];
	uint32_t id_be, zero2;
	uint64_t counter_be;
	uint8_t mac[16];
} __attribute__((packed));
_Static_assert(sizeof(struct hello) == CONDUIT_HELLO_B, "HELLO is 40 bytes");

static const struct hello blank = {.magic = {CONDUIT_FIRST, 'M', 'V', 'P'}, .ver = 1};

/* ---- HELLO and READY ---- */

void conduit_key(uint8_t ret[static CONDUIT_KEY_B], const uint8_t echo_key[static CONDUIT_KEY_B])
{
	const struct mvpn_part parts[] = {{"mavp1 relay tcp", 15}};

	mvpn_blake2b(ret, CONDUIT_KEY_B, echo_key, CONDUIT_KEY_B, parts, 1);
}

static void mac(uint8_t ret[16], const char *label, const void *data, size_t len,
		const uint8_t key[CONDUIT_KEY_B])
{
	const struct mvpn_part parts[] = {{label, strlen(label)}, {data, len}};

	mvpn_blake2b(ret, 16, key, CONDUIT_KEY_B, parts, 2);
}

static void hello_mac(uint8_t ret[16], const uint8_t *hello, const uint8_t key[CONDUIT_KEY_B])
{
	mac(ret, "mavp1 relay tcp hello", hello, offsetof(struct hello, mac), key);
}

void conduit_hello(uint8_t ret[static CONDUIT_HELLO_B], uint32_t id, uint64_t counter,
		  const uint8_t key[static CONDUIT_KEY_B])
{
	struct hello h = blank;

	h.id_be = htobe32(id);
	h.counter_be = htobe64(counter);
	memcpy(ret, &h, sizeof(h));
	hello_mac(ret + offsetof(struct hello, mac), ret, key);
}

int conduit_hello_look(const uint8_t hello[static CONDUIT_HELLO_B], uint32_t *ret_id,
		      uint64_t *ret_counter)
{
	struct hello h;

	memcpy(&h, hello, sizeof(h));
	if (memcmp(&h, &blank, offsetof(struct hello, id_be)) || h.zero2 || !h.id_be)
		return -EPROTO;
	*ret_id = be32toh(h.id_be);
	*ret_counter = be64toh(h.counter_be);
	return 0;
}

int conduit_hello_check(const uint8_t hello[static CONDUIT_HELLO_B],
		       const uint8_t key[static CONDUIT_KEY_B])
{
	uint8_t want[16];

	hello_mac(want, hello, key);
	return sodium_memcmp(want, hello + offsetof(struct hello, mac), sizeof(want)) ? -EBADMSG : 0;
}

void conduit_ready(uint8_t ret[static CONDUIT_READY_B], const uint8_t hello[static CONDUIT_HELLO_B],
		  const uint8_t key[static CONDUIT_KEY_B])
{
	mac(ret, "mavp1 relay tcp ready", hello, CONDUIT_HELLO_B, key);
}

int conduit_ready_check(const uint8_t ready[static CONDUIT_READY_B],
		       const uint8_t hello[static CONDUIT_HELLO_B],
		       const uint8_t key[static CONDUIT_KEY_B])
{
	uint8_t want[CONDUIT_READY_B];

	conduit_ready(want, hello, key);
	return sodium_memcmp(want, ready, sizeof(want)) ? -EBADMSG : 0;
}

/* ---- in ---- */

/* of the packet whose length stands there; 0: no sealed packet is so long */
static size_t packet_len(const uint8_t *head)
{
	size_t len = (size_t)head[0] << 8 | head[1];

	return len < MVPN_OVERHEAD || len > MVPN_CONDUIT_PACKET_MAX_B ? 0 : len;
}

/* as many bytes as make what has come `want` long; false: there are not so many */
static bool fill(struct conduit_in *in, size_t want, uint8_t **data, size_t *len)
{
	size_t n = want - in->len < *len ? want - in->len : *len;

	memcpy(in->data + in->len, *data, n);
	in->len += n;
	*data += n;
	*len -= n;
	return in->len == want;
}

int conduit_take(struct conduit_in *in, uint8_t *data, size_t len, conduit_packet_fn *fn, void *arg)
{
	while (len || in->len) {
		size_t n;

		/* whole, where it is */
		if (!in->len && len >= CONDUIT_HEAD_B) {
			n = packet_len(data);
			if (!n)
				return -EPROTO;
			if (len - CONDUIT_HEAD_B >= n) {
				fn(arg, data + CONDUIT_HEAD_B, n);
				data += CONDUIT_HEAD_B + n;
				len -= CONDUIT_HEAD_B + n;
				continue;
			}
		}
		if (in->len < CONDUIT_HEAD_B && !fill(in, CONDUIT_HEAD_B, &data, &len))
			return 0;
		n = packet_len(in->data);
		if (!n)
			return -EPROTO;
		if (!fill(in, CONDUIT_HEAD_B + n, &data, &len))
			return 0;
		in->len = 0;
		fn(arg, in->data + CONDUIT_HEAD_B, n);
	}
	return 0;
}

/* ---- out ---- */

static bool room(struct conduit_out *o, size_t more)
{
	size_t live = o->len - o->at, size = o->size ? o->size : OUT_FIRST_B;
	uint8_t *data;

	if (live + more > MVPN_CONDUIT_QUEUE_B)
		return false;
	if (o->size - o->len >= more)
		return true;
	if (o->size - live >= more && o->at >= live) {
		memcpy(o->data, o->data + o->at, live);
	} else {
		while (size < live + more)
			size *= 2;
		data = malloc(size);
		if (!data)
			return false;
		if (live)
			memcpy(data, o->data + o->at, live);
		free(o->data);
		o->data = data;
		o->size = size;
	}
	o->at = 0;
	o->len = live;
	return true;
}

bool conduit_put(struct conduit_out *o, const uint8_t *packet, size_t len)
{
	uint8_t head[CONDUIT_HEAD_B] = {(uint8_t)(len >> 8), (uint8_t)len};

	if (!packet_len(head) || len > MVPN_CONDUIT_PACKET_MAX_B || !room(o, sizeof(head) + len))
		return false;
	memcpy(o->data + o->len, head, sizeof(head));
	memcpy(o->data + o->len + sizeof(head), packet, len);
	o->len += sizeof(head) + len;
	return true;
}

const uint8_t *conduit_output(const struct conduit_out *o, size_t *ret_len)
{
	*ret_len = o->len - o->at;
	return *ret_len ? o->data + o->at : NULL;
}

void conduit_sent(struct conduit_out *o, size_t len)
{
	o->at += len < o->len - o->at ? len : o->len - o->at;
	if (o->at < o->len)
		return;
	o->at = o->len = 0;
	if (o->size > OUT_KEEP_B)
		conduit_out_free(o);
}

int conduit_flush(struct conduit_out *o, int fd)
{
	const uint8_t *p;
	size_t len;
	ssize_t n;

	while ((p = conduit_output(o, &len))) {
		n = send(fd, p, len, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? 1 : -errno;
		conduit_sent(o, (size_t)n);
	}
	return 0;
}

void conduit_out_free(struct conduit_out *o)
{
	free(o->data);
	memset(o, 0, sizeof(*o));
}
