/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What two keyds say on a TCP connection of the socket level (docs/protocol.md, "Streams"): OPEN, by which the one that connects proves
 * a session and names the application's connection; the other's nonce; records. No I/O, no allocation.
 *
 *   >  OPEN      magic u32 | SPI u32 | number u64 | sealed: proto u8, flags u8, 0 u16, sport u16, dport u16, src[16], dst[16] | tag[16]
 *                proto TCP: a connection's; UDP, all else 0: all datagrams between the two hosts
 *   <  nonce[32]
 *   >< records   type u8 | len u24 | sealed: len - 16 bytes | tag[16]
 *
 * `len` counts what follows it. Records of one direction are numbered from 0, and the number is not sent: what is lost, repeated
 * or moved does not open. The first one of the connection's acceptor is REPLY. FINAL ends a direction; a connection that ends
 * without it was cut.
 */
#ifndef MVPN_STREAM_H
#define MVPN_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"
#include "aead.h"
#include "mvpn/auth.h"
#include "mvpn/limits.h"

#define STREAM_OPEN_B 72
#define STREAM_NONCE_B 32
#define STREAM_HEAD_B 4
#define STREAM_TAG_B 16
#define STREAM_OVERHEAD_B (STREAM_HEAD_B + STREAM_TAG_B)
#define STREAM_RECORD_MAX_B (STREAM_OVERHEAD_B + MVPN_STREAM_DATA_MAX_B)

enum stream_record {
	STREAM_REPLY = 1, /* reason u16: MVPN_R_NONE, the application has taken the connection */
	STREAM_DATA = 2,  /* 1..MVPN_STREAM_DATA_MAX_B bytes of the application's */
	STREAM_FINAL = 3, /* empty: no more of this direction */
	STREAM_ABORT = 4, /* reason u16: the application, or who has the say, has reset the connection; nothing follows */
	STREAM_DATAGRAM = 5, /* family u8 (4, 6), 0 u8, sport u16, dport u16, src, dst (4 or 16 bytes each), then the application's bytes */
};
#define STREAM_DATAGRAM_HEAD_MAX_B 38

/* the application's connection, from the side that opened it; both addresses are of one family */
struct stream_tuple {
	struct mvpn_endpoint src, dst;
};

enum stream_kind {
	STREAM_CONNECTION,
	STREAM_DATAGRAMS,
	STREAM_PROBE, /* only shows that the opener has the keys */
};

/* which session, as both ends see it */
struct stream_session {
	const uint8_t *id; /* 16 */
	const uint8_t *k_opener, *k_acceptor; /* 32: K of the direction in which each sends (PROTOCOL §3) */
	uint8_t suite;
};

/* number must never have been used with that key before; t is a connection's. -ENOTSUP: no such suite here. */
int stream_open_seal(uint8_t ret[static STREAM_OPEN_B], const struct stream_session *s, uint32_t spi, uint64_t number,
		     enum stream_kind kind, const struct stream_tuple *t);
/* which session is meant, before anything is believed; false: not an OPEN */
bool stream_open_head(const uint8_t open[static STREAM_OPEN_B], uint32_t *ret_spi, uint64_t *ret_number);
/* -EBADMSG: not of that session's opener; -EPROTO: it is, and makes no sense. *ret is a connection's, else zero */
int stream_open_open(const uint8_t open[static STREAM_OPEN_B], const struct stream_session *s, enum stream_kind *ret_kind,
		     struct stream_tuple *ret);

/* one direction; in locked memory */
struct stream_dir {
	struct aead aead;
	uint8_t chain[32];
	uint64_t next; /* record */
	bool over;     /* FINAL or ABORT has passed */
};
/* Keys of both directions, from the opener's view if `opener`. The acceptor's nonce makes them new, whoever repeats an OPEN. */
int stream_dirs(struct stream_dir *tx, struct stream_dir *rx, bool opener, const struct stream_session *s,
		const uint8_t open[static STREAM_OPEN_B], const uint8_t nonce[static STREAM_NONCE_B]);

/* returns the record's length, len + STREAM_OVERHEAD_B; data and ret may not overlap */
size_t stream_seal(struct stream_dir *d, enum stream_record type, const void *data, size_t len, uint8_t *ret);
/* length of the whole record that begins so; -EPROTO: there is no such */
int stream_record_len(const uint8_t head[static STREAM_HEAD_B]);
/* a whole record. Returns how many bytes ret got; -EBADMSG not authentic, -EPROTO of a wrong length or after the end */
int stream_unseal(struct stream_dir *d, const uint8_t *record, size_t len, enum stream_record *ret_type, uint8_t *ret);

/* What a DATAGRAM's bytes begin with. Returns its length; both addresses of one family. */
size_t stream_datagram_put(uint8_t ret[static STREAM_DATAGRAM_HEAD_MAX_B], const struct stream_tuple *t);
/* -EPROTO: that is none */
int stream_datagram_get(const uint8_t *data, size_t len, struct stream_tuple *ret);

#endif
