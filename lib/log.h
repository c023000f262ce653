/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Messages for people, from daemons and tools only (no other file of lib/ logs). To stderr: with systemd's
 * "<N>" priority prefix when $JOURNAL_STREAM says that stderr is the journal, else "LEVEL text". A message says what failed, on
 * what, and what to do next. Never a key.
 */
#ifndef MVPN_LOG_H
#define MVPN_LOG_H

enum log_level { LOG_L_ERR = 3, LOG_L_WARN = 4, LOG_L_INFO = 6, LOG_L_DEBUG = 7 };

/* the levels by name, from the fewest lines to the most, NULL at the end: a setting of a configuration file is an index */
extern const char *const log_settings[];
#define LOG_SETTING_DEFAULT 2 /* info */
enum log_level log_setting_level(unsigned setting);

void log_init(const char *name, enum log_level max); /* name prefixes each line on a terminal */
/* what all lines are about, such as one of several networks, in front of the text; "" nothing. Its memory stays the caller's */
void log_about(const char *what);
/* the last line that was an error, for who asks why a start has failed; "" none */
const char *log_last_error(void);
void log_at(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* as log_at, but at most five lines each 10 s for one call site; says how many were kept back */
#define log_ratelimited(level, ...)                                                                \
	do {                                                                                       \
		static struct log_rate rate_;                                                      \
		if (log_rate_ok(level, &rate_))                                                           \
			log_at(level, __VA_ARGS__);                                                \
	} while (0)
struct log_rate {
	unsigned long long window_ms;
	unsigned sent, suppressed;
};
int log_rate_ok(enum log_level level, struct log_rate *r);
#define log_err(...) log_at(LOG_L_ERR, __VA_ARGS__)
#define log_warn(...) log_at(LOG_L_WARN, __VA_ARGS__)
#define log_info(...) log_at(LOG_L_INFO, __VA_ARGS__)
#define log_debug(...) log_at(LOG_L_DEBUG, __VA_ARGS__)

#endif
