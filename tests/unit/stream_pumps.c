/* SPDX-License-Identifier: BSD-2-Clause */
/* Streams that run, on several pumps. What pumps and the main thread share the thread sanitizer looks at, too. */
#include "stream_conns.h"

#include <sys/resource.h>

static void bytes_are_exact(void **state)
{
	static struct conn conns[CONNS];
	struct loop_timer *timer;
	struct traffic t;

	begin(3);
	for (unsigned i = 0; i < CONNS; i++) {
		conn_new(&conns[i], &peers[i % PEERS], 100000 * (i % 4) + i);
		conn_run(&conns[i]);
	}
	assert_int_equal(streams_count(&k), 2 * CONNS);
	assert_int_equal(loop_timer_new(k.loop, poke, &timer, &timer), 0);
	loop_timer_arm(timer, 1);
	traffic_start(&t, conns, CONNS);
	assert_int_equal(loop_run(k.loop), 0);
	traffic_end(&t);
	for (unsigned i = 0; i < CONNS; i++) {
		if (conns[i].failed || conns[i].wrong)
			fail_msg("connection %u of %zu bytes: %s after %zu sent and %zu received: %s", i, conns[i].size,
				 conns[i].wrong ? "wrong bytes" : "failed", conns[i].sent, conns[i].got, strerror(conns[i].error));
		assert_int_equal(conns[i].got, conns[i].size);
	}
	until_all_is_taken_down();
	assert_int_equal(k.counters[KC_STREAM_CUT], 0);
	end();
	conns_close(conns, CONNS);
}

/* sessions are cut, peers go and others come while all is moving; then keyd stops */
static unsigned churned;
static struct conn more[CONNS];
static void churn(void *arg)
{
	struct loop_timer **t = arg;
	struct peer *p = &peers[churned % PEERS];
	struct conn *c = &more[churned % CONNS];

	if (churned % 3 == 0)
		streams_cut(p, MVPN_R_REVOKED);
	else if (churned % 3 == 1 && p->streams)
		stream_abort(p->streams, MVPN_R_POLICY_CHANGED);
	if (churned >= CONNS)
		conn_close(c);
	conn_new(c, p, 1 << 20);
	conn_run(c);
	assert_int_equal(send(c->from, "bulk", 4, MSG_NOSIGNAL), 4);
	if (++churned == 8 * CONNS)
		loop_quit(k.loop);
	else
		loop_timer_arm(*t, 1);
}

static void streams_are_cut_while_they_move(void **state)
{
	static struct conn conns[CONNS];
	struct loop_timer *timer;
	struct traffic t;

	begin(3);
	for (unsigned i = 0; i < CONNS; i++) {
		conn_new(&conns[i], &peers[i % PEERS], BULK);
		conn_run(&conns[i]);
	}
	traffic_start(&t, conns, CONNS);
	churned = 0;
	assert_int_equal(loop_timer_new(k.loop, churn, &timer, &timer), 0);
	loop_timer_arm(timer, 1);
	while (churned < 8 * CONNS) /* all of the first may have been cut before */
		assert_int_equal(loop_run(k.loop), 0);
	end();
	traffic_end(&t);
	for (unsigned i = 0; i < CONNS; i++) {
		assert_false(conns[i].wrong);
		conn_close(&more[i]);
	}
	conns_close(conns, CONNS);
}

/* keyd stops while nobody was cut before */
static void keyd_stops_under_load(void **state)
{
	static struct conn conns[CONNS];
	struct traffic t;

	begin(2);
	for (unsigned i = 0; i < CONNS; i++) {
		conn_new(&conns[i], &peers[i % PEERS], BULK);
		conn_run(&conns[i]);
	}
	traffic_start(&t, conns, CONNS);
	while (!conns[0].in->received)
		usleep(100);
	end();
	traffic_end(&t);
	conns_close(conns, CONNS);
}

static uint64_t moved(const struct conn *conns, unsigned n)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < n; i++)
		sum += conns[i].out->sent + conns[i].in->received;
	return sum;
}

/* how often the kernel has given this thread's CPU to another one */
static long taken_from_me(void)
{
	struct rusage u;

	assert_int_equal(getrusage(RUSAGE_THREAD, &u), 0);
	return u.ru_nivcsw;
}

/* Of many that all have something to move, two at most go on before the main thread has its turn. */
static void main_thread_waits_for_one_stream(void **state)
{
	static struct conn conns[CONNS];
	struct traffic t;

	begin(1);
	for (unsigned i = 0; i < CONNS; i++) {
		conn_new(&conns[i], &peers[0], BULK);
		conn_run(&conns[i]);
	}
	traffic_start(&t, conns, CONNS);
	while (moved(conns, CONNS) < 32 << 20)
		usleep(100);
	for (unsigned i = 0; i < 20;) {
		long taken_away = taken_from_me();
		uint64_t before = moved(conns, CONNS), between;

		pumps_hold(&k);
		between = moved(conns, CONNS) - before;
		/* if this thread did not get to ask at once, it was not the pump that kept it waiting */
		if (taken_from_me() == taken_away) {
			assert_in_range(between, 0, 4 * MVPN_STREAM_TURN_B);
			i++;
		}
		assert_int_equal(moved(conns, CONNS), before + between);
		pumps_release(&k);
	}
	end();
	traffic_end(&t);
	conns_close(conns, CONNS);
}

/* so those that have little to move do not wait the longer the more others there are that have much */
static void bulk_streams_share_a_turn(void **state)
{
	static struct conn conns[CONNS];
	struct traffic t;
	struct pump *p;

	begin(1);
	for (unsigned i = 0; i < CONNS; i++) {
		conn_new(&conns[i], &peers[0], BULK);
		conn_run(&conns[i]);
	}
	p = conns[0].out->pump;
	assert_int_equal(pump_turn_b(p), MVPN_STREAM_TURN_B);
	traffic_start(&t, conns, CONNS);
	gives_up_ms = mono_ms() + 10000;
	while (pump_turn_b(p) > MVPN_STREAM_DATA_MAX_B && mono_ms() < gives_up_ms)
		usleep(100);
	assert_int_equal(pump_turn_b(p), MVPN_STREAM_DATA_MAX_B);
	traffic_end(&t);
	while (pump_turn_b(p) < MVPN_STREAM_TURN_B && mono_ms() < gives_up_ms + 10000)
		usleep(1000);
	assert_int_equal(pump_turn_b(p), MVPN_STREAM_TURN_B);
	end();
	conns_close(conns, CONNS);
}

/* streams share what their class may send, whichever pump they are with */
static void limit_is_shared(void **state)
{
	static struct conn conns[6];
	struct traffic t;
	uint64_t start, took, sent;

	begin(3);
	classes.is.n = 1;
	classes.of[0].rate_kbit = 80000; /* 10 MB a second */
	classes.of[0].burst_b = 100000;
	session_streams.classes = &classes;
	start = mono_ms();
	for (unsigned i = 0; i < 6; i++) {
		conn_new(&conns[i], &peers[i % PEERS], BULK);
		conns[i].in->opener = false;
		conn_run(&conns[i]);
	}
	traffic_start(&t, conns, 6);
	do {
		usleep(10000);
		pumps_hold(&k);
		took = mono_ms() - start + 1;
		sent = 0;
		for (unsigned i = 0; i < 6; i++)
			sent += conns[i].out->sent;
		pumps_release(&k);
		/* each may be one record ahead, and the bucket one burst */
		assert_in_range(sent, 0, took * 10000 + 100000 + 6 * MVPN_STREAM_DATA_MAX_B);
	} while (sent < 5000000);
	/* the limit goes, and so do they */
	session_streams.classes = NULL;
	for (unsigned i = 0; i < PEERS; i++)
		streams_session_changed(&peers[i]);
	memset(&classes, 0xff, sizeof(classes));
	while (moved(conns, 6) < sent + (64 << 20))
		usleep(1000);
	end();
	traffic_end(&t);
	conns_close(conns, 6);
}

/* a new one goes where little is to be done, even if there are more that do nothing */
static void busy_pumps_get_no_more(void **state)
{
	static struct conn conns[4];
	struct traffic t;
	uint64_t start;

	begin(3);
	for (unsigned i = 0; i < 3; i++) {
		conn_new(&conns[i], &peers[i], BULK);
		conn_run(&conns[i]);
	}
	/* two each; then one each but for the third, whose streams have nothing to do */
	assert_ptr_not_equal(conns[0].out->pump, conns[0].in->pump);
	assert_ptr_equal(conns[1].out->pump, conns[2].in->pump);
	assert_ptr_equal(conns[1].in->pump, conns[0].out->pump);
	stream_abort(conns[1].in, MVPN_R_NONE);
	stream_abort(conns[2].out, MVPN_R_NONE);
	start = mono_ms();
	traffic_start(&t, conns, 1);
	while (moved(conns, 1) < 64 << 20 || mono_ms() < start + 200) /* so long it takes to see which are busy */
		usleep(1000);
	conn_new(&conns[3], &peers[3], 1);
	stream_run(conns[3].out);
	assert_ptr_equal(conns[3].out->pump, conns[2].in->pump);
	end();
	traffic_end(&t);
	conns_close(conns, 4);
}

static unsigned with_pump(const struct conn *conns, unsigned n, const struct pump *p)
{
	unsigned with = 0;

	for (unsigned i = 0; i < n; i++)
		with += (conns[i].out->pump == p) + (conns[i].in->pump == p);
	return with;
}

struct spread {
	struct conn *conns;
	struct pump *first;
	struct loop_timer *timer;
	unsigned left; /* with the first pump */
};

static void look_how_they_are_spread(void *arg)
{
	struct spread *s = arg;

	s->left = with_pump(s->conns, 4, s->first);
	if (s->left <= 5 || mono_ms() > gives_up_ms)
		loop_quit(k.loop);
	else
		loop_timer_arm(s->timer, 1);
}

/* All that have much to move are with one pump, those that have nothing with the other: they are spread, and no byte is lost. */
static void bulk_streams_are_spread(void **state)
{
	static struct conn conns[8], *idle = conns + 4;
	struct spread spread = {.conns = conns};
	struct traffic t;

	begin(2);
	for (unsigned i = 0; i < 4; i++) {
		conn_new(&conns[i], &peers[i], BULK);
		conn_new(&idle[i], &peers[i], 1);
		stream_run(conns[i].out);
		stream_run(idle[i].out);
		stream_run(conns[i].in);
		stream_run(idle[i].in);
	}
	spread.first = conns[0].out->pump;
	assert_int_equal(with_pump(conns, 4, spread.first), 8);
	assert_int_equal(with_pump(idle, 4, spread.first), 0);
	traffic_start(&t, conns, 4);
	assert_int_equal(loop_timer_new(k.loop, look_how_they_are_spread, &spread, &spread.timer), 0);
	gives_up_ms = mono_ms() + 10000;
	loop_timer_arm(spread.timer, 1);
	assert_int_equal(loop_run(k.loop), 0);
	assert_in_range(spread.left, 2, 5);
	end();
	traffic_end(&t);
	for (unsigned i = 0; i < 4; i++)
		assert_false(conns[i].wrong);
	conns_close(conns, 8);
}

/* one peer does not take all from the others */
static void the_last_are_left_to_others(void **state)
{
	unsigned n = 0;

	begin(1);
	k.streams->max = 3 * MVPN_STREAMS_SPARE;
	while (stream_new(&k, &peers[0], n % 2))
		n++;
	assert_int_equal(n, k.streams->max - 3);
	for (n = 0; n < 3; n++)
		assert_non_null(stream_new(&k, &peers[1], false));
	assert_null(stream_new(&k, &peers[2], false));
	streams_cut(&peers[0], MVPN_R_REVOKED);
	assert_int_equal(peers[0].nstreams, 0);
	assert_non_null(stream_new(&k, &peers[2], false));
	end();
}

/* what another keyd does wrong is counted and its stream cut, by the main thread */
static void wrong_ends(void **state)
{
	enum { ENDS, TAMPERS, RESETS, WAYS };
	uint8_t junk[STREAM_OVERHEAD_B + 1] = {STREAM_DATA, 0, 0, STREAM_TAG_B + 1};
	struct stream *s;
	int app[2], net[2];
	char c;

	begin(2);
	for (unsigned how = ENDS; how < WAYS; how++) {
		tcp_pair(app);
		tcp_pair(net);
		s = end_new(&peers[0], true, app[1], net[1]);
		stream_run(s);
		if (how == TAMPERS)
			assert_int_equal(send(net[0], junk, sizeof(junk), 0), sizeof(junk));
		else if (how == ENDS)
			shutdown(net[0], SHUT_WR);
		if (how == RESETS) {
			stream_reset(net[0]);
			close(net[0]);
		}
		until_all_is_taken_down();
		assert_int_equal(k.counters[KC_STREAM_CUT], how == RESETS ? 2 : 1);
		assert_int_equal(k.counters[KC_STREAM_BAD], how != ENDS);
		assert_int_equal(recv(app[0], &c, 1, 0), -1);
		assert_int_equal(errno, ECONNRESET);
		close(app[0]);
		if (how != RESETS)
			close(net[0]);
	}
	end();
	assert_int_equal(files_open(), files);
}

static void full_records_are_whole_segments(void **state)
{
	static const int sizes[] = {1460, 1380, 8960};
	static uint8_t data[400000];
	int app[2], net[2], mss;
	socklen_t len = sizeof(mss);
	uint8_t head[STREAM_HEAD_B];
	int record;

	begin(1);
	for (unsigned i = 0; i < 3; i++) {
		tcp_pair(app);
		tcp_pair_of(net, sizes[i]);
		assert_int_equal(getsockopt(net[1], IPPROTO_TCP, TCP_MAXSEG, &mss, &len), 0);
		assert_in_range(mss, sizes[i] - 12, sizes[i]);
		assert_true(send(app[0], data, sizeof(data), MSG_NOSIGNAL) > 2 * MVPN_STREAM_DATA_MAX_B);
		stream_run(end_new(&peers[0], true, app[1], net[1]));
		for (ssize_t n = 0; n < STREAM_HEAD_B;)
			n = recv(net[0], head, sizeof(head), MSG_PEEK);
		record = stream_record_len(head);
		assert_int_equal(record % mss, 0);
		assert_in_range(record, MVPN_STREAM_DATA_MAX_B - 10000, MVPN_STREAM_DATA_MAX_B);
		close(app[0]);
		close(net[0]);
	}
	end();
	assert_int_equal(files_open(), files);
}

static int option(int fd, int name)
{
	int value = 0;
	socklen_t len = sizeof(value);

	assert_int_equal(getsockopt(fd, IPPROTO_TCP, name, &value, &len), 0);
	return value;
}

/* Some probes may be lost and the other host is there all the same, and many streams do not all ask in the same second; a reader may wait. */
static void silence_is_asked_about_often(void **state)
{
	unsigned seconds = 0;
	uint64_t seen = 0;
	int pair[2];

	for (unsigned i = 0; i < 64; i++) {
		int idle, gap, probes;

		tcp_pair(pair);
		stream_socket_far(pair[0]);
		idle = option(pair[0], TCP_KEEPIDLE);
		gap = option(pair[0], TCP_KEEPINTVL);
		probes = option(pair[0], TCP_KEEPCNT);
		assert_in_range(probes, 5, 20);
		assert_in_range(idle + probes * gap, MVPN_STREAM_SILENT_S - 5, MVPN_STREAM_SILENT_S);
		assert_int_equal(option(pair[0], TCP_USER_TIMEOUT), 0);
		seen |= 1ULL << idle;
		close(pair[0]);
		close(pair[1]);
	}
	for (; seen; seen &= seen - 1)
		seconds++;
	assert_in_range(seconds, 8, 20);
}

/* one that is opened yet is not meant */
static void silent_streams_are_cut(void **state)
{
	static struct conn conns[3];
	uint64_t start;
	char text[5];

	begin(2);
	for (unsigned i = 0; i < 3; i++)
		conn_new(&conns[i], &peers[0], 1);
	conn_run(&conns[0]);
	conn_run(&conns[1]);
	stream_run(conns[2].out);
	streams_cut_silent(&peers[0], 60000);
	assert_int_equal(k.streams->count, 6);
	start = mono_ms();
	usleep(600000);
	assert_int_equal(send(conns[0].from, "hello", 5, 0), 5);
	while (recv(conns[0].to, text, sizeof(text), 0) != 5)
		usleep(100);
	streams_cut_silent(&peers[0], (unsigned)(mono_ms() - start) - 50);
	assert_int_equal(k.streams->count, 3);
	assert_int_equal(k.counters[KC_STREAM_CUT], 3);
	assert_ptr_equal(peers[0].streams, conns[2].in);
	assert_int_equal(conns[2].in->state, STREAM_DELIVERS);
	for (unsigned i = 1; i < 3; i++) {
		while (recv(conns[i].from, text, 1, 0) < 0 && errno == EAGAIN)
			usleep(100);
		assert_int_equal(errno, ECONNRESET);
	}
	end();
	conns_close(conns, 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes_are_exact),
		cmocka_unit_test(streams_are_cut_while_they_move),
		cmocka_unit_test(keyd_stops_under_load),
		cmocka_unit_test(main_thread_waits_for_one_stream),
		cmocka_unit_test(bulk_streams_share_a_turn),
		cmocka_unit_test(limit_is_shared),
		cmocka_unit_test(busy_pumps_get_no_more),
		cmocka_unit_test(bulk_streams_are_spread),
		cmocka_unit_test(the_last_are_left_to_others),
		cmocka_unit_test(wrong_ends),
		cmocka_unit_test(full_records_are_whole_segments),
		cmocka_unit_test(silence_is_asked_about_often),
		cmocka_unit_test(silent_streams_are_cut),
	};

	if (mvpn_crypto_init() || aead_init())
		return 1;
	return MVPN_RUN(tests);
}
