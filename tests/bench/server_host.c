/* SPDX-License-Identifier: BSD-2-Clause */
#include "server.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <poll.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../../server/identity.h"
#include "../../server/store.h"
#include "crypto.h"
#include "ipc.h"

#define CALL_MS 60000
#define START_MS 60000

void must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "bench-server: %s: %s\n", what, errno ? strerror(errno) : "failed");
	exit(1);
}

/* ---- the state ---- */

static void run_and_wait(const char *const *argv)
{
	int status;
	pid_t pid = fork();

	must(pid >= 0, "fork");
	if (!pid) {
		int null = open("/dev/null", O_WRONLY);

		dup2(null, 1);
		execv(argv[0], (char *const *)argv);
		_exit(127);
	}
	must(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && !WEXITSTATUS(status), argv[0]);
}

static int enrol(struct store *st, const struct identity *id, struct swarm_device *d)
{
	struct store_device row = {.state = MVPN_DEV_ACTIVE, .created_at = time(NULL)};
	struct mvpn_addr a = swarm_addr(d->index);
	struct mvpn_prefix host = mvpn_prefix_host(&a), any;
	int r;

	mvpn_keypair(d->sk, d->pk);
	randombytes_buf(d->psk, sizeof(d->psk));
	randombytes_buf(d->id, sizeof(d->id));
	memcpy(d->id, &d->index, sizeof(d->index));
	memcpy(row.id, d->id, 16);
	memcpy(row.pk, d->pk, 32);
	snprintf(row.name, sizeof(row.name), "device-%u", d->index);
	r = mvpn_box_seal(row.psk_enc, d->psk, 32, row.id, 16, id->store_key);
	if (r == 0)
		r = store_device_add(st, &row);
	if (r == 0)
		r = store_member_add(st, row.id, d->index % 2 ? "odd" : "even");
	if (r == 0)
		r = mvpn_prefix_parse(&any, "10.0.0.0/8");
	if (r == 0)
		r = store_prefix_add(st, row.id, &any, PREFIX_SCOPE);
	return r < 0 ? r : store_prefix_add(st, row.id, &host, PREFIX_CLAIM);
}

static void write_config(const struct bench_server *s, const struct swarm *w, bool gate)
{
	char path[160];
	FILE *f;

	snprintf(path, sizeof(path), "%s/server.conf", s->dir);
	f = fopen(path, "w");
	must(f != NULL, path);
	fprintf(f, "[server]\nlog = warning\nmax_channels = %u\n", w->n + 1000);
	if (!gate)
		fprintf(f, "[limits]\nhandshakes_unproven = 100000\n");
	must(fclose(f) == 0, path);
}

void host_make(struct bench_server *s, const char *binary, struct swarm *w, const char *policy)
{
	const char *init[] = {binary, "init", "--state", s->dir, "--name", "bench", NULL};
	struct store_policy p = {
		.rev = 1, .at = time(NULL), .uid = -1, .comment = "", .text = policy};
	struct identity id;
	struct store *st;
	char path[160], *error, hex[17];

	memset(s, 0, sizeof(*s));
	s->binary = binary;
	strcpy(s->dir, "/tmp/mvpn-bench-XXXXXX");
	must(mkdtemp(s->dir) != NULL, s->dir);
	snprintf(s->socket, sizeof(s->socket), "%s/server.sock", s->dir);
	run_and_wait(init);
	must(identity_load(s->dir, &id) == 0, "the server's keys");
	snprintf(path, sizeof(path), "%s/server.db", s->dir);
	must(store_open(path, &st, &error) == 0, path);
	must(store_meta_get(st, "net_id", &error) == 0, "net_id");
	snprintf(hex, sizeof(hex), "%s", error);
	free(error);
	must(mvpn_unhex(w->net_id, sizeof(w->net_id), hex) == 0, "net_id");
	memcpy(w->server_pk, id.pk, 32);
	must(store_begin(st, false) == 0, path);
	for (unsigned i = 0; i < w->n; i++)
		must(enrol(st, &id, &w->devices[i]) == 0, "a device in the store");
	must(store_policy_add(st, &p) == 0, "a policy in the store");
	must(store_commit(st) == 0, path);
	store_close(st);
	identity_free(&id);
}

/* ---- the process ---- */

static json_t *call(struct bench_server *s, const char *verb, json_t *args)
{
	json_t *reply = NULL;
	int r = ipc_request(s->socket, verb, args, CALL_MS, &reply);

	errno = -r;
	must(r == 0, verb);
	if (!json_is_true(json_object_get(reply, "ok"))) {
		json_dumpf(reply, stderr, JSON_INDENT(1));
		errno = 0;
		must(false, verb);
	}
	return reply;
}

void host_start(struct bench_server *s, struct swarm *w, bool gate)
{
	char config[160];
	const char *argv[] = {s->binary,  "run",     "--state",	 s->dir, "--config", config,
			      "--socket", s->socket, "--listen", NULL,	 NULL};
	char listens[32] = "127.0.0.1:0";
	uint64_t end = mono_ms() + START_MS;
	json_t *o = NULL;

	/* the same port again, so that the devices find it */
	if (s->port)
		snprintf(listens, sizeof(listens), "127.0.0.1:%u", s->port);
	argv[9] = listens;
	snprintf(config, sizeof(config), "%s/server.conf", s->dir);
	write_config(s, w, gate);
	s->pid = fork();
	must(s->pid >= 0, "fork");
	if (!s->pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execv(argv[0], (char *const *)argv);
		_exit(127);
	}
	while (ipc_request(s->socket, "status", NULL, CALL_MS, &o) < 0) {
		must(mono_ms() < end && waitpid(s->pid, NULL, WNOHANG) == 0, s->binary);
		poll(NULL, 0, 2);
	}
	s->port = (uint16_t)atoi(
		strrchr(json_string_value(json_array_get(json_object_get(o, "listen"), 0)), ':') +
		1);
	w->port = s->port;
	json_decref(o);
}

void host_kill(struct bench_server *s)
{
	kill(s->pid, SIGKILL);
	must(waitpid(s->pid, NULL, 0) == s->pid, "waitpid");
	s->pid = 0;
}

void host_free(struct bench_server *s)
{
	struct dirent *e;
	DIR *d;

	if (s->pid)
		host_kill(s);
	d = opendir(s->dir);
	while (d && (e = readdir(d)))
		if (e->d_name[0] != '.')
			unlinkat(dirfd(d), e->d_name, 0);
	if (d)
		closedir(d);
	rmdir(s->dir);
}

/* ---- what it takes ---- */

/* "field: number kB" of such a file */
static uint64_t field_b(const char *path, const char *field)
{
	char line[200];
	uint64_t kb = 0;
	FILE *f = fopen(path, "r");

	must(f != NULL, path);
	while (fgets(line, sizeof(line), f))
		if (!strncmp(line, field, strlen(field)))
			kb = strtoull(line + strlen(field) + 1, NULL, 10);
	fclose(f);
	return kb * 1024;
}

uint64_t host_memory_b(const struct bench_server *s, const char *field)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/status", (int)s->pid);
	return field_b(path, field);
}

uint64_t host_memory_free_b(void)
{
	return field_b("/proc/meminfo", "MemAvailable");
}

uint64_t host_cpu_ns(const struct bench_server *s)
{
	char path[64];
	unsigned long long ns = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/schedstat", (int)s->pid);
	f = fopen(path, "r");
	must(f && fscanf(f, "%llu", &ns) == 1, path);
	fclose(f);
	return ns;
}

uint64_t host_counter(struct bench_server *s, const char *name)
{
	json_t *o = call(s, "status", NULL);
	uint64_t n =
		(uint64_t)json_integer_value(json_object_get(json_object_get(o, "counters"), name));

	json_decref(o);
	return n;
}

uint64_t host_sessions(struct bench_server *s)
{
	json_t *o = call(s, "status", NULL);
	uint64_t n = (uint64_t)json_integer_value(json_object_get(o, "sessions"));

	json_decref(o);
	return n;
}

/* ---- the administrator ---- */

struct admin_call {
	struct bench_server *s;
	const char *verb;
	json_t *args;
	pthread_t thread;
	uint64_t began_ns, ended_ns;
};

static void *run_call(void *arg)
{
	struct admin_call *c = arg;

	json_decref(call(c->s, c->verb, c->args));
	c->ended_ns = mono_ns();
	return NULL;
}

struct admin_call *admin_start(struct bench_server *s, const char *verb, json_t *args)
{
	struct admin_call *c = calloc(1, sizeof(*c));

	must(c != NULL, verb);
	c->s = s;
	c->verb = verb;
	c->args = args;
	c->began_ns = mono_ns();
	errno = pthread_create(&c->thread, NULL, run_call, c);
	must(!errno, "pthread_create");
	return c;
}

uint64_t admin_began_ns(const struct admin_call *c)
{
	return c->began_ns;
}

uint64_t admin_finish(struct admin_call *c)
{
	uint64_t ended;

	pthread_join(c->thread, NULL);
	ended = c->ended_ns;
	free(c);
	return ended;
}
