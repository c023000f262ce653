/* SPDX-License-Identifier: BSD-2-Clause */
#include "options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fsutil.h"
#include "log.h"
#include "mvpn/auth.h"

#define KEPT_FILE "options"
#define KEPT_MAX 64

uint8_t options_config_flags(uint32_t options)
{
	return options & MVPN_OPT_MULTICAST_DROP ? MVPN_CONFIG_MULTICAST_DROP : 0;
}

/* in force */
static void apply(struct keyd *k, uint32_t options)
{
	struct mvpn_config c;
	int r;

	k->options = options;
	kt_set_options(k->kt, options);
	r = shim_get_config(k->shim, &c);
	if (!r) {
		c.flags = options_config_flags(options) |
			  (c.flags & MVPN_CONFIG_UNTRANSLATED);
		r = shim_config(k->shim, &c);
	}
	if (r)
		log_err("cannot write the BPF map `config`: %s; what the policy says of multicast "
			"is "
			"not in force yet",
			strerror(-r));
}

static void keep(struct keyd *k)
{
	char *path = path_join(k->state_dir, KEPT_FILE), line[KEPT_MAX];
	int n = snprintf(line, sizeof(line), "%u\n", k->options), r = -ENOMEM;

	if (path)
		r = file_replace(path, line, (size_t)n, 0600);
	if (r)
		log_err("cannot keep the policy's settings in %s/" KEPT_FILE ": %s; after a reboot "
			"older ones hold until keyd is connected",
			k->state_dir, strerror(-r));
	free(path);
}

void options_set(struct keyd *k, uint32_t options)
{
	if (options == k->options)
		return;
	apply(k, options);
	keep(k);
	log_info("the policy says: DSCP %s, multicast %s",
		 options & MVPN_OPT_DSCP_CLEAR ? "cleared" : "copied",
		 options & MVPN_OPT_MULTICAST_DROP ? "dropped" : "passes");
}

void options_times(struct keyd *k, const struct chan_msg *m)
{
	uint32_t offline_s = k->max_offline_s;

	/* what WELCOME said stays with a server that says no more */
	chan_get_u32(m, MVPN_TLV_REKEY, &k->rekey_s);
	chan_get_u32(m, MVPN_TLV_MAX_OFFLINE, &k->max_offline_s);
	if (k->max_offline_s != offline_s)
		log_info("without the server sessions go on for %u s", k->max_offline_s);
}

int options_kept(const char *state_dir, uint32_t *ret)
{
	char *path = path_join(state_dir, KEPT_FILE), *text = NULL, *end;
	unsigned long v;
	size_t len;
	int r;

	if (!path)
		return -ENOMEM;
	r = file_read(path, KEPT_MAX, &text, &len);
	free(path);
	if (r)
		return r;
	v = strtoul(text, &end, 10);
	if (end == text || strcmp(end, "\n") || v > UINT32_MAX)
		r = -EBADMSG;
	else
		*ret = (uint32_t)v;
	free(text);
	return r;
}

void options_load(struct keyd *k)
{
	uint32_t options = MVPN_OPT_DSCP_CLEAR;
	int r = options_kept(k->state_dir, &options);

	if (r && r != -ENOENT)
		log_err("%s/" KEPT_FILE " cannot be used (%s): until the server is reached DSCP is "
			"cleared and multicast passes",
			k->state_dir, strerror(-r));
	apply(k, options);
}

json_t *options_show(const struct keyd *k)
{
	return json_pack("{s:s, s:s, s:I, s:I}", "dscp",
			 k->options & MVPN_OPT_DSCP_CLEAR ? "clear" : "copy", "multicast",
			 k->options & MVPN_OPT_MULTICAST_DROP ? "drop" : "pass", "max_offline_s",
			 (json_int_t)k->max_offline_s, "rekey_s", (json_int_t)k->rekey_s);
}
