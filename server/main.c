/* SPDX-License-Identifier: BSD-2-Clause */
/* mvpn-server: commands, arguments, start and stop. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "conf.h"
#include "crypto.h"
#include "fsutil.h"
#include "identity.h"
#include "log.h"
#include "mvpn/ctl.h"
#include "privileges.h"
#include "server.h"

#define FILES_BESIDES 1024 /* store, control clients, connections on their way out */

static const char usage[] =
	"usage: mvpn-server init [--state DIR] [--name NAME] [--store sqlite:PATH]\n"
	"           make the server's key and store, and print the public key\n"
	"       mvpn-server run  [--state DIR] [--config FILE] [--listen ADDR:PORT]...\n"
	"                        [--store sqlite:PATH] [--socket PATH]\n"
	"       mvpn-server --check-config [--config FILE]\n"
	"       mvpn-server --version | --help\n";

struct options {
	const char *config, *name;
	bool check;
	struct server_settings conf;
};

/* ---- arguments ---- */

static int set_text(char **field, const char *value)
{
	char *copy = strdup(value);

	if (!copy)
		return -ENOMEM;
	free(*field);
	*field = copy;
	return 0;
}

enum { O_STATE = 256, O_NAME, O_CONFIG, O_LISTEN, O_STORE, O_SOCKET, O_CHECK, O_VERSION, O_HELP };
static const struct option options[] = {
	{"state", required_argument, NULL, O_STATE},
	{"name", required_argument, NULL, O_NAME},
	{"config", required_argument, NULL, O_CONFIG},
	{"listen", required_argument, NULL, O_LISTEN},
	{"store", required_argument, NULL, O_STORE},
	{"socket", required_argument, NULL, O_SOCKET},
	{"check-config", no_argument, NULL, O_CHECK},
	{"version", no_argument, NULL, O_VERSION},
	{"help", no_argument, NULL, O_HELP},
	{NULL, 0, NULL, 0},
};

static int add_listen(struct server_settings *c, const char *value)
{
	if (c->nlistens == SERVER_LISTEN_MAX)
		return -E2BIG;
	return set_text(&c->listens[c->nlistens], value) < 0 ? -ENOMEM : (int)c->nlistens++;
}

/* the configuration file is read before the options that override it: two passes */
static int parse_options(int argc, char **argv, struct options *o, bool first)
{
	struct server_settings *c = &o->conf;
	int opt, r = 0;

	optind = 1;
	opterr = first;
	while (r >= 0 && (opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (opt) {
		case O_STATE:
			r = first ? 0 : set_text(&c->state, optarg);
			break;
		case O_LISTEN:
			r = first ? 0 : add_listen(c, optarg);
			break;
		case O_STORE:
			r = first ? 0 : set_text(&c->store, optarg);
			break;
		case O_SOCKET:
			r = first ? 0 : set_text(&c->socket, optarg);
			break;
		case O_NAME:
			o->name = optarg;
			break;
		case O_CONFIG:
			o->config = optarg;
			break;
		case O_CHECK:
			o->check = true;
			break;
		case O_VERSION:
			printf("mvpn-server %s\n", MVPN_VERSION);
			exit(MVPN_EXIT_OK);
		case O_HELP:
			fputs(usage, stdout);
			exit(MVPN_EXIT_OK);
		default:
			r = -EINVAL;
		}
	}
	return r < 0 ? r : 0;
}

static int load_settings(int argc, char **argv, struct options *o)
{
	char *error = NULL;
	int r = server_settings_load(&o->conf, o->config, &error);

	if (r == 0)
		r = parse_options(argc, argv, o, false);
	if (r == 0)
		r = server_settings_check(&o->conf, &error);
	if (r < 0)
		log_err("%s%s", error ? error : strerror(-r),
			r == -ENOENT && o->config && !error ? ": the file given by --config" : "");
	free(error);
	return r;
}

/* ---- init ---- */

static void default_name(char ret[MVPN_NAME_MAX_B + 1])
{
	if (gethostname(ret, MVPN_NAME_MAX_B) < 0)
		ret[0] = '\0';
	ret[MVPN_NAME_MAX_B] = '\0';
	if (!mvpn_name_valid(ret, strlen(ret)))
		strcpy(ret, "mvpn");
}

static int make_store(const struct server_settings *conf, const struct identity *id,
		      const char *name)
{
	char *path = server_settings_store_path(conf), *error = NULL, net[2 * MVPN_NET_ID_LEN + 1];
	struct store *st = NULL;
	int r = path ? store_open(path, &st, &error) : -ENOMEM;

	mvpn_hex(net, id->net_id, sizeof(id->net_id));
	if (r == 0)
		r = store_meta_set(st, "name", name);
	if (r == 0)
		r = store_meta_set(st, "net_id", net);
	if (r < 0)
		log_err("cannot make the store %s: %s", path ? path : "",
			error ? error : strerror(-r));
	store_close(st);
	free(error);
	free(path);
	return r;
}

static int command_init(struct options *o)
{
	char fp[MVPN_FINGERPRINT_LEN], pk[65], net[17], name[MVPN_NAME_MAX_B + 1];
	struct identity id;
	int r;

	if (o->name && !mvpn_name_valid(o->name, strlen(o->name))) {
		log_err("\"%s\" is no name: letters, digits, '.', '_' and '-', at most %d", o->name,
			MVPN_NAME_MAX_B);
		return MVPN_EXIT_USAGE;
	}
	if (o->name)
		snprintf(name, sizeof(name), "%s", o->name);
	else
		default_name(name);
	r = identity_create(o->conf.state);
	if (r < 0) {
		log_err("cannot make a server in %s: %s%s", o->conf.state, strerror(-r),
			r == -EEXIST
				? "; there is one already, and its devices know it by its key: "
				  "nothing was changed"
				: "");
		return MVPN_EXIT_FAILED;
	}
	r = identity_load(o->conf.state, &id);
	if (r < 0) {
		log_err("cannot read back the server's key in %s: %s", o->conf.state, strerror(-r));
		return MVPN_EXIT_FAILED;
	}
	r = make_store(&o->conf, &id, name);
	mvpn_fingerprint(fp, id.pk);
	mvpn_hex(pk, id.pk, MVPN_KEY_LEN);
	mvpn_hex(net, id.net_id, sizeof(id.net_id));
	identity_free(&id);
	if (r < 0)
		return MVPN_EXIT_FAILED;
	printf("network      %s\nnet id       %s\npublic key   %s\nfingerprint  %s\n", name, net,
	       pk, fp);
	return MVPN_EXIT_OK;
}

/* ---- run ---- */

struct running {
	struct loop_timer *watchdog;
	uint64_t watchdog_ms;
};

static void on_watchdog(void *arg)
{
	struct running *run = arg;

	sd_notify(0, "WATCHDOG=1");
	loop_timer_arm(run->watchdog, run->watchdog_ms);
}

static void on_signal(void *arg, int signo)
{
	log_info("nothing is reloaded on SIGHUP: the policy is changed by mvpnctl server policy "
		 "apply, "
		 "server.conf is read at start");
}

static void start_watchdog(struct loop *l, struct running *run)
{
	uint64_t usec = 0;

	if (sd_watchdog_enabled(0, &usec) <= 0 ||
	    loop_timer_new(l, on_watchdog, run, &run->watchdog) < 0)
		return;
	run->watchdog_ms = usec / 2000 ? usec / 2000 : 1;
	loop_timer_arm(run->watchdog, run->watchdog_ms);
}

/* held as long as the process lives: two servers on one state would give out the same numbers */
static int lock_state(const char *dir)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0) {
		log_err("cannot open the state directory %s: %s; make it with: mvpn-server init "
			"--state DIR",
			dir, strerror(errno));
		return -errno;
	}
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		log_err("another mvpn-server uses %s", dir);
		close(fd);
		return -EBUSY;
	}
	return fd;
}

static int give_up_privileges(const struct server_settings *conf)
{
	const char *user = conf->user && *conf->user ? conf->user : NULL;
	int r = user ? privileges_give_state(conf->state, user) : 0;

	if (r == 0)
		r = privileges_drop(user);
	if (r < 0)
		log_err("cannot run as user %s: %s%s", user ? user : "(unchanged)", strerror(-r),
			r == -ENOENT ? "; make it with: useradd --system mvpn" : "");
	return r;
}

static int serve(struct server *s, struct loop *l)
{
	static const int signals[] = {SIGHUP, 0};
	struct running run = {0};
	int r = loop_signals(l, signals, on_signal, NULL);

	if (r < 0)
		return r;
	start_watchdog(l, &run);
	log_info("network %s: %u devices, policy %llu, up to %llu channels", s->id.name,
		 s->reg->count, (unsigned long long)s->policy_rev,
		 (unsigned long long)s->conf->max_channels);
	sd_notifyf(0, "READY=1\nSTATUS=%u devices known", s->reg->count);
	r = loop_run(l);
	sd_notify(0, "STOPPING=1");
	log_info("stopping");
	server_say_goodbye(s);
	return r;
}

static int command_run(struct options *o)
{
	struct server *s = NULL;
	struct loop *l = NULL;
	char *error = NULL;
	uint64_t files;
	int lock, r;

	privileges_harden();
	files = files_allow(o->conf.max_channels + FILES_BESIDES);
	if (files < o->conf.max_channels)
		log_warn("%llu files may be open, fewer than max_channels (%llu): raise LimitNOFILE= of the "
			 "service, and the system's own limit above it, or lower max_channels",
			 (unsigned long long)files, (unsigned long long)o->conf.max_channels);
	lock = lock_state(o->conf.state);
	if (lock < 0)
		return MVPN_EXIT_FAILED;
	r = loop_new(&l);
	if (r == 0)
		r = server_new(&o->conf, l, &s, &error);
	if (r == 0)
		r = server_open_control(s, &error);
	if (r < 0)
		log_err("%s", error ? error : strerror(-r));
	free(error);
	if (r == 0)
		r = give_up_privileges(&o->conf);
	if (r == 0) {
		r = serve(s, l);
		if (r < 0)
			log_err("the event loop failed: %s", strerror(-r));
	}
	server_free(s);
	loop_free(l);
	close(lock);
	return r < 0 ? MVPN_EXIT_FAILED : MVPN_EXIT_OK;
}

int main(int argc, char **argv)
{
	struct options o = {0};
	const char *command = argc > 1 && argv[1][0] != '-' ? argv[1] : NULL;
	int status = MVPN_EXIT_USAGE;

	log_init("mvpn-server", LOG_L_INFO);
	if (server_settings_init(&o.conf) < 0)
		return MVPN_EXIT_FAILED;
	if (command) {
		argc--;
		argv++;
	}
	if (parse_options(argc, argv, &o, true) < 0 || optind < argc ||
	    (command && strcmp(command, "init") && strcmp(command, "run")) ||
	    (!command && !o.check)) {
		fputs(usage, stderr);
		goto out;
	}
	if (mvpn_crypto_init() < 0) {
		log_err("libsodium does not start: is /dev/urandom there?");
		status = MVPN_EXIT_FAILED;
		goto out;
	}
	status = MVPN_EXIT_FAILED;
	if (load_settings(argc, argv, &o) < 0)
		goto out;
	log_init("mvpn-server", log_setting_level((unsigned)o.conf.log));
	if (o.check) {
		printf("the configuration is valid\n");
		status = MVPN_EXIT_OK;
	} else {
		status = !strcmp(command, "init") ? command_init(&o) : command_run(&o);
	}
out:
	server_settings_free(&o.conf);
	return status;
}
