/* SPDX-License-Identifier: BSD-2-Clause */
/* Verbs about the identity: identity, identity-unlock, identity-passphrase, rotate, pin. */
#include "control.h"

#include <errno.h>
#include <string.h>

#include "channel.h"
#include "crypto.h"
#include "hsm.h"
#include "keystore.h"
#include "mvpn/ctl.h"
#include "rotate.h"
#include "server_key.h"

json_t *show_identity(struct keyd *k)
{
	json_t *body = keystore_show(k);

	json_object_set_new(body, "state", json_string(keyd_state_name(k->state)));
	json_object_set_new(body, "device", k->id ? show_device(k) : json_null());
	json_object_set_new(body, "next_key", rotate_show(k));
	return body;
}

static struct passphrase *passphrase_arg(struct ipc_call *call, json_t *args)
{
	json_t *v = json_object_get(args, "passphrase");
	struct passphrase *p = NULL;
	int r = json_is_string(v) ? passphrase_new(&p, json_string_value(v), json_string_length(v))
				  : -EINVAL;

	if (r)
		ipc_reply_error(call, MVPN_EXIT_FAILED, "bad-passphrase",
				"mvpnctl reads it from --passphrase-file, - is standard input",
				"%s",
				r == -EINVAL ? "a passphrase is one line of 1 to 1024 bytes"
					     : strerror(-r));
	return p;
}

static void refuse(struct ipc_call *call, int r)
{
	switch (r) {
	case -EALREADY:
		ipc_reply_error(call, MVPN_EXIT_FAILED, "in-progress", "", "a passphrase is being "
									   "worked on");
		break;
	case -EKEYREJECTED:
		ipc_reply_error(call, MVPN_EXIT_FAILED, "wrong-passphrase",
				"capitals, keyboard layout? without it only a backup or a new "
				"token helps",
				"the passphrase does not open the identity (or the identity was "
				"tampered with)");
		break;
	case -EROFS:
		ipc_reply_error(call, MVPN_EXIT_FAILED, "read-only",
				"systemd-creds encrypt makes a new one of an identity file",
				"the identity is a systemd credential, which keyd cannot change");
		break;
	case -ENOMEM:
		ipc_reply_error(call, MVPN_EXIT_FAILED, "no-memory", "",
				"not enough memory: a passphrase takes 256 MiB for a second");
		break;
	default:
		ipc_reply_error(call, MVPN_EXIT_FAILED, "identity-failed", "",
				"the identity cannot be read or written: %s", strerror(-r));
	}
}

static void reply(struct keyd *k, struct ipc_call *call, const char *warning)
{
	json_t *body = show_identity(k);

	json_object_set_new(body, "warning", warning ? json_string(warning) : json_null());
	ipc_reply_ok(call, body);
}

void control_identity_done(struct keyd *k, struct ipc_call *call, int r, const char *warning)
{
	if (r)
		refuse(call, r);
	else
		reply(k, call, warning);
}

void control_identity_unlock(struct keyd *k, struct ipc_call *call, json_t *args)
{
	struct passphrase *p;
	int r;

	if (!keystore_locked(k)) {
		ipc_reply_error(call, MVPN_EXIT_FAILED, "not-locked", "mvpnctl identity show",
				"the identity is not locked");
		return;
	}
	p = passphrase_arg(call, args);
	if (!p)
		return;
	r = keystore_unlock(k, p, call);
	if (r)
		refuse(call, r);
}

static bool in_use(struct keyd *k, struct ipc_call *call)
{
	if (!k->id)
		ipc_reply_error(call, MVPN_EXIT_FAILED,
				keystore_locked(k) ? "locked" : "not-enrolled",
				keystore_locked(k) ? "mvpnctl identity unlock"
						   : "enrol first: mvpnctl enroll --token-file F",
				"there is no identity in use");
	return k->id != NULL;
}

void control_identity_passphrase(struct keyd *k, struct ipc_call *call, json_t *args)
{
	struct passphrase *p;
	int r;

	if (!in_use(k, call))
		return;
	if (json_is_true(json_object_get(args, "remove"))) {
		r = keystore_unseal(k);
		if (r)
			refuse(call, r);
		else
			reply(k, call, NULL);
		return;
	}
	p = passphrase_arg(call, args);
	if (!p)
		return;
	r = keystore_seal(k, p, call);
	if (r)
		refuse(call, r);
}

/* ---- rotate ---- */

void control_rotate_done(struct keyd *k, struct ipc_call *call, const char *error,
			 const uint8_t before[32], unsigned told)
{
	char was[MVPN_FINGERPRINT_LEN];

	if (error) {
		ipc_reply_error(call, MVPN_EXIT_UNHEALTHY, "not-rotated", "mvpnctl identity show",
				"%s", error);
		return;
	}
	mvpn_fingerprint(was, before);
	ipc_reply_ok(call, json_pack("{s:o, s:s, s:i}", "device", show_device(k), "before", was,
				     "vouched", (int)told));
}

void control_rotate(struct keyd *k, struct ipc_call *call, json_t *args)
{
	enum rotate_to to = json_is_true(json_object_get(args, "token"))  ? ROTATE_TO_TOKEN
			    : json_is_true(json_object_get(args, "file")) ? ROTATE_TO_FILE
									  : ROTATE_TO_SAME;
	int r = in_use(k, call) ? rotate_begin(k, call, to) : 0;

	switch (r) {
	case 0:
		break;
	case -EOPNOTSUPP:
		ipc_reply_error(call, MVPN_EXIT_FAILED, "on-token",
				k->id->delegates ? "`mvpnctl rotate --file` moves it to a file"
						 : "make another key on the token, then enrol anew with a token of the server",
				"the private key is on a PKCS#11 token, which keyd does not change");
		break;
	case -EAGAIN:
		ipc_reply_error(call, MVPN_EXIT_FAILED, "token-away", "it says that the new key is this device's: put it in", "%s",
				hsm_problem(k));
		break;
	case -ENOKEY:
		ipc_reply_error(call, MVPN_EXIT_FAILED, "no-token",
				"pkcs11 and pin_file in [identity] of keyd.conf, then restart keyd",
				"keyd.conf names no PKCS#11 token");
		break;
	case -ENOTCONN:
		ipc_reply_error(call, MVPN_EXIT_UNHEALTHY, "offline", "mvpnctl status",
				"a new key needs a channel to the server, and an approved device");
		break;
	case -EALREADY:
		ipc_reply_error(call, MVPN_EXIT_FAILED, "in-progress", "mvpnctl identity show",
				"the key is being changed");
		break;
	default:
		refuse(call, r);
	}
}

/* ---- pin ---- */

void control_pin(struct keyd *k, struct ipc_call *call, json_t *args)
{
	const char *text = json_string_value(json_object_get(args, "key"));
	json_t *server;
	uint8_t pk[32];
	int r;

	if (!in_use(k, call))
		return;
	if (!text || mvpn_unhex(pk, sizeof(pk), text)) {
		ipc_reply_error(call, MVPN_EXIT_USAGE, "bad-argument", "`mvpnctl server key show` on the server says it",
				"a key is 64 hexadecimal digits");
		return;
	}
	r = server_key_pin(k, pk);
	if (r == -EISCONN) {
		ipc_reply_error(call, MVPN_EXIT_FAILED, "connected", "it says itself when its key changes: `mvpnctl status`",
				"the server answers by the key that is pinned");
		return;
	}
	if (r) {
		ipc_reply_error(call, MVPN_EXIT_FAILED, "identity-failed", "look at the state directory's disk and permissions",
				"the pin cannot be kept: %s", strerror(-r));
		return;
	}
	server = json_pack("{s:s}", "address", k->id->server);
	server_key_show(k, server);
	ipc_reply_ok(call, json_pack("{s:o}", "server", server));
}
