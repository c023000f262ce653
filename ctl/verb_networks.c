/* SPDX-License-Identifier: BSD-2-Clause */
/* networks: all that this host is in, each with a keyd of its own. Who supervises them says which there are; each says itself how it is. */
#include "networks.h"

#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl.h"
#include "ipc.h"
#include "show.h"

#define STATUS_MS 3000 /* one that hangs does not keep the others away */
#define NETWORKS_DIR "networks"

/* ---- where they are ---- */

/* the directory of the host's own socket, by the path of any network's; malloc'ed */
static char *root_of(const char *socket)
{
	char *dir = strdup(socket), *slash = dir ? strrchr(dir, '/') : NULL, *name;

	if (!slash) {
		free(dir);
		return strdup(".");
	}
	*slash = '\0';
	name = strrchr(dir, '/'); /* DIR/networks/NAME */
	if (name && mvpn_network_valid(name + 1) && (size_t)(name - dir) > strlen("/" NETWORKS_DIR) &&
	    !strncmp(name - strlen("/" NETWORKS_DIR), "/" NETWORKS_DIR, strlen("/" NETWORKS_DIR)))
		name[-(int)strlen("/" NETWORKS_DIR)] = '\0';
	return dir;
}

static json_t *find(json_t *list, const char *name)
{
	json_t *o;
	size_t i;

	json_array_foreach(list, i, o)
	{
		const char *has = json_string_value(json_object_get(o, "name"));

		if (name ? has && !strcmp(name, has) : !has)
			return o;
	}
	return NULL;
}

static void add(json_t *list, const char *name, const char *socket)
{
	if (!find(list, name))
		json_array_append_new(list, json_pack("{s:s?, s:b, s:s, s:s}", "name", name, "supervised", 0, "state",
						      "running", "socket", socket));
}

/* those of whoever supervises */
static void add_supervised(json_t *list, const char *root)
{
	json_t *reply = NULL, *o, *theirs;
	char *path;
	size_t i;

	if (asprintf(&path, "%s/" MVPN_NETWORKS_SOCKET, root) < 0)
		return;
	if (ipc_request(path, "networks", NULL, STATUS_MS, &reply) == 0) {
		theirs = json_object_get(reply, "networks");
		json_array_foreach(theirs, i, o)
		{
			json_object_set_new(o, "supervised", json_true());
			json_array_append(list, o);
		}
	}
	json_decref(reply);
	free(path);
}

/* those with a daemon of their own */
static void add_others(json_t *list, const char *root)
{
	char *pattern, *copy, *slash;
	glob_t g;

	if (asprintf(&pattern, "%s/" NETWORKS_DIR "/*/keyd.sock", root) < 0)
		return;
	if (glob(pattern, 0, NULL, &g) == 0) {
		for (size_t i = 0; i < g.gl_pathc; i++) {
			copy = strdup(g.gl_pathv[i]);
			slash = copy ? strrchr(copy, '/') : NULL;
			if (slash) {
				*slash = '\0';
				slash = strrchr(copy, '/');
			}
			if (slash && mvpn_network_valid(slash + 1))
				add(list, slash + 1, g.gl_pathv[i]);
			free(copy);
		}
		globfree(&g);
	}
	free(pattern);
}

static json_t *networks_all(const char *root, const char *own)
{
	json_t *list = json_array();

	add_supervised(list, root);
	if (own)
		add(list, NULL, own);
	add_others(list, root);
	return list;
}

/* ---- how they are ---- */

static void copy_member(json_t *to, const char *as, const json_t *from, const char *member)
{
	json_t *v = json_object_get(from, member);

	if (v)
		json_object_set(to, as, v);
	else
		json_object_set_new(to, as, json_null());
}

static void take_status(json_t *o, const json_t *status)
{
	const json_t *problems = json_object_get(status, "problems");

	copy_member(o, "channel", status, "state");
	copy_member(o, "healthy", status, "healthy");
	copy_member(o, "isolated", status, "isolated");
	copy_member(o, "device", json_object_get(status, "device"), "name");
	copy_member(o, "server", json_object_get(status, "server"), "address");
	copy_member(o, "tap", json_object_get(status, "tap"), "name");
	copy_member(o, "udp_port", status, "udp_port");
	copy_member(o, "peers", status, "peers");
	copy_member(o, "sessions", status, "sessions");
	copy_member(o, "protected", status, "protected");
	if (!has_text(o, "why") && json_array_size(problems))
		json_object_set(o, "why", json_array_get(problems, 0));
	if (!has_text(o, "why") && json_is_false(json_object_get(o, "isolated")))
		json_object_set_new(o, "why", json_string("sees files of the other networks: mvpnctl doctor"));
}

/* false: it runs by itself, and does not answer */
static bool ask_one(json_t *o)
{
	bool runs = !strcmp(text_of(o, "state"), "running");
	json_t *reply = NULL;
	int r = runs ? ipc_request(text_of(o, "socket"), "status", NULL, STATUS_MS, &reply) : -ENOENT;

	take_status(o, r == 0 && json_is_true(json_object_get(reply, "ok")) ? reply : NULL);
	json_decref(reply);
	if (runs && r < 0) {
		json_object_set_new(o, "state", json_string("silent"));
		json_object_set_new(o, "why", json_sprintf("no answer at %s: %s", text_of(o, "socket"), strerror(-r)));
	}
	return r == 0 || flag_of(o, "supervised");
}

static int gather(const char *path, json_t **ret)
{
	char *root = root_of(path), *own = NULL;
	json_t *list, *o;
	bool all_run = true;
	size_t i = 0;

	/* of a named one's socket the host's own is not known: who supervises says it */
	if (root && !strncmp(path, root, strlen(root)) && !strchr(path + strlen(root) + 1, '/'))
		own = strdup(path);
	list = networks_all(root ? root : ".", own);
	while ((o = json_array_get(list, i))) {
		if (!ask_one(o)) {
			json_array_remove(list, i); /* a socket that was left */
			continue;
		}
		all_run &= !strcmp(text_of(o, "state"), "running");
		i++;
	}
	free(own);
	free(root);
	if (!i) {
		json_decref(list);
		return -ENOENT;
	}
	*ret = json_pack("{s:i, s:b, s:i, s:o}", "schema", MVPN_CTL_SCHEMA, "ok", 1, "exit",
			 all_run ? MVPN_EXIT_OK : MVPN_EXIT_UNHEALTHY, "networks", list);
	return 0;
}

/* ---- shown ---- */

static enum colour colour_of(const json_t *o)
{
	const char *state = text_of(o, "state");

	return !strcmp(state, "running") ? (flag_of(o, "healthy") ? GOOD : WARN)
	       : !strcmp(state, "starting") ? WARN
					    : BAD;
}

static void show(const json_t *r)
{
	static const char *const headers[] = {"NETWORK", "STATE",  "CHANNEL",	 "SERVER", "DEVICE", "TAP",
					      ">UDP PORT", ">PEERS", ">PREFIXES", "?SINCE", "?WHY",	  NULL};
	static const char *const numbers[] = {"udp_port", "peers", "protected"};
	struct table *t = table_new(headers);
	const json_t *list = json_object_get(r, "networks"), *o;
	char since[HUMAN_B];
	size_t i;

	json_array_foreach(list, i, o)
	{
		table_cell(t, STRONG, "%s", has_text(o, "name") ? text_of(o, "name") : "(keyd.conf)");
		table_cell(t, colour_of(o), "%s", text_of(o, "state"));
		table_cell(t, PLAIN, "%s", text_of(o, "channel"));
		table_cell(t, PLAIN, "%s", text_of(o, "server"));
		table_cell(t, PLAIN, "%s", text_of(o, "device"));
		table_cell(t, PLAIN, "%s", text_of(o, "tap"));
		for (unsigned j = 0; j < sizeof(numbers) / sizeof(numbers[0]); j++) {
			if (json_is_integer(json_object_get(o, numbers[j])))
				table_cell(t, PLAIN, "%llu", (unsigned long long)number_of(o, numbers[j]));
			else
				table_cell(t, PLAIN, "-");
		}
		table_cell(t, FAINT, "%s", number_of(o, "since_at") ? time_of(o, "since_at", since) : "");
		table_cell(t, WARN, "%s", has_text(o, "why") ? text_of(o, "why") : "");
	}
	table_print(t, "this host is in no network");
}

const struct verb verb_networks = {
	.name = "networks",
	.request = "networks",
	.summary = "all networks of this host, and how they are",
	.more = "keyd.conf's own comes first; `mvpnctl --network NAME VERB` asks one of the others.\n"
		"Exits with 4 if one of them does not run.",
	.example = "networks",
	.gather = gather,
	.show = show,
};

/* ---- for `status` ---- */

void networks_complete(const char *path, json_t *reply)
{
	char *root = root_of(path);
	json_t *list = networks_all(root ? root : ".", NULL), *others = json_array(), *o;
	size_t i;

	json_array_foreach(list, i, o) if (strcmp(text_of(o, "socket"), path))
		json_array_append_new(others, json_pack("{s:O, s:O}", "name", json_object_get(o, "name"), "state",
							json_object_get(o, "state")));
	json_object_set_new(reply, "other_networks", others);
	json_decref(list);
	free(root);
}

void networks_line(const json_t *reply)
{
	const json_t *list = json_object_get(reply, "other_networks"), *o;
	json_t *texts = json_array();
	char *text;
	size_t i;

	json_array_foreach(list, i, o) json_array_append_new(
		texts, json_sprintf("%s%s%s%s", has_text(o, "name") ? text_of(o, "name") : "(keyd.conf)",
				    strcmp(text_of(o, "state"), "running") ? " (" : "",
				    strcmp(text_of(o, "state"), "running") ? text_of(o, "state") : "",
				    strcmp(text_of(o, "state"), "running") ? ")" : ""));
	text = joined(texts);
	if (json_array_size(texts))
		line("others", PLAIN, "this host is also in the network%s %s (mvpnctl networks)",
		     json_array_size(texts) == 1 ? "" : "s", text);
	free(text);
	json_decref(texts);
}
