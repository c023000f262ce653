/* SPDX-License-Identifier: BSD-2-Clause */
/* The old key's word for the new one: both ends make the same, and it is for exactly one change, one peer and one network. */
#include "test.h"

#include <string.h>

#include "../../keyd/vouch.h"
#include "crypto.h"

static void both_ends_agree_and_everything_counts(void **state)
{
	uint8_t net[8] = {1}, a[16] = {2}, b[16] = {3}, next[32] = {4}, dh[32], other[32];
	uint8_t old_sk[32], old[32], b_sk[32], b_pk[32], mac[32], again[32];
	struct vouch v = {net, a, b, old, next, b_pk};
	uint8_t *const fields[] = {net, a, b, old, next, b_pk, dh};

	assert_int_equal(mvpn_crypto_init(), 0);
	mvpn_keypair(old_sk, old);
	mvpn_keypair(b_sk, b_pk);
	assert_int_equal(mvpn_x25519(dh, old_sk, b_pk), 0);
	assert_int_equal(mvpn_x25519(other, b_sk, old), 0);
	vouch_mac(mac, dh, &v);
	vouch_mac(again, other, &v);
	assert_memory_equal(mac, again, 32);
	for (unsigned i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		fields[i][7] ^= 1;
		vouch_mac(again, dh, &v);
		assert_memory_not_equal(mac, again, 32);
		fields[i][7] ^= 1;
	}
	/* not the other way round */
	v = (struct vouch){net, b, a, b_pk, next, old};
	vouch_mac(again, dh, &v);
	assert_memory_not_equal(mac, again, 32);
}

/* the bytes of docs/protocol.md */
static void bytes(void **state)
{
	uint8_t net[8], a[16], b[16], old[32], pk[32], b_pk[32], dh[32], mac[32], want[32], all[11 + 136];
	struct vouch v = {net, a, b, old, pk, b_pk};
	size_t at = 11;

	memset(net, 1, 8), memset(a, 2, 16), memset(b, 3, 16), memset(old, 4, 32), memset(pk, 5, 32);
	memset(b_pk, 6, 32), memset(dh, 7, 32);
	memcpy(all, "mavp1 vouch", 11);
	memcpy(all + at, net, 8), at += 8;
	memcpy(all + at, a, 16), at += 16;
	memcpy(all + at, b, 16), at += 16;
	memcpy(all + at, old, 32), at += 32;
	memcpy(all + at, b_pk, 32), at += 32;
	memcpy(all + at, pk, 32), at += 32;
	assert_int_equal(at, sizeof(all));
	mvpn_blake2b(want, 32, dh, 32, &(struct mvpn_part){all, at}, 1);
	vouch_mac(mac, dh, &v);
	assert_memory_equal(mac, want, 32);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_ends_agree_and_everything_counts),
		cmocka_unit_test(bytes),
	};

	return MVPN_RUN(tests);
}
