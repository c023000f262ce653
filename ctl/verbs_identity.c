/* SPDX-License-Identifier: BSD-2-Clause */
/* identity …, rotate: how this host's keys are kept and changed. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl.h"
#include "input.h"
#include "show.h"

#define PASSPHRASE_FILE_MAX_B 1026

static unsigned slow(const json_t *args)
{
	return 6 * TIMEOUT_MS;
}

static void show_identity(const json_t *r)
{
	const json_t *d = json_object_get(r, "device");
	char b[HUMAN_B];

	if (flag_of(r, "locked"))
		line("LOCKED", BAD, "%s", text_of(r, "why"));
	if (json_is_object(d)) {
		line("device", STRONG, "%s", text_of(d, "name"));
		line("", FAINT, "id %s, key %s", text_of(d, "id"), text_of(d, "fingerprint"));
	}
	if (json_is_object(json_object_get(r, "next_key")))
		line("next key", WARN, "%s, %s", text_of(json_object_get(r, "next_key"), "fingerprint"),
		     text_of(json_object_get(r, "next_key"), "step"));
	if (!strcmp(text_of(r, "kept"), "nowhere"))
		line("kept", WARN, "nowhere: this host is not enrolled");
	else
		line("kept", PLAIN, "%s %s, %s", text_of(r, "kept"), text_of(r, "path"),
		     flag_of(r, "sealed") ? "sealed with a passphrase" : "without a passphrase");
	if (!strcmp(text_of(r, "private_key"), "token"))
		line("private key", PLAIN, "on the token %s", text_of(r, "token"));
	if (number_of(r, "delegated_until"))
		line("", PLAIN, "it vouches for the key in use until %s",
		     time_of(r, "delegated_until", b));
	if (has_text(r, "token_problem"))
		line("TOKEN", BAD, "%s", text_of(r, "token_problem"));
	if (has_text(r, "passphrase_source"))
		line("passphrase", PLAIN, "read from %s", text_of(r, "passphrase_source"));
	line("state", flag_of(r, "locked") ? BAD : PLAIN, "%s", text_of(r, "state"));
	if (has_text(r, "warning"))
		line("warning", WARN, "%s", text_of(r, "warning"));
}

const struct verb verb_identity_show = {
	.name = "identity show",
	.request = "identity",
	.summary = "where this host's keys are kept, and whether they are sealed",
	.example = "identity show",
	.show = show_identity,
};

/* the file's name becomes what is in it */
static int read_passphrase(json_t *args)
{
	const char *path = json_string_value(json_object_get(args, "passphrase"));
	size_t len, n;
	char *text;
	int r = input_read(path, PASSPHRASE_FILE_MAX_B, &text, &len);

	if (r < 0)
		return fail(MVPN_EXIT_FAILED, "passphrase-file",
			    "the file holds one line of 1 to 1024 bytes",
			    "cannot read the passphrase from %s: %s", input_name(path),
			    strerror(-r));
	n = len;
	if (n && text[n - 1] == '\n')
		n--;
	if (n && text[n - 1] == '\r')
		n--;
	r = 0;
	if (!n || memchr(text, 0, n) || memchr(text, '\n', n))
		r = fail(MVPN_EXIT_FAILED, "no-passphrase",
			 "the file holds one line of 1 to 1024 bytes", "%s holds no passphrase",
			 input_name(path));
	else if (json_object_set_new(args, "passphrase", json_stringn(text, n)) < 0)
		r = fail(MVPN_EXIT_FAILED, "no-passphrase", NULL,
			 "the passphrase in %s is not text (UTF-8)", input_name(path));
	explicit_bzero(text, len);
	free(text);
	return r;
}

#define PASSPHRASE_OPTION                                                                      \
	{                                                                                      \
		"--passphrase-file", 'f', KIND_TEXT, "passphrase", "FILE|-", .required = true, \
			.help = "file that holds it in one line; - is standard input"          \
	}

const struct verb verb_identity_unlock = {
	.name = "identity unlock",
	.request = "identity-unlock",
	.summary = "open the sealed identity with its passphrase",
	.more = "For keys whose passphrase is kept by a person and not on the host. Until then "
		"keyd is\n"
		"locked: it has no channel, and protected traffic is dropped.",
	.example = "identity unlock --passphrase-file /run/passphrase.txt",
	.options = {PASSPHRASE_OPTION},
	.prepare = read_passphrase,
	.timeout_ms = slow,
	.show = show_identity,
};

const struct verb verb_passphrase_set = {
	.name = "identity passphrase set",
	.request = "identity-passphrase",
	.summary = "seal the identity file with a passphrase, or with another",
	.more = "The old one is not asked for: keyd has the identity open. Put the same passphrase "
		"where\n"
		"keyd.conf's passphrase_file or the credential mvpn.passphrase says first; the "
		"reply warns\n"
		"if the next start would not find it.",
	.example = "identity passphrase set --passphrase-file /etc/mvpn/passphrase.txt",
	.options = {PASSPHRASE_OPTION},
	.prepare = read_passphrase,
	.timeout_ms = slow,
	.show = show_identity,
};

static int ask_removal(json_t *args)
{
	json_object_set_new(args, "remove", json_true());
	return 0;
}

const struct verb verb_passphrase_remove = {
	.name = "identity passphrase remove",
	.request = "identity-passphrase",
	.summary = "keep the identity file without a passphrase",
	.example = "identity passphrase remove",
	.prepare = ask_removal,
	.show = show_identity,
};

static void show_rotate(const json_t *r)
{
	const json_t *d = json_object_get(r, "device");
	json_int_t n = json_integer_value(json_object_get(r, "vouched"));

	printf("%s has a new key\n", text_of(d, "name"));
	line("key", STRONG, "%s", text_of(d, "fingerprint"));
	line("before", FAINT, "%s", text_of(r, "before"));
	line("vouched", PLAIN, "to %lld peer%s", (long long)n, n == 1 ? "" : "s");
}

const struct verb verb_rotate = {
	.name = "rotate",
	.request = "rotate",
	.summary = "give this host another private key; sessions go on",
	.more = "The server and the peers that have pinned the old key learn of the new one by the "
		"old one's\n"
		"word, so nobody's alarm goes off. From then on the old key is refused. Interrupted at "
		"any\n"
		"moment, it goes on by itself. --token and --file move the key to a PKCS#11 token that signs, and back.",
	.example = "rotate",
	.options = {{"--token", 0, KIND_FLAG, "token",
		     .help = "to a key on the PKCS#11 token of keyd.conf, which signs for the one in use"},
		    {"--file", 0, KIND_FLAG, "file", .help = "from such a token back to the identity file"}},
	.timeout_ms = slow,
	.show = show_rotate,
};
