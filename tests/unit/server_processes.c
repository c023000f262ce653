/* SPDX-License-Identifier: BSD-2-Clause */
/* Lines about processes at the server: who is told which, who gets no session, and what devices refused on record. */
#include "../sim/sim.h"

#include <endian.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ipc_socket.h"

static const char by[] = "allow a -> b proto tcp port 5432 by unit pg.service uid 5, root\n"
			 "allow a -> b proto tcp port 22";

static void put(char *to, size_t size, const struct chan_tlv *t)
{
	size_t n = strlen(to);

	switch (t->type) {
	case MVPN_TLV_PROCESS_LINE:
		snprintf(to + n, size - n, "[%u %.*s]", t->value[3], t->len - 4, t->value + 4);
		break;
	case MVPN_TLV_PROCESS_SERVICE:
		snprintf(to + n, size - n, " %u:%u-%u", t->value[0], t->value[1] << 8 | t->value[2],
			 t->value[3] << 8 | t->value[4]);
		break;
	case MVPN_TLV_PROCESS_BY:
		snprintf(to + n, size - n, " %u=%.*s", t->value[0], t->len - 1, t->value + 1);
		break;
	case MVPN_TLV_PROCESS_PEER:
		snprintf(to + n, size - n, " @");
		break;
	default:
		fail_msg("TLV %u", t->type);
	}
}

/* takes in tables until it is that one */
static void wait_table(struct sim_device *d, const char *want)
{
	char text[1000];

	do {
		struct chan_tlv t;
		size_t pos = 0;

		sim_expect(d, MVPN_MSG_PROCESSES);
		assert_int_equal(d->msg.flags, MVPN_PFX_RESET | MVPN_PFX_COMMIT);
		*text = '\0';
		while (chan_tlv_next(&d->msg, &pos, &t))
			put(text, sizeof(text), &t);
	} while (strcmp(text, want) != 0);
}

static void devices_hear_of_their_own(void **state)
{
	static const char table[] = "[1 allow only a -> b proto tcp port 5432 by unit pg.service uid 5, root]"
				    " 6:5432-5432 0=pg.service 2=5 2=root @"
				    "[2 allow a -> b proto tcp port 22] 6:22-22 @";
	struct sim_net n;

	sim_net_up(&n);
	sim_policy(&n.s, by);
	wait_table(&n.a, table);
	/* who comes back hears it without being asked */
	sim_hang_up(&n.a);
	sim_rejoin(&n.a, A_ADDR);
	wait_table(&n.a, table);
	sim_policy(&n.s, "allow a -> b proto tcp port 22");
	wait_table(&n.a, "");
	/* the other direction is b's */
	sim_policy(&n.s, "allow b -> a by exe /x\nallow a -> b");
	wait_table(&n.b, "[1 allow only b -> a by exe /x] 3=/x @[2 allow a -> b] @");
	sim_net_down(&n);
}

static void who_cannot_tell_gets_no_session(void **state)
{
	struct sim_request q;
	uint8_t session[16];
	struct sim_net n;

	sim_net_up(&n);
	sim_policy(&n.s, "allow a -> b");
	sim_introduce(&n.a, &n.b, B_ADDR, session);
	sim_policy(&n.s, by); /* as old ones do, they have not said that they know such lines */
	sim_expect(&n.a, MVPN_MSG_PEER_RESET);
	sim_expect(&n.b, MVPN_MSG_PEER_RESET);
	sim_request(&n.a, B_ADDR, &q);
	sim_expect_fail(&n.a, MVPN_R_PROCESS);
	intro_a_free(q.a);
	sim_request(&n.b, A_ADDR, &q); /* a would send by that one */
	sim_expect_fail(&n.b, MVPN_R_PROCESS);
	intro_a_free(q.a);
	n.a.tells_processes = true;
	sim_hang_up(&n.a);
	sim_rejoin(&n.a, A_ADDR);
	sim_introduce(&n.a, &n.b, B_ADDR, session);
	sim_net_down(&n);
}

/* the introduction that comes in the same breath as the policy that allows it finds the other end informed */
static void tables_come_before_introductions(void **state)
{
	static const char verb[] = "{\"verb\":\"policy-apply\",\"args\":{\"text\":\"allow b -> a by exe /x\\nallow a -> b\\n\"}}\n";
	struct sim_request q;
	struct sim_net n;
	int fd;

	sim_net_up(&n);
	sim_policy(&n.s, "allow b -> b");
	n.b.tells_processes = true;
	sim_hang_up(&n.b);
	sim_rejoin(&n.b, B_ADDR);
	wait_table(&n.b, "");
	fd = ipc_socket_connect(n.s.socket, SIM_WAIT_MS);
	assert_true(fd >= 0);
	json_decref(sim_ok(&n.s, "status", NULL)); /* that one is accepted, too */
	sim_server_pause(&n.s);
	assert_int_equal(send(fd, verb, sizeof(verb) - 1, 0), sizeof(verb) - 1);
	sim_request(&n.a, B_ADDR, &q);
	sim_server_resume(&n.s);
	wait_table(&n.b, "[1 allow only b -> a by exe /x] 3=/x @[2 allow a -> b] @");
	sim_expect(&n.b, MVPN_MSG_OFFER);
	intro_a_free(q.a);
	close(fd);
	sim_net_down(&n);
}

static void put_refused(struct chan_buf *b, const struct mvpn_process_refused *r, const char *texts, size_t len)
{
	uint8_t v[600];

	memcpy(v, r, sizeof(*r));
	memcpy(v + sizeof(*r), texts, len);
	chan_put(b, MVPN_TLV_PROCESS_REFUSED, v, sizeof(*r) + len);
	chan_put(b, MVPN_TLV_PROCESS_RULE, "allow a\n-> b", 12);
}

static void report(struct sim_device *d, const struct mvpn_process_refused *r, const char *texts, size_t len,
		   unsigned copies)
{
	struct chan_buf b = {0};

	chan_begin(&b, MVPN_MSG_PROCESSES, 0, 0);
	while (copies--)
		put_refused(&b, r, texts, len);
	sim_send(d, &b);
	chan_buf_free(&b);
}

static json_t *find(struct sim_net *n, const char *process)
{
	json_t *o = sim_ok(&n->s, "audit", "{s:i}", "limit", 500), *e, *found = NULL;
	size_t i;

	json_array_foreach(json_object_get(o, "events"), i, e)
	{
		json_t *d = json_object_get(e, "detail");
		const char *name = json_string_value(json_object_get(d, "process"));

		if (!strcmp(json_string_value(json_object_get(e, "event")), "process-refused") &&
		    name && !strcmp(name, process))
			found = json_incref(d);
	}
	json_decref(o);
	return found;
}

static void refusals_are_on_record(void **state)
{
	struct mvpn_process_refused r = {.port_be = htobe16(5432), .proto = 6, .why = 1,
					 .line_be = htobe32(1), .pid_be = htobe32(99),
					 .uid_be = htobe32(1000), .count_be = htobe32(3)};
	static const char who[] = "ps\033ql\0/usr/bin/psql\0x.service";
	struct chan_buf b = {0};
	struct mvpn_addr dst;
	struct sim_net n;
	json_t *d;

	sim_net_up(&n);
	assert_int_equal(mvpn_addr_parse(&dst, B_ADDR), 0);
	memcpy(r.dst, dst.b, 16);
	memcpy(r.peer, n.b.id, 16);
	report(&n.a, &r, who, sizeof(who), 1);
	sim_wait_counter(&n.s, "processes_refused", 1);
	d = find(&n, "ps?ql");
	assert_non_null(d);
	assert_string_equal(json_string_value(json_object_get(d, "device")), "a");
	assert_string_equal(json_string_value(json_object_get(d, "peer")), "b");
	assert_string_equal(json_string_value(json_object_get(d, "dst")), B_ADDR);
	assert_string_equal(json_string_value(json_object_get(d, "exe")), "/usr/bin/psql");
	assert_string_equal(json_string_value(json_object_get(d, "unit")), "x.service");
	assert_string_equal(json_string_value(json_object_get(d, "refused")), "call");
	assert_int_equal(json_integer_value(json_object_get(d, "attempts")), 3);
	assert_int_equal(json_integer_value(json_object_get(d, "line")), 1);
	assert_string_equal(json_string_value(json_object_get(d, "rule")), "allow a?-> b");
	json_decref(d);
	/* too soon: not heard, and nothing worse */
	report(&n.a, &r, who, sizeof(who), 1);
	sim_wait_counter(&n.s, "processes_unheard", 1);
	usleep(600000); /* the server's own time is what counts */
	report(&n.a, &r, who, sizeof(who), MVPN_PROCESS_REPORT_MAX + 5);
	sim_wait_counter(&n.s, "processes_refused", 1 + MVPN_PROCESS_REPORT_MAX);
	assert_int_equal(sim_counter(&n.s, "processes_refused"), 1 + MVPN_PROCESS_REPORT_MAX);
	usleep(600000);
	/* the second one lacks its last NUL: the first one does not count either */
	chan_begin(&b, MVPN_MSG_PROCESSES, 0, 0);
	put_refused(&b, &r, who, sizeof(who));
	put_refused(&b, &r, who, sizeof(who) - 1);
	sim_send(&n.a, &b);
	chan_buf_free(&b);
	sim_expect_close(&n.a, MVPN_R_BAD_MESSAGE);
	assert_int_equal(sim_counter(&n.s, "processes_refused"), 1 + MVPN_PROCESS_REPORT_MAX);
	sim_net_down(&n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(devices_hear_of_their_own),
		cmocka_unit_test(tables_come_before_introductions),
		cmocka_unit_test(who_cannot_tell_gets_no_session),
		cmocka_unit_test(refusals_are_on_record),
	};

	return cmocka_run_group_tests_name("server_processes", tests, NULL, NULL);
}
