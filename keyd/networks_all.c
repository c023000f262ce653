/* SPDX-License-Identifier: BSD-2-Clause */
/* What concerns all networks of this host at once. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conf.h"
#include "guard.h"
#include "log.h"
#include "networks.h"
#include "state_dir.h"

static const char *text(const char *s)
{
	return s ? s : "";
}

/* what both have, and only one can */
static const char *same(const struct settings *a, const struct settings *b)
{
	return a->udp_port == b->udp_port	      ? "udp_port"
	       : !strcmp(text(a->tap), text(b->tap))  ? "tap"
	       : !strcmp(text(a->pin_dir), text(b->pin_dir)) ? "pin_dir"
	       : !strcmp(text(a->socket), text(b->socket))   ? "socket"
							     : NULL;
}

int networks_clash(const struct network *n, const struct settings *s, const struct network *other,
		   const struct settings *others, char **ret_error)
{
	const char *key = same(s, others);
	int r = 0;

	if (key)
		r = asprintf(ret_error, "%s and %s have the same %s: each network needs one of its own", n->args.config,
			     other->args.config, key);
	else if (strcmp(text(s->share_dir), text(others->share_dir)))
		r = asprintf(ret_error, "%s and %s differ in share_dir, which the networks of a host have in common",
			     n->args.config, other->args.config);
	return !r ? 0 : r < 0 ? -ENOMEM : -EINVAL;
}

/* ---- --check-config ---- */

struct checked {
	struct network *network;
	struct settings settings;
	bool good;
};

static void complain(struct checked *c, char *error, int r)
{
	fprintf(stderr, "keyd: %s\n", error ? error : strerror(-r));
	free(error);
	c->good = false;
}

static void check_one(struct checked *all, unsigned i)
{
	struct checked *c = &all[i];
	char *error = NULL;
	int r = conf_of(&c->network->args, &c->settings, &error);

	c->good = true;
	if (r)
		complain(c, error, r);
	for (unsigned j = 0; j < i && c->good; j++) {
		if (!all[j].good)
			continue;
		error = NULL;
		r = networks_clash(all[j].network, &all[j].settings, c->network, &c->settings, &error);
		if (r)
			complain(c, error, r);
	}
}

/* "" and then the named ones */
static const char *name_at(const struct host *h, unsigned i)
{
	return i ? h->networks.names[i - 1] : "";
}

int networks_check(const struct host *h)
{
	struct checked all[MVPN_NETWORKS_MAX] = {0};
	int code = MVPN_EXIT_OK;
	unsigned n;

	for (n = 0; n <= h->networks.n; n++) {
		if (network_new(h, name_at(h, n), &all[n].network)) {
			code = MVPN_EXIT_FAILED;
			break;
		}
		check_one(all, n);
		if (!all[n].good)
			code = MVPN_EXIT_FAILED;
	}
	while (n--) {
		network_free(all[n].network);
		conf_free(&all[n].settings);
	}
	if (code == MVPN_EXIT_OK)
		puts("configuration is good");
	return code;
}

/* ---- --guard ---- */

static int guard_one(const struct network *n)
{
	struct settings s;
	char *error = NULL;
	int code = MVPN_EXIT_FAILED, r = conf_of(&n->args, &s, &error), fd;

	if (r) {
		log_err("guard: %s: %s; what is right in it counts", network_label(n), error ? error : strerror(-r));
		free(error);
		conf_free(&s);
		conf_of_some(&n->args, &s);
	}
	fd = access(n->args.state, F_OK) ? -ENOENT : state_open(&n->args);
	if (fd >= 0) {
		code = guard_run(n->args.state, s.pin_dir, s.share_dir);
		close(fd);
	} else if (fd == -ENOENT) {
		code = MVPN_EXIT_OK; /* it was never started */
	}
	conf_free(&s);
	return code ? code : r ? MVPN_EXIT_UNHEALTHY : MVPN_EXIT_OK;
}

int networks_guard(const struct host *h)
{
	int worst = MVPN_EXIT_OK;

	for (unsigned i = 0; i <= h->networks.n; i++) {
		struct network *n;
		int code = network_new(h, name_at(h, i), &n) ? MVPN_EXIT_FAILED : MVPN_EXIT_OK;

		if (code == MVPN_EXIT_OK) {
			log_about(n->name);
			code = guard_one(n);
			network_free(n);
		}
		if (code && worst != MVPN_EXIT_FAILED)
			worst = code;
	}
	return worst;
}
