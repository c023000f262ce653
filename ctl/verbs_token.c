/* SPDX-License-Identifier: BSD-2-Clause */
/* server token create, list, revoke. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "addr.h"
#include "ctl.h"
#include "mvpn/limits.h"
#include "show.h"

/* Only the token on stdout, so that `> file` does; about it on a terminal's stderr. */
static void show_created(const json_t *r)
{
	char at[HUMAN_B];

	puts(text_of(r, "token"));
	fflush(stdout);
	if (has_text(r, "warning"))
		fprintf(stderr, "mvpnctl: warning: %s\n", text_of(r, "warning"));
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "token %s, valid until %s; whoever has it may enrol\n",
			text_of(r, "id"), time_of(r, "expires_at", at));
}

const struct verb verb_token_create = {
	.name = "server token create",
	.request = "token-create",
	.summary = "make a secret that lets a device enrol",
	.more = "Prints the token alone: `mvpnctl server token create > token`. It names the "
		"server and pins\n"
		"its key. Without --server it names the address that the server's configuration "
		"advertises.",
	.example = "server token create --ttl 1h --group web > token",
	.options = {{"--ttl", 't', KIND_SECONDS, "ttl_s", "TIME", 0, 10LL * 366 * 86400,
		     .help = "valid for so long, 0 for ever; default 1h"},
		    {"--uses", 'u', KIND_UINT, "uses", "N", 1, 1000000,
		     .help = "so many devices may use it; default 1"},
		    {"--group", 'g', KIND_TEXT, "group", "GROUP",
		     .help = "policy group of the devices"},
		    {"--address", 'a', KIND_LIST, "addresses", "PREFIX",
		     .help = "the device owns it; may be repeated"},
		    {"--approve", 0, KIND_FLAG, "approve",
		     .help = "an administrator must approve the device"},
		    {"--ephemeral", 'e', KIND_FLAG, "ephemeral",
		     .help = "the devices are removed when off-line for 30m ..."},
		    {"--ephemeral-after", 0, KIND_SECONDS, "ephemeral_s", "TIME", 1, 366LL * 86400,
		     .help = "... or for so long"},
		    {"--server", 0, KIND_TEXT, "server", "ADDR:PORT",
		     .help = "where devices reach the server"}},
	.show = show_created,
};

static void show_tokens(const json_t *r)
{
	static const char *const headers[] = {"ID",	  "STATE",   ">USES LEFT",
					      "EXPIRES",  "?GROUP",  "?ADDRESSES",
					      "APPROVAL", "?EPHEMERAL", "CREATED", NULL};
	struct table *t = table_new(headers);
	const json_t *k;
	size_t i;

	json_array_foreach(json_object_get(r, "tokens"), i, k)
	{
		char *addresses = joined(json_object_get(k, "addresses"));
		const char *state = text_of(k, "state");
		char b[HUMAN_B];

		table_cell(t, PLAIN, "%s", text_of(k, "id"));
		table_cell(t, strcmp(state, "valid") ? FAINT : GOOD, "%s", state);
		table_cell(t, PLAIN, "%llu", (unsigned long long)number_of(k, "uses_left"));
		table_cell(t, PLAIN, "%s", time_of(k, "expires_at", b));
		table_cell(t, PLAIN, "%s", text_of(k, "group"));
		table_cell(t, PLAIN, "%s", addresses);
		table_cell(t, PLAIN, "%s", flag_of(k, "approve") ? "needed" : "no");
		table_cell(t, PLAIN, "%s", ephemeral_of(k, b));
		table_cell(t, PLAIN, "%s", time_of(k, "created_at", b));
		free(addresses);
	}
	table_print(t, "no tokens");
}

const struct verb verb_token_list = {
	.name = "server token list",
	.request = "token-list",
	.summary = "tokens and what is left of them",
	.example = "server token list",
	.show = show_tokens,
};

static void show_revoked(const json_t *r)
{
	printf("token %s revoked; devices enrolled with it stay\n", text_of(r, "id"));
}

const struct verb verb_token_revoke = {
	.name = "server token revoke",
	.request = "token-revoke",
	.summary = "make a token useless",
	.example = "server token revoke 3f9a",
	.operands = {{"ID", .kind = KIND_TEXT, .member = "id", .required = true,
		      .help = "id of a token, or the beginning of it"}},
	.options = {COMMENT},
	.show = show_revoked,
};
