/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Longest-prefix match over 16-byte addresses: one open-addressing hash table keyed by (masked address, length),
 * probed from the longest length that is present to the shortest (Waldvogel et al., SIGCOMM 1997, without the binary
 * search: a VPN has a handful of lengths). Look-up cost depends on the number of distinct lengths, not of prefixes.
 * Readers may look up concurrently only in a table that nobody changes: publish a copy to change it under readers.
 */
#ifndef MVPN_LPM_H
#define MVPN_LPM_H

#include <stdint.h>
#include "addr.h"

struct lpm;

int lpm_new(struct lpm **ret);
void lpm_free(struct lpm *t);
int lpm_clone(const struct lpm *t, struct lpm **ret);
int lpm_set(struct lpm *t, const struct mvpn_prefix *p, uint32_t value); /* insert or replace; -ENOMEM, -EINVAL */
int lpm_del(struct lpm *t, const struct mvpn_prefix *p);		  /* -ENOENT */
bool lpm_get(const struct lpm *t, const struct mvpn_prefix *p, uint32_t *ret); /* exact */
bool lpm_lookup(const struct lpm *t, const struct mvpn_addr *a, uint32_t *ret);
uint32_t lpm_count(const struct lpm *t);
/* in no order; stops when fn returns non-zero, and returns that */
int lpm_each(const struct lpm *t, int (*fn)(void *arg, const struct mvpn_prefix *p, uint32_t value), void *arg);

#endif
