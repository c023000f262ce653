/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What each device is told as a whole, after REGISTER and when it has become another: its frames (ether.c) and its levels (levels.c). When
 * policy, names or addresses change all tables are made anew, one device after the other, and the loop serves others in between.
 */
#ifndef SERVER_TABLES_H
#define SERVER_TABLES_H

#include "channel.h"

struct tables;

struct table {
	void *entries; /* malloc'ed */
	unsigned n;
	bool cut; /* there are more */
};
struct table_kind {
	uint8_t msg; /* its parts have MVPN_PFX_RESET and MVPN_PFX_COMMIT */
	uint16_t tlv;
	size_t entry_b;
	int (*make)(const struct server *s, const struct device *d, struct table *ret); /* -ENOMEM */
	void (*told)(struct conn *c, const struct table *t); /* NULL: nothing to count */
};

int tables_new(struct server *s);
void tables_free(struct tables *t); /* NULL is fine */
/* who has to do with it hears so soon */
void tables_changed(struct server *s, enum table_what what);
/* this device's, all of them, now */
void tables_subscribe(struct conn *c);

#endif
