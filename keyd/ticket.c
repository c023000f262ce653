/* SPDX-License-Identifier: BSD-2-Clause */
#include "ticket.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fsutil.h"
#include "log.h"

#define KEPT_FILE "ticket"

void ticket_load(struct keyd *k)
{
	char *path = path_join(k->state_dir, KEPT_FILE), *data = NULL;
	size_t len = 0;

	/* without one the server has us work: nothing to complain of */
	if (path && file_read(path, MVPN_TICKET_B, &data, &len) == 0 && len == MVPN_TICKET_B) {
		memcpy(k->ticket, data, MVPN_TICKET_B);
		k->has_ticket = true;
	}
	free(data);
	free(path);
}

void ticket_take(struct keyd *k, const struct chan_msg *m, bool keep)
{
	char *path;
	int r = -ENOMEM;

	if (!chan_get_bytes(m, MVPN_TLV_TICKET, k->ticket, MVPN_TICKET_B))
		return;
	k->has_ticket = true;
	if (!keep)
		return;
	path = path_join(k->state_dir, KEPT_FILE);
	if (path)
		r = file_replace(path, k->ticket, MVPN_TICKET_B, 0600);
	if (r)
		log_ratelimited(LOG_L_WARN, "cannot keep the server's ticket in %s/" KEPT_FILE ": %s; after a restart "
					    "a server under load is reached later",
				k->state_dir, strerror(-r));
	free(path);
}

const uint8_t *ticket_get(const struct keyd *k)
{
	return k->has_ticket ? k->ticket : NULL;
}
