/* SPDX-License-Identifier: BSD-2-Clause */
/* By which lines of the policy a session is: what OFFER and ANSWER say of them, for people. Nothing is decided by it. */
#ifndef MVPN_SESSION_RULES_H
#define MVPN_SESSION_RULES_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "chan.h"

struct session_rules;
/* are its RULEs well-formed? */
bool session_rules_good(const struct chan_msg *m);
/* of a message for which that holds. NULL: it has none, or there is no memory; free() */
struct session_rules *session_rules_new(const struct chan_msg *m, bool initiator);
/* The number of the line of session_rules_show(), and its text, without NUL; 0: there is none */
uint32_t session_rules_line(const struct session_rules *r, uint8_t proto, int here, int there, const char **ret_text,
			    size_t *ret_len);
/* {line, text, policy_rev} of the first by which that passes, or null. Ports: of this host, where a line is about what the peer begins, and of
 * the peer; negative: of no matter. Protocol 0: any */
json_t *session_rules_show(const struct session_rules *r, uint8_t proto, int here, int there);

#endif
