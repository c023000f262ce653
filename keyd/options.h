/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the policy sets for the whole network (enum mvpn_options): handed to the fast path and to the BPF programs at once, and
 * kept in the state directory, so that it also holds between the start and the server's first word.
 */
#ifndef KEYD_OPTIONS_H
#define KEYD_OPTIONS_H

#include <jansson.h>
#include <stdint.h>

#include "keyd.h"
#include "mvpn/maps.h"

void options_set(struct keyd *k, uint32_t options);
/* PREFIXES: how long sessions go on without the server, and their keys */
void options_times(struct keyd *k, const struct chan_msg *m);
/* what was kept; -ENOENT, -EBADMSG */
int options_kept(const char *state_dir, uint32_t *ret);
void options_load(struct keyd *k); /* at the start */
/* the bits of mvpn_config.flags that they make */
uint8_t options_config_flags(uint32_t options);
json_t *options_show(const struct keyd *k);

#endif
