/* SPDX-License-Identifier: BSD-2-Clause */
/* The audit trail of a server at work: long ones, and what comes again and again. */
#include "../sim/sim.h"

#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../server/audit.h"
#include "ipc.h"
#include "loop.h"

#define EVENTS 200000

static void add_events(struct sim_server *s, unsigned n)
{
	struct audit a = {0};
	struct store *st;
	char path[128], *error;

	snprintf(path, sizeof(path), "%s/server.db", s->dir);
	assert_int_equal(store_open(path, &st, &error), 0);
	assert_int_equal(audit_open(&a, st), 0);
	assert_int_equal(store_begin(st, false), 0);
	while (n--)
		assert_int_equal(audit_add(&a, "test", "event", json_pack("{s:i}", "n", (int)n)), 0);
	assert_int_equal(store_commit(st), 0);
	store_close(st);
}

/* in a process of its own: 0 if the trail is whole */
static pid_t verify(struct sim_server *s)
{
	pid_t pid = fork();
	json_t *o;

	assert_true(pid >= 0);
	if (pid)
		return pid;
	if (ipc_request(s->socket, "audit", json_pack("{s:b, s:i}", "verify", 1, "limit", 1), 60000, &o) < 0)
		_exit(1);
	_exit(json_is_true(json_object_get(o, "verified")) ? 0 : 2);
}

static void a_verify_keeps_nobody_waiting(void **state)
{
	unsigned introduced = 0;
	uint8_t session[16];
	struct sim_net n;
	double worst = 0;
	int status;
	pid_t pid;

	sim_net_up(&n);
	sim_server_stop(&n.s);
	add_events(&n.s, EVENTS);
	sim_server_start(&n.s);
	sim_rejoin(&n.a, A_ADDR);
	sim_rejoin(&n.b, B_ADDR);
	pid = verify(&n.s);
	while (waitpid(pid, &status, WNOHANG) == 0) {
		uint64_t began = mono_ns();
		double ms;

		sim_introduce(&n.a, &n.b, B_ADDR, session);
		ms = (double)(mono_ns() - began) / 1e6;
		worst = ms > worst ? ms : worst;
		introduced++;
	}
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	print_message("%u introductions while %u events were verified, the slowest in %.1f ms\n", introduced, EVENTS,
		      worst);
	/* in one go it would be two or three: the one before, and the one that waits for its end */
	assert_true(introduced >= 20);
	sim_net_down(&n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_verify_keeps_nobody_waiting),
	};

	return MVPN_RUN(tests);
}
