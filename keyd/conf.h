/* SPDX-License-Identifier: BSD-2-Clause */
/* keyd.conf; docs/keyd.conf.5 */
#ifndef MVPN_CONF_H
#define MVPN_CONF_H

#include "keyd.h"

struct cmdline;

#define CONF_SHARE_NAME "host" /* of the directory with what the networks share, beside those with their own pins */

void conf_defaults(struct settings *s, const char *network); /* NULL: the only one */
/* what is in force with this command line: conf_free(), whatever is returned. -errno with a message */
int conf_of(const struct cmdline *c, struct settings *ret, char **ret_error);
/* the same without what is wrong: where things are is needed in any case (guard.h) */
int conf_of_some(const struct cmdline *c, struct settings *ret);
void conf_free(struct settings *s);
/* re-reads the file; what can change while running is changed, its names are appended to `changed`; a change of anything else is
 * -EBUSY with a message */
int conf_reload(struct keyd *k, json_t *changed, char **ret_error);

#endif
