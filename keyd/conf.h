/* SPDX-License-Identifier: BSD-2-Clause */
/* keyd.conf; docs/keyd.conf.5 */
#ifndef MVPN_CONF_H
#define MVPN_CONF_H

#include "keyd.h"

void conf_defaults(struct settings *s, const char *network); /* NULL: the only one */
/* -errno with a message; a missing file is fine unless `must` */
int conf_load(struct settings *s, const char *path, bool must, char **ret_error);
void conf_free(struct settings *s);
/* re-reads the file; what can change while running is changed, its names are appended to `changed`; a change of anything else is
 * -EBUSY with a message */
int conf_reload(struct keyd *k, json_t *changed, char **ret_error);

#endif
