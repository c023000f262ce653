/* SPDX-License-Identifier: BSD-2-Clause */
#include "log.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "loop.h"

#define LINE_MAX_B 2048
#define LAST_ERROR_B 512
#define RATE_WINDOW_MS 10000
#define RATE_BURST 5

const char *const log_settings[] = {"error", "warning", "info", "debug", NULL};
static const enum log_level levels[] = {LOG_L_ERR, LOG_L_WARN, LOG_L_INFO, LOG_L_DEBUG};

static const char *log_name = "", *log_what = "";
static char last_error[LAST_ERROR_B];
static pthread_mutex_t last_lock = PTHREAD_MUTEX_INITIALIZER;
static enum log_level log_max = LOG_L_INFO;
static int log_to_journal;

/* $JOURNAL_STREAM is "device:inode" of the stream that systemd gave us, see systemd.exec(5) */
static int stderr_is_journal(void)
{
	const char *s = getenv("JOURNAL_STREAM");
	unsigned long long dev, ino;
	struct stat st;

	return s && sscanf(s, "%llu:%llu", &dev, &ino) == 2 && !fstat(STDERR_FILENO, &st) &&
	       st.st_dev == dev && st.st_ino == ino;
}

void log_init(const char *name, enum log_level max)
{
	log_name = name;
	log_max = max;
	log_to_journal = stderr_is_journal();
}

enum log_level log_setting_level(unsigned setting)
{
	return setting < sizeof(levels) / sizeof(levels[0]) ? levels[setting] : LOG_L_DEBUG;
}

static const char *level_name(enum log_level level)
{
	unsigned i = 0;

	while (log_settings[i + 1] && levels[i] != level)
		i++;
	return log_settings[i];
}

void log_about(const char *what)
{
	log_what = what;
}

const char *log_last_error(void)
{
	return last_error;
}

static void last_error_set(const char *text)
{
	pthread_mutex_lock(&last_lock);
	snprintf(last_error, sizeof(last_error), "%s", text);
	pthread_mutex_unlock(&last_lock);
}

void log_at(enum log_level level, const char *fmt, ...)
{
	char line[LINE_MAX_B];
	int saved = errno;
	size_t len, text;
	va_list ap;
	int n;

	if (level > log_max)
		return;
	if (log_to_journal)
		n = snprintf(line, sizeof(line), "<%d>", (int)level);
	else
		n = snprintf(line, sizeof(line), "%s%s%s ", log_name, *log_name ? ": " : "",
			     level_name(level));
	if (n < 0 || (size_t)n >= sizeof(line))
		n = 0;
	len = (size_t)n;
	if (*log_what)
		len += (size_t)snprintf(line + len, sizeof(line) - len, "%.64s: ", log_what);
	text = len;
	errno = saved; /* for %m */
	va_start(ap, fmt);
	n = vsnprintf(line + len, sizeof(line) - len - 1, fmt, ap);
	va_end(ap);
	len = n < 0 ? len : strlen(line);
	/* text from outside must not forge lines or move the cursor */
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
			line[i] = ' ';
	if (level == LOG_L_ERR)
		last_error_set(line + text);
	line[len++] = '\n';
	/* one write(), so that threads do not mix; nowhere to complain if it fails */
	if (write(STDERR_FILENO, line, len) < 0)
		errno = 0;
	errno = saved;
}

int log_rate_ok(enum log_level level, struct log_rate *r)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	unsigned long long now = mono_ms();
	unsigned suppressed = 0;
	int ok;

	if (level > log_max)
		return 0;
	pthread_mutex_lock(&lock);
	if (!r->window_ms || now - r->window_ms >= RATE_WINDOW_MS) {
		suppressed = r->suppressed;
		r->window_ms = now ? now : 1;
		r->sent = 0;
		r->suppressed = 0;
	}
	ok = r->sent < RATE_BURST;
	if (ok)
		r->sent++;
	else
		r->suppressed++;
	pthread_mutex_unlock(&lock);
	if (suppressed)
		log_at(level, "%u messages like the next one were kept back", suppressed);
	return ok;
}
