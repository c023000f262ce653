/* SPDX-License-Identifier: BSD-2-Clause */
#include "vouch.h"

#include "crypto.h"

void vouch_mac(uint8_t ret[VOUCH_MAC_B], const uint8_t dh[32], const struct vouch *v)
{
	const struct mvpn_part parts[] = {
		{"mavp1 vouch", 11},  {v->net_id, MVPN_NET_ID_LEN}, {v->a, MVPN_ID_LEN},
		{v->b, MVPN_ID_LEN}, {v->old, MVPN_KEY_LEN},	    {v->b_pk, MVPN_KEY_LEN},
		{v->pk, MVPN_KEY_LEN},
	};

	mvpn_blake2b(ret, VOUCH_MAC_B, dh, 32, parts, sizeof(parts) / sizeof(parts[0]));
}
