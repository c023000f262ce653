/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What each device is told as a whole, after REGISTER and when it has become another: its frames (ether.c), its levels (levels.c) and what
 * its processes may (processes.c). When policy, names or addresses change all tables are made anew, one device after the other, and the
 * loop serves others in between; an introduction does not overtake the tables of its two ends.
 */
#ifndef SERVER_TABLES_H
#define SERVER_TABLES_H

#include "channel.h"

struct tables;

/* in the making: messages of one type, each whole */
struct table {
	uint8_t msg;
	struct chan_buf *parts;
	unsigned nparts, n; /* entries so far */
	bool cut; /* there are more */
	int error; /* what did not fit in memory */
};
struct table_kind {
	const char *what; /* for people */
	uint8_t msg; /* its parts have MVPN_PFX_RESET and MVPN_PFX_COMMIT */
	int (*make)(const struct server *s, const struct device *d, struct table *ret); /* -ENOMEM */
	void (*told)(struct conn *c, const struct table *t); /* NULL: nothing to count */
};

/* the part in which there is room for so many bytes more; NULL: t->error */
struct chan_buf *table_room(struct table *t, size_t bytes);
void table_put(struct table *t, uint16_t tlv, const void *entry, size_t len);

int tables_new(struct server *s);
void tables_free(struct tables *t); /* NULL is fine */
/* who has to do with it hears so soon */
void tables_changed(struct server *s, enum table_what what);
/* this device's, all of them, now */
void tables_subscribe(struct conn *c);
/* likewise, if they are old: before something is said that counts on them */
void tables_flush(struct conn *c);

#endif
