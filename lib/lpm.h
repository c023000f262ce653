/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Longest-prefix match over 16-byte addresses: one open-addressing hash table keyed by (masked address, length),
 * probed from the longest length that is present to the shortest (Waldvogel et al., SIGCOMM 1997, without the binary
 * search: a VPN has a handful of lengths). Look-up cost depends on the number of distinct lengths, not of prefixes.
 *
 * One writer; any number of readers may look up meanwhile, without a lock: each finds what was there before a change or after it.
 * A table that has been outgrown is then still read by some: lpm_on_retire() says who frees it, and when.
 */
#ifndef MVPN_LPM_H
#define MVPN_LPM_H

#include <stdint.h>
#include "addr.h"

struct lpm;

int lpm_new(struct lpm **ret);
void lpm_free(struct lpm *t); /* nobody reads it any more */
/*
 * fn gets memory that readers may still be in, and free()s it after them. Its first LPM_LINK_B bytes are fn's to use; so are those of a
 * struct lpm, which is to be lpm_free()d. Without fn (NULL) there must be no reader at a change.
 */
#define LPM_LINK_B 32
void lpm_on_retire(struct lpm *t, void (*fn)(void *arg, void *mem), void *arg);
int lpm_set(struct lpm *t, const struct mvpn_prefix *p, uint32_t value); /* insert or replace; -ENOMEM, -EINVAL */
int lpm_del(struct lpm *t, const struct mvpn_prefix *p);		  /* -ENOENT */
bool lpm_get(const struct lpm *t, const struct mvpn_prefix *p, uint32_t *ret); /* exact */
bool lpm_lookup(const struct lpm *t, const struct mvpn_addr *a, uint32_t *ret);
uint32_t lpm_count(const struct lpm *t);
/* in no order; stops when fn returns non-zero, and returns that. fn may replace and delete, not insert. */
int lpm_each(const struct lpm *t, int (*fn)(void *arg, const struct mvpn_prefix *p, uint32_t value), void *arg);

#endif
