/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The first byte says where the rest goes: REQ's check, the selectors' parser, B as REQ and message
 * 1, A as message 2 from the network, or A as the payload of an authentic message 2: XORed into a
 * right one, so that zeros leave it right.
 */
#include <stdlib.h>
#include <string.h>

#include "crypto.h"
#include "intro.h"
#include "noise.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t a_s[32] = {0x10}, a_pk[32], b_s[32] = {0x20}, b_pk[32], psk[32] = {3};
static uint8_t session_id[16] = {4}, a_id[16] = {5}, b_id[16] = {6}, selectors[2];
static const struct intro_pair pair = {session_id, a_id, b_id, a_pk, b_pk, psk, selectors, 2};
static const struct intro_self a_self = {.s = a_s, .spi = 0x10001, .lanes = 1, .suites = 3};
static const struct intro_self b_self = {.s = b_s, .spi = 0x20002, .lanes = 1, .suites = 3};

static void check_selectors(const uint8_t *data, size_t size)
{
	struct intro_selectors s;
	uint8_t back[MVPN_SELECTORS_MAX_B];

	if (intro_selectors_decode(&s, data, size) < 0)
		return;
	if (intro_selectors_encode(&s, back, sizeof(back)) != (int)size ||
	    memcmp(back, data, size) != 0)
		abort();
}

/* message 1 is right, so that REQ is what is being read */
static void as_req(const uint8_t *data, size_t size)
{
	uint8_t prologue[11 + INTRO_REQ_MAX_B] = "mavp1 peer", msg1[INTRO_MSG1_B],
			      msg2[INTRO_MSG2_MAX_B];
	struct noise_config c = {
		.pattern = NOISE_KXPSK2, .initiator = true, .prologue = prologue, .s = a_s};
	struct intro_keys keys;
	struct noise *n;
	size_t len;

	if (size > INTRO_REQ_MAX_B)
		return;
	memcpy(prologue + 11, data, size);
	c.prologue_len = 11 + size;
	if (noise_new(&n, &c) < 0 || noise_write(n, NULL, 0, msg1, sizeof(msg1)) != sizeof(msg1))
		abort();
	noise_free(n);
	if (intro_b_accept(data, size, msg1, sizeof(msg1), &pair, &b_self, msg2, &len, &keys) ==
		    0 &&
	    (keys.ncand > MVPN_CANDIDATES_MAX || keys.rx_lanes < 1 ||
	     keys.rx_lanes > MVPN_LANES_MAX || !keys.peer_spi || intro_req_check(data, size) < 0))
		abort();
}

static void spoil_payload(uint8_t *payload, size_t size)
{
	/*
	 * session_id[16] | spi u32 | lanes u8 | suite u8 | udpport u16 | boot_gen u64 | hash[32] |
	 * ncand u8
	 */
	uint8_t right[65] = {4, [16] = 0, 2, 0, 2, 1, 1, 0x1d, 0x2d};

	mvpn_blake2b(right + 32, 32, NULL, 0, &(struct mvpn_part){selectors, 2}, 1);
	for (size_t i = 0; i < size && i < sizeof(right); i++)
		payload[i] ^= right[i];
}

static void as_msg2(const uint8_t *data, size_t size, bool authentic)
{
	uint8_t prologue[11 + INTRO_REQ_MAX_B] = "mavp1 peer", req[INTRO_REQ_MAX_B],
			      msg1[INTRO_MSG1_B];
	struct noise_config c = {
		.pattern = NOISE_KXPSK2, .prologue = prologue, .s = b_s, .rs = a_pk};
	uint8_t msg2[1024];
	struct mvpn_req tmpl = {.layer = MVPN_LAYER_NETWORK};
	struct intro_keys keys;
	struct intro_a *a;
	struct noise *n;
	size_t req_len;
	int len = size;

	memcpy(tmpl.a_id, a_id, 16);
	if (size > 512 || intro_a_start(&a, &tmpl, &a_self, req, &req_len, msg1) < 0)
		return;
	memcpy(msg2, data, size);
	if (authentic) {
		uint8_t payload[512];

		memcpy(payload, data, size);
		spoil_payload(payload, size);
		memcpy(prologue + 11, req, req_len);
		c.prologue_len = 11 + req_len;
		if (noise_new(&n, &c) < 0)
			abort();
		noise_set_psk(n, psk);
		if (noise_read(n, msg1, sizeof(msg1), NULL, 0) < 0)
			abort();
		len = noise_write(n, payload, size, msg2, sizeof(msg2));
		noise_free(n);
	}
	if (intro_a_finish(a, &pair, msg2, len, &keys) == 0 &&
	    (!authentic || keys.ncand > MVPN_CANDIDATES_MAX || keys.rx_lanes < 1 ||
	     keys.rx_lanes > MVPN_LANES_MAX || !keys.peer_spi))
		abort();
	intro_a_free(a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t msg2[INTRO_MSG2_MAX_B];
	struct intro_keys keys;
	size_t len;

	if (aead_init() < 0 || size < 1)
		return 0;
	mvpn_x25519_public(a_pk, a_s);
	mvpn_x25519_public(b_pk, b_s);
	switch (data[0] % 6) {
	case 0:
		intro_req_check(data + 1, size - 1);
		break;
	case 1:
		check_selectors(data + 1, size - 1);
		break;
	case 2:
		as_req(data + 1, size - 1);
		break;
	case 3: /* both from outside: never accepted */
		if (size > INTRO_MSG1_B &&
		    intro_b_accept(data + 1 + INTRO_MSG1_B, size - 1 - INTRO_MSG1_B, data + 1,
				   INTRO_MSG1_B, &pair, &b_self, msg2, &len, &keys) == 0)
			abort();
		break;
	default:
		as_msg2(data + 1, size - 1, data[0] % 6 == 5);
	}
	return 0;
}
