/* SPDX-License-Identifier: BSD-2-Clause */
#include "conf.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "arrivals.h"
#include "channel.h"
#include "cmdline.h"
#include "config.h"
#include "gateways.h"
#include "hsm.h"
#include "log.h"
#include "mvpn/ctl.h"
#include "networks.h"
#include "sessions.h"
#include "translate.h"

#define PIN_ROOT "/sys/fs/bpf/mvpn"
#define PIN_VERSION "v4"
#define MAX_PREFIXES_SPARE 4096 /* entries kept for the networks that cover an overflow */

static const char *const namespaces[] = {"auto", "own", "all", NULL}; /* enum mvpn_namespaces */

static const char *const arrivals[] = {"interface", "tap", NULL}; /* enum arrival */

/* in the order of enum mvpn_suite */
static const char *const ciphers[] = {"auto", "chacha20-poly1305", "aes-256-gcm", NULL};

/* in the order of enum hsm_use */
static const char *const token_keys[] = {"auto", "sign", "ecdh", NULL};

#define AT(member) offsetof(struct settings, member)
static const struct config_key keys[] = {
	{"keyd", "socket", CONFIG_STRING, AT(socket), 0, 0, NULL},
	{"keyd", "pin_dir", CONFIG_STRING, AT(pin_dir), 0, 0, NULL},
	{"keyd", "share_dir", CONFIG_STRING, AT(share_dir), 0, 0, NULL},
	{"keyd", "networks", CONFIG_STRING, AT(networks), 0, 0, NULL},
	{"keyd", "log_level", CONFIG_ENUM, AT(log_level), 0, 0, log_settings},
	{"keyd", "central_keys", CONFIG_BOOL, AT(central_keys), 0, 0, NULL},
	{"identity", "passphrase_file", CONFIG_STRING, AT(passphrase_file), 0, 0, NULL},
	{"identity", "pkcs11", CONFIG_STRING, AT(pkcs11), 0, 0, NULL},
	{"identity", "pin_file", CONFIG_STRING, AT(pin_file), 0, 0, NULL},
	{"identity", "token_key", CONFIG_ENUM, AT(token_key), 0, 0, token_keys},
	{"identity", "delegation_s", CONFIG_UINT, AT(delegation_s), MVPN_DELEGATION_MIN_S,
	 MVPN_DELEGATION_MAX_S - MVPN_DELEGATION_SKEW_S, NULL},
	{"data", "tap", CONFIG_STRING, AT(tap), 0, 0, NULL},
	{"data", "arrival", CONFIG_ENUM, AT(arrival), 0, 0, arrivals},
	{"data", "udp_port", CONFIG_UINT, AT(udp_port), 1, 65535, NULL},
	{"data", "spin_us", CONFIG_UINT, AT(spin_us), 0, 10000, NULL},
	{"data", "latency", CONFIG_BOOL, AT(latency), 0, 0, NULL},
	{"data", "workers", CONFIG_UINT, AT(workers), 0, MVPN_WORKERS_MAX, NULL},
	{"data", "rekey_packets", CONFIG_UINT, AT(rekey_packets), 0, INT64_MAX, NULL},
	{"data", "ratchet_packets", CONFIG_UINT, AT(ratchet_packets), MVPN_GEN_PACKETS_MIN,
	 MVPN_GEN_PACKETS, NULL},
	{"data", "busy_poll", CONFIG_BOOL, AT(busy_poll), 0, 0, NULL},
	{"data", "cipher", CONFIG_ENUM, AT(cipher), 0, 0, ciphers},
	{"gateway", "check", CONFIG_STRING, AT(check), 0, 0, NULL},
	{"shim", "cgroup", CONFIG_STRING, AT(cgroup), 0, 0, NULL},
	{"shim", "namespaces", CONFIG_ENUM, AT(namespaces), 0, 0, namespaces},
	{"limits", "max_prefixes", CONFIG_UINT, AT(max_prefixes), 1,
	 MVPN_PREFIXES_MAX - MAX_PREFIXES_SPARE, NULL},
	{"limits", "max_translations", CONFIG_UINT, AT(max_translations), 1, MVPN_TRANSLATIONS_MAX,
	 NULL},
};
#define NKEYS (sizeof(keys) / sizeof(keys[0]))

/* malloc'ed, NULL: no memory */
static char *format(const char *fmt, const char *name)
{
	char *text;

	return asprintf(&text, fmt, name) < 0 ? NULL : text;
}

void conf_defaults(struct settings *s, const char *network)
{
	memset(s, 0, sizeof(*s));
	if (network) {
		s->socket = format(MVPN_RUN_DIR "/" MVPN_NETWORK_SOCKET, network);
		s->pin_dir = format(PIN_ROOT "/" PIN_VERSION "-%s", network);
		s->share_dir = strdup(PIN_ROOT "/" CONF_SHARE_NAME);
		s->tap = format("mvpn-%s", network);
	} else {
		s->socket = strdup(MVPN_KEYD_SOCKET);
		s->pin_dir = strdup(PIN_ROOT "/" PIN_VERSION);
		s->tap = strdup("mvpn0");
	}
	s->udp_port = MVPN_DATA_PORT;
	s->spin_us = MVPN_SPIN_US;
	s->delegation_s = MVPN_DELEGATION_S;
	s->ratchet_packets = MVPN_GEN_PACKETS;
	s->max_prefixes = MVPN_PREFIXES_MAX - MAX_PREFIXES_SPARE;
	s->max_translations = MVPN_TRANSLATIONS_EACH;
	s->log_level = LOG_SETTING_DEFAULT;
}

static int check_networks(const struct settings *s, const struct cmdline *c, char **ret_error)
{
	struct networks list;
	char *error = NULL;
	int r = networks_parse(s->networks, &list, &error);

	if (r == 0 && list.n && c->network)
		r = asprintf(ret_error, "%s: [keyd] networks: only the host's keyd.conf has that", c->config) < 0
			    ? -ENOMEM : -EINVAL;
	else if (error && asprintf(ret_error, "%s: %s", c->config, error) < 0)
		*ret_error = NULL;
	free(error);
	return r;
}

static int check_gateway(const struct settings *s, const char *path, char **ret_error)
{
	struct mvpn_addr list[MVPN_GATEWAY_CHECKS_MAX];
	const char *bad;
	unsigned n;
	int r = gateways_checks_parse(s->check, list, &n, &bad);

	if (r == -E2BIG)
		r = asprintf(ret_error, "%s: [gateway] check: more than %d addresses", path,
			     MVPN_GATEWAY_CHECKS_MAX) < 0 ? -ENOMEM : -EINVAL;
	else if (r < 0)
		r = asprintf(ret_error,
			     "%s: [gateway] check: \"%s\" begins with no address of a host; addresses "
			     "with spaces between are wanted",
			     path, bad) < 0 ? -ENOMEM : -EINVAL;
	return r;
}

/* what was given, over what there was */
static int given(char **field, const char *value)
{
	char *copy = value ? strdup(value) : NULL;

	if (!value)
		return 0;
	if (!copy)
		return -ENOMEM;
	free(*field);
	*field = copy;
	return 0;
}

static int paths_given(const struct cmdline *c, struct settings *s)
{
	int r = given(&s->socket, c->socket);

	return r ? r : given(&s->pin_dir, c->pin);
}

static int load(const struct cmdline *c, struct settings *s, char **ret_error)
{
	int r = config_load(c->config, keys, NKEYS, s, ret_error);

	if (r == -ENOENT && !c->config_must) {
		free(*ret_error);
		*ret_error = NULL;
		return 0;
	}
	if (!r)
		r = check_networks(s, c, ret_error);
	return r ? r : check_gateway(s, c->config, ret_error);
}

/* ret_error NULL: what is wrong is passed over */
static int settle(const struct cmdline *c, struct settings *s, char **ret_error)
{
	bool are_defaults = c->supervisor && c->network;
	int r;

	conf_defaults(s, c->network);
	r = given(&s->share_dir, c->share);
	if (!r && are_defaults)
		r = paths_given(c, s);
	if (!r && ret_error)
		r = load(c, s, ret_error);
	else if (!r)
		config_load_some(c->config, keys, NKEYS, s, NULL);
	if (!r && !are_defaults)
		r = paths_given(c, s);
	return r;
}

int conf_of(const struct cmdline *c, struct settings *ret, char **ret_error)
{
	return settle(c, ret, ret_error);
}

int conf_of_some(const struct cmdline *c, struct settings *ret)
{
	return settle(c, ret, NULL);
}

void conf_free(struct settings *s)
{
	config_free(keys, NKEYS, s);
}

static const char *text(const char *s)
{
	return s ? s : "";
}

/* ---- a reload ---- */

/* the list is the supervising keyd's, which is told to look */
static void networks_apply(struct keyd *k)
{
	if (getppid() == k->args->supervisor)
		kill(k->args->supervisor, SIGHUP);
}

static void log_level_apply(struct keyd *k)
{
	log_init("keyd", log_setting_level((unsigned)k->conf.log_level));
}

static void central_keys_apply(struct keyd *k)
{
	if (k->conf.central_keys)
		sessions_policy_changed(k); /* what was refused is asked for anew */
	else
		sessions_drop_central(k);
}

/* What takes effect while keyd runs, in this order, and what follows from it. All else needs a restart, or is looked at by that alone. */
static const struct {
	const char *name;
	void (*apply)(struct keyd *k); /* NULL: it is looked at when it is needed */
} live[] = {
	{"networks", networks_apply},
	{"log_level", log_level_apply},
	{"passphrase_file", NULL},
	{"delegation_s", NULL},
	{"rekey_packets", NULL},
	{"ratchet_packets", NULL},
	{"arrival", arrivals_refresh},
	{"check", gateways_checks},
	{"central_keys", central_keys_apply},
	{"max_prefixes", channel_register}, /* answered by the whole set, which is then laid out anew */
	{"max_translations", translate_refresh},
};
#define NLIVE (sizeof(live) / sizeof(live[0]))

static const struct config_key *key_named(const char *name)
{
	const struct config_key *key = keys;

	while (strcmp(key->name, name))
		key++;
	return key;
}

static bool needs_restart(const char *name)
{
	for (unsigned i = 0; i < NLIVE; i++)
		if (!strcmp(live[i].name, name))
			return false;
	return strcmp(name, "socket") != 0 && strcmp(name, "pin_dir") != 0;
}

static size_t size_of(const struct config_key *key)
{
	static const size_t sizes[] = {[CONFIG_STRING] = sizeof(char *),
				       [CONFIG_UINT] = sizeof(uint64_t),
				       [CONFIG_BOOL] = sizeof(bool),
				       [CONFIG_ENUM] = sizeof(int)};

	return sizes[key->type];
}

static bool differs(const struct config_key *key, const struct settings *a, const struct settings *b)
{
	const char *x = (const char *)a + key->offset, *y = (const char *)b + key->offset;

	if (key->type == CONFIG_STRING)
		return strcmp(text(*(char *const *)x), text(*(char *const *)y)) != 0;
	return memcmp(x, y, size_of(key)) != 0;
}

static void exchange(const struct config_key *key, struct settings *a, struct settings *b)
{
	char *x = (char *)a + key->offset, *y = (char *)b + key->offset, was[sizeof(uint64_t)];

	memcpy(was, x, size_of(key));
	memcpy(x, y, size_of(key));
	memcpy(y, was, size_of(key));
}

/* 0, or -EBUSY: nothing is changed */
static int may_reload(const struct keyd *k, const struct settings *fresh, char **ret_error)
{
	char names[256] = "";
	int r;

	for (unsigned i = 0; i < NKEYS; i++) {
		size_t len = strlen(names);

		if (needs_restart(keys[i].name) && differs(&keys[i], &k->conf, fresh))
			snprintf(names + len, sizeof(names) - len, "%s%s", len ? ", " : "", keys[i].name);
	}
	if (*names)
		r = asprintf(ret_error, "%s: only a restart of keyd changes that; all stays as it is", names);
	else if (!k->args->supervisor && differs(key_named("networks"), &k->conf, fresh))
		r = asprintf(ret_error, "networks is the first one there is, or was the last: restart keyd");
	else
		return 0;
	return r < 0 ? -ENOMEM : -EBUSY;
}

int conf_reload(struct keyd *k, json_t *changed, char **ret_error)
{
	struct settings fresh;
	int r = conf_of(k->args, &fresh, ret_error);

	if (!r)
		r = may_reload(k, &fresh, ret_error);
	for (unsigned i = 0; i < NLIVE && !r; i++) {
		const struct config_key *key = key_named(live[i].name);

		if (!differs(key, &k->conf, &fresh))
			continue;
		exchange(key, &k->conf, &fresh);
		json_array_append_new(changed, json_string(key->name));
		if (live[i].apply)
			live[i].apply(k);
	}
	if (!r)
		hsm_retry(k);
	conf_free(&fresh);
	return r;
}
