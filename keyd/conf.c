/* SPDX-License-Identifier: BSD-2-Clause */
#include "conf.h"

#include <errno.h>
#include <signal.h>
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

/* the list is the supervising keyd's, which is told to look; without one there is none until a restart */
static int networks_changed(struct keyd *k, struct settings *fresh, json_t *changed, char **ret_error)
{
	char *was = k->conf.networks;

	if (!k->args->supervisor)
		return asprintf(ret_error, "networks is the first one there is, or was the last: restart keyd") < 0 ? -ENOMEM : -EBUSY;
	k->conf.networks = fresh->networks;
	fresh->networks = was;
	json_array_append_new(changed, json_string("networks"));
	if (getppid() == k->args->supervisor)
		kill(k->args->supervisor, SIGHUP);
	return 0;
}

int conf_reload(struct keyd *k, json_t *changed, char **ret_error)
{
	struct settings fresh;
	int r;

	r = conf_of(k->args, &fresh, ret_error);
	if (!r && (strcmp(text(fresh.share_dir), text(k->conf.share_dir)) ||
		   fresh.udp_port != k->conf.udp_port || strcmp(fresh.tap, k->conf.tap) ||
		   fresh.spin_us != k->conf.spin_us || fresh.latency != k->conf.latency ||
		   fresh.workers != k->conf.workers || fresh.busy_poll != k->conf.busy_poll ||
		   fresh.cipher != k->conf.cipher || fresh.token_key != k->conf.token_key ||
		   fresh.namespaces != k->conf.namespaces ||
		   strcmp(text(fresh.cgroup), text(k->conf.cgroup)) ||
		   strcmp(text(fresh.pkcs11), text(k->conf.pkcs11)) ||
		   strcmp(text(fresh.pin_file), text(k->conf.pin_file)))) {
		r = -EBUSY;
		if (asprintf(ret_error,
			     "share_dir, tap, udp_port, spin_us, latency, workers, busy_poll, cipher, "
			     "cgroup, namespaces, pkcs11, token_key and pin_file change only with a "
			     "restart of keyd") < 0)
			*ret_error = NULL;
	}
	if (!r && strcmp(text(fresh.networks), text(k->conf.networks)))
		r = networks_changed(k, &fresh, changed, ret_error);
	if (!r && fresh.log_level != k->conf.log_level) {
		k->conf.log_level = fresh.log_level;
		log_init("keyd", log_setting_level((unsigned)fresh.log_level));
		json_array_append_new(changed, json_string("log_level"));
	}
	if (!r && strcmp(text(fresh.passphrase_file), text(k->conf.passphrase_file))) {
		char *was = k->conf.passphrase_file;

		k->conf.passphrase_file = fresh.passphrase_file;
		fresh.passphrase_file = was;
		json_array_append_new(changed, json_string("passphrase_file"));
	}
	if (!r && fresh.delegation_s != k->conf.delegation_s) {
		k->conf.delegation_s = fresh.delegation_s;
		json_array_append_new(changed, json_string("delegation_s"));
	}
	if (!r && fresh.rekey_packets != k->conf.rekey_packets) {
		k->conf.rekey_packets = fresh.rekey_packets;
		json_array_append_new(changed, json_string("rekey_packets"));
	}
	if (!r && fresh.ratchet_packets != k->conf.ratchet_packets) {
		k->conf.ratchet_packets = fresh.ratchet_packets;
		json_array_append_new(changed, json_string("ratchet_packets"));
	}
	if (!r && fresh.arrival != k->conf.arrival) {
		k->conf.arrival = fresh.arrival;
		json_array_append_new(changed, json_string("arrival"));
		arrivals_refresh(k);
	}
	if (!r && strcmp(text(fresh.check), text(k->conf.check))) {
		char *was = k->conf.check;

		k->conf.check = fresh.check;
		fresh.check = was;
		json_array_append_new(changed, json_string("check"));
		gateways_checks(k);
	}
	if (!r && fresh.central_keys != k->conf.central_keys) {
		k->conf.central_keys = fresh.central_keys;
		json_array_append_new(changed, json_string("central_keys"));
		if (fresh.central_keys)
			sessions_policy_changed(k); /* what was refused is asked for anew */
		else
			sessions_drop_central(k);
	}
	if (!r && fresh.max_prefixes != k->conf.max_prefixes) {
		k->conf.max_prefixes = fresh.max_prefixes;
		json_array_append_new(changed, json_string("max_prefixes"));
		channel_register(k); /* answered by the whole set, which is then laid out anew */
	}
	if (!r && fresh.max_translations != k->conf.max_translations) {
		k->conf.max_translations = fresh.max_translations;
		json_array_append_new(changed, json_string("max_translations"));
		translate_refresh(k);
	}
	if (!r)
		hsm_retry(k);
	conf_free(&fresh);
	return r;
}
