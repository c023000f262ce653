/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The words of a policy's text, read in place, and where they were when something is wrong with them. For the readers of
 * statements only (policy_parse.c, policy_by.c, policy_class.c, policy_protect.c, policy_ether.c, policy_service.c,
 * policy_settings.c, policy_relay.c, policy_test.c).
 */
#ifndef SERVER_POLICY_TEXT_H
#define SERVER_POLICY_TEXT_H

#include "policy_internal.h"

struct reader {
	struct policy *p;
	char *at, *line_start, *end;
	unsigned line;
	struct policy_error *error;
	unsigned flat_total;
};

/*
 * A word, in place: names end before "->" so that "a->b" reads as people mean it. The caller gets start and
 * length; the text is cut once the next token has been looked at.
 */
struct word {
	char *start;
	size_t len;
};

/* -EINVAL with the error filled; where NULL: the line as a whole */
int fail_at(struct reader *r, const char *where, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* room for one more element of an array whose capacity doubles at powers of two */
int grow(void *array, unsigned count, size_t size);
void skip_space(struct reader *r);
bool at_line_end(struct reader *r);
/* `what` names it in the message when it is not there; star: "*" is a word too */
int read_word(struct reader *r, const char *what, bool star, struct word *ret);
bool word_is(const struct word *w, const char *text);
int expect(struct reader *r, const char *token);
int expect_end(struct reader *r);
/* is this the next word? takes it */
bool next_is(struct reader *r, const char *text);
/* names are cut out of the text only after the whole line was read, so that nothing is overwritten too early */
const char *cut(const struct word *w);
int note_name(struct reader *r, const char *name);
/* "[only] NAME -> NAME" */
int read_pair(struct reader *r, bool *ret_only, struct word *ret_src, struct word *ret_dst);

/* policy_protect.c: what follows "protect"; all of them, sorted and looked at once more */
int read_protect(struct reader *r);
int protects_finish(struct reader *r);
/* policy_ether.c: what follows "ethernet" */
int read_ethernet(struct reader *r);
/* policy_settings.c: enum of policy_internal.h or -1; what follows that word */
int policy_setting_find(const struct word *key);
int read_setting(struct reader *r, int which, const struct word *key);
/* policy_service.c: what follows the names in `allow`, nothing or "proto …"; the same in one word each */
int read_services(struct reader *r, struct policy_rule *rule);
void services_fit(struct policy_rule *rule);
int read_proto(struct reader *r, uint8_t *ret);
int read_port(struct reader *r, uint16_t *ret);
/* policy_by.c: "by …" or nothing, into words that are cut later */
struct by_words {
	unsigned n;
	struct {
		unsigned kind;
		struct word w;
	} list[MVPN_BY_LINE_MAX];
};
bool by_is_next(struct reader *r); /* does not take it */
int read_by(struct reader *r, struct by_words *ret);
int by_cut(const struct by_words *from, struct mvpn_by_value **ret, unsigned *ret_n);
/* policy_class.c: "[dscp …] [limit …]" */
bool class_is_next(struct reader *r); /* does not take it */
int read_class(struct reader *r, bool frames, struct mvpn_class *ret);
int read_rate(struct reader *r, uint32_t *ret_kbit); /* what follows "limit" */
/* policy_relay.c: what follows "relay" */
int read_relay(struct reader *r);
/* policy_test.c: what follows "test" */
int read_test(struct reader *r);
/* policy_mode.c: what follows "mode", "level" */
int read_mode(struct reader *r);
int read_level(struct reader *r);

#endif
