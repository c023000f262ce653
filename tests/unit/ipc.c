/* SPDX-License-Identifier: BSD-2-Clause */
/* A server on a thread of its own; the tests call it. */
#include "ipc.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "mvpn/ctl.h"
#include "mvpn/limits.h"
#include "test.h"

#define DEADLINE_MS 20000
#define BIG_B (1 << 20)

static char dir[64], path[96];
static struct loop *l;
static struct ipc_server *server;
static struct loop_timer *timer;
static struct ipc_call *late[2];
static unsigned nlate;
static pthread_t thread;
static int stop_fd, gone_fd;

/* ---- the server's side ---- */

static void on_gone(void *arg)
{
	uint64_t one = 1;

	if (write(gone_fd, &one, sizeof(one)) < 0)
		abort();
}

static void reply_late(void *arg)
{
	for (unsigned i = 0; i < nlate; i++)
		ipc_reply_ok(late[i], json_pack("{s:i}", "n", (int)i));
	nlate = 0;
}

static void handle(void *arg, struct ipc_call *call, const char *verb, json_t *args)
{
	if (!strcmp(verb, "echo")) {
		ipc_reply_ok(call, json_pack("{s:O}", "args", args));
	} else if (!strcmp(verb, "empty")) {
		ipc_reply_ok(call, NULL);
	} else if (!strcmp(verb, "error")) {
		ipc_reply_error(call, MVPN_EXIT_DENIED, "denied", "ask", "not %d", 7);
	} else if (!strcmp(verb, "odd")) {
		/* of a file, a path: any bytes; and cut within a character */
		ipc_reply_error(call, MVPN_EXIT_FAILED, "odd", "see \xff", "%.3s", "m\xff\xe2\x80\xa6");
	} else if (!strcmp(verb, "late")) {
		late[nlate++] = call;
		loop_timer_arm(timer, 20);
	} else if (!strcmp(verb, "never")) {
		ipc_call_on_gone(call, on_gone, NULL);
	} else if (!strcmp(verb, "stream")) {
		for (int i = 0; i < 3; i++)
			ipc_stream(call, json_pack("{s:i}", "line", i));
		ipc_reply_ok(call, NULL);
	} else if (!strcmp(verb, "big")) {
		char *s = malloc(BIG_B + 1);

		memset(s, 'x', BIG_B);
		s[BIG_B] = 0;
		ipc_reply_ok(call, json_pack("{s:s}", "big", s));
		free(s);
	}
}

static void on_stop(void *arg, uint32_t events)
{
	loop_quit(l);
}

static void *run(void *arg)
{
	loop_run(l);
	return NULL;
}

static int setup(void **state)
{
	strcpy(dir, "/tmp/mvpn-ipc.XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/run/keyd.sock", dir);
	stop_fd = eventfd(0, EFD_CLOEXEC);
	gone_fd = eventfd(0, EFD_CLOEXEC);
	nlate = 0;
	if (loop_new(&l) || loop_timer_new(l, reply_late, NULL, &timer) ||
	    loop_add(l, stop_fd, EPOLLIN, on_stop, NULL, NULL) ||
	    ipc_server_new(l, path, handle, NULL, &server))
		return -1;
	return pthread_create(&thread, NULL, run, NULL);
}

static int teardown(void **state)
{
	uint64_t one = 1;
	char run_dir[96];

	if (write(stop_fd, &one, sizeof(one)) < 0)
		return -1;
	pthread_join(thread, NULL);
	ipc_server_free(server);
	loop_free(l);
	close(stop_fd);
	close(gone_fd);
	/* the socket went with its server */
	if (!access(path, F_OK))
		return -1;
	snprintf(run_dir, sizeof(run_dir), "%s/run", dir);
	rmdir(run_dir);
	return rmdir(dir);
}

/* ---- the tests' side ---- */

static json_t *ask(const char *verb, json_t *args)
{
	json_t *reply;

	assert_int_equal(ipc_request(path, verb, args, DEADLINE_MS, &reply), 0);
	assert_int_equal(json_integer_value(json_object_get(reply, "schema")), MVPN_CTL_SCHEMA);
	return reply;
}

static int connect_raw(void)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(sun.sun_path, path);
	assert_int_equal(connect(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	return fd;
}

static void say(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* until the server closes, or n lines have come */
static void hear(int fd, unsigned lines, char *ret, size_t size)
{
	size_t len = 0;

	while (lines) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		ssize_t n;

		assert_int_equal(poll(&p, 1, DEADLINE_MS), 1);
		n = recv(fd, ret + len, size - 1 - len, 0);
		if (n <= 0)
			break;
		for (ssize_t i = 0; i < n; i++)
			lines -= ret[len + (size_t)i] == '\n';
		len += (size_t)n;
	}
	ret[len] = 0;
}

static void the_socket_is_roots_only(void **state)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
}

static void requests_are_answered(void **state)
{
	json_t *r = ask("echo", json_pack("{s:s, s:[i,i]}", "iface", "eth0", "list", 1, 2));
	const json_t *args = json_object_get(r, "args");

	assert_true(json_is_true(json_object_get(r, "ok")));
	assert_string_equal(json_string_value(json_object_get(args, "iface")), "eth0");
	assert_int_equal(json_array_size(json_object_get(args, "list")), 2);
	json_decref(r);
	r = ask("empty", NULL);
	assert_true(json_is_true(json_object_get(r, "ok")));
	json_decref(r);
	r = ask("late", NULL);
	assert_true(json_is_true(json_object_get(r, "ok")));
	json_decref(r);
	r = ask("big", NULL);
	assert_int_equal(json_string_length(json_object_get(r, "big")), BIG_B);
	json_decref(r);
}

static void errors_carry_code_hint_and_exit(void **state)
{
	json_t *r = ask("error", NULL);
	const json_t *e = json_object_get(r, "error");

	assert_true(json_is_false(json_object_get(r, "ok")));
	assert_int_equal(json_integer_value(json_object_get(r, "exit")), MVPN_EXIT_DENIED);
	assert_string_equal(json_string_value(json_object_get(e, "code")), "denied");
	assert_string_equal(json_string_value(json_object_get(e, "message")), "not 7");
	assert_string_equal(json_string_value(json_object_get(e, "hint")), "ask");
	json_decref(r);
}

static void errors_that_are_no_text_are_told(void **state)
{
	json_t *r = ask("odd", NULL);
	const json_t *e = json_object_get(r, "error");

	assert_string_equal(json_string_value(json_object_get(e, "code")), "odd");
	assert_string_equal(json_string_value(json_object_get(e, "message")), "m??");
	assert_string_equal(json_string_value(json_object_get(e, "hint")), "see ?");
	json_decref(r);
}

static void garbage_is_refused_in_words(void **state)
{
	static const char *const garbage[] = {"hello\n",
					      "[1]\n",
					      "{}\n",
					      "{\"verb\":1}\n",
					      "{\"verb\":\"echo\",\"args\":[]}\n",
					      "{\"verb\":\"echo\"\n",
					      "\xff\xfe\n"};
	char text[1024];

	for (unsigned i = 0; i < sizeof(garbage) / sizeof(*garbage); i++) {
		int fd = connect_raw();

		say(fd, garbage[i]);
		hear(fd, 99, text, sizeof(text)); /* it hangs up */
		assert_non_null(strstr(text, "\"ok\":false"));
		assert_non_null(strstr(text, "\"exit\":2"));
		close(fd);
	}
}

static void an_endless_request_is_cut_off(void **state)
{
	char *block = malloc(65536), text[1024];
	int fd = connect_raw();

	memset(block, 'a', 65536);
	for (size_t sent = 0; sent < 4u * MVPN_CTL_REQUEST_MAX_B;) {
		ssize_t n = send(fd, block, 65536, MSG_NOSIGNAL);

		if (n < 0)
			break;
		sent += (size_t)n;
		assert_true(sent < 3u * MVPN_CTL_REQUEST_MAX_B);
	}
	hear(fd, 1, text, sizeof(text));
	assert_non_null(strstr(text, "request-too-large"));
	close(fd);
	free(block);
}

static void one_connection_takes_several_requests_in_turn(void **state)
{
	char text[2048], *a, *b, *c;
	int fd = connect_raw();

	say(fd, "{\"verb\":\"error\"}\n{\"verb\":\"late\"}\n{\"verb\":\"echo\",\"args\":{\"x\":5}}"
		"\n{\"ver");
	hear(fd, 3, text, sizeof(text));
	a = strstr(text, "not 7");
	b = strstr(text, "\"n\":0");
	c = strstr(text, "\"x\":5");
	assert_true(a && b && c && a < b && b < c);
	say(fd, "b\":\"empty\"}\n");
	hear(fd, 1, text, sizeof(text));
	assert_non_null(strstr(text, "\"ok\":true"));
	/* a last line without its end, as `printf | socat` sends it */
	say(fd, "{\"verb\":\"late\"}");
	shutdown(fd, SHUT_WR);
	hear(fd, 99, text, sizeof(text));
	assert_non_null(strstr(text, "\"n\":0"));
	close(fd);
}

static void a_stream_ends_the_connection(void **state)
{
	char text[1024];
	int fd = connect_raw();

	say(fd, "{\"verb\":\"stream\"}\n{\"verb\":\"empty\"}\n");
	hear(fd, 99, text, sizeof(text));
	assert_non_null(strstr(text, "{\"line\":0}\n{\"line\":1}\n{\"line\":2}\n"));
	close(fd);
}

static int count_line(void *arg, const json_t *line)
{
	json_int_t *n = arg;

	if (!json_object_get(line, "line"))
		return 0; /* the reply that ends it */
	assert_int_equal(json_integer_value(json_object_get(line, "line")), (*n)++);
	return 0;
}

static void a_stream_is_followed(void **state)
{
	json_int_t n = 0;

	assert_int_equal(ipc_follow(path, "stream", NULL, 1000, count_line, &n), -ENODATA);
	assert_int_equal(n, 3);
	assert_int_equal(ipc_follow("/nonexistent/socket", "stream", NULL, 1000, count_line, &n), -ENOENT);
}

static void the_handler_learns_that_the_client_is_gone(void **state)
{
	struct pollfd p = {.fd = gone_fd, .events = POLLIN};
	json_t *reply;
	int fd = connect_raw();

	say(fd, "{\"verb\":\"never\"}\n");
	/* not by half-closing: the reply may still be read */
	shutdown(fd, SHUT_WR);
	assert_int_equal(poll(&p, 1, 50), 0);
	close(fd);
	assert_int_equal(poll(&p, 1, DEADLINE_MS), 1);
	/* a late reply to one who did not ask to be told is harmless: sanitizers watch */
	fd = connect_raw();
	say(fd, "{\"verb\":\"late\"}\n");
	close(fd);
	assert_int_equal(ipc_request(path, "never", NULL, 50, &reply), -ETIMEDOUT);
}

static void too_many_clients_are_told(void **state)
{
	int fds[MVPN_CTL_CLIENTS_MAX], extra;
	char text[512];

	for (unsigned i = 0; i < MVPN_CTL_CLIENTS_MAX; i++)
		fds[i] = connect_raw();
	extra = connect_raw();
	hear(extra, 99, text, sizeof(text));
	assert_non_null(strstr(text, "\"busy\""));
	close(extra);
	for (unsigned i = 0; i < MVPN_CTL_CLIENTS_MAX; i++)
		close(fds[i]);
}

static void a_live_socket_is_kept_and_a_dead_one_replaced(void **state)
{
	struct ipc_server *other;
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	char dead[160];
	struct loop *l2;
	int fd;

	assert_int_equal(loop_new(&l2), 0);
	assert_int_equal(ipc_server_new(l2, path, handle, NULL, &other), -EADDRINUSE);
	json_decref(ask("empty", NULL));
	snprintf(dead, sizeof(dead), "%s/dead.sock", dir);
	strcpy(sun.sun_path, dead);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	close(fd);
	assert_int_equal(ipc_server_new(l2, dead, handle, NULL, &other), 0);
	ipc_server_free(other);
	assert_int_equal(access(dead, F_OK), -1);
	/* what is no socket is not ours to remove */
	assert_int_equal(ipc_server_new(l2, dir, handle, NULL, &other), -EEXIST);
	memset(dead, 'x', sizeof(dead) - 1);
	dead[sizeof(dead) - 1] = 0;
	assert_int_equal(ipc_server_new(l2, dead, handle, NULL, &other), -ENAMETOOLONG);
	loop_free(l2);
}

static void an_absent_daemon_has_a_name(void **state)
{
	json_t *reply;
	char nobody[128];
	int fd;

	assert_int_equal(ipc_request("/nonexistent/x.sock", "status", NULL, 1000, &reply), -ENOENT);
	snprintf(nobody, sizeof(nobody), "%s/x.sock", dir);
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	strcpy(sun.sun_path, nobody);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	assert_int_equal(ipc_request(nobody, "status", json_object(), 1000, &reply), -ECONNREFUSED);
	/* one that listens and never answers */
	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(ipc_request(nobody, "status", NULL, 50, &reply), -ETIMEDOUT);
	close(fd);
	unlink(nobody);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_socket_is_roots_only, setup, teardown),
		cmocka_unit_test_setup_teardown(requests_are_answered, setup, teardown),
		cmocka_unit_test_setup_teardown(errors_carry_code_hint_and_exit, setup, teardown),
		cmocka_unit_test_setup_teardown(errors_that_are_no_text_are_told, setup, teardown),
		cmocka_unit_test_setup_teardown(garbage_is_refused_in_words, setup, teardown),
		cmocka_unit_test_setup_teardown(an_endless_request_is_cut_off, setup, teardown),
		cmocka_unit_test_setup_teardown(one_connection_takes_several_requests_in_turn,
						setup, teardown),
		cmocka_unit_test_setup_teardown(a_stream_ends_the_connection, setup, teardown),
		cmocka_unit_test_setup_teardown(a_stream_is_followed, setup, teardown),
		cmocka_unit_test_setup_teardown(the_handler_learns_that_the_client_is_gone, setup,
						teardown),
		cmocka_unit_test_setup_teardown(too_many_clients_are_told, setup, teardown),
		cmocka_unit_test_setup_teardown(a_live_socket_is_kept_and_a_dead_one_replaced,
						setup, teardown),
		cmocka_unit_test_setup_teardown(an_absent_daemon_has_a_name, setup, teardown),
	};

	return MVPN_RUN(tests);
}
