/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What this device relays, as the workers see it: SPI -> whence its packets must come, and where they go. Built by the main thread
 * (forwards.c), then published to the workers by kt_set_forwards(), and not changed any more; what changes is in the accounts, which
 * outlive the table.
 */
#ifndef MVPN_FWDTAB_H
#define MVPN_FWDTAB_H

#include <stdbool.h>
#include <stdint.h>

#include "addr.h"

/* of a pair. [worker] */
struct fwd_account {
	_Atomic uint64_t rate; /* fwd_may()'s */
	_Atomic uint64_t packets, bytes, limited;
	_Atomic uint64_t heard_ns[2]; /* when a question of that end was handed on */
};

struct fwd_entry {
	uint32_t spi;	 /* by which that end receives; it is the id of its echoes, too */
	unsigned end;	 /* which one of the pair */
	uint32_t rate_kbit;
	struct mvpn_endpoint from; /* of the other end; port 0: not known yet */
	struct mvpn_endpoint to;   /* likewise, of this one */
	struct fwd_account *account;
};

#define FWDTAB_LINK_B 32 /* the beginning is the key table's while it waits to be freed */
struct fwdtab {
	uint64_t link[FWDTAB_LINK_B / sizeof(uint64_t)];
	unsigned n;
	struct fwd_entry of[]; /* by SPI */
};

struct fwdtab *fwdtab_new(unsigned max); /* NULL: no memory; free() */
void fwdtab_add(struct fwdtab *t, const struct fwd_entry *e);
void fwdtab_sort(struct fwdtab *t); /* after the last one */
/* the ends that receive by it: how many; t may be NULL */
unsigned fwdtab_find(const struct fwdtab *t, uint32_t spi, const struct fwd_entry **ret);

#endif
