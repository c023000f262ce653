/* SPDX-License-Identifier: BSD-2-Clause */
#include "sim.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../server/conf.h"
#include "../../server/identity.h"
#include "../../server/server.h"
#include "crypto.h"
#include "fsutil.h"
#include "ipc.h"
#include "log.h"

void sim_server_new(struct sim_server *s)
{
	*s = (struct sim_server){.rekey_s = 3600, .handshake_s = 5, .relay_mbit = 1};
	assert_int_equal(mvpn_crypto_init(), 0);
	snprintf(s->dir, sizeof(s->dir), "%s/mvpn-sim-XXXXXX", getenv("TMPDIR") ?: "/tmp");
	assert_non_null(mkdtemp(s->dir));
	snprintf(s->socket, sizeof(s->socket), "%s/server.sock", s->dir);
	assert_int_equal(identity_create(s->dir), 0);
	sim_server_start(s);
}

/* in the child: the server itself */
static int serve(struct sim_server *s, int ready)
{
	struct server_settings conf;
	struct server *srv = NULL;
	struct loop *l = NULL;
	char *error = NULL, port = 0;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	log_init("server", getenv("MVPN_SIM_LOG") ? LOG_L_DEBUG : (enum log_level)0);
	if (server_settings_init(&conf) < 0 || loop_new(&l) < 0)
		return 10;
	free(conf.state);
	free(conf.socket);
	conf.state = strdup(s->dir);
	conf.socket = strdup(s->socket);
	conf.listens[0] = strdup("127.0.0.1:0");
	conf.nlistens = 1;
	conf.rekey_s = s->rekey_s;
	conf.psk_s = s->psk_s;
	conf.relay_mbit = s->relay_mbit;
	conf.handshake_s = s->handshake_s;
	conf.half_open_source = s->half_open_source ? s->half_open_source : 1000;
	conf.handshakes_source = s->handshakes_source ? s->handshakes_source : 100000;
	conf.handshakes_unproven = s->handshakes_unproven ? s->handshakes_unproven : 100000;
	conf.handshakes_worked = s->handshakes_worked ? s->handshakes_worked : 100000;
	if (s->half_open)
		conf.half_open = s->half_open;
	if (s->messages_channel)
		conf.messages_channel = s->messages_channel;
	if (server_new(&conf, l, &srv, &error) < 0 || server_open_control(srv, &error) < 0) {
		fprintf(stderr, "server: %s\n", error ? error : "failed");
		return 11;
	}
	if (loop_signals(l, NULL, NULL, NULL) < 0 || write(ready, &port, 1) != 1 || loop_run(l) < 0)
		return 12;
	server_say_goodbye(srv);
	server_free(srv);
	loop_free(l);
	server_settings_free(&conf);
	return 0;
}

void sim_server_start(struct sim_server *s)
{
	const char *colon;
	int ready[2];
	json_t *o;
	char c;

	assert_int_equal(pipe(ready), 0);
	s->pid = fork();
	assert_true(s->pid >= 0);
	if (!s->pid) {
		close(ready[0]);
		exit(serve(s, ready[1]));
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &c, 1), 1);
	close(ready[0]);
	o = sim_ok(s, "status", NULL);
	colon = strrchr(json_string_value(json_array_get(json_object_get(o, "listen"), 0)), ':');
	s->port = (uint16_t)atoi(colon + 1);
	json_decref(o);
}

static int reap(struct sim_server *s, int sig)
{
	int status;

	kill(s->pid, sig);
	assert_int_equal(waitpid(s->pid, &status, 0), s->pid);
	s->pid = 0;
	return status;
}

/* kill() returns before the server has stopped: on its way there it may still take the first of two things sent */
void sim_server_pause(struct sim_server *s)
{
	int status;

	assert_int_equal(kill(s->pid, SIGSTOP), 0);
	assert_int_equal(waitpid(s->pid, &status, WUNTRACED), s->pid);
	assert_true(WIFSTOPPED(status));
}

void sim_server_resume(struct sim_server *s)
{
	assert_int_equal(kill(s->pid, SIGCONT), 0);
}

void sim_server_stop(struct sim_server *s)
{
	int status = reap(s, SIGTERM);

	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

void sim_server_crash(struct sim_server *s)
{
	int status = reap(s, SIGKILL);

	assert_true(WIFSIGNALED(status)); /* and not by itself before */
	assert_int_equal(WTERMSIG(status), SIGKILL);
}

void sim_server_free(struct sim_server *s)
{
	struct dirent *e;
	DIR *d;

	if (s->pid)
		sim_server_stop(s);
	d = opendir(s->dir);
	while (d && (e = readdir(d)))
		if (e->d_name[0] != '.')
			unlinkat(dirfd(d), e->d_name, 0);
	if (d)
		closedir(d);
	assert_int_equal(rmdir(s->dir), 0);
}

/* ---- control ---- */

static json_t *call(struct sim_server *s, const char *verb, const char *format, va_list ap)
{
	json_t *args = format ? json_vpack_ex(NULL, 0, format, ap) : NULL, *reply = NULL;

	assert_true(!format || args);
	assert_int_equal(ipc_request(s->socket, verb, args, SIM_WAIT_MS, &reply), 0);
	return reply;
}

json_t *sim_call(struct sim_server *s, const char *verb, const char *format, ...)
{
	va_list ap;
	json_t *o;

	va_start(ap, format);
	o = call(s, verb, format, ap);
	va_end(ap);
	return o;
}

json_t *sim_ok(struct sim_server *s, const char *verb, const char *format, ...)
{
	va_list ap;
	json_t *o;

	va_start(ap, format);
	o = call(s, verb, format, ap);
	va_end(ap);
	if (!json_is_true(json_object_get(o, "ok")))
		json_dumpf(o, stderr, JSON_INDENT(1));
	assert_true(json_is_true(json_object_get(o, "ok")));
	return o;
}

json_int_t sim_counter(struct sim_server *s, const char *name)
{
	json_t *o = sim_ok(s, "status", NULL),
	       *v = json_object_get(json_object_get(o, "counters"), name);
	json_int_t n = json_integer_value(v);

	assert_non_null(v);
	json_decref(o);
	return n;
}

json_int_t sim_sessions(struct sim_server *s)
{
	json_t *o = sim_ok(s, "sessions", NULL);
	json_int_t n = (json_int_t)json_array_size(json_object_get(o, "sessions"));

	json_decref(o);
	return n;
}

void sim_wait_counter(struct sim_server *s, const char *name, json_int_t n)
{
	uint64_t end = mono_ms() + SIM_WAIT_MS;

	while (sim_counter(s, name) < n) {
		if (mono_ms() > end)
			fail_msg("counter %s is %lld, expected %lld", name,
				 (long long)sim_counter(s, name), (long long)n);
		poll(NULL, 0, 5);
	}
}

void sim_policy(struct sim_server *s, const char *text)
{
	json_decref(sim_ok(s, "policy-apply", "{s:s}", "text", text));
}

void sim_token(struct sim_server *s, const char *address, const char *group,
	       char ret[MVPN_TOKEN_MAX])
{
	json_t *o = sim_ok(s, "token-create", "{s:s*, s:o*}", "group", group, "addresses",
			   address ? json_pack("[s]", address) : NULL);

	snprintf(ret, MVPN_TOKEN_MAX, "%s", json_string_value(json_object_get(o, "token")));
	json_decref(o);
}
