/* SPDX-License-Identifier: BSD-2-Clause */
/* attach, detach, enroll, reload: what changes this host. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl.h"
#include "fsutil.h"
#include "input.h"
#include "mvpn/limits.h"
#include "show.h"

#define TOKEN_FILE_MAX_B 4096

static unsigned slow(const json_t *args)
{
	return 6 * TIMEOUT_MS;
}

static void show_attach(const json_t *r)
{
	/* one interface, in a member of its own or at the top */
	const json_t *in = json_object_get(r, "interface"), *i = json_is_object(in) ? in : r;
	char *before = joined(json_object_get(i, "before_us"));

	printf("%s %s: wire %s", text_of(i, "name"),
	       flag_of(r, "already") ? "was attached already" : "attached", text_of(i, "wire"));
	if (strcmp(text_of(i, "wire"), text_of(i, "rung")))
		printf(" (%s)", text_of(i, "rung"));
	printf(", %llu queue%s, hook %s\n", (unsigned long long)number_of(i, "queues"),
	       number_of(i, "queues") == 1 ? "" : "s", text_of(i, "hook"));
	if (has_text(i, "reason"))
		line("  why", PLAIN, "%s", text_of(i, "reason"));
	if (json_array_size(json_object_get(i, "before_us")))
		line("  note", WARN, "these programs see packets before us: %s", before);
	free(before);
}

const struct verb verb_attach = {
	.name = "attach",
	.request = "attach",
	.summary = "protect the traffic of an interface",
	.more = "The wire is how sealed packets leave and enter the NIC: `xdp` is AF_XDP, `udp` a "
		"socket\n"
		"with segmentation offload. `auto` takes the one that is faster there, and says "
		"why.",
	.example = "attach eth0 --wire auto",
	.operands = {{"IFACE", .kind = KIND_TEXT, .member = "iface", .required = true,
		      .help = "a network interface, as in `ip link`"}},
	.options = {{"--wire", 'w', KIND_TEXT, "wire", "auto|xdp|udp",
		     .help = "default: keyd.conf's, else auto"},
		    {"--queues", 'q', KIND_UINT, "queues", "N", 1, MVPN_WORKERS_MAX,
		     .help = "UDP: so many workers at least; AF_XDP: refuse if there are more queues"}},
	.timeout_ms = slow,
	.show = show_attach,
};

static void show_detach(const json_t *r)
{
	printf("%s detached; it is as it was before\n", text_of(r, "iface"));
}

const struct verb verb_detach = {
	.name = "detach",
	.request = "detach",
	.summary = "put an interface back as it was",
	.more = "Afterwards traffic to protected prefixes leaves that interface in clear. --force "
		"detaches\n"
		"also one that sessions use, or that has vanished.",
	.example = "detach eth0",
	.operands = {{"IFACE", .kind = KIND_TEXT, .member = "iface", .required = true,
		      .help = "an attached interface"}},
	.options = {{"--force", 'f', KIND_FLAG, "force", .help = "even if it is in use or gone"}},
	.timeout_ms = slow,
	.show = show_detach,
};

/* ---- enroll ---- */

static int read_token(json_t *args)
{
	const char *path = json_string_value(json_object_get(args, "token"));
	size_t len;
	char *text, *begin;
	int r = input_read(path, TOKEN_FILE_MAX_B, &text, &len);

	if (r < 0)
		return fail(MVPN_EXIT_FAILED, "token-file", "the file holds one line, mavp1_…",
			    "cannot read the token from %s: %s", input_name(path), strerror(-r));
	begin = text + strspn(text, " \t\r\n");
	begin[strcspn(begin, " \t\r\n")] = 0;
	r = 0;
	if (strncmp(begin, "mavp1_", 6))
		r = fail(MVPN_EXIT_FAILED, "not-a-token",
			 "make one on the server: mvpnctl server token create > token",
			 "%s holds no token: it does not begin with mavp1_", input_name(path));
	else if (json_object_set_new(args, "token", json_string(begin)) < 0)
		r = fail(MVPN_EXIT_FAILED, "not-a-token", NULL, "the token in %s is not text",
			 input_name(path));
	explicit_bzero(text, len);
	free(text);
	return r;
}

static void show_enroll(const json_t *r)
{
	const json_t *d = json_object_get(r, "device");
	const json_t *server = json_object_get(r, "server");
	const char *state = text_of(r, "state");

	printf("enrolled as %s with %s\n", text_of(d, "name"),
	       json_is_object(server) ? text_of(server, "address") : text_of(r, "server"));
	line("  id", PLAIN, "%s", text_of(d, "id"));
	line("  key", PLAIN, "%s", text_of(d, "fingerprint"));
	line("  state", strcmp(state, "pending") ? GOOD : WARN, "%s", state);
	if (!strcmp(state, "pending"))
		printf("An administrator compares the key and approves on the server:\n"
		       "  mvpnctl server device approve %s\n",
		       text_of(d, "name"));
}

const struct verb verb_enroll = {
	.name = "enroll",
	.request = "enroll",
	.summary = "join a network with a token from its server",
	.more = "The token is a secret: it is read from a file or from standard input (-), never "
		"from the\n"
		"command line, which everybody on the host can read.",
	.example = "enroll --token-file /root/token",
	.options = {{"--token-file", 't', KIND_TEXT, "token", "FILE|-", .required = true,
		     .help = "file that holds the token; - is standard input"},
		    {"--name", 'n', KIND_TEXT, "name", "NAME",
		     .help = "name of this device; default: device- and 8 digits of its id"}},
	.prepare = read_token,
	.timeout_ms = slow,
	.show = show_enroll,
};

static void show_reload(const json_t *r)
{
	char *changed = joined(json_object_get(r, "changed"));

	if (json_array_size(json_object_get(r, "changed")))
		printf("configuration read again; changed: %s\n", changed);
	else
		puts("configuration read again; nothing changed");
	free(changed);
}

const struct verb verb_reload = {
	.name = "reload",
	.request = "reload",
	.summary = "read keyd.conf again",
	.example = "reload",
	.show = show_reload,
};
