/* SPDX-License-Identifier: BSD-2-Clause */
/* Inside the key table: what keytab.c and keytab_session.c share. Public objects sit in boxes that carry what only the writer needs. */
#ifndef MVPN_KEYTAB_IMPL_H
#define MVPN_KEYTAB_IMPL_H

#include <stddef.h>

#include "keytab.h"

/* peers a chunk: the directory of chunks never moves, so readers need no lock */
#define PEER_CHUNK 1024
#define PEER_CHUNKS (MVPN_PEERS_MAX / PEER_CHUNK + 1)

#define box_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

/*
 * what was unpublished while the table's epoch was `epoch` - 1; free once every worker has seen
 * `epoch`
 */
struct retired {
	struct retired *next;
	uint64_t epoch;
	void (*free)(struct retired *r);
};

struct session_box {
	struct retired retired;
	struct session_box *next, **prev; /* of one peer */
	struct secslab *slab;		  /* of the lanes */
	struct kt_session s;
	struct mvpn_prefix selectors[]; /* s.local, then s.remote */
};
struct peer_box {
	struct retired retired;
	struct session_box *sessions;
	struct kt_peer p;
};

struct frames_box;
struct peer_chunk;
struct reader { /* epoch that the worker has seen; 0: offline. A cache line each. */
	_Atomic uint64_t seen;
} __attribute__((aligned(64)));

struct keytab {
	struct kt_session *_Atomic rx[MVPN_SPI_SLOTS];
	struct peer_chunk *_Atomic chunks[PEER_CHUNKS];
	struct lpm *_Atomic lpm;
	struct frames_box *_Atomic frames;
	struct fwdtab *_Atomic forwards;
	_Atomic uint64_t epoch;
	_Atomic uint32_t options; /* enum mvpn_options */
	_Atomic uint32_t echo;
	struct reader reader[MVPN_WORKERS_MAX];
	/* writer only */
	struct retired *retired, **retired_end; /* oldest first */
	unsigned nretired;
	struct spi_table *spis;
	struct secslab *lanes;
};

/* frees it by fn when every worker has seen that it is unpublished */
void kt_retire(struct keytab *kt, struct retired *r, void (*fn)(struct retired *r));

#endif
