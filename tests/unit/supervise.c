/* SPDX-License-Identifier: BSD-2-Clause */
/* One keyd for several networks: when a child is started, ended, given up; what its words mean; which networks there are, and where. */
#include "test.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../keyd/child.h"
#include "../../keyd/keyd.h"
#include "../../keyd/networks.h"
#include "../../keyd/state_dir.h"
#include "../../keyd/supervise.h"
#include "fsutil.h"
#include "log.h"

#define SILENT_MS 3000
#define KILLED 9	   /* as waitpid() says it */
#define EXITED(code) ((code) << 8)

static const struct notice ready = {.ready = true}, alive = {.watchdog = true};

static void started(struct child *c, uint64_t now)
{
	assert_int_equal(child_due(c, now), CHILD_START);
	child_started(c, 77, now);
	assert_int_equal(c->state, CHILD_STARTS);
}

static void runs(struct child *c, uint64_t now)
{
	started(c, now);
	assert_true(child_heard(c, &ready, now, SILENT_MS));
	assert_int_equal(c->state, CHILD_RUNS);
}

static void who_ends_is_started_ever_later(void **state)
{
	uint64_t now = 1000, wait = MVPN_CHILD_AGAIN_MS;
	struct child c;

	child_init(&c, now);
	for (unsigned i = 0; i < 20; i++) {
		started(&c, now);
		child_ended(&c, EXITED(1), now);
		assert_true(c.tried);
		assert_string_equal(c.why, "has ended with status 1");
		assert_int_equal(c.due_ms, now + wait);
		assert_int_equal(child_due(&c, now + wait - 1), CHILD_NOTHING);
		now += wait;
		wait = wait * 2 < MVPN_CHILD_AGAIN_MAX_MS ? wait * 2 : MVPN_CHILD_AGAIN_MAX_MS;
	}
	/* it has run for longer than it would wait: as if it had never failed */
	runs(&c, now);
	assert_string_equal(c.why, "");
	now += wait;
	child_ended(&c, KILLED, now);
	assert_non_null(strstr(c.why, "signal 9"));
	assert_int_equal(c.due_ms, now + MVPN_CHILD_AGAIN_MS);
	/* and not so if it has not */
	runs(&c, c.due_ms);
	child_ended(&c, KILLED, c.ready_ms + 1);
	assert_int_equal(c.due_ms, c.failures == 2 ? now + MVPN_CHILD_AGAIN_MS + 1 + 2 * MVPN_CHILD_AGAIN_MS : 0);
	/* somebody has changed something */
	child_try_now(&c, now);
	assert_int_equal(child_due(&c, now), CHILD_START);
	child_failed(&c, "no such file", now);
	assert_int_equal(c.due_ms, now + MVPN_CHILD_AGAIN_MS);
	assert_string_equal(c.why, "no such file");
}

static void who_is_silent_is_aborted(void **state)
{
	struct child c;

	child_init(&c, 0);
	runs(&c, 0);
	for (uint64_t now = 1000; now < 10000; now += 1000) {
		assert_false(child_heard(&c, &alive, now, SILENT_MS));
		assert_int_equal(child_due(&c, now + SILENT_MS - 1), CHILD_NOTHING);
	}
	assert_int_equal(child_due(&c, 9000 + SILENT_MS), CHILD_ABORT);
	assert_true(c.aborted);
	assert_string_equal(c.why, "was silent for 3 s, and was aborted");
	/* words that were under way change nothing; it does not end of it, either */
	child_heard(&c, &alive, 9001 + SILENT_MS, SILENT_MS);
	child_heard(&c, &ready, 9001 + SILENT_MS, SILENT_MS);
	assert_int_equal(child_due(&c, 8999 + SILENT_MS + MVPN_CHILD_END_MS), CHILD_NOTHING);
	assert_int_equal(child_due(&c, 9000 + SILENT_MS + MVPN_CHILD_END_MS), CHILD_KILL);
	assert_int_equal(child_due(&c, 9001 + SILENT_MS + MVPN_CHILD_END_MS), CHILD_NOTHING);
	child_ended(&c, KILLED, 30000);
	assert_string_equal(c.why, "was silent for 3 s, and was aborted");
	assert_int_equal(c.state, CHILD_WAITS);
	assert_int_equal(c.due_ms, 30000 + MVPN_CHILD_AGAIN_MS);
}

static void who_is_not_ready_is_aborted(void **state)
{
	struct child c;

	child_init(&c, 0);
	started(&c, 0);
	child_heard(&c, &alive, 1000, SILENT_MS); /* it lives, but is not ready */
	assert_false(c.tried);
	assert_int_equal(child_due(&c, MVPN_CHILD_START_MS - 1), CHILD_NOTHING);
	assert_int_equal(child_due(&c, MVPN_CHILD_START_MS), CHILD_ABORT);
}

static void its_own_word_is_why_it_failed(void **state)
{
	struct notice n = {.status = "UDP port 7469 is another program's"};
	struct child c;

	child_init(&c, 0);
	started(&c, 0);
	child_heard(&c, &n, 0, SILENT_MS);
	child_ended(&c, EXITED(1), 0);
	assert_string_equal(c.why, n.status);
	/* not of another life */
	started(&c, c.due_ms);
	child_ended(&c, EXITED(2), c.due_ms);
	assert_string_equal(c.why, "has ended with status 2");
}

static void who_is_not_wanted_ends(void **state)
{
	struct child c;

	child_init(&c, 0);
	runs(&c, 0);
	assert_int_equal(child_unwant(&c, 1000), CHILD_TERMINATE);
	assert_int_equal(child_unwant(&c, 1001), CHILD_NOTHING);
	assert_int_equal(child_due(&c, 999 + MVPN_CHILD_END_MS), CHILD_NOTHING);
	assert_int_equal(child_due(&c, 1000 + MVPN_CHILD_END_MS), CHILD_KILL);
	child_ended(&c, KILLED, 20000);
	assert_int_equal(c.pid, 0);
	assert_int_equal(child_due(&c, 1000000), CHILD_NOTHING);
	/* it is wanted again while it ends, or later: at once */
	runs((child_init(&c, 0), &c), 0);
	child_unwant(&c, 1000);
	child_want(&c);
	assert_int_equal(child_due(&c, 1001), CHILD_NOTHING);
	child_ended(&c, 0, 2000);
	assert_string_equal(c.why, "");
	assert_int_equal(child_due(&c, 2000), CHILD_START);
	/* one that waits has no process to be ended */
	child_init(&c, 0);
	assert_int_equal(child_unwant(&c, 0), CHILD_NOTHING);
}

/* ---- what they say ---- */

static void notices_are_read(void **state)
{
	static const char all[] = "MAINPID=1\nREADY=1\nSTATUS=it is\twell\nWATCHDOG=1\n";
	char big[NOTICE_MAX_B] = "STATUS=";
	struct notice n;

	notice_parse(all, sizeof(all) - 1, &n);
	assert_true(n.ready && n.watchdog);
	assert_string_equal(n.status, "it is well");
	notice_parse("READY=1", 7, &n);
	assert_true(n.ready && !n.watchdog && !*n.status);
	notice_parse("READY=10\nWATCHDOG=0\nXREADY=1\nSTATUS=\nREADY", 42, &n);
	assert_true(!n.ready && !n.watchdog && !*n.status);
	notice_parse("", 0, &n);
	assert_false(n.ready);
	memset(big + 7, 'x', sizeof(big) - 7);
	notice_parse(big, sizeof(big), &n);
	assert_int_equal(strlen(n.status), NOTICE_STATUS_B - 1);
}

static int send_to(const char *path, const char *text, size_t len)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	ssize_t n;

	strcpy(sun.sun_path, path);
	n = sendto(fd, text, len, 0, (struct sockaddr *)&sun, sizeof(sun));
	close(fd);
	return n == (ssize_t)len ? 0 : -1;
}

static void the_kernel_says_who_speaks(void **state)
{
	char path[] = "/tmp/mvpn-notice.XXXXXX", big[NOTICE_MAX_B + 1] = "READY=1\n";
	struct notice n;
	pid_t pid, child;
	int fd, status;

	fd = mkstemp(path);
	close(fd); /* what is there is replaced */
	fd = notice_listen(path);
	assert_true(fd >= 0);
	assert_int_equal(notice_receive(fd, &pid, &n), -EAGAIN);
	child = fork();
	if (!child)
		_exit(send_to(path, "WATCHDOG=1", 10));
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_int_equal(send_to(path, "READY=1", 7), 0);
	assert_int_equal(notice_receive(fd, &pid, &n), 0);
	assert_int_equal(pid, child);
	assert_true(n.watchdog && !n.ready);
	assert_int_equal(notice_receive(fd, &pid, &n), 0);
	assert_int_equal(pid, getpid());
	assert_true(n.ready);
	assert_int_equal(send_to(path, big, sizeof(big)), 0);
	assert_int_equal(notice_receive(fd, &pid, &n), -EBADMSG);
	close(fd);
	unlink(path);
}

static void the_environment_is_the_childrens(void **state)
{
	unsigned n = 0;
	char **env;

	setenv("NOTIFY_SOCKET", "/run/systemd/notify", 1);
	setenv("WATCHDOG_USEC", "30000000", 1);
	setenv("SOMETHING_ELSE", "is kept", 1);
	env = supervise_env("/run/mvpn/x");
	assert_non_null(env);
	for (char **e = env; *e; e++) {
		assert_null(strstr(*e, "WATCHDOG_USEC"));
		n += !strcmp(*e, "NOTIFY_SOCKET=/run/mvpn/x") + !strcmp(*e, "SOMETHING_ELSE=is kept");
		assert_true(strncmp(*e, "NOTIFY_SOCKET=", 14) || !strcmp(*e, "NOTIFY_SOCKET=/run/mvpn/x"));
	}
	assert_int_equal(n, 2);
	supervise_env_free(env);
	unsetenv("NOTIFY_SOCKET");
	unsetenv("WATCHDOG_USEC");
}

/* ---- which there are ---- */

static void names_are_checked(void **state)
{
	static const struct {
		const char *text, *error;
	} bad[] = {
		{"lab, Prod", "\"Prod\" is no name"},	 {"lab,lab", "\"lab\" is there twice"},
		{"toolongname", "\"toolongname\" is no name"}, {"keyd", "\"keyd\" cannot be"},
		{"lab/..", "\"lab/..\" is no name"},
		{"a b c d e f g h i j k l m n o p", "\"p\" is one too many"},
	};
	struct networks l;
	char *error = NULL;

	assert_int_equal(networks_parse(NULL, &l, &error), 0);
	assert_int_equal(l.n, 0);
	assert_int_equal(networks_parse(" lab,prod  x9,", &l, &error), 0);
	assert_int_equal(l.n, 3);
	assert_true(networks_have(&l, "lab") && networks_have(&l, "prod") && networks_have(&l, "x9"));
	assert_false(networks_have(&l, "x"));
	assert_int_equal(networks_parse("a b c d e f g h i j k l m n o", &l, &error), 0);
	assert_null(error);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(networks_parse(bad[i].text, &l, &error), -EINVAL);
		assert_non_null(strstr(error, bad[i].error));
		free(error);
		error = NULL;
	}
}

static void places(struct host *h, const char *name, const char *paths)
{
	struct network *n;
	char text[512];

	assert_int_equal(network_new(h, name, &n), 0);
	snprintf(text, sizeof(text), "%s %s %s %s %s %s %s", n->args.state, n->args.config, n->socket, n->args.pin ? n->args.pin : "-",
		 n->args.share, n->args.hide[0], n->args.hide[1]);
	assert_string_equal(text, paths);
	assert_int_equal(n->args.supervisor, getpid());
	network_free(n);
}

static char dir[64], file[96];

static int dir_up(void **state)
{
	strcpy(dir, "/tmp/mvpn-networks.XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(file, sizeof(file), "%s/keyd.conf", dir);
	return 0;
}

static int dir_down(void **state)
{
	unlink(file);
	return rmdir(dir);
}

/* what `--network NAME` gives on its own, beside what is the host's */
static void places_follow_the_hosts(void **state)
{
	static const char text[] = "[keyd]\nnetworks = lab\nsocket = /s/k.sock\npin_dir = /p/v/\n[data]\nudp_port = wrong\nnonsense\n";
	char *plain[] = {"keyd", NULL}, *given[] = {"keyd", "--state", "/st", "--config", file, "--pin", "/q/a", NULL}, *error = NULL;
	char paths[512];
	struct cmdline c;
	struct host h;

	optind = 0;
	assert_int_equal(cmdline_parse(1, plain, &c), 0);
	c.config = "/nowhere/keyd.conf"; /* there may be one in /etc */
	assert_int_equal(host_read(&c, &h, &error), 0);
	assert_int_equal(h.networks.n, 0);
	places(&h, "", "/var/lib/mvpn /nowhere/keyd.conf /run/mvpn/keyd.sock - /sys/fs/bpf/mvpn/host "
		   "/var/lib/mvpn/networks /run/mvpn/networks");
	places(&h, "lab", "/var/lib/mvpn/networks/lab /nowhere/lab.conf /run/mvpn/networks/lab/keyd.sock "
			  "/sys/fs/bpf/mvpn/v4-lab /sys/fs/bpf/mvpn/host /var/lib/mvpn /run/mvpn/networks");
	host_free(&h);

	/* whatever else is wrong in it */
	assert_int_equal(file_replace(file, text, sizeof(text) - 1, 0600), 0);
	optind = 0;
	assert_int_equal(cmdline_parse(7, given, &c), 0);
	assert_int_equal(host_read(&c, &h, &error), 0);
	assert_int_equal(h.networks.n, 1);
	snprintf(paths, sizeof(paths), "/st %s /s/k.sock /q/a /q/host /st/networks /s/networks", file);
	places(&h, "", paths);
	snprintf(paths, sizeof(paths), "/st/networks/lab %s/lab.conf /s/networks/lab/keyd.sock /q/a-lab /q/host /st /s/networks", dir);
	places(&h, "lab", paths);
	host_free(&h);

	assert_int_equal(file_replace(file, "[keyd]\nnetworks = a a\n", 22, 0600), 0);
	assert_int_equal(host_read(&c, &h, &error), -EINVAL);
	assert_non_null(strstr(error, "keyd.conf: [keyd] networks: \"a\" is there twice"));
	free(error);
	host_free(&h);
}

static void made(const char *fmt, const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), fmt, dir, name);
	assert_int_equal(dir_make(path, 0700), 0);
}

/* whether its own keyd was told where, or by who supervises it */
static void old_state_is_not_forgotten(void **state)
{
	struct cmdline c = {.network = "lab"};
	char same[128];
	int fd;

	snprintf(c.state_default, sizeof(c.state_default), "%.40s/st/networks/lab", dir);
	snprintf(same, sizeof(same), "%s", c.state_default);
	c.state = same;
	made("%s/st-%s/identity", "lab");
	assert_int_equal(state_open(&c), -ENOENT);
	assert_int_equal(access(same, F_OK), -1);
	/* one that has started without it has nothing that would be missed */
	made("%s/st/networks/%s", "lab");
	assert_int_equal(state_open(&c), -ENOENT);
	assert_non_null(strstr(log_last_error(), "rm -r /tmp/"));
	made("%s/st/networks/%s/identity", "lab");
	fd = state_open(&c);
	assert_true(fd >= 0);
	close(fd);
	snprintf(same, sizeof(same), "rm -r %.40s/st %.40s/st-lab", dir, dir);
	assert_int_equal(system(same), 0);
}

static void what_only_one_can_have(void **state)
{
	const struct network a = {.args.config = "/a.conf"}, b = {.args.config = "/b.conf"};
	const struct settings s = {.udp_port = 1, .tap = "t", .pin_dir = "/p", .socket = "/s", .share_dir = "/h"};
	struct settings o[] = {s, s, s, s, s, s};
	static const char *const errors[] = {"the same udp_port", "the same tap", "the same pin_dir", "the same socket", "differ in share_dir", NULL};
	char *error = NULL;

	for (unsigned i = 0; i < 6; i++) {
		o[i] = (struct settings){.udp_port = 2, .tap = "u", .pin_dir = "/q", .socket = "/t", .share_dir = "/h"};
		if (i == 0)
			o[i].udp_port = 1;
		else if (i == 1)
			o[i].tap = "t";
		else if (i == 2)
			o[i].pin_dir = "/p";
		else if (i == 3)
			o[i].socket = "/s";
		else if (i == 4)
			o[i].share_dir = NULL;
		assert_int_equal(networks_clash(&a, &s, &b, &o[i], &error), errors[i] ? -EINVAL : 0);
		if (errors[i]) {
			assert_non_null(strstr(error, "/a.conf and /b.conf"));
			assert_non_null(strstr(error, errors[i]));
		}
		free(error);
		error = NULL;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_ends_is_started_ever_later),
		cmocka_unit_test(who_is_silent_is_aborted),
		cmocka_unit_test(who_is_not_ready_is_aborted),
		cmocka_unit_test(its_own_word_is_why_it_failed),
		cmocka_unit_test(who_is_not_wanted_ends),
		cmocka_unit_test(notices_are_read),
		cmocka_unit_test(the_kernel_says_who_speaks),
		cmocka_unit_test(the_environment_is_the_childrens),
		cmocka_unit_test(names_are_checked),
		cmocka_unit_test_setup_teardown(places_follow_the_hosts, dir_up, dir_down),
		cmocka_unit_test_setup_teardown(old_state_is_not_forgotten, dir_up, dir_down),
		cmocka_unit_test(what_only_one_can_have),
	};

	return MVPN_RUN(tests);
}
