/* SPDX-License-Identifier: BSD-2-Clause */
#include "supervise.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "child.h"
#include "conf.h"
#include "log.h"
#include "privileges.h"
#include "shim.h"
#include "supervise_priv.h"

#define NOTIFY_NAME "networks.notify"
#define MEMBERS_MAX (2 * MVPN_NETWORKS_MAX) /* those that are ending, too */
#define TICK_MS 1000

/* ---- how it goes ---- */

static unsigned count(const struct supervisor *s, enum child_state state)
{
	unsigned n = 0;

	for (const struct member *m = s->members; m; m = m->next)
		n += m->child.wanted && m->child.state == state;
	return n;
}

/* the first of those that do not run */
static const struct member *first_failed(const struct supervisor *s)
{
	for (const struct member *m = s->members; m; m = m->next)
		if (m->child.wanted && *m->child.why)
			return m;
	return NULL;
}

static void tell_status(struct supervisor *s)
{
	const struct member *bad = first_failed(s);
	unsigned all = 0;

	if (s->stopping) { /* a unit that has ended still shows what was said last */
		sd_notify(0, "STATUS=");
		return;
	}
	for (const struct member *m = s->members; m; m = m->next)
		all += m->child.wanted;
	sd_notifyf(0, "STATUS=%u of %u networks run%s%s%s%.256s", count(s, CHILD_RUNS), all, bad ? "; " : "",
		   bad ? network_label(bad->network) : "", bad ? ": " : "", bad ? bad->child.why : "");
}

/* once for one reason, however often it is tried */
static void tell_failure(struct member *m)
{
	if (m->said && !strcmp(m->said, m->child.why))
		return;
	log_err("network %s: %s; it is tried again", network_label(m->network), m->child.why);
	free(m->said);
	m->said = strdup(m->child.why);
}

/* ready once all have had their turn; if none has started there is nothing to supervise */
static void ready_check(struct supervisor *s)
{
	if (s->ready || s->stopping)
		return;
	for (const struct member *m = s->members; m; m = m->next)
		if (m->child.wanted && !m->child.tried)
			return;
	if (count(s, CHILD_RUNS)) {
		s->ready = true;
		sd_notify(0, "READY=1");
	} else if (!count(s, CHILD_STARTS)) {
		s->failed = true;
		loop_quit(s->loop);
	}
}

/* ---- a network ---- */

static int settings_read(struct supervisor *s, struct member *m, char **ret_error)
{
	int r;

	conf_free(&m->settings);
	r = conf_of(&m->network->args, &m->settings, ret_error);
	for (struct member *o = s->members; o && !r; o = o->next)
		if (o != m && o->child.pid)
			r = networks_clash(o->network, &o->settings, m->network, &m->settings, ret_error);
	return r;
}

static void start(struct supervisor *s, struct member *m)
{
	char *error = NULL;
	pid_t pid;
	int r = settings_read(s, m, &error);

	if (r == 0)
		r = supervise_spawn(m->network, s->env, &pid);
	if (r == 0) {
		child_started(&m->child, pid, mono_ms());
		log_debug("network %s: process %d", network_label(m->network), (int)pid);
	} else {
		child_failed(&m->child, error ? error : strerror(-r), mono_ms());
		tell_failure(m);
	}
	free(error);
	tell_status(s);
}

static void act(struct supervisor *s, struct member *m, enum child_act what)
{
	switch (what) {
	case CHILD_NOTHING:
		return;
	case CHILD_START:
		start(s, m);
		return;
	case CHILD_ABORT:
		log_err("network %s %s", network_label(m->network), m->child.why);
		kill(m->child.pid, SIGABRT);
		/* one that is stopped would not end of it */
		kill(m->child.pid, SIGCONT);
		break;
	case CHILD_TERMINATE:
		kill(m->child.pid, SIGTERM);
		break;
	case CHILD_KILL:
		kill(m->child.pid, SIGKILL);
		break;
	}
	tell_status(s);
}

static int member_add(struct supervisor *s, const char *name)
{
	struct member **at = &s->members, *m;
	unsigned n = 0;
	int r;

	for (; *at; at = &(*at)->next, n++)
		;
	m = n < MEMBERS_MAX ? calloc(1, sizeof(*m)) : NULL;
	if (!m)
		return n < MEMBERS_MAX ? -ENOMEM : -ENOSPC;
	r = network_new(&s->host, name, &m->network);
	if (r) {
		free(m);
		return r;
	}
	child_init(&m->child, mono_ms());
	*at = m;
	return 0;
}

static void member_free(struct member *m)
{
	network_free(m->network);
	conf_free(&m->settings);
	free(m->said);
	free(m);
}

/* those that are not wanted any more, and have ended */
static void sweep(struct supervisor *s)
{
	struct member **at = &s->members;

	while (*at) {
		struct member *m = *at;

		if (m->child.wanted || m->child.pid) {
			at = &m->next;
			continue;
		}
		*at = m->next;
		log_info("network %s has ended", network_label(m->network));
		member_free(m);
	}
	if (s->stopping && !s->members)
		loop_quit(s->loop);
}

/* ---- what comes from outside ---- */

static struct member *member_of(struct supervisor *s, pid_t pid)
{
	struct member *m = s->members;

	while (m && m->child.pid != pid)
		m = m->next;
	return m;
}

static void on_notice(void *arg, uint32_t events)
{
	struct supervisor *s = arg;
	struct notice n;
	pid_t pid;

	for (int r = 0; r != -EAGAIN;) {
		struct member *m;

		r = notice_receive(s->notify_fd, &pid, &n);
		if (r && r != -EBADMSG)
			return;
		m = r ? NULL : member_of(s, pid);
		if (!m) {
			s->strangers++;
			log_ratelimited(LOG_L_WARN, "a message at %s is no child's", s->notify_path);
			continue;
		}
		if (child_heard(&m->child, &n, mono_ms(), s->silent_ms)) {
			log_info("network %s runs", network_label(m->network));
			free(m->said);
			m->said = NULL;
			tell_status(s);
			ready_check(s);
		}
	}
}

static void tick(void *arg);

static void on_children(struct supervisor *s)
{
	on_notice(s, EPOLLIN); /* why they have ended */
	for (struct member *m = s->members; m; m = m->next) {
		int status;

		if (!m->child.pid || waitpid(m->child.pid, &status, WNOHANG) != m->child.pid)
			continue;
		child_ended(&m->child, status, mono_ms());
		if (m->child.wanted && *m->child.why)
			tell_failure(m);
	}
	tell_status(s);
	tick(s);
}

static struct member *member_named(struct supervisor *s, const char *name)
{
	struct member *m = s->members;

	while (m && strcmp(m->network->name, name))
		m = m->next;
	return m;
}

static void list_change(struct supervisor *s, const struct networks *list)
{
	for (struct member *m = s->members; m; m = m->next)
		if (*m->network->name && m->child.wanted && !networks_have(list, m->network->name)) {
			log_info("network %s is not in [keyd] networks any more", network_label(m->network));
			act(s, m, child_unwant(&m->child, mono_ms()));
		}
	for (unsigned i = 0; i < list->n; i++) {
		struct member *m = member_named(s, list->names[i]);
		int r = m ? 0 : member_add(s, list->names[i]);

		if (m)
			child_want(&m->child);
		else if (r)
			log_err("network %s cannot be added: %s", list->names[i], strerror(-r));
	}
}

static void reload(struct supervisor *s)
{
	struct host fresh;
	char *error = NULL;
	int r = host_read(s->host.args, &fresh, &error);

	if (r)
		log_err("reload: %s; the networks stay as they are", error ? error : strerror(-r));
	else
		list_change(s, &fresh.networks);
	host_free(&fresh);
	free(error);
	for (struct member *m = s->members; m; m = m->next) {
		child_try_now(&m->child, mono_ms());
		if (m->child.pid)
			kill(m->child.pid, SIGHUP);
	}
	tick(s);
}

static void on_signal(void *arg, int signo)
{
	if (signo == SIGCHLD)
		on_children(arg);
	else if (signo == SIGHUP)
		reload(arg);
}

/* ---- time ---- */

static bool are_well(const struct supervisor *s)
{
	for (const struct member *m = s->members; m; m = m->next)
		if (m->child.pid && m->child.aborted)
			return false;
	return true;
}

static void tick(void *arg)
{
	struct supervisor *s = arg;
	uint64_t now = mono_ms(), next = now + s->tick_ms;

	for (struct member *m = s->members; m; m = m->next) {
		act(s, m, child_due(&m->child, now));
		if (m->child.due_ms < next && (m->child.wanted || m->child.pid))
			next = m->child.due_ms;
	}
	sweep(s);
	ready_check(s);
	if (s->watched && are_well(s))
		sd_notify(0, "WATCHDOG=1");
	loop_timer_arm(s->timer, next > now ? next - now : 0);
}

/* ---- from the beginning to the end ---- */

static int fail(const char *what, const char *on, int r)
{
	log_err("%s %s: %s", what, on, strerror(-r));
	return r;
}

static int sockets_open(struct supervisor *s)
{
	char *control = host_path(&s->host, MVPN_NETWORKS_SOCKET);
	int r;

	s->notify_path = host_path(&s->host, NOTIFY_NAME);
	if (!control || !s->notify_path) {
		free(control);
		return -ENOMEM;
	}
	r = supervise_control(s, control);
	if (r)
		fail(r == -EADDRINUSE ? "another keyd supervises networks at" : "control socket", control, r);
	free(control);
	if (r)
		return r;
	s->notify_fd = notice_listen(s->notify_path);
	if (s->notify_fd < 0)
		return fail("cannot listen to the networks' keyds at", s->notify_path, s->notify_fd);
	s->env = supervise_env(s->notify_path);
	return s->env ? loop_add(s->loop, s->notify_fd, EPOLLIN, on_notice, s, NULL) : -ENOMEM;
}

static int begin(struct supervisor *s)
{
	static const int signals[] = {SIGHUP, SIGCHLD, 0};
	uint64_t usec = 0;
	char *error = NULL;
	int r = loop_new(&s->loop);

	if (!r)
		r = loop_signals(s->loop, signals, on_signal, s);
	if (!r)
		r = loop_timer_new(s->loop, tick, s, &s->timer);
	if (r)
		return fail("cannot start:", "event loop", r);
	r = sockets_open(s);
	if (r)
		return r;
	if (shim_mount(s->host.pin_dir, &error))
		log_err("%s", error ? error : "out of memory");
	free(error);
	r = privileges_supervise();
	if (r)
		return fail("cannot give up", "privileges", r);
	s->watched = sd_watchdog_enabled(0, &usec) > 0;
	s->silent_ms = s->watched ? usec / 1000 : MVPN_CHILD_SILENT_MS;
	s->tick_ms = s->silent_ms / 4 < TICK_MS ? s->silent_ms / 4 : TICK_MS;
	r = member_add(s, "");
	for (unsigned i = 0; i < s->host.networks.n && !r; i++)
		r = member_add(s, s->host.networks.names[i]);
	return r ? fail("cannot start", "the networks", r) : 0;
}

/* a second signal does not wait for those that do not end */
static void end(struct supervisor *s)
{
	sd_notify(0, "STOPPING=1");
	s->stopping = true;
	for (struct member *m = s->members; m; m = m->next)
		act(s, m, child_unwant(&m->child, mono_ms()));
	tick(s);
	if (s->members)
		loop_run(s->loop);
	while (s->members) {
		struct member *m = s->members;

		s->members = m->next;
		if (m->child.pid)
			kill(m->child.pid, SIGKILL);
		member_free(m);
	}
}

static void supervisor_free(struct supervisor *s)
{
	ipc_server_free(s->ipc);
	if (s->notify_fd >= 0) {
		close(s->notify_fd);
		unlink(s->notify_path);
	}
	free(s->notify_path);
	supervise_env_free(s->env);
	loop_free(s->loop);
}

int supervise(struct host *h)
{
	struct supervisor s = {.host = *h, .notify_fd = -1};
	int r;

	log_init("keyd", LOG_L_INFO);
	privileges_harden();
	r = begin(&s);
	if (!r) {
		log_info("keyd %s: %u networks beside keyd.conf's own", MVPN_VERSION, s.host.networks.n);
		tick(&s);
		r = s.failed ? 0 : loop_run(s.loop);
		end(&s);
		if (s.failed)
			log_err("no network has started: all are tried again by whoever starts keyd");
	}
	supervisor_free(&s);
	return r || s.failed ? MVPN_EXIT_FAILED : MVPN_EXIT_OK;
}
