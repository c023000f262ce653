/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which keys of the server a device takes for the server's, and what changes that (docs/protocol.md, "Rotation of the server's key").
 * No I/O, no clock. The identity names the first; from then on only the server itself, on a channel of the key that is
 * pinned, and an administrator's hand change it.
 */
#ifndef MVPN_SERVER_PINS_H
#define MVPN_SERVER_PINS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SERVER_PINS_FILE_B 144

enum pins_other { PINS_ALONE, PINS_NEXT, PINS_OLD };

struct server_pins {
	uint8_t base[32]; /* of the identity that this belongs to */
	uint8_t key[32];  /* to log in to */
	uint8_t other[32];
	uint8_t what;	 /* enum pins_other: what `other` is */
	uint64_t serial; /* of the server's last word */
	int64_t until,
		active_at; /* seconds since the epoch: `other` is no pin from then on; NEXT: then it shall be in use */
};

/* of a new identity, or by hand; serial 0: any word of the server's is newer */
void server_pins_set(struct server_pins *p, const uint8_t base[32], const uint8_t key[32],
		     uint64_t serial);
size_t server_pins_encode(const struct server_pins *p, uint8_t ret[static SERVER_PINS_FILE_B]);
/* -EBADMSG: damaged, or of a later version */
int server_pins_decode(const void *data, size_t len, struct server_pins *ret);

/* SERVER_KEY */
struct server_word {
	uint64_t serial;
	uint8_t pk[32];
	bool next;	 /* announced, else in use */
	uint32_t left_s; /* the one before is good for so long still; 0: it is gone */
	uint32_t in_s;
};
enum pins_verdict {
	PINS_SAME,
	PINS_CHANGED, /* *p is to be kept before it is used and acknowledged */
	PINS_REFUSED, /* on a channel that may not say so, or older than what is known */
};
/* `by`: the server's key of the channel that it came on */
enum pins_verdict server_pins_hear(struct server_pins *p, const struct server_word *w,
				   const uint8_t by[32], int64_t now);
/* true: a pin is over, and what is left is to be kept. The old one goes; of one that was only announced we know no more than that it
 * must be the key by now. */
bool server_pins_expire(struct server_pins *p, int64_t now);

#endif
