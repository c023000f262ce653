/* SPDX-License-Identifier: BSD-2-Clause */
/* Devices of ephemeral tokens: removed when they have been away for their time, and only then. */
#include "../sim/sim.h"

#include <string.h>
#include <unistd.h>

#include "crypto.h"

static void ephemeral_token(struct sim_server *s, unsigned uses, char ret[MVPN_TOKEN_MAX])
{
	json_t *o = sim_ok(s, "token-create", "{s:i, s:i, s:[s]}", "ephemeral_s", 1, "uses", uses,
			   "addresses", "192.0.2.0/24");

	snprintf(ret, MVPN_TOKEN_MAX, "%s", json_string_value(json_object_get(o, "token")));
	json_decref(o);
}

static void enrol(struct sim_device *d, const char *token, const char *name)
{
	const char *address = C_ADDR;

	assert_true(sim_enrol_start(d, token));
	sim_register(d, name, &address, 1);
	sim_expect(d, MVPN_MSG_WELCOME);
	assert_int_equal(d->naccepted, 1);
}

static bool known(struct sim_server *s, const char *name)
{
	json_t *o = sim_call(s, "device-show", "{s:s}", "device", name);
	bool r = json_is_true(json_object_get(o, "ok"));

	json_decref(o);
	return r;
}

static void an_ephemeral_device_goes_when_it_is_away(void **state)
{
	struct sim_net n;
	char token[MVPN_TOKEN_MAX];
	json_t *o, *e;
	size_t i;
	bool audited = false;

	sim_net_up(&n);
	ephemeral_token(&n.s, 2, token);
	enrol(&n.c, token, "c");
	sim_wait_prefix(&n.a, C_ADDR, &n.c);
	o = sim_ok(&n.s, "device-show", "{s:s}", "device", "c");
	assert_int_equal(json_integer_value(json_object_get(o, "ephemeral_s")), 1);
	json_decref(o);
	/* connected it stays for as long as it likes */
	sim_expect_nothing(&n.c, 1500);
	assert_true(known(&n.s, "c"));
	sim_hang_up(&n.c);
	sim_wait_no_prefix(&n.a, C_ADDR);
	assert_int_equal(sim_counter(&n.s, "departed"), 1);
	assert_false(known(&n.s, "c"));
	o = sim_ok(&n.s, "audit", NULL);
	json_array_foreach(json_object_get(o, "events"), i, e)
		audited |= !strcmp(json_string_value(json_object_get(e, "event")), "device-remove") &&
			   !strcmp(json_string_value(json_object_get(e, "actor")), "server");
	json_decref(o);
	assert_true(audited);
	sim_login(&n.c);
	sim_expect_eof(&n.c);
	/* a reusable token lets it come as somebody new, with the same name and address; the others have stayed */
	mvpn_keypair(n.c.sk, n.c.pk);
	enrol(&n.c, token, "c");
	assert_true(known(&n.s, "a") && known(&n.s, "b"));
	sim_net_down(&n);
}

/* the time begins anew when the server starts: nobody could have come while it was down */
static void a_restart_gives_it_its_time(void **state)
{
	struct sim_net n;
	char token[MVPN_TOKEN_MAX];

	sim_net_up(&n);
	ephemeral_token(&n.s, 1, token);
	enrol(&n.c, token, "c");
	sim_hang_up(&n.c);
	sim_server_stop(&n.s);
	usleep(1200000);
	sim_server_start(&n.s);
	assert_true(known(&n.s, "c"));
	sim_wait_counter(&n.s, "departed", 1);
	assert_false(known(&n.s, "c"));
	sim_net_down(&n);
}

/* or it would come back as somebody new */
static void who_is_suspended_or_revoked_stays_on_record(void **state)
{
	static const char *const verbs[] = {"device-suspend", "device-revoke"};
	char token[MVPN_TOKEN_MAX], name[8];
	struct sim_net n;

	sim_net_up(&n);
	ephemeral_token(&n.s, 3, token);
	for (unsigned i = 0; i < 2; i++) {
		mvpn_keypair(n.c.sk, n.c.pk);
		snprintf(name, sizeof(name), "c%u", i);
		assert_true(sim_enrol_start(&n.c, token));
		sim_register(&n.c, name, NULL, 0);
		sim_expect(&n.c, MVPN_MSG_WELCOME);
		json_decref(sim_ok(&n.s, verbs[i], "{s:s}", "device", name));
		sim_hang_up(&n.c);
	}
	/* one that goes, so that the others' time is over too */
	mvpn_keypair(n.c.sk, n.c.pk);
	enrol(&n.c, token, "c");
	sim_hang_up(&n.c);
	sim_wait_counter(&n.s, "departed", 1);
	assert_true(known(&n.s, "c0") && known(&n.s, "c1") && !known(&n.s, "c"));
	/* let back, it has its time again */
	json_decref(sim_ok(&n.s, "device-approve", "{s:s}", "device", "c0"));
	assert_true(known(&n.s, "c0"));
	sim_wait_counter(&n.s, "departed", 2);
	sim_net_down(&n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_ephemeral_device_goes_when_it_is_away),
		cmocka_unit_test(a_restart_gives_it_its_time),
		cmocka_unit_test(who_is_suspended_or_revoked_stays_on_record),
	};

	return MVPN_RUN(tests);
}
