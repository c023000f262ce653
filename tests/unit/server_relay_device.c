/* SPDX-License-Identifier: BSD-2-Clause */
/* Devices that relay: which one the server takes for a pair, what it tells whom, and when another one takes over. */
#include "relayed.h"

#include <errno.h>

/* one that may relay */
struct relay {
	struct sim_device d;
	struct port port;
};

static void relay_up(struct relay *r, struct sim_server *s, const char *name, const char *address)
{
	r->port = port_open(s);
	sim_device_init(&r->d, s);
	r->d.udp_port = r->port.number;
	sim_join(&r->d, name, address);
	prove(&r->d, &r->port);
}

static void relay_down(struct relay *r)
{
	close(r->port.fd);
	sim_device_free(&r->d);
}

/* FORWARD of that session, to be opened; the keys of its ends */
static void expect_forward(struct relay *r, const struct relayed *of, uint32_t kbit,
			   uint8_t ret_a[32], uint8_t ret_b[32])
{
	struct chan_tlv tlv;
	struct mvpn_relay_end e;
	uint8_t session[16];
	uint32_t rate;
	unsigned seen = 0;
	size_t pos = 0;

	sim_expect(&r->d, MVPN_MSG_FORWARD);
	assert_int_equal(r->d.msg.flags, 0);
	assert_true(chan_get_bytes(&r->d.msg, MVPN_TLV_SESSION, session, sizeof(session)));
	assert_memory_equal(session, of->session, 16);
	assert_true(chan_get_u32(&r->d.msg, MVPN_TLV_RELAY_RATE, &rate));
	assert_int_equal(rate, kbit);
	while (chan_tlv_next(&r->d.msg, &pos, &tlv)) {
		bool is_a;

		if (tlv.type != MVPN_TLV_RELAY_END)
			continue;
		memcpy(&e, tlv.value, sizeof(e));
		is_a = !memcmp(e.device, of->n.a.id, 16);
		assert_int_equal(be32toh(e.spi_be), is_a ? SPI_A : SPI_B);
		assert_int_equal(tlv.len, sizeof(e) + 1);
		assert_int_equal(tlv.value[sizeof(e)], is_a ? 'a' : 'b');
		memcpy(is_a ? ret_a : ret_b, e.key, 32);
		seen |= is_a ? 1 : 2;
	}
	assert_int_equal(seen, 3);
	assert_memory_not_equal(ret_a, ret_b, 32);
}

static void expect_forward_end(struct relay *r, const struct relayed *of)
{
	uint8_t session[16];

	sim_expect(&r->d, MVPN_MSG_FORWARD);
	assert_int_equal(r->d.msg.flags, MVPN_FORWARD_END);
	assert_true(chan_get_bytes(&r->d.msg, MVPN_TLV_SESSION, session, sizeof(session)));
	assert_memory_equal(session, of->session, 16);
}

/* RELAY, open, by that device with that key; NULL: by the server */
static void expect_by(struct sim_device *d, const struct port *peer, const struct relay *r,
		      const uint8_t *key)
{
	struct mvpn_relay_by by;
	const uint8_t *p;
	uint16_t len;

	expect_relay(d, true, peer);
	p = chan_tlv_find(&d->msg, MVPN_TLV_RELAY_BY, &len);
	assert_int_equal(p != NULL, r != NULL);
	if (!r)
		return;
	assert_int_equal(len, sizeof(by) + 1);
	memcpy(&by, p, sizeof(by));
	assert_memory_equal(by.device, r->d.id, 16);
	assert_int_equal(be16toh(by.port_be), r->port.number);
	assert_memory_equal(by.key, key, 32);
}

static void both_ask(struct relayed *r)
{
	ask_relay(&r->n.a, r->session, SPI_A);
	expect_relay(&r->n.a, false, &r->b);
	expect_relay(&r->n.b, false, &r->a);
	ask_relay(&r->n.b, r->session, SPI_B);
}

static void expect_both_by(struct relayed *r, const struct relay *by, const uint8_t *key_a,
			   const uint8_t *key_b)
{
	expect_by(&r->n.a, &r->b, by, key_a);
	expect_by(&r->n.b, &r->a, by, key_b);
}

static void say_silent(struct sim_device *d, const uint8_t session[16], uint32_t spi,
		       const struct relay *r)
{
	struct chan_buf b = {0};

	chan_begin(&b, MVPN_MSG_RELAY, 0, 0);
	chan_put(&b, MVPN_TLV_SESSION, session, 16);
	chan_put_u32(&b, MVPN_TLV_SPI, spi);
	chan_put(&b, MVPN_TLV_DEVICE, r->d.id, 16);
	sim_send(d, &b);
	chan_buf_free(&b);
}

static json_int_t pairs_of(struct sim_server *s, const char *name)
{
	json_t *list = sim_ok(s, "device-list", NULL), *d;
	json_int_t n = -1;
	size_t i;

	json_array_foreach(json_object_get(list, "devices"), i,
			   d) if (!strcmp(json_string_value(json_object_get(d, "name")), name) &&
				  json_is_integer(json_object_get(d, "relays"))) n =
		json_integer_value(json_object_get(d, "relays"));
	json_decref(list);
	return n;
}

static void a_device_relays(void **state)
{
	uint8_t ka[32], kb[32], again_a[32], again_b[32];
	struct chan_buf b = {0};
	struct relayed r;
	struct relay c;
	json_t *o;

	relayed_up(&r);
	sim_policy(&r.n.s, "allow a -> b\nrelay c limit 2mbit");
	relay_up(&c, &r.n.s, "c", C_ADDR);
	assert_int_equal(pairs_of(&r.n.s, "c"), 0);
	assert_int_equal(pairs_of(&r.n.s, "a"), -1);
	both_ask(&r);
	expect_forward(&c, &r, 2000, ka, kb);
	expect_both_by(&r, &c, ka, kb);
	assert_int_equal(pairs_of(&r.n.s, "c"), 1);
	assert_int_equal(sim_counter(&r.n.s, "relay_devices"), 1);
	o = sim_ok(&r.n.s, "audit", NULL);
	{
		char *text = json_dumps(o, JSON_COMPACT);

		assert_non_null(strstr(text, "relay-open"));
		assert_non_null(strstr(text, "\"relay\":\"c\""));
		free(text);
	}
	json_decref(o);
	/* said anew: the device hears so, the other end does not */
	ask_relay(&r.n.a, r.session, SPI_A);
	expect_forward(&c, &r, 2000, again_a, again_b);
	assert_memory_equal(again_a, ka, 32);
	assert_memory_equal(again_b, kb, 32);
	expect_by(&r.n.a, &r.b, &c, ka);
	sim_expect_nothing(&r.n.b, QUIET_MS);
	/* one end leaves the session */
	chan_begin(&b, MVPN_MSG_ENDED, 0, 0);
	chan_put(&b, MVPN_TLV_SESSION, r.session, 16);
	sim_send(&r.n.b, &b);
	chan_buf_free(&b);
	expect_forward_end(&c, &r);
	assert_int_equal(pairs_of(&r.n.s, "c"), 0);
	/* the next one goes the same way; it ends with the other end */
	sim_introduce(&r.n.a, &r.n.b, B_ADDR, r.session);
	both_ask(&r);
	expect_forward(&c, &r, 2000, ka, kb);
	expect_both_by(&r, &c, ka, kb);
	json_decref(sim_ok(&r.n.s, "device-revoke", "{s:s}", "device", "b"));
	expect_forward_end(&c, &r);
	relay_down(&c);
	relayed_down(&r);
}

/* not one with NAT before it, nor one whose UDP is blocked, nor an end, nor one that the policy does not name */
static void only_a_device_that_can_relays(void **state)
{
	struct chan_buf b = {0};
	struct relayed r;
	struct relay c, d;

	relayed_up(&r);
	sim_policy(&r.n.s, "allow a -> b\nrelay a, c, d");
	c.port = port_open(&r.n.s);
	sim_device_init(&c.d, &r.n.s);
	sim_join(&c.d, "c", C_ADDR);
	prove(&c.d, &c.port); /* seen at another port than its own */
	relay_up(&d, &r.n.s, "d", "192.0.2.4");
	chan_begin(&b, MVPN_MSG_UDP, MVPN_UDP_BLOCKED, 0);
	sim_send(&d.d, &b);
	chan_buf_free(&b);
	ask_relay(&d.d, r.session,
		  SPI_A); /* what was said before has been read when this is answered */
	expect_refusal(&d.d, MVPN_R_EXPIRED);
	both_ask(&r);
	expect_both_by(&r, NULL, NULL, NULL);
	assert_int_equal(sim_counter(&r.n.s, "relay_devices"), 0);
	relay_down(&c);
	relay_down(&d);
	relayed_down(&r);
}

static void another_one_takes_over(void **state)
{
	uint8_t ka[32], kb[32];
	struct relayed r;
	struct relay c, d, *first, *second;

	relayed_up(&r);
	sim_policy(&r.n.s, "allow a -> b\nrelay c, d");
	relay_up(&c, &r.n.s, "c", C_ADDR);
	relay_up(&d, &r.n.s, "d", "192.0.2.4");
	both_ask(&r);
	sim_wait_counter(&r.n.s, "relay_devices", 1);
	first = pairs_of(&r.n.s, "c") ? &c : &d;
	second = first == &c ? &d : &c;
	expect_forward(first, &r, 100000, ka, kb);
	expect_both_by(&r, first, ka, kb);
	/* b's word about one that does not relay for it means nothing */
	say_silent(&r.n.b, r.session, SPI_B, second);
	expect_forward(first, &r, 100000, ka, kb);
	expect_by(&r.n.b, &r.a, first, kb);
	/* it does not answer b */
	say_silent(&r.n.b, r.session, SPI_B, first);
	expect_forward_end(first, &r);
	expect_forward(second, &r, 100000, ka, kb);
	expect_both_by(&r, second, ka, kb);
	assert_int_equal(sim_counter(&r.n.s, "relay_devices_silent"), 1);
	/* nor does the other one answer a: the server is left */
	say_silent(&r.n.a, r.session, SPI_A, second);
	expect_forward_end(second, &r);
	expect_both_by(&r, NULL, NULL, NULL);
	relay_down(&c);
	relay_down(&d);
	relayed_down(&r);
}

static void a_pair_leaves_a_device_that_goes(void **state)
{
	uint8_t ka[32], kb[32];
	struct chan_buf b = {0};
	struct relayed r;
	struct relay c;

	relayed_up(&r);
	sim_policy(&r.n.s, "allow a -> b\nrelay c");
	relay_up(&c, &r.n.s, "c", C_ADDR);
	both_ask(&r);
	expect_forward(&c, &r, 100000, ka, kb);
	expect_both_by(&r, &c, ka, kb);
	/* off-line */
	sim_hang_up(&c.d);
	expect_both_by(&r, NULL, NULL, NULL);
	/* back, and a asks, as it does now and then */
	sim_rejoin(&c.d, C_ADDR);
	prove(&c.d, &c.port);
	ask_relay(&r.n.a, r.session, SPI_A);
	expect_forward(&c, &r, 100000, ka, kb);
	expect_both_by(&r, &c, ka, kb);
	/* the policy takes it away, and gives it back */
	sim_policy(&r.n.s, "allow a -> b");
	expect_forward_end(&c, &r);
	expect_both_by(&r, NULL, NULL, NULL);
	sim_policy(&r.n.s, "allow a -> b\nrelay c");
	ask_relay(&r.n.b, r.session, SPI_B);
	expect_forward(&c, &r, 100000, ka, kb);
	expect_both_by(&r, &c, ka, kb);
	/* another life of it knows nothing of the pair */
	c.d.boot_gen++;
	sim_rejoin(&c.d, C_ADDR);
	expect_both_by(&r, NULL, NULL, NULL);
	prove(&c.d, &c.port);
	ask_relay(&r.n.b, r.session, SPI_B);
	expect_forward(&c, &r, 100000, ka, kb);
	expect_both_by(&r, &c, ka, kb);
	/* it refuses */
	chan_begin(&b, MVPN_MSG_FORWARD, 0, 0);
	chan_put(&b, MVPN_TLV_SESSION, r.session, 16);
	chan_put_u16(&b, MVPN_TLV_REASON, MVPN_R_LIMIT);
	sim_send(&c.d, &b);
	expect_forward_end(&c, &r);
	expect_both_by(&r, NULL, NULL, NULL);
	assert_int_equal(sim_counter(&r.n.s, "relay_devices_refused"), 1);
	sim_send(&c.d, &b); /* too late: it does not relay them any more */
	chan_begin(&b, MVPN_MSG_FORWARD, 0, 0);
	sim_send(&c.d, &b);
	sim_expect_close(&c.d, MVPN_R_BAD_MESSAGE);
	chan_buf_free(&b);
	relay_down(&c);
	relayed_down(&r);
}

/* relay_mbit 0: what no device relays is not relayed */
static void the_server_may_carry_nothing(void **state)
{
	uint8_t ka[32], kb[32];
	struct relayed r;
	struct relay c;

	relayed_up_at(&r, 0);
	ask_relay(&r.n.a, r.session, SPI_A);
	expect_refusal(&r.n.a, MVPN_R_LOCAL_POLICY);
	sim_policy(&r.n.s, "allow a -> b\nrelay c");
	both_ask(&r);
	expect_refusal(&r.n.b, MVPN_R_RELAY);
	expect_refusal(&r.n.a, MVPN_R_RELAY);
	data(&r.a, MVPN_TUNNEL, SPI_B, 100);
	assert_false(comes(&r.b, SPI_B, 100, QUIET_MS));
	relay_up(&c, &r.n.s, "c", C_ADDR);
	ask_relay(&r.n.a, r.session, SPI_A);
	expect_forward(&c, &r, 100000, ka, kb);
	expect_both_by(&r, &c, ka, kb);
	json_decref(sim_ok(&r.n.s, "device-revoke", "{s:s}", "device", "c"));
	expect_refusal(&r.n.a, MVPN_R_RELAY);
	expect_refusal(&r.n.b, MVPN_R_RELAY);
	data(&r.a, MVPN_TUNNEL, SPI_B, 100);
	assert_false(comes(&r.b, SPI_B, 100, QUIET_MS));
	assert_int_equal(sim_counter(&r.n.s, "relayed"), 0);
	relay_down(&c);
	relayed_down(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_device_relays),
		cmocka_unit_test(only_a_device_that_can_relays),
		cmocka_unit_test(another_one_takes_over),
		cmocka_unit_test(a_pair_leaves_a_device_that_goes),
		cmocka_unit_test(the_server_may_carry_nothing),
	};

	return MVPN_RUN(tests);
}
