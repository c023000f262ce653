/* SPDX-License-Identifier: BSD-2-Clause */
/* The other devices and the protected prefixes: from the server (PREFIXES), kept on disk for the guard, put into the
 * BPF maps and the key table. */
#ifndef MVPN_PEERS_H
#define MVPN_PEERS_H

#include "keyd.h"

int peers_init(struct keyd *k); /* reads the kept set and makes the maps agree with it */
void peers_free(struct keyd *k);
/* finds or makes; NULL when the table is full or there is no memory */
struct peer *peer_ensure(struct keyd *k, const uint8_t id[MVPN_ID_LEN]);
/* the same device at another layer, link or socket: there it has sessions, refusals and an index of their own */
struct peer *peer_layer_ensure(struct keyd *k, const uint8_t id[MVPN_ID_LEN], uint8_t layer);
struct peer *peer_layer_by_id(struct keyd *k, const uint8_t id[MVPN_ID_LEN], uint8_t layer);
const char *peer_layer_name(const struct peer *p);
struct peer *peer_by_index(struct keyd *k, uint32_t index); /* NULL if none */
struct peer *peer_by_id(struct keyd *k, const uint8_t id[MVPN_ID_LEN]);
/* that device, at whatever layer: the server has said so in this life */
bool peer_is_revoked(struct keyd *k, const struct peer *p);
/* by name, id in hex, or an address inside one of its prefixes */
struct peer *peer_find(struct keyd *k, const char *what);
/* an address of its own, REQ's destination when no packet names one; unspecified when it owns none */
const struct mvpn_addr *peer_address(struct keyd *k, struct peer *p);
const char *peer_label(const struct peer *p); /* its name, or "?" */
/* a prefix has come into (n 1) or gone from (-1) that owner's hands; all of them counted anew */
void peer_owns(struct keyd *k, const struct mvpn_prefix *p, uint32_t owner, int n);
void peers_recount(struct keyd *k);
/* the set as it was last kept, for `--guard`: calls fn for each line; -ENOENT when nothing was kept. A later line of the same
 * prefix replaces an earlier one; the owner PEERS_KEPT_GONE takes it back. */
#define PEERS_KEPT_GONE "gone"
int peers_kept_each(const char *state_dir,
		    int (*fn)(void *arg, const struct mvpn_prefix *p, const char *owner,
			      const char *name),
		    void *arg);
void peers_save(struct keyd *k); /* now */

#endif
