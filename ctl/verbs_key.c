/* SPDX-License-Identifier: BSD-2-Clause */
/* server key …, pin: the server's key, there and on the devices. */
#include <stdio.h>
#include <string.h>

#include "ctl.h"
#include "mvpn/limits.h"
#include "show.h"

static void show_other(const json_t *r, const char *member, const char *label)
{
	const json_t *key = json_object_get(r, member);
	char at[HUMAN_B];

	if (!json_is_object(key))
		return;
	line(label, STRONG, "%s", text_of(key, "fingerprint"));
	line("", FAINT, "%s", text_of(key, "public_key"));
	if (number_of(r, "active_at"))
		line("", PLAIN, "is the key from %s on", time_of(r, "active_at", at));
}

static void show_key(const json_t *r)
{
	const json_t *key = json_object_get(r, "key"), *name;
	uint64_t devices = number_of(r, "devices"), heard = number_of(r, "heard");
	size_t i;
	char at[HUMAN_B];

	line("key", STRONG, "%s", text_of(key, "fingerprint"));
	line("", FAINT, "%s", text_of(key, "public_key"));
	show_other(r, "next", "next");
	show_other(r, "old", "old");
	if (!number_of(r, "until"))
		return;
	line("old key", PLAIN, "is given up at %s", time_of(r, "until", at));
	line("devices", heard == devices ? GOOD : WARN, "%llu of %llu know the new one",
	     (unsigned long long)heard, (unsigned long long)devices);
	json_array_foreach(json_object_get(r, "left"), i, name)
		line(i ? "" : "not yet", WARN, "%s", json_string_value(name));
	if (number_of(r, "channels_by_old"))
		line("channels", PLAIN, "%llu are of the old key still",
		     (unsigned long long)number_of(r, "channels_by_old"));
}

const struct verb verb_key_show = {
	.name = "server key show",
	.request = "key-show",
	.summary = "the server's key, and who knows its next one",
	.example = "server key show",
	.show = show_key,
};

static int rotate_prepare(json_t *args)
{
	return json_object_get(args, "now") && json_object_get(args, "after_s")
		       ? usage_error(&verb_key_rotate, "--now does not go with --after")
		       : 0;
}

const struct verb verb_key_rotate = {
	.name = "server key rotate",
	.request = "key-rotate",
	.summary = "give the server another key; channels and sessions go on",
	.more = "The next key is announced to the devices, which pin it beside the present one; "
		"after --after it is the\n"
		"key. The old one goes on beside it until 30 days after the announcement, for "
		"devices and tokens that\n"
		"know no other. --now takes the next step at once: begin and change; change; or "
		"give the old one up,\n"
		"which needs that every device knows the new one (`server key show`).",
	.example = "server key rotate --after 7d",
	.options = {{"--after", 'a', KIND_SECONDS, "after_s", "TIME", 0,
		     MVPN_SERVER_KEY_AFTER_MAX_S,
		     .help = "announced for so long before it is in use, 29d at most; default 1d"},
		    {"--now", 'n', KIND_FLAG, "now", .help = "do not wait: the next step now"},
		    COMMENT},
	.prepare = rotate_prepare,
	.show = show_key,
};

const struct verb verb_key_cancel = {
	.name = "server key cancel",
	.request = "key-cancel",
	.summary = "forget the next key, before it is in use",
	.example = "server key cancel",
	.options = {COMMENT},
	.show = show_key,
};

static void show_pin(const json_t *r)
{
	const json_t *server = json_object_get(r, "server");

	line("server", PLAIN, "%s", text_of(server, "address"));
	line("key", STRONG, "%s", text_of(server, "fingerprint"));
}

const struct verb verb_pin = {
	.name = "pin",
	.request = "pin",
	.summary = "take another key for the server's, by hand",
	.more = "For a host that was away while the server changed its key and gave the old one "
		"up. KEY is the public\n"
		"key in 64 digits of `mvpnctl server key show` on the server: bring it here by a "
		"way that nobody else\n"
		"writes to. The host stays enrolled as it is.",
	.example = "pin 5a0c1b6e…",
	.operands = {{"KEY", .kind = KIND_TEXT, .member = "key", .required = true,
		      .help = "public key, 64 hexadecimal digits"}},
	.show = show_pin,
};
