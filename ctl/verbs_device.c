/* SPDX-License-Identifier: BSD-2-Clause */
/* server device list, show, approve, suspend, revoke, remove, rename, address. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl.h"
#include "mvpn/limits.h"
#include "show.h"

#define DEVICE                                                                         \
	{                                                                              \
		"DEVICE", .kind = KIND_TEXT, .member = "device", .required = true,     \
			  .help = "name or id of a device, or the beginning of either" \
	}

static enum colour state_colour(const char *state)
{
	if (!strcmp(state, "active"))
		return GOOD;
	return !strcmp(state, "pending") ? WARN : BAD;
}

static void show_list(const json_t *r)
{
	static const char *const headers[] = {"NAME",	 "ID",		"STATE",
					      "ONLINE",	 "LAST SEEN",	"ADDRESSES",
					      "?GROUPS", "?EPHEMERAL",	"FINGERPRINT", NULL};
	struct table *t = table_new(headers);
	const json_t *d;
	size_t i;

	json_array_foreach(json_object_get(r, "devices"), i, d)
	{
		char *addresses = joined(json_object_get(d, "addresses"));
		char *groups = joined(json_object_get(d, "groups"));
		char b[HUMAN_B];

		table_cell(t, STRONG, "%s", text_of(d, "name"));
		table_cell(t, FAINT, "%s", id_of(d, "id", b));
		table_cell(t, state_colour(text_of(d, "state")), "%s", text_of(d, "state"));
		table_cell(t, flag_of(d, "online") ? GOOD : PLAIN, "%s",
			   flag_of(d, "online") ? "yes" : "no");
		table_cell(t, PLAIN, "%s", time_of(d, "last_seen_at", b));
		table_cell(t, PLAIN, "%s", addresses);
		table_cell(t, PLAIN, "%s", groups);
		table_cell(t, PLAIN, "%s", ephemeral_of(d, b));
		table_cell(t, FAINT, "%s", text_of(d, "fingerprint"));
		free(addresses);
		free(groups);
	}
	table_print(t, "no devices: mvpnctl server token create makes a token to enrol one");
}

const struct verb verb_device_list = {
	.name = "server device list",
	.request = "device-list",
	.summary = "enrolled devices",
	.example = "server device list",
	.show = show_list,
};

static void show_joined(const char *label, const json_t *array)
{
	char *text = joined(array);

	line(label, PLAIN, "%s", text);
	free(text);
}

static void show_one(const json_t *r)
{
	const json_t *in = json_object_get(r, "device"), *d = json_is_object(in) ? in : r;
	const json_t *channel = json_object_get(d, "channel");
	const json_t *sessions = json_object_get(d, "sessions");
	char b[HUMAN_B];

	line("name", STRONG, "%s", text_of(d, "name"));
	line("id", PLAIN, "%s", text_of(d, "id"));
	line("key", PLAIN, "%s", text_of(d, "fingerprint"));
	if (number_of(d, "delegated_until"))
		line("on a token", PLAIN, "which vouches for the key in use until %s",
		     time_of(d, "delegated_until", b));
	if (json_is_object(json_object_get(d, "next_key")))
		line("next key", WARN, "%s", text_of(json_object_get(d, "next_key"), "fingerprint"));
	line("state", state_colour(text_of(d, "state")), "%s", text_of(d, "state"));
	if (has_text(channel, "from"))
		line("channel", GOOD, "from %s since %s", text_of(channel, "from"),
		     time_of(channel, "since_at", b));
	else
		line("channel", PLAIN, "none; last seen %s", time_of(d, "last_seen_at", b));
	show_joined("addresses", json_object_get(d, "addresses"));
	show_joined("prefixes", json_object_get(d, "prefixes"));
	if (json_array_size(json_object_get(d, "scopes")))
		show_joined("may claim in", json_object_get(d, "scopes"));
	show_joined("groups", json_object_get(d, "groups"));
	if (json_is_array(sessions))
		line("sessions", PLAIN, "%zu", json_array_size(sessions));
	else
		line("sessions", PLAIN, "%llu", (unsigned long long)number_of(d, "sessions"));
	if (json_is_integer(json_object_get(d, "relays")))
		line("relays", PLAIN, "for %llu pairs of other devices", (unsigned long long)number_of(d, "relays"));
}

const struct verb verb_device_show = {
	.name = "server device show",
	.request = "device-show",
	.summary = "all about a device",
	.example = "server device show web1",
	.operands = {DEVICE},
	.show = show_one,
};

static void show_changed(const json_t *r)
{
	char b[HUMAN_B];

	printf("%s (%s) is %s", text_of(r, "name"), id_of(r, "id", b), text_of(r, "state"));
	if (json_is_integer(json_object_get(r, "sessions_cut")))
		printf(", %llu session%s cut", (unsigned long long)number_of(r, "sessions_cut"),
		       number_of(r, "sessions_cut") == 1 ? "" : "s");
	putchar('\n');
}

const struct verb verb_device_approve = {
	.name = "server device approve",
	.request = "device-approve",
	.summary = "let a pending or suspended device take part",
	.more = "Compare the fingerprint with what `mvpnctl status` shows on the device first.",
	.example = "server device approve web1",
	.operands = {DEVICE},
	.options = {COMMENT},
	.show = show_changed,
};

const struct verb verb_device_suspend = {
	.name = "server device suspend",
	.request = "device-suspend",
	.summary = "take its rights until it is approved again",
	.example = "server device suspend web1",
	.operands = {DEVICE},
	.options = {COMMENT},
	.show = show_changed,
};

const struct verb verb_device_revoke = {
	.name = "server device revoke",
	.request = "device-revoke",
	.summary = "cut a device off for good",
	.example = "server device revoke web1",
	.operands = {DEVICE},
	.options = {COMMENT},
	.show = show_changed,
};

static void show_removed(const json_t *r)
{
	char b[HUMAN_B];

	printf("%s (%s) is removed\n", text_of(r, "name"), id_of(r, "id", b));
}

const struct verb verb_device_remove = {
	.name = "server device remove",
	.request = "device-remove",
	.summary = "forget a device; its name is free again",
	.example = "server device remove web1",
	.operands = {DEVICE},
	.options = {COMMENT},
	.show = show_removed,
};

static void show_renamed(const json_t *r)
{
	char b[HUMAN_B];

	printf("%s is now called %s\n", id_of(r, "id", b), text_of(r, "name"));
}

const struct verb verb_device_rename = {
	.name = "server device rename",
	.request = "device-rename",
	.summary = "give a device another name",
	.example = "server device rename web1 web-old",
	.operands = {DEVICE,
		     {"NAME", .kind = KIND_TEXT, .member = "name", .required = true,
		      .help = "the new name"}},
	.show = show_renamed,
};

static void show_prefixes(const json_t *r)
{
	char *prefixes = joined(json_object_get(r, "prefixes"));
	char b[HUMAN_B];

	printf("%s owns %s\n", id_of(r, "id", b), prefixes);
	free(prefixes);
}

const struct verb verb_device_address_add = {
	.name = "server device address add",
	.request = "device-address",
	.summary = "make a device own an address or a prefix",
	.example = "server device address add gw1 10.9.0.0/24",
	.operands = {DEVICE,
		     {"PREFIX", .kind = KIND_PREFIX, .member = "add", .required = true,
		      .help = "like 10.0.0.7, 10.9.0.0/24 or fd00::/64"}},
	.show = show_prefixes,
};

const struct verb verb_device_address_del = {
	.name = "server device address del",
	.request = "device-address",
	.summary = "take an address or a prefix from it",
	.example = "server device address del gw1 10.9.0.0/24",
	.operands = {DEVICE,
		     {"PREFIX", .kind = KIND_PREFIX, .member = "del", .required = true,
		      .help = "one that `server device show` lists"}},
	.show = show_prefixes,
};
