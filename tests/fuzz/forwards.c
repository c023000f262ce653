/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A device that relays: whatever the server says of pairs and whatever ends ask, in whatever order, the workers are told of as many ends
 * as there are pairs, sorted, each with an account of its own pair, and an end's place only by its key.
 */
#include <stdlib.h>
#include <string.h>

#include "../../keyd/channel.h"
#include "../../keyd/forwards.h"
#include "../../keyd/fwdtab.h"
#include "../../keyd/sessions.h"
#include "chan_impl.h"
#include "echo_msg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct keyd k;
static struct identity self;
static struct fwdtab *published;
static uint64_t clock_ms;

uint64_t mono_ms(void)
{
	return clock_ms;
}

void kt_set_forwards(struct keytab *kt, struct fwdtab *t)
{
	free(published);
	published = t;
	for (unsigned i = 1; t && i < t->n; i++)
		if (t->of[i - 1].spi > t->of[i].spi)
			abort();
	for (unsigned i = 0; t && i < t->n; i++)
		if (!t->of[i].spi || !t->of[i].rate_kbit || !t->of[i].account)
			abort();
}

struct session *session_by_spi(struct keyd *keyd, uint32_t spi)
{
	return spi == 7 ? (struct session *)&self : NULL;
}

int channel_send(struct keyd *keyd, const struct chan_buf *b)
{
	if (chan_msg_check(b->data, b->len) < 0)
		abort();
	return 0;
}

/* an answer, so it was a question that was sealed with that end's key: ask() knows which ones are */
int dp_send_plain(struct dp *dp, const struct mvpn_endpoint *to, const void *data, size_t len)
{
	if (!to->port || len != MVPN_ECHO_B)
		abort();
	return 0;
}

static void say(uint8_t *plain, size_t len)
{
	struct chan_msg m = {
		.type = MVPN_MSG_FORWARD, .flags = plain[1], .tlvs = plain + 4, .len = len - 4};

	if (chan_msg_check(plain, len) == 0)
		forwards_message(&k, &m);
}

static void say_well(uint8_t session, uint8_t spi, uint8_t flags)
{
	struct chan_buf b = {0};
	uint8_t id[MVPN_ID_LEN] = {session};

	chan_begin(&b, MVPN_MSG_FORWARD, flags & 1, 0);
	chan_put(&b, MVPN_TLV_SESSION, id, sizeof(id));
	chan_put_u32(&b, MVPN_TLV_RELAY_RATE, flags);
	for (uint8_t i = 0; i < 2; i++) {
		struct mvpn_relay_end e = {.device = {(uint8_t)(i + flags / 64)}, .key = {i}};
		uint8_t v[sizeof(e) + 1];

		((uint8_t *)&e.spi_be)[3] = (uint8_t)(spi + i);
		memcpy(v, &e, sizeof(e));
		v[sizeof(e)] = 'n';
		chan_put(&b, MVPN_TLV_RELAY_END, v, sizeof(v));
	}
	say(b.data, b.len);
	chan_buf_free(&b);
}

static void ask(uint8_t spi, uint8_t counter, bool forged)
{
	struct echo_msg m = {.id = spi, .counter = counter};
	uint8_t key[ECHO_KEY_B] = {forged ? 9 : spi & 1};
	struct dp_event e = {.type = DP_EV_ASKED, .from.port = 5};

	echo_seal(e.data, MVPN_ECHO, &m, key);
	forwards_asked(&k, &e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	memset(&k, 0, sizeof(k));
	self.device_id[0] = 3;
	k.id = &self;
	k.state = KEYD_ONLINE;
	k.max_offline_s = 900;
	clock_ms = 1000000;
	if (forwards_init(&k))
		abort();
	while (size >= 4) {
		size_t n = data[1] < size - 4 ? data[1] : size - 4, used = 4;
		uint8_t *copy;

		switch (data[0] & 3) {
		case 0:
			copy = malloc(4 + n); /* the sanitizer sees what lies behind it */
			memcpy(copy, data, 4 + n);
			copy[1] = data[0] >> 2;
			say(copy, 4 + n);
			free(copy);
			used += n;
			break;
		case 1:
			say_well(data[1] % 5, data[2] % 16, data[3]);
			break;
		case 2:
			ask(data[1] % 16, data[2], data[3] & 1);
			break;
		case 3:
			clock_ms += data[1] * 1000ULL;
			k.state = data[2] & 1 ? KEYD_ONLINE : KEYD_OFFLINE;
			forwards_tick(&k, clock_ms);
			break;
		}
		if ((published ? published->n : 0) != 2 * forwards_count(&k))
			abort();
		data += used;
		size -= used;
	}
	forwards_drop_all(&k);
	if (published)
		abort();
	forwards_free(&k);
	return 0;
}
