/* SPDX-License-Identifier: BSD-2-Clause */
#include "networks.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conf.h"
#include "config.h"
#include "fsutil.h"

/* ---- the host ---- */

#define AT(member) offsetof(struct host, member)
static const struct config_key keys[] = {
	{"keyd", "socket", CONFIG_STRING, AT(socket), 0, 0, NULL},
	{"keyd", "pin_dir", CONFIG_STRING, AT(pin_dir), 0, 0, NULL},
	{"keyd", "share_dir", CONFIG_STRING, AT(share_dir), 0, 0, NULL},
	{"keyd", "networks", CONFIG_STRING, AT(list), 0, 0, NULL},
};
#define NKEYS (sizeof(keys) / sizeof(keys[0]))

static char *beside(const char *path, const char *name)
{
	const char *slash = strrchr(path, '/');
	char *text;
	int r = slash ? asprintf(&text, "%.*s/%s", (int)(slash - path), path, name) : asprintf(&text, "%s", name);

	return r < 0 ? NULL : text;
}

char *host_path(const struct host *h, const char *name)
{
	return beside(h->socket, name);
}

/* the command line's, else the file's, else the default */
static int settle(char **field, const char *given, const char *otherwise)
{
	if (*field && !given)
		return 0;
	free(*field);
	*field = strdup(given ? given : otherwise);
	return *field ? 0 : -ENOMEM;
}

static int settle_all(struct host *h)
{
	struct settings s;
	size_t len;
	int r;

	conf_defaults(&s, NULL);
	r = s.socket && s.pin_dir ? settle(&h->socket, h->args->socket, s.socket) : -ENOMEM;
	if (!r)
		r = settle(&h->pin_dir, h->args->pin, s.pin_dir);
	conf_free(&s);
	for (len = r ? 0 : strlen(h->pin_dir); len > 1 && h->pin_dir[len - 1] == '/'; len--)
		h->pin_dir[len - 1] = '\0';
	if (!r && !h->share_dir)
		h->share_dir = beside(h->pin_dir, CONF_SHARE_NAME);
	return !r && !h->share_dir ? -ENOMEM : r;
}

int host_read(const struct cmdline *args, struct host *ret, char **ret_error)
{
	char *error = NULL;
	int r;

	*ret = (struct host){.args = args};
	r = config_load_some(args->config, keys, NKEYS, ret, ret_error);
	if (r == -ENOENT && !args->config_must) {
		free(*ret_error);
		*ret_error = NULL;
		r = 0;
	}
	if (!r)
		r = settle_all(ret);
	if (r)
		return r;
	r = networks_parse(ret->list, &ret->networks, &error);
	if (error && asprintf(ret_error, "%s: %s", args->config, error) < 0)
		*ret_error = NULL;
	free(error);
	return r;
}

void host_free(struct host *h)
{
	config_free(keys, NKEYS, h);
}

/* ---- one network ---- */

static char *socket_of(const struct host *h, const char *name)
{
	char file[64];

	snprintf(file, sizeof(file), MVPN_NETWORK_SOCKET, name);
	return beside(h->socket, file);
}

static void paths_make(struct network *n, const struct host *h)
{
	struct cmdline *a = &n->args;
	char **p = n->paths, file[64];

	snprintf(file, sizeof(file), "%s.conf", n->name);
	if (asprintf(&p[0], "%s/" CMDLINE_NETWORKS "/%s", h->args->state, n->name) < 0)
		p[0] = NULL;
	p[1] = beside(h->args->config, file);
	p[2] = socket_of(h, n->name);
	if (asprintf(&p[3], "%s-%s", h->pin_dir, n->name) < 0)
		p[3] = NULL;
	a->network = n->name;
	a->state = p[0];
	a->config = p[1];
	a->socket = p[2];
	a->pin = p[3];
}

/* what is not its own is out of its sight: the first one's state has that of the others in it */
static void hidden_make(struct network *n, const struct host *h)
{
	char **p = &n->paths[4];

	if (asprintf(&p[0], "%s%s", h->args->state, *n->name ? "" : "/" CMDLINE_NETWORKS) < 0)
		p[0] = NULL;
	p[1] = host_path(h, CMDLINE_NETWORKS);
	n->args.hide[0] = p[0];
	n->args.hide[1] = p[1];
}

int network_new(const struct host *h, const char *name, struct network **ret)
{
	struct network *n = calloc(1, sizeof(*n));

	if (!n)
		return -ENOMEM;
	n->args = *h->args;
	n->args.check = n->args.guard = false;
	n->args.supervisor = getpid();
	n->args.share = h->share_dir;
	snprintf(n->name, sizeof(n->name), "%s", name);
	if (*name) {
		paths_make(n, h);
		n->args.config_must = false;
	}
	hidden_make(n, h);
	n->socket = *name ? n->args.socket : h->socket;
	if (!(n->paths[4] && n->paths[5]) || (*name && !(n->paths[0] && n->paths[1] && n->paths[2] && n->paths[3]))) {
		network_free(n);
		return -ENOMEM;
	}
	*ret = n;
	return 0;
}

void network_free(struct network *n)
{
	if (!n)
		return;
	for (unsigned i = 0; i < sizeof(n->paths) / sizeof(n->paths[0]); i++)
		free(n->paths[i]);
	free(n);
}

const char *network_label(const struct network *n)
{
	return *n->name ? n->name : "keyd.conf";
}
