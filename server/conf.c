/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "addr.h"
#include "conf.h"
#include "config.h"
#include "fsutil.h"
#include "log.h"
#include "mvpn/ctl.h"
#include "mvpn/limits.h"

#define AT(field) offsetof(struct server_settings, field)
static const struct config_key keys[] = {
	{"server", "listen", CONFIG_STRING, AT(listen), 0, 0, NULL},
	{"server", "advertise", CONFIG_STRING, AT(advertise), 0, 0, NULL},
	{"server", "store", CONFIG_STRING, AT(store), 0, 0, NULL},
	{"server", "socket", CONFIG_STRING, AT(socket), 0, 0, NULL},
	{"server", "user", CONFIG_STRING, AT(user), 0, 0, NULL},
	{"server", "log", CONFIG_ENUM, AT(log), 0, 0, log_settings},
	{"server", "max_channels", CONFIG_UINT, AT(max_channels), 1, 1000000, NULL},
	{"server", "max_devices", CONFIG_UINT, AT(max_devices), 1, MVPN_PEERS_MAX, NULL},
	{"server", "max_tokens", CONFIG_UINT, AT(max_tokens), 1, 10000000, NULL},
	{"server", "max_introductions", CONFIG_UINT, AT(max_introductions), 1, 1000000, NULL},
	{"limits", "half_open", CONFIG_UINT, AT(half_open), 1, 1000000, NULL},
	{"limits", "half_open_source", CONFIG_UINT, AT(half_open_source), 1, 1000000, NULL},
	{"limits", "handshakes_source", CONFIG_UINT, AT(handshakes_source), 1, 1000000, NULL},
	{"limits", "handshakes_unproven", CONFIG_UINT, AT(handshakes_unproven), 1, 1000000, NULL},
	{"limits", "handshakes_worked", CONFIG_UINT, AT(handshakes_worked), 1, 1000000, NULL},
	{"limits", "handshake_s", CONFIG_UINT, AT(handshake_s), 1, 60, NULL},
	{"limits", "messages_channel", CONFIG_UINT, AT(messages_channel), 1, 1000000, NULL},
	{"limits", "relay_mbit", CONFIG_UINT, AT(relay_mbit), 0, 100000, NULL},
	{"session", "psk_s", CONFIG_UINT, AT(psk_s), 0, 10 * 366 * 86400, NULL},
	{"session", "rekey_s", CONFIG_UINT, AT(rekey_s), 10, 86400, NULL},
	{"session", "max_offline_s", CONFIG_UINT, AT(max_offline_s), 60, 86400, NULL},
	{"audit", "keep_events", CONFIG_UINT, AT(keep_events), 1000, 100000000, NULL},
	{"audit", "keep_days", CONFIG_UINT, AT(keep_days), 1, 36500, NULL},
};
#define NKEYS (sizeof(keys) / sizeof(keys[0]))

int server_settings_init(struct server_settings *c)
{
	memset(c, 0, sizeof(*c));
	c->listen = strdup("[::]:7468");
	c->socket = strdup(MVPN_SERVER_SOCKET);
	c->state = strdup(SERVER_STATE_DIR);
	c->log = LOG_SETTING_DEFAULT;
	c->max_channels = 100000;
	c->max_devices = MVPN_PEERS_MAX - 1;
	c->max_tokens = 100000;
	c->max_introductions = MVPN_INTRO_OPEN_MAX;
	c->half_open = MVPN_CHAN_HALF_OPEN_MAX;
	c->half_open_source = MVPN_CHAN_HALF_OPEN_SRC_MAX;
	c->handshakes_source = MVPN_CHAN_RATE_SRC;
	c->handshakes_unproven = MVPN_CHAN_RATE_UNPROVEN;
	c->handshakes_worked = MVPN_CHAN_RATE_WORKED;
	c->handshake_s = MVPN_CHAN_HANDSHAKE_S;
	c->messages_channel = 500; /* an honest device asks for a few sessions a second */
	c->relay_mbit = MVPN_RELAY_MBIT;
	c->rekey_s = MVPN_SESSION_REKEY_S;
	c->max_offline_s = MVPN_MAX_OFFLINE_S;
	c->keep_events = 1000000; /* some 300 MB */
	c->keep_days = 400;
	if (!c->listen || !c->socket || !c->state) {
		server_settings_free(c);
		return -ENOMEM;
	}
	return 0;
}

int server_settings_load(struct server_settings *c, const char *path, char **ret_error)
{
	int r = config_load(path ? path : SERVER_CONF_PATH, keys, NKEYS, c, ret_error);

	if (r == -ENOENT && !path) {
		free(*ret_error);
		*ret_error = NULL;
		r = 0;
	}
	return r;
}

static int bad(char **ret_error, const char *fmt, const char *what)
{
	if (asprintf(ret_error, fmt, what) < 0)
		*ret_error = NULL;
	return -EINVAL;
}

static int split_listen(struct server_settings *c, char **ret_error)
{
	char *copy = strdup(c->listen), *save = NULL;
	int r = copy ? 0 : -ENOMEM;

	for (char *p = copy ? strtok_r(copy, ", \t", &save) : NULL; p;
	     p = strtok_r(NULL, ", \t", &save)) {
		if (c->nlistens == SERVER_LISTEN_MAX) {
			r = bad(ret_error, "listen: more than 16 addresses in \"%s\"", c->listen);
			break;
		}
		c->listens[c->nlistens] = strdup(p);
		if (!c->listens[c->nlistens]) {
			r = -ENOMEM;
			break;
		}
		c->nlistens++;
	}
	free(copy);
	return r;
}

int server_listen_parse(struct mvpn_endpoint *ret, const char *text)
{
	size_t len = strlen(text);
	char copy[MVPN_ADDRSTRLEN];
	int r;

	if (len < 3 || len >= sizeof(copy) || strcmp(text + len - 2, ":0") || text[len - 3] == ':')
		return mvpn_endpoint_parse(ret, text, MVPN_CHAN_PORT);
	memcpy(copy, text, len - 2);
	copy[len - 2] = '\0';
	r = mvpn_endpoint_parse(ret, copy, MVPN_CHAN_PORT);
	ret->port = 0;
	return r;
}

int server_settings_check(struct server_settings *c, char **ret_error)
{
	struct mvpn_endpoint ep;
	int r = c->nlistens ? 0 : split_listen(c, ret_error);

	if (r < 0)
		return r;
	if (!c->nlistens)
		return bad(ret_error, "listen is empty%s: give an address, for example [::]:7468",
			   "");
	for (unsigned i = 0; i < c->nlistens; i++)
		if (server_listen_parse(&ep, c->listens[i]) < 0)
			return bad(
				ret_error,
				"listen address \"%s\" is not ADDRESS:PORT with a numeric address: "
				"for example 0.0.0.0:7468 or [::]:7468",
				c->listens[i]);
	if (c->store && !strncmp(c->store, "postgresql:", 11))
		return bad(ret_error,
			   "store \"%s\": this build has the SQLite store only: use sqlite:PATH",
			   c->store);
	if (c->store && (strncmp(c->store, "sqlite:", 7) || !c->store[7]))
		return bad(ret_error, "store \"%s\" is not of the form sqlite:PATH", c->store);
	return 0;
}

void server_settings_free(struct server_settings *c)
{
	config_free(keys, NKEYS, c);
	free(c->state);
	for (unsigned i = 0; i < c->nlistens; i++)
		free(c->listens[i]);
	memset(c, 0, sizeof(*c));
}

char *server_settings_store_path(const struct server_settings *c)
{
	return c->store ? strdup(c->store + 7) : path_join(c->state, "server.db");
}
