/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Ethernet frames that are no IP packets: whose MAC addresses we may exchange which EtherTypes with (from the server, kept on
 * disk for the guard, put into the BPF maps and the key table), our own addresses, and the device that the frames take.
 */
#ifndef MVPN_KEYD_ETHER_H
#define MVPN_KEYD_ETHER_H

#include "chan.h"
#include "keyd.h"

int ether_init(struct keyd *k); /* reads the kept table and makes the maps agree with it */
void ether_free(struct keyd *k);

/* into REGISTER: the MAC addresses of the attached interfaces */
void ether_claim(struct keyd *k, struct chan_buf *b);
/* WELCOME: which of them are ours */
void ether_welcome(struct keyd *k, const struct chan_msg *m);
/* an ETHER message; -EPROTO if malformed */
int ether_message(struct keyd *k, const struct chan_msg *m);
void ether_lost(struct keyd *k); /* the channel: what was not committed will not be */
/* attached interfaces have come, gone or changed their address */
void ether_ports_changed(struct keyd *k);

struct ether_entry {
	uint8_t mac[6]; /* zero: every address */
	uint16_t type;	/* ETHER_ANY: every type */
	uint8_t flags;	/* enum mvpn_frame_flags */
	uint8_t owner[MVPN_ID_LEN];
	struct peer *peer; /* NULL: nobody, or no room for another */
};
/* "02:00:00:00:00:0b/0x88b5", with a star for every type */
#define ETHER_ENTRY_STRLEN 26
const char *ether_entry_str(const struct ether_entry *e, char ret[static ETHER_ENTRY_STRLEN]);
const struct ether_entry *ether_entries(const struct keyd *k, unsigned *ret_count);
/* what is said of such a frame; NULL: nothing, it passes untouched */
const struct ether_entry *ether_find(const struct keyd *k, const uint8_t mac[6], uint16_t type);
unsigned ether_tap_ifindex(const struct keyd *k); /* 0: there is none now */
const char *ether_tap_name(const struct keyd *k);

/* the table as it was last kept, for `--guard`: -ENOENT when nothing was kept, -EBADMSG */
int ether_kept_each(const char *state_dir, int (*fn)(void *arg, const struct ether_entry *e), void *arg);

#endif
