/* SPDX-License-Identifier: BSD-2-Clause */
/* keyd.conf; docs/keyd.conf.5 */
#ifndef MVPN_CONF_H
#define MVPN_CONF_H

#include "keyd.h"

struct cmdline;

void conf_defaults(struct settings *s, const char *network); /* NULL: the only one */
/* what is in force with this command line: conf_free(), whatever is returned. -errno with a message */
int conf_of(const struct cmdline *c, struct settings *ret, char **ret_error);
void conf_free(struct settings *s);
/* re-reads the file; what can change while running is changed, its names are appended to `changed`; a change of anything else is
 * -EBUSY with a message */
int conf_reload(struct keyd *k, json_t *changed, char **ret_error);

#endif
