/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Any bytes as an identity file, without a passphrase: what decodes must encode again to the same bytes; a sealed one asks for
 * its passphrase and for nothing that is out of bounds. Any bytes as a passphrase.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../../keyd/identity.h"
#include "crypto.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct identity *id;

static void check(const uint8_t *data, size_t size)
{
	uint8_t out[IDENTITY_FILE_MAX_B];
	struct identity_lock *lock = NULL;
	int r = identity_decode(data, size, NULL, id, &lock);

	if (r != 0 && r != -EBADMSG && r != -ENOKEY)
		abort();
	if (r == 0 && (lock || identity_encode(id, NULL, out) != size || memcmp(out, data, size)))
		abort();
}

/* the same with the checksums made right: past the door that random bytes do not open */
static void check_inside(const uint8_t *data, size_t size)
{
	static const char *const magics[] = {"MVPNID1", "MVPNIDT", "MVPNIDD", "MVPNID3", "MVPNID4", "MVPNID5"};
	uint8_t in[516] = {0};
	unsigned form = size % 6;

	memcpy(in, magics[form], 8);
	if (size > 468 - 8 - 16)
		size = 468 - 8 - 16;
	memcpy(in + 8, data, size);
	mvpn_blake2b(in + 452, 16, NULL, 0, &(struct mvpn_part){in, 452}, 1);
	memcpy(in + 468, in + 8, 32); /* the next key */
	mvpn_blake2b(in + 500, 16, NULL, 0, &(struct mvpn_part){in, 500}, 1);
	check(in, form >= 3 ? 516 : 468);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct passphrase *p = NULL;

	mvpn_crypto_init();
	if (!id)
		id = identity_new();
	check(data, size);
	check_inside(data, size);
	if (!passphrase_new(&p, (const char *)data, size) && (!p->len || p->len > size))
		abort();
	passphrase_free(p);
	return 0;
}
