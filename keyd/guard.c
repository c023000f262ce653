/* SPDX-License-Identifier: BSD-2-Clause */
#include "guard.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "attach.h"
#include "ether.h"
#include "log.h"
#include "mvpn/ctl.h"
#include "options.h"
#include "peers.h"
#include "shim.h"

struct guard {
	struct shim *shim;
	unsigned prefixes, frames, attached, failed;
};

static int guard_prefix(void *arg, const struct mvpn_prefix *p, const char *owner, const char *name)
{
	struct guard *g = arg;
	int r;

	if (!strcmp(owner, PEERS_KEPT_GONE)) {
		r = shim_unprotect(g->shim, p);
		if (!r)
			g->prefixes--;
		return r == -ENOENT ? 0 : r;
	}
	r = shim_protect(g->shim, p, MVPN_PEER_NONE,
			     strcmp(owner, "self") ? 0 : MVPN_PROT_LOCAL);

	if (!r)
		g->prefixes++;
	return r;
}

static int guard_frame(void *arg, const struct ether_entry *e)
{
	struct guard *g = arg;
	int r = shim_frame_set(g->shim, e->mac, e->type, MVPN_PEER_NONE, e->flags);

	if (!r)
		g->frames++;
	return r;
}

static int guard_iface(void *arg, const char *name, enum wire_want want, unsigned queues)
{
	struct guard *g = arg;
	struct shim_iface i;
	char *error = NULL;

	if (shim_attach(g->shim, name, &i, &error)) {
		g->failed++;
		log_err("guard: %s is not protected yet: %s", name, error ? error : "?");
	} else {
		g->attached++;
	}
	free(error);
	return 0;
}

int guard_run(const char *state_dir, const char *pin_dir, const char *share_dir)
{
	struct mvpn_config down = {0};
	uint32_t options;
	struct guard g = {0};
	char *error = NULL;
	int q, r = shim_open_shared(&g.shim, pin_dir, share_dir, &error);

	if (r) {
		log_err("guard: %s", error ? error : strerror(-r));
		free(error);
		return MVPN_EXIT_FAILED;
	}
	if (options_kept(state_dir, &options) == 0)
		down.flags = options_config_flags(options);
	shim_config(g.shim, &down);
	r = peers_kept_each(state_dir, guard_prefix, &g);
	if (r && r != -ENOENT)
		log_err("guard: the kept set in %s is damaged or does not fit after %u prefixes: "
			"%s",
			state_dir, g.prefixes, strerror(-r));
	q = ether_kept_each(state_dir, guard_frame, &g);
	if (q && q != -ENOENT)
		log_err("guard: the kept table of frames in %s is damaged or does not fit after %u "
			"entries: %s",
			state_dir, g.frames, strerror(-q));
	attach_kept_each(state_dir, guard_iface, &g);
	shim_close(g.shim);
	log_info("guard: %u prefixes protected on %u interfaces until keyd is up", g.prefixes,
		 g.attached);
	return (r && r != -ENOENT) || (q && q != -ENOENT) || g.failed ? MVPN_EXIT_UNHEALTHY
								      : MVPN_EXIT_OK;
}
