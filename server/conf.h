/* SPDX-License-Identifier: BSD-2-Clause */
/* Settings of mvpn-server: server.conf (lib/config.h) under what the command line says. */
#ifndef SERVER_CONF_H
#define SERVER_CONF_H

#include <stdbool.h>
#include <stdint.h>

#include "addr.h"

#define SERVER_CONF_PATH "/etc/mvpn/server.conf"
#define SERVER_STATE_DIR "/var/lib/mvpn"
#define SERVER_LISTEN_MAX 16

struct server_settings {
	/* [server] */
	char *listen;	 /* ADDR:PORT, several separated by commas */
	char *advertise; /* NAME:PORT that tokens carry */
	char *store;	 /* sqlite:PATH */
	char *socket;
	char *user;
	int log;
	uint64_t max_channels;
	uint64_t max_devices;
	uint64_t max_tokens;
	uint64_t max_introductions;
	/* [limits] */
	uint64_t half_open;
	uint64_t half_open_source;
	uint64_t handshakes_source; /* a second */
	uint64_t handshakes_unproven; /* a second: of strangers and all, before something must be proven; */
	uint64_t handshakes_worked;   /* and of those that have worked */
	uint64_t handshake_s;
	uint64_t messages_channel; /* a second */
	uint64_t relay_mbit;	   /* of one device; 0: nothing is relayed */
	/* [session] */
	uint64_t rekey_s;
	uint64_t psk_s; /* age at which a device gets a new channel PSK; 0: never */
	uint64_t max_offline_s;
	/* [audit] */
	uint64_t keep_events, keep_days;
	/* command line */
	char *state;
	char *listens[SERVER_LISTEN_MAX]; /* from --listen, or the parts of `listen` */
	unsigned nlistens;
};

int server_settings_init(struct server_settings *c); /* defaults; -ENOMEM */
/* path NULL: the default file, which may be missing. 0, or -errno with a malloc'ed message. */
int server_settings_load(struct server_settings *c, const char *path, char **ret_error);
/* splits `listen`, unless --listen was given; checks every address and the store's form */
int server_settings_check(struct server_settings *c, char **ret_error);
/* as mvpn_endpoint_parse, but port 0 is one too: any free port */
int server_listen_parse(struct mvpn_endpoint *ret, const char *text);
void server_settings_free(struct server_settings *c);
/* path of the SQLite store, malloc'ed */
char *server_settings_store_path(const struct server_settings *c);

#endif
