/* SPDX-License-Identifier: BSD-2-Clause */
/* Lines of the log: which come out, what text from outside may do in them, and how many alike. */
#include "log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "test.h"

#define LONG_AGO_MS 1

static int true_stderr, captured;

static int capture(void **state)
{
	true_stderr = dup(STDERR_FILENO);
	captured = memfd_create("log", 0);
	unsetenv("JOURNAL_STREAM");
	return true_stderr < 0 || captured < 0 || dup2(captured, STDERR_FILENO) < 0;
}

static int release(void **state)
{
	dup2(true_stderr, STDERR_FILENO);
	close(true_stderr);
	close(captured);
	log_init("", LOG_L_INFO);
	return 0;
}

static void assert_logged(const char *want)
{
	char text[4096] = "";

	assert_true(pread(captured, text, sizeof(text) - 1, 0) >= 0);
	assert_string_equal(text, want);
	assert_int_equal(ftruncate(captured, 0), 0);
	lseek(captured, 0, SEEK_SET);
}

static void levels_beyond_the_setting_are_silent(void **state)
{
	log_init("x", LOG_L_WARN);
	log_info("no");
	log_warn("yes %d", 1);
	log_err("and this");
	assert_logged("x: warning yes 1\nx: error and this\n");
}

static void text_from_outside_stays_in_its_line(void **state)
{
	log_init("x", LOG_L_INFO);
	log_info("name %s", "a\nx: error forged\033[2J\177");
	assert_logged("x: info name a x: error forged [2J \n");
}

static void lines_say_what_they_are_about(void **state)
{
	log_init("x", LOG_L_INFO);
	log_about("lab");
	log_info("runs");
	log_err("does\nnot");
	log_warn("nearly");
	log_about("");
	log_info("all");
	assert_logged("x: info lab: runs\nx: error lab: does not\nx: warning lab: nearly\nx: info all\n");
	assert_string_equal(log_last_error(), "does not");
}

static void of_many_alike_some_are_kept_back(void **state)
{
	struct log_rate r = {0};
	unsigned n = 0;

	log_init("x", LOG_L_INFO);
	for (unsigned i = 0; i < 100; i++)
		n += log_rate_ok(LOG_L_INFO, &r) != 0;
	assert_int_equal(n, 5);
	assert_logged("");
	r.window_ms = LONG_AGO_MS;
	assert_true(log_rate_ok(LOG_L_INFO, &r));
	assert_logged("x: info 95 messages like the next one were kept back\n");
}

/* what would not come out anyway is not counted as kept back */
static void nobody_misses_what_is_not_logged(void **state)
{
	struct log_rate r = {.window_ms = LONG_AGO_MS, .suppressed = 7};

	log_init("x", LOG_L_WARN);
	for (unsigned i = 0; i < 100; i++)
		assert_false(log_rate_ok(LOG_L_INFO, &r));
	assert_int_equal(r.suppressed, 7);
	assert_logged("");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(levels_beyond_the_setting_are_silent, capture, release),
		cmocka_unit_test_setup_teardown(text_from_outside_stays_in_its_line, capture, release),
		cmocka_unit_test_setup_teardown(lines_say_what_they_are_about, capture, release),
		cmocka_unit_test_setup_teardown(of_many_alike_some_are_kept_back, capture, release),
		cmocka_unit_test_setup_teardown(nobody_misses_what_is_not_logged, capture, release),
	};

	return MVPN_RUN(tests);
}
