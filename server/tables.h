/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What each device is told as a whole, after REGISTER and when it has become another: its frames (ether.c), its levels (levels.c) and what
 * its processes may (processes.c). When policy, names or addresses change all tables are made anew, one device after the other, and the
 * loop serves others in between. A table goes as fast as the device reads: one at a time is kept for it, what has changed meanwhile is made
 * when that one has gone. An introduction does not overtake the tables of its two ends (introduce_tables_told), nor does what it protects
 * come before its first tables.
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
/* this device's, all of them, whether or not it has heard them */
void tables_subscribe(struct conn *c);
void tables_unsubscribe(struct conn *c);
/* before something is said that counts on them: false: they wait for the socket */
bool tables_flush(struct conn *c);
/* the next part of what is on its way; false: there is none */
bool tables_step(struct conn *c);

#endif
