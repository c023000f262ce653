/* SPDX-License-Identifier: BSD-2-Clause */
/* Any bytes as a delegation: what decodes must encode to the same, and holds only as it was signed. */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "crypto.h"
#include "delegation.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t net_id[MVPN_NET_ID_LEN], device_id[MVPN_ID_LEN], s[32];
static const struct delegation_of of = {net_id, device_id, s};

/* one that holds, and then with a byte of the input changed */
static void check_changed(const uint8_t *data, size_t size)
{
	static const uint8_t seed[32];
	struct delegation d = {.not_after = 1};
	uint8_t text[MVPN_DELEGATION_TEXT_B], wire[MVPN_TLV_DELEGATION_B], sk[64];

	crypto_sign_seed_keypair(d.key, sk, seed);
	delegation_text(text, &d, &of);
	crypto_sign_detached(d.signature, NULL, text, sizeof(text), sk);
	if (delegation_verify(&d, &of))
		abort();
	if (size < 2 || !data[1])
		return;
	delegation_encode(wire, &d);
	wire[data[0] % sizeof(wire)] ^= data[1];
	if (delegation_decode(&d, wire, sizeof(wire)) || !delegation_verify(&d, &of))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct delegation d;
	uint8_t again[MVPN_TLV_DELEGATION_B];

	mvpn_crypto_init();
	if (!delegation_decode(&d, data, size)) {
		delegation_encode(again, &d);
		if (memcmp(again, data, sizeof(again)))
			abort();
		delegation_verify(&d, &of);
	} else if (size == MVPN_TLV_DELEGATION_B) {
		abort();
	}
	check_changed(data, size);
	return 0;
}
