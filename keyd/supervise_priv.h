/* SPDX-License-Identifier: BSD-2-Clause */
/* What supervise.c shares with supervise_show.c. */
#ifndef MVPN_KEYD_SUPERVISE_PRIV_H
#define MVPN_KEYD_SUPERVISE_PRIV_H

#include "child.h"
#include "ipc.h"
#include "keyd.h"
#include "networks.h"

struct member {
	struct member *next;
	struct network *network;
	struct settings settings; /* as they were when it was started last */
	struct child child;
	char *said; /* why it does not run, as it was logged */
};

struct supervisor {
	struct host host;
	struct loop *loop;
	struct loop_timer *timer;
	struct ipc_server *ipc;
	struct member *members; /* keyd.conf's own, then the named ones */
	char *notify_path, **env;
	int notify_fd;
	bool ready, stopping, failed, watched;
	uint64_t silent_ms, tick_ms;
	uint64_t strangers; /* messages of others than the children */
};

int supervise_control(struct supervisor *s, const char *path);

#endif
