/* SPDX-License-Identifier: BSD-2-Clause */
#include "control.h"

#include <errno.h>
#include <malloc.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "channel.h"
#include "conf.h"
#include "keystore.h"
#include "log.h"
#include "mvpn/ctl.h"
#include "peers.h"
#include "processes.h"

/* ---- verbs that change something ---- */

void control_attached(struct keyd *k, struct ipc_call *call, const struct attachment *a, bool already)
{
	json_t *body = show_interface(k, a);

	json_object_set_new(body, "already", json_boolean(already));
	ipc_reply_ok(call, body);
}

void control_attach_failed(struct ipc_call *call, const char *iface, int r, const char *error)
{
	ipc_reply_error(call, MVPN_EXIT_FAILED, r == -ENODEV ? "no-such-interface" : "attach-failed",
			r == -ENODEV   ? "`ip link` lists them"
			: r == -ENXIO  ? "`ip route` says by which interface the others are reached"
				       : "mvpnctl attach --wire udp works on every interface",
			"cannot attach to %s: %s", iface, error ? error : strerror(-r));
}

static void verb_attach(struct keyd *k, struct ipc_call *call, json_t *args)
{
	static const char *const wires[] = {"auto", "xdp", "udp"};
	const char *iface = json_string_value(json_object_get(args, "iface"));
	const char *wire = json_string_value(json_object_get(args, "wire"));
	unsigned queues = json_integer_value(json_object_get(args, "queues")), want = 0;
	struct attachment *a = NULL;
	char *error = NULL;
	bool already;
	int r;

	while (wire && want < 3 && strcmp(wire, wires[want]))
		want++;
	if (!iface || !*iface || want == 3) {
		ipc_reply_error(call, MVPN_EXIT_USAGE, "bad-argument",
				"mvpnctl attach eth0 --wire auto|xdp|udp",
				!iface || !*iface ? "which interface?" : "unknown wire %s", wire);
		return;
	}
	r = attach_add(k, iface, want, queues, &a, &already, &error);
	if (r)
		control_attach_failed(call, iface, r, error);
	else if (a->busy_until_ms && !a->call)
		attach_await(a, call);
	else
		control_attached(k, call, a, already);
	free(error);
}

static void verb_detach(struct keyd *k, struct ipc_call *call, json_t *args)
{
	const char *iface = json_string_value(json_object_get(args, "iface"));
	char *error = NULL;
	int r;

	if (!iface) {
		ipc_reply_error(call, MVPN_EXIT_USAGE, "bad-argument", "mvpnctl detach eth0",
				"which interface?");
		return;
	}
	if (k->nsessions && k->nifaces == 1 && attachment_find(k, iface) &&
	    !json_is_true(json_object_get(args, "force"))) {
		ipc_reply_error(call, MVPN_EXIT_FAILED, "in-use",
				"add --force if cleartext from here on is what you want",
				"%u session%s in use and %s is the last attached interface: "
				"protected traffic would leave it in clear",
				k->nsessions, k->nsessions == 1 ? " is" : "s are", iface);
		return;
	}
	r = attach_del(k, iface, &error);
	if (r)
		ipc_reply_error(call, MVPN_EXIT_FAILED,
				r == -ENOENT ? "not-attached" : "detach-failed", "mvpnctl status",
				"cannot detach from %s: %s", iface,
				r == -ENOENT ? "it is not attached"
				: error	     ? error
					     : strerror(-r));
	else
		ipc_reply_ok(call, json_pack("{s:s}", "iface", iface));
	free(error);
}

static void enrol_gone(void *arg)
{
	((struct keyd *)arg)->enrol_call = NULL;
}

static void verb_enroll(struct keyd *k, struct ipc_call *call, json_t *args)
{
	json_t *text = json_object_get(args, "token");
	const char *name = json_string_value(json_object_get(args, "name"));
	struct mvpn_token t;
	int r;

	if (k->id) {
		ipc_reply_error(call, MVPN_EXIT_FAILED, "already-enrolled",
				"to enrol it anew, stop keyd and remove `identity` from its state "
				"directory",
				"this machine is already enrolled as %s with %s", k->id->name,
				k->id->server);
		return;
	}
	if (keystore_locked(k)) {
		ipc_reply_error(call, MVPN_EXIT_FAILED, "locked", "mvpnctl identity show",
				"this machine is enrolled, but its identity is locked: %s",
				keystore_locked(k));
		return;
	}
	r = json_is_string(text) ? mvpn_token_decode(&t, json_string_value(text)) : -EINVAL;
	if (r) {
		ipc_reply_error(
			call, MVPN_EXIT_FAILED, "bad-token",
			"make one on the server: `mvpnctl server token create`", "%s",
			r == -EBADMSG ? "the token is damaged: mistyped or cut"
			: r == -EPROTONOSUPPORT
				? "the token is of a newer version than this keyd"
				: "that is not a token (it begins with mvpn's prefix mavp1_)");
		return;
	}
	r = channel_enrol(k, &t, name, call);
	sodium_memzero(&t, sizeof(t));
	if (r)
		ipc_reply_error(call, MVPN_EXIT_FAILED,
				r == -EALREADY ? "in-progress" : "enrolment-failed", "", "%s",
				r == -EALREADY ? "an enrolment is under way" : strerror(-r));
	else
		ipc_call_on_gone(call, enrol_gone, k);
}

static void verb_reload(struct keyd *k, struct ipc_call *call, json_t *args)
{
	json_t *changed = json_array();
	char *error = NULL;
	int r = conf_reload(k, changed, &error);

	if (r) {
		json_decref(changed);
		ipc_reply_error(call, MVPN_EXIT_FAILED, "bad-config",
				"the running configuration stays in force", "%s",
				error ? error : strerror(-r));
	} else {
		ipc_reply_ok(call, json_pack("{s:o}", "changed", changed));
	}
	free(error);
}

/* ---- verbs that show something ---- */

/* proto and port of a packet, both optional; false after an error was sent */
static bool arg_service(struct ipc_call *call, json_t *args, uint8_t *ret_proto, uint16_t *ret_port)
{
	const char *proto = json_string_value(json_object_get(args, "proto"));
	json_int_t port = json_integer_value(json_object_get(args, "port"));
	int v = proto ? mvpn_proto_parse(proto, strlen(proto)) : 0;

	if (v < 0 || port < 0 || port > UINT16_MAX || (port && !v)) {
		ipc_reply_error(call, MVPN_EXIT_USAGE, "bad-argument",
				"mvpnctl explain 10.0.0.5:443/tcp", "that is no protocol, or no port");
		return false;
	}
	*ret_proto = (uint8_t)v;
	*ret_port = mvpn_proto_has_ports((unsigned)v) ? (uint16_t)port : 0;
	return true;
}

/* an address, or a peer's name */
static bool destination_of(struct keyd *k, const char *text, struct mvpn_addr *ret)
{
	struct peer *p;

	if (!mvpn_addr_parse(ret, text))
		return true;
	p = peer_find(k, text);
	if (p)
		*ret = *peer_address(k, p);
	return p && !mvpn_addr_is_zero(ret);
}

/* the source that a packet leaves with; zero: not said. false after an error was sent */
static bool arg_source(struct ipc_call *call, json_t *args, const struct mvpn_addr *dst, struct mvpn_addr *ret)
{
	const char *text = json_string_value(json_object_get(args, "src"));

	memset(ret, 0, sizeof(*ret));
	if (!text || (!mvpn_addr_parse(ret, text) && mvpn_addr_is_v4(ret) == mvpn_addr_is_v4(dst)))
		return true;
	ipc_reply_error(call, MVPN_EXIT_USAGE, "bad-argument", "mvpnctl explain --from 172.17.0.2 10.0.0.5",
			"%s is no source for what goes there", text);
	return false;
}

static void verb_explain(struct keyd *k, struct ipc_call *call, json_t *args)
{
	const char *text = json_string_value(json_object_get(args, "dst"));
	struct process_asked who;
	struct mvpn_addr src, dst;
	const char *wrong = process_asked_of(args, &who);
	uint8_t mac[6], proto;
	uint16_t port;
	json_t *type = json_object_get(args, "ethertype");

	if (text && !mvpn_mac_parse(mac, text)) {
		if (!json_is_integer(type) || json_integer_value(type) < 0 ||
		    json_integer_value(type) > UINT16_MAX)
			ipc_reply_error(call, MVPN_EXIT_USAGE, "bad-argument",
					"mvpnctl explain 02:00:00:00:00:0b/0x88b5",
					"%s needs an EtherType", text);
		else
			ipc_reply_ok(call, show_explain_frame(k, mac,
							      (uint16_t)json_integer_value(type)));
		return;
	}
	if (!text || !destination_of(k, text, &dst))
		ipc_reply_error(call, MVPN_EXIT_USAGE, "bad-argument",
				"mvpnctl explain 10.0.0.5:443/tcp; `mvpnctl peers` lists the names",
				"%s is neither an address nor a peer with one", text ? text : "(nothing)");
	else if (wrong)
		ipc_reply_error(call, MVPN_EXIT_USAGE, "bad-argument",
				"mvpnctl explain --unit x.service 10.0.0.5:443/tcp", "%s", wrong);
	else if (arg_service(call, args, &proto, &port) && arg_source(call, args, &dst, &src))
		ipc_reply_ok(call, show_explain(k, &src, &dst, proto, port, &who));
}

static const struct {
	const char *name;
	void (*fn)(struct keyd *k, struct ipc_call *call, json_t *args);
	json_t *(*show)(struct keyd *k);
} verbs[] = {
	{"status", NULL, show_status},	 {"attach", verb_attach, NULL},
	{"detach", verb_detach, NULL},	 {"enroll", verb_enroll, NULL},
	{"peers", NULL, show_peers},	 {"sessions", NULL, show_sessions},
	{"flows", NULL, show_flows},	 {"ping", control_ping, NULL},
	{"explain", verb_explain, NULL}, {"wait", control_wait, NULL},
	{"rekey", control_rekey, NULL},	 {"leaks", NULL, show_leaks},
	{"doctor", NULL, show_doctor},	 {"metrics", NULL, show_metrics},
	{"reload", verb_reload, NULL},	 {"identity", NULL, show_identity},
	{"identity-unlock", control_identity_unlock, NULL},
	{"identity-passphrase", control_identity_passphrase, NULL},
	{"rotate", control_rotate, NULL},
	{"pin", control_pin, NULL},	 {"relays", NULL, show_relays},
	{"gateways", NULL, show_gateways},
};

static void on_request(void *arg, struct ipc_call *call, const char *verb, json_t *args)
{
	struct keyd *k = arg;
	unsigned i;

	for (i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		if (strcmp(verb, verbs[i].name))
			continue;
		if (verbs[i].fn)
			verbs[i].fn(k, call, args);
		else
			ipc_reply_ok(call, verbs[i].show(k));
		return;
	}
	ipc_reply_error(call, MVPN_EXIT_USAGE, "unknown-verb",
			"mvpnctl and keyd should be of one version",
			"keyd %s does not know the verb %s", MVPN_VERSION, verb);
}

/* requests and replies may hold a token: their memory is wiped when it is freed */
static void json_wipe(void *p)
{
	if (p)
		sodium_memzero(p, malloc_usable_size(p));
	free(p);
}

int control_init(struct keyd *k)
{
	json_set_alloc_funcs(malloc, json_wipe);
	return ipc_server_new(k->loop, k->conf.socket, on_request, k, &k->ipc);
}

void control_free(struct keyd *k)
{
	control_wait_free(k);
	ipc_server_free(k->ipc);
}
