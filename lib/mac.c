/* SPDX-License-Identifier: BSD-2-Clause */
/* MAC addresses: see addr.h. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "addr.h"

#define GROUP 0x01 /* of the first byte: multicast and broadcast */

const char *mvpn_mac_str(const uint8_t mac[6], char ret[static MVPN_MACSTRLEN])
{
	snprintf(ret, MVPN_MACSTRLEN, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2],
		 mac[3], mac[4], mac[5]);
	return ret;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int mvpn_mac_parse(uint8_t ret[6], const char *text)
{
	uint8_t mac[6];

	if (strlen(text) != MVPN_MACSTRLEN - 1)
		return -EINVAL;
	for (unsigned i = 0; i < 6; i++) {
		int high = hex_digit(text[3 * i]), low = hex_digit(text[3 * i + 1]);

		if (high < 0 || low < 0 || text[3 * i + 2] != (i < 5 ? ':' : '\0'))
			return -EINVAL;
		mac[i] = (uint8_t)(high << 4 | low);
	}
	memcpy(ret, mac, sizeof(mac));
	return 0;
}

bool mvpn_mac_is_ownable(const uint8_t mac[6])
{
	static const uint8_t zero[6];

	return memcmp(mac, zero, 6) && !(mac[0] & GROUP);
}

struct mvpn_addr mvpn_mac_addr(const uint8_t mac[6])
{
	struct mvpn_addr a = {.b = {0xff, 0x00}};

	memcpy(a.b + 10, mac, 6);
	return a;
}

bool mvpn_addr_mac(const struct mvpn_addr *a, uint8_t ret[6])
{
	static const uint8_t head[10] = {0xff, 0x00};

	if (memcmp(a->b, head, sizeof(head)))
		return false;
	memcpy(ret, a->b + 10, 6);
	return true;
}
