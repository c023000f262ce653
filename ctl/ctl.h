/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * mvpnctl: a verb is a row of data: what it is called, what it takes, what it asks the daemon, and a function that
 * makes the reply readable. The command line becomes the request's `args` by the parameters' description alone.
 */
#ifndef MVPN_CTL_CTL_H
#define MVPN_CTL_CTL_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "mvpn/ctl.h"

enum kind {
	KIND_TEXT = 1,
	KIND_UINT,    /* decimal, min..max */
	KIND_SECONDS, /* "90", "30s", "5m", "1h", "7d" */
	KIND_PREFIX,  /* checked here, so that a typo is a usage error */
	KIND_FLAG,    /* option without a value */
	KIND_LIST,    /* KIND_PREFIX that may be repeated */
};

struct param {
	const char *name; /* "--name" of an option, in capitals what usage calls an operand */
	char letter;	  /* short form of an option */
	enum kind kind;
	const char *member; /* of args */
	const char *value;  /* what usage calls an option's value; "a|b|c" are choices */
	uint64_t min, max;
	bool required;
	const char *help;
};

#define PARAMS_MAX 8
/* an option of verbs that change something */
#define COMMENT                                                                                    \
	{                                                                                          \
		"--comment", 'c', KIND_TEXT, "comment", "TEXT", .help = "why, for the audit trail" \
	}

/* a process that is this and nothing else */
#define PROCESS_OPTIONS                                                                              \
	{"--unit", 'u', KIND_TEXT, "unit", "NAME", .help = "of a process of this unit"},             \
		{"--uid", 0, KIND_TEXT, "uid", "N", .help = "of this user, by number or name"},      \
		{"--exe", 'e', KIND_TEXT, "exe", "PATH", .help = "that executes this program"},      \
	{                                                                                            \
		"--cgroup", 0, KIND_TEXT, "cgroup", "PATH", .help = "in this control group"          \
	}
struct verb {
	const char *name;    /* words as typed: "server token create" */
	const char *request; /* the verb on the socket */
	const char *summary; /* one line */
	const char *more;    /* paragraphs for `help VERB`, may be NULL */
	const char *example; /* a command line without "mvpnctl" */
	struct param operands[3], options[PARAMS_MAX];
	/* what parameters alone cannot say: turns args into what is sent; an exit code, after usage_error() or fail() */
	int (*prepare)(json_t *args);
	unsigned (*timeout_ms)(const json_t *args); /* NULL: TIMEOUT_MS */
	bool (*follows)(const json_t *args);	    /* lines come until somebody ends it; NULL: one reply */
	/* true: what has come is a part, and args ask for the next; `part` is that, to be joined to the reply: NULL at first */
	bool (*goes_on)(json_t *args, json_t *reply, json_t *part);
	/* before it is shown or put out: what only we can see, and not the daemon at that socket; NULL: nothing */
	void (*complete)(const char *path, json_t *reply);
	/* in place of the daemon: the reply, made of what several say; -errno as of ipc_request() */
	int (*gather)(const char *path, json_t **ret);
	void (*show)(const json_t *reply);	    /* the reply as text on stdout */
};

#define TIMEOUT_MS 10000

/* every verb; NULL at the end */
extern const struct verb *const verbs[];
extern const struct verb verb_networks;
extern const struct verb verb_status, verb_doctor, verb_leaks, verb_metrics;
extern const struct verb verb_attach, verb_detach, verb_enroll, verb_reload;
extern const struct verb verb_identity_show, verb_identity_unlock, verb_passphrase_set,
	verb_passphrase_remove, verb_rotate, verb_pin;
extern const struct verb verb_key_show, verb_key_rotate, verb_key_cancel;
extern const struct verb verb_peers, verb_sessions, verb_flows, verb_ping, verb_explain, verb_wait,
	verb_rekey, verb_relays, verb_gateways;
extern const struct verb verb_server_status, verb_server_sessions, verb_server_audit;
extern const struct verb verb_token_create, verb_token_list, verb_token_revoke;
extern const struct verb verb_device_list, verb_device_show, verb_device_approve,
	verb_device_suspend, verb_device_revoke, verb_device_remove, verb_device_rename,
	verb_device_address_add, verb_device_address_del;
extern const struct verb verb_policy_show, verb_policy_check, verb_policy_diff, verb_policy_apply,
	verb_policy_rollback, verb_policy_list, verb_policy_test;

/* ---- args.c ---- */

enum output { OUTPUT_TABLE, OUTPUT_JSON, OUTPUT_JSON_LINE };

struct command {
	const struct verb *verb; /* NULL: help or version was asked for and printed */
	const char *socket;	 /* NULL: the default */
	const char *network; /* NULL: --network was not given */
	char network_socket[64]; /* that of it */
	json_t *args;		 /* owned */
};
/* 0, or the exit code after usage_error(); sets ctl_output */
int command_parse(int argc, char **argv, struct command *ret);

/* ---- help.c ---- */
void help_all(void);
void help_verb(const struct verb *v);

/* ---- output.c ---- */
extern enum output ctl_output;
extern bool ctl_colour;
void output_init(void);
/* "mvpnctl: MESSAGE\n  HINT" on stderr; with JSON output an object on stdout, and the text if a person watches stderr. Returns
 * exit_code. */
int fail(int exit_code, const char *code, const char *hint, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* the same for a command line; v may be NULL */
int usage_error(const struct verb *v, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* print a reply, or its error; the exit code */
int output_reply(const struct verb *v, const json_t *reply);

#endif
