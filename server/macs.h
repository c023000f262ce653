/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Who holds which MAC address. A device has those that it registers, unless another device holds one already (who came
 * first keeps it, over restarts of either side, until it registers without it, or is revoked or removed).
 */
#ifndef SERVER_MACS_H
#define SERVER_MACS_H

#include "channel.h"

struct device_mac {
	uint8_t mac[6];
	struct device *d;
	struct hnode by_mac;
};

/* ---- the registry's part ---- */
void mac_del(struct registry *r, struct device *d, const uint8_t mac[6]);
/* from the store, kind PREFIX_MAC */
int mac_load(struct registry *r, struct device *d, const struct mvpn_prefix *p);
json_t *macs_json(const struct device *d);

/* ---- registration ---- */
struct mac_verdict {
	unsigned naccepted, nrefused;
	uint8_t accepted[MVPN_MACS_MAX][6];
	struct {
		uint8_t mac[6];
		uint16_t reason; /* enum mvpn_reason */
	} refused[CONN_MACS_MAX];
};
/* what c claims is judged, and its device has what is accepted. -EAGAIN: it changes too often, and stays as it was */
int macs_take(struct conn *c, struct mac_verdict *ret);
void mac_verdict_put(const struct mac_verdict *v, struct chan_buf *b); /* into WELCOME */

#endif
