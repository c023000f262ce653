/* SPDX-License-Identifier: BSD-2-Clause */
#include "cmdline.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "mvpn/ctl.h"

static const char usage[] =
	"usage: keyd [--network NAME] [--state DIR] [--config F] [--socket PATH] [--pin DIR] [--latency] "
	"[--check-config | --guard]\n"
	"  --state DIR     identity and what must outlive keyd (default " CMDLINE_STATE ")\n"
	"  --config F      configuration (default " CMDLINE_CONFIG_DIR "/keyd.conf, and keyd.conf.d/*.conf)\n"
	"  --socket PATH   control socket for mvpnctl (default " MVPN_KEYD_SOCKET ")\n"
	"  --pin DIR       where BPF maps and links are pinned (default /sys/fs/bpf/mvpn/v4)\n"
	"  --network NAME  that one of several networks on this host alone: state, configuration, socket, pins and\n"
	"                  tap are by default " CMDLINE_STATE "/" CMDLINE_NETWORKS "/NAME, " CMDLINE_CONFIG_DIR
	"/NAME.conf,\n"
	"                  " MVPN_RUN_DIR "/" CMDLINE_NETWORKS "/NAME/keyd.sock, /sys/fs/bpf/mvpn/v4-NAME and mvpn-NAME\n"
	"  --latency       workers look longer for packets before they sleep: less delay, more CPU "
	"time\n"
	"  --check-config  read the configuration, say what is wrong, exit\n"
	"  --guard         protect with the last known prefixes, then exit (for boot)\n"
	"  --version, --help\n";

static void defaults(struct cmdline *c)
{
	const char *name = c->network;

	c->config_must = c->config && !(c->supervisor && name);
	snprintf(c->config_default, sizeof(c->config_default), CMDLINE_CONFIG_DIR "/%s.conf", name ? name : "keyd");
	snprintf(c->state_default, sizeof(c->state_default), CMDLINE_STATE "%s%s",
		 name ? "/" CMDLINE_NETWORKS "/" : "", name ? name : "");
	if (!c->config)
		c->config = c->config_default;
	if (!c->state)
		c->state = c->state_default;
}

static int usage_error(void)
{
	fputs(usage, stderr);
	return -EINVAL;
}

int cmdline_parse(int argc, char **argv, struct cmdline *ret)
{
	static const struct option longs[] = {
		{"state", required_argument, NULL, 's'},  {"config", required_argument, NULL, 'c'},
		{"socket", required_argument, NULL, 'S'}, {"pin", required_argument, NULL, 'p'},
		{"network", required_argument, NULL, 'n'},
		/* a supervising keyd's, not a person's */
		{"share", required_argument, NULL, 'h'},  {"supervised-by", required_argument, NULL, 'b'},
		{"hide", required_argument, NULL, 'i'},	  {"latency", no_argument, NULL, 'l'},	  {"check-config", no_argument, NULL, 'C'},
		{"guard", no_argument, NULL, 'g'},	  {"version", no_argument, NULL, 'V'},
		{"help", no_argument, NULL, 'H'},	  {NULL, 0, NULL, 0},
	};
	unsigned hidden = 0;
	int o;

	*ret = (struct cmdline){0};
	while ((o = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		switch (o) {
		case 's':
			ret->state = optarg;
			break;
		case 'c':
			ret->config = optarg;
			break;
		case 'S':
			ret->socket = optarg;
			break;
		case 'p':
			ret->pin = optarg;
			break;
		case 'n':
			ret->network = optarg;
			break;
		case 'h':
			ret->share = optarg;
			break;
		case 'i':
			if (hidden == CMDLINE_HIDE)
				return usage_error();
			ret->hide[hidden++] = optarg;
			break;
		case 'b':
			ret->supervisor = (pid_t)strtol(optarg, NULL, 10);
			break;
		case 'l':
			ret->latency = true;
			break;
		case 'C':
			ret->check = true;
			break;
		case 'g':
			ret->guard = true;
			break;
		case 'V':
			puts("keyd " MVPN_VERSION);
			exit(MVPN_EXIT_OK);
		case 'H':
			fputs(usage, stdout);
			exit(MVPN_EXIT_OK);
		default:
			return usage_error();
		}
	}
	if (optind < argc) {
		fprintf(stderr, "keyd: unexpected argument %s\n", argv[optind]);
		return usage_error();
	}
	if (ret->network && !mvpn_network_valid(ret->network)) {
		fprintf(stderr, "keyd: --network %s: 1 to %u of a-z and 0-9\n", ret->network, MVPN_NETWORK_MAX);
		return -EINVAL;
	}
	defaults(ret);
	return 0;
}
