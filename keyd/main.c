/* SPDX-License-Identifier: BSD-2-Clause */
/* keyd: start, privileges, the parts in the order in which they need each other, and the end. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "aead.h"
#include "attach.h"
#include "channel.h"
#include "cmdline.h"
#include "conf.h"
#include "control.h"
#include "crypto.h"
#include "endpoint.h"
#include "ether.h"
#include "flows.h"
#include "forwards.h"
#include "fsutil.h"
#include "guard.h"
#include "hsm.h"
#include "hsm_helper.h"
#include "identity.h"
#include "intro_defer.h"
#include "isolate.h"
#include "keyd.h"
#include "keystore.h"
#include "levels.h"
#include "log.h"
#include "mvpn/ctl.h"
#include "networks.h"
#include "options.h"
#include "peers.h"
#include "ports.h"
#include "privileges.h"
#include "processes.h"
#include "relay_tcp.h"
#include "relay_way.h"
#include "rotate.h"
#include "server_key.h"
#include "rp_filter.h"
#include "sessions.h"
#include "state_dir.h"
#include "streams.h"
#include "supervise.h"
#include "translate.h"

#define TICK_MS 1000
#define FILES (MVPN_KEYD_FILES + 2 * MVPN_STREAMS_MAX + MVPN_DATAGRAM_ENDS_MAX)

static int suites_choose(struct keyd *k)
{
	k->suites = aead_suites();
	if (!k->conf.cipher)
		return 0;
	k->suites &= 1 << (k->conf.cipher - 1);
	if (k->suites)
		return 0;
	log_err("keyd.conf asks for cipher = aes-256-gcm, and this CPU has no AES instructions: "
		"use auto or "
		"chacha20-poly1305");
	return -ENOTSUP;
}

/* ---- the parts ---- */

static void config_tell(struct keyd *k, bool running)
{
	struct mvpn_config c = {
		.alive_ns = running ? mono_ns() : 0,
		.tap_ifindex = running ? dp_tap_ifindex(k->dp) : 0,
		.udp_port = k->conf.udp_port,
		.lanes = running ? dp_workers(k->dp) : 0,
		.flags = options_config_flags(k->options) |
			 (k->untranslated ? MVPN_CONFIG_UNTRANSLATED : 0),
	};
	int r = shim_config(k->shim, &c);

	if (r)
		log_ratelimited(
			LOG_L_ERR,
			"cannot write the BPF map `config`: %s; protected traffic will stop",
			strerror(-r));
}

static void tick(void *arg)
{
	struct keyd *k = arg;

	processes_tick(k);
	config_tell(k, !k->processes->failed);
	rp_filter_mend(k);
	kt_reclaim(k->kt);
	channel_tick(k);
	rotate_tick(k);
	server_key_tick(k);
	sessions_tick(k);
	streams_tick(k);
	forwards_tick(k, mono_ms());
	levels_tick(k, mono_ms());
	ports_tick(k, mono_ms());
	translate_tick(k);
	sd_notify(0, "WATCHDOG=1");
	loop_timer_arm(k->tick, TICK_MS);
}

/* of the server, or of a device that relays */
static void echo_answer(struct keyd *k, const struct dp_event *e)
{
	if (!endpoint_answered(k, e))
		relay_way_answered(k, e);
}

static void dp_ready(void *arg, uint32_t events)
{
	struct keyd *k = arg;
	struct dp_event e;

	while (dp_next_event(k->dp, &e)) {
		if (e.type == DP_EV_ERROR)
			attach_wire_failed(k, e.ifindex, e.error);
		else if (e.type == DP_EV_ECHO)
			echo_answer(k, &e);
		else if (e.type == DP_EV_ASKED)
			forwards_asked(k, &e);
		else
			sessions_dp_event(k, &e);
	}
}

static int fail(const char *what, const char *on, int r)
{
	log_err("%s%s%s: %s", what, on ? " " : "", on ? on : "", strerror(-r));
	return r;
}

static int start_identity(struct keyd *k)
{
	int r = keystore_start(k);

	if (r)
		return r;
	r = boot_gen_next(k->state_dir, &k->boot_gen);
	return r ? fail("cannot count this start (boot_gen) in", k->state_dir, r) : 0;
}

/* errors of the TUN device and of the UDP port are not the same */
static int fail_fast_path(const struct keyd *k, int r)
{
	unsigned port = (unsigned)k->conf.udp_port;

	switch (r) {
	case -EADDRINUSE:
		log_err("UDP port %u is another program's in this network namespace, perhaps another keyd's: "
			"`ss -ulnp sport = %u` says whose; udp_port in keyd.conf chooses another one, on all devices",
			port, port);
		return r;
	case -EBUSY:
		log_err("the device %s is another program's, perhaps another keyd's in this network namespace: "
			"tap in keyd.conf chooses another name",
			k->conf.tap);
		return r;
	case -ENOENT:
	case -ENODEV:
	case -ENXIO:
		log_err("no TUN device (/dev/net/tun): %s; `modprobe tun`, or let this container have it",
			strerror(-r));
		return r;
	}
	return fail("cannot start the fast path (TUN device, UDP port):", k->conf.tap, r);
}

static int start_data_path(struct keyd *k)
{
	struct dp_config dc = {
		.tap_name = k->conf.tap,
		.udp_port = k->conf.udp_port,
		.workers = k->conf.workers,
		.busy_poll = k->conf.busy_poll,
		.spin_us = k->conf.spin_us,
		.latency = k->conf.latency || k->args->latency,
	};
	char *error = NULL;
	int r = shim_open_shared(&k->shim, k->conf.pin_dir, k->conf.share_dir, &error);

	if (r) {
		log_err("%s", error ? error : strerror(-r));
		free(error);
		return r;
	}
	r = shim_cgroup_choose(k->shim, k->conf.cgroup, k->conf.namespaces);
	if (r)
		return fail("configuration", NULL, r);
	r = shim_data_port(k->shim, (uint16_t)k->conf.udp_port);
	if (r)
		return fail("cannot tell the other networks on this host our UDP port",
			    k->conf.share_dir, r);
	/* programs of an earlier life may be attached: they drop until the new tables are whole */
	config_tell(k, false);
	shim_keys_clear_all(k->shim);
	shim_undivert_all(k->shim);
	shim_spis_clear_all(k->shim);
	files_allow(FILES);
	r = privileges_drop((uint16_t)k->conf.udp_port);
	if (r)
		return fail("cannot drop privileges", NULL, r);
	r = kt_new(&k->kt);
	if (r)
		return fail("key table", NULL, r);
	r = dp_new(&k->dp, k->kt, &dc);
	if (r)
		return fail_fast_path(k, r);
	r = shim_tap_enter(k->shim, dp_tap_ifindex(k->dp), &error);
	if (r) {
		r = fail(error ? error : "cannot attach to the tap", k->conf.tap, r);
		free(error);
		return r;
	}
	r = shim_tap(k->shim, dp_tap_ifindex(k->dp), &error);
	if (r)
		log_err("%s: packets of peers arrive on %s", error ? error : strerror(-r),
			k->conf.tap);
	free(error);
	return loop_add(k->loop, dp_event_fd(k->dp), EPOLLIN, dp_ready, k, NULL);
}

static int start_options(struct keyd *k)
{
	options_load(k);
	return 0;
}

/* in this order; `what` is what a person looks at if it cannot be had */
static const struct {
	int (*init)(struct keyd *k);
	const char *what;
} parts[] = {
	{sessions_init, "sessions"},
	{peers_init, "protected prefixes (the file `protected` in the state directory, and the BPF map)"},
	{ether_init, "Ethernet frames"},
	{processes_init, "who may send (the file `processes` in the state directory)"},
	{start_options, "options"},
	{endpoint_init, "end points"},
	{relay_tcp_init, "relaying by TCP"},
	{forwards_init, "relaying for others"},
	{channel_init, "the channel to the server"},
	{rotate_init, "the change of keys"},
	{server_key_init, "the server's key (the file `server_pins` in the state directory)"},
	{flows_init, "flows that the BPF programs report"},
	{attach_init, "interfaces (the pins in `if` of the pin directory, and the file `interfaces` in the state "
		      "directory)"},
};

static int start(struct keyd *k)
{
	int r;

	r = nl_new(&k->nl);
	if (r)
		return fail("rtnetlink", NULL, r);
	r = start_identity(k);
	if (!r)
		r = start_data_path(k);
	if (r)
		return r;
	for (unsigned i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		r = parts[i].init(k);
		if (r)
			return fail("cannot start:", parts[i].what, r);
	}
	r = loop_timer_new(k->loop, tick, k, &k->tick);
	if (r)
		return fail("cannot start:", "clock", r);
	r = control_init(k);
	if (r)
		return fail("control socket", k->conf.socket, r);
	r = hsm_start(k);
	if (r)
		return fail("token", k->conf.pkcs11, r);
	tick(k);
	channel_start(k);
	return 0;
}

static void stop(struct keyd *k)
{
	uint32_t i;

	sd_notify(0, "STOPPING=1");
	if (k->ipc)
		control_free(k);
	for (i = 1; k->dp && i <= k->npeers; i++) {
		const struct session *s = session_transmitting(k->peers[i]);

		if (s) /* the peer need not find out by silence */
			dp_send_ctrl(k->dp, s->rx_spi, MVPN_CTRL_CLOSE, 0, 0);
	}
	if (k->dp)
		config_tell(k, false); /* from here on the shim drops */
	if (k->shim)
		levels_stop(k);
	free(k->levels_problem);
	ports_free(k);
	if (k->by_slot)
		sessions_free(k);
	/* Nothing is attached: leave nothing behind. A start that failed does not know what is: it leaves all in place. */
	if (k->tick && !k->nifaces)
		shim_purge(k->shim);
	attach_free(k);
	channel_free(k);
	rotate_free(k);
	server_key_free(k);
	endpoint_free(k);
	relay_tcp_free(k);
	intro_deferred_drop(k, NULL);
	hsm_free(k);
	ether_free(k);
	processes_free(k);
	peers_free(k);
	dp_free(k->dp);
	kt_free(k->kt);
	forwards_free(k); /* workers have used its accounts */
	shim_close(k->shim);
	nl_free(k->nl);
	keystore_free(k);
	identity_free(k->id);
	loop_timer_free(k->tick);
}

static void on_signal(void *arg, int signo)
{
	char *error = NULL;
	json_t *changed = json_array();

	if (signo == SIGHUP && conf_reload(arg, changed, &error))
		log_err("reload: %s; the running configuration stays in force",
			error ? error : "?");
	json_decref(changed);
	free(error);
}

static int prepare(struct keyd *k, const struct cmdline *o)
{
	char *error = NULL;
	int r = conf_of(o, &k->conf, &error);

	k->args = o;
	k->state_dir = o->state;
	if (r)
		fprintf(stderr, "keyd: %s\n", error ? error : strerror(-r));
	free(error);
	if (r && o->guard) { /* where things are is what it needs: the rest must not leave the host open */
		conf_free(&k->conf);
		r = conf_of_some(o, &k->conf);
	}
	log_init("keyd", log_setting_level((unsigned)k->conf.log_level));
	log_about(o->network ? o->network : "");
	return r;
}

static int run(struct keyd *k)
{
	static const int signals[] = {SIGHUP, 0};
	int r = loop_new(&k->loop);

	if (!r)
		r = loop_signals(k->loop, signals, on_signal, k);
	if (!r)
		r = start(k);
	if (!r) {
		sd_notify(0, "READY=1");
		log_info("keyd %s: %s, boot generation %llu", MVPN_VERSION,
			 k->id			? k->id->name
			 : keystore_locked(k) ? "locked"
					      : "not enrolled", (unsigned long long)k->boot_gen);
		r = loop_run(k->loop);
	}
	stop(k);
	loop_free(k->loop);
	return r ? MVPN_EXIT_FAILED : MVPN_EXIT_OK;
}

static int libraries_start(void)
{
	if (!mvpn_crypto_init() && !aead_init())
		return 0;
	log_err("the cryptographic library does not start");
	return -EIO;
}

static int part_from_others(struct keyd *k)
{
	int r = k->args->supervisor ? isolate(k->args, &k->exposed) : 0;

	if (!r)
		return 0;
	if (!k->exposed)
		k->exposed = strdup(strerror(-r));
	if (r == -ENOTRECOVERABLE)
		return fail("cannot be kept apart from the other networks:", k->exposed, r);
	log_warn("the state of this network and that of the others of this host are not kept apart: %s; it takes CAP_SYS_ADMIN and "
		 "mount(2), which keyd gives up before it runs", k->exposed ? k->exposed : "?");
	return 0;
}

static int one_network(const struct cmdline *o)
{
	struct keyd k = {0};
	int code = MVPN_EXIT_FAILED;

	if (prepare(&k, o))
		goto out_conf;
	if (o->check) {
		puts("configuration is good");
		code = MVPN_EXIT_OK;
		goto out_conf;
	}
	privileges_harden();
	if (libraries_start() || suites_choose(&k) || state_open(o) < 0 || part_from_others(&k))
		goto out_conf;
	code = o->guard ? guard_run(k.state_dir, k.conf.pin_dir, k.conf.share_dir) : run(&k);
out_conf:
	if (code == MVPN_EXIT_FAILED)
		sd_notifyf(0, "STATUS=%s", log_last_error());
	conf_free(&k.conf);
	free(k.exposed);
	return code;
}

static int several_networks(struct host *h)
{
	if (h->args->check)
		return networks_check(h);
	if (!h->args->guard)
		return supervise(h);
	privileges_harden();
	log_init("keyd", LOG_L_INFO);
	return libraries_start() ? MVPN_EXIT_FAILED : networks_guard(h);
}

int main(int argc, char **argv)
{
	struct cmdline o;
	struct host host;
	char *error = NULL;
	int code;

	if (argc == 2 && !strcmp(argv[1], "--token-helper")) { /* hsm.c's, not a person's */
		privileges_harden();
		return mvpn_crypto_init() ? MVPN_EXIT_FAILED : hsm_helper();
	}
	if (cmdline_parse(argc, argv, &o))
		return MVPN_EXIT_USAGE;
	if (o.supervisor)
		return supervised_begin(&o) ? MVPN_EXIT_FAILED : one_network(&o);
	if (o.network)
		return one_network(&o);
	/* what is wrong with the file is said by the one that reads all of it */
	code = !host_read(&o, &host, &error) && host.networks.n ? several_networks(&host) : one_network(&o);
	host_free(&host);
	free(error);
	return code;
}
