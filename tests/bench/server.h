/* SPDX-License-Identifier: BSD-2-Clause */
/* The server under load, in a process of its own, for the benchmark of the server; see server.c. */
#ifndef BENCH_SERVER_H
#define BENCH_SERVER_H

#include <jansson.h>
#include <sys/types.h>

#include "../sim/swarm.h"

struct bench_server {
	const char *binary;
	char dir[64], socket[96];
	pid_t pid;
	uint16_t port;
};

/* says what and why, and ends the program, unless ok */
void must(bool ok, const char *what);

/* a state directory in which the swarm's devices are enrolled already; policy 1 */
void host_make(struct bench_server *s, const char *binary, struct swarm *w, const char *policy);
/* until it listens; without `gate` whoever comes goes on unproven */
void host_start(struct bench_server *s, struct swarm *w, bool gate);
void host_kill(struct bench_server *s); /* SIGKILL */
void host_free(struct bench_server *s);

uint64_t host_memory_b(const struct bench_server *s, const char *field); /* VmRSS, VmHWM */
uint64_t host_memory_free_b(void); /* of the machine */
uint64_t host_cpu_ns(const struct bench_server *s); /* so far, the kernel's share too */
uint64_t host_counter(struct bench_server *s, const char *name);
uint64_t host_sessions(struct bench_server *s);

/* A verb of the administrator from a thread, so that the devices go on meanwhile. */
struct admin_call;
struct admin_call *admin_start(struct bench_server *s, const char *verb, json_t *args);
uint64_t admin_began_ns(const struct admin_call *c);
uint64_t admin_finish(struct admin_call *c); /* when the reply came; it must be ok; frees */

#endif
