/* SPDX-License-Identifier: BSD-2-Clause */
/* Text for people: aligned tables, "label value" lines, numbers and times made human. Members that a reply lacks show as "-". */
#ifndef MVPN_CTL_SHOW_H
#define MVPN_CTL_SHOW_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stddef.h>

enum colour { PLAIN, GOOD, WARN, BAD, FAINT, STRONG };

/* ---- table.c ---- */
struct table;
/* Headers, NULL at the end: ">X" aligns right, "?X" (before ">") leaves the column out if it is empty everywhere. Never fails:
 * runs out of memory by exit. */
struct table *table_new(const char *const *headers);
/* the next cell of the row; "" is empty */
void table_cell(struct table *t, enum colour c, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* prints `empty` instead if there is no row; frees */
void table_print(struct table *t, const char *empty);

/* "label   value", labels padded to one width; the text is made harmless, as a cell's is */
void line(const char *label, enum colour c, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/*
 * Names and messages come from other machines, and programs may be called anything: they must not drive the terminal. Control characters,
 * of UTF-8 too, become '?', in place.
 */
void make_harmless(char *text);

/* ---- human.c: each writes into buf and returns it ---- */
#define HUMAN_B 64
const char *human_bytes(char buf[static HUMAN_B], uint64_t bytes);
const char *human_seconds(char buf[static HUMAN_B],
			  uint64_t s); /* "45s", "3m 12s", "2h 5m", "4d 3h" */
const char *human_time(char buf[static HUMAN_B], int64_t at); /* local time; "never" for 0 */

/* ---- members of a reply ---- */
const char *text_of(const json_t *o, const char *member); /* "-" if absent or empty */
bool has_text(const json_t *o, const char *member);
uint64_t number_of(const json_t *o, const char *member);
double real_of(const json_t *o, const char *member);
bool flag_of(const json_t *o, const char *member);
/* strings of an array joined by ", "; "-" when none; the caller frees */
char *joined(const json_t *array);
/*
 * What two ends may use of each other (`services` of a reply: null, or a list under each of two members): "tcp 22 at db; udp 53 at
 * web"; "" for everything. The caller frees.
 */
char *services_text(const json_t *services, const char *a, const char *a_name, const char *b,
		    const char *b_name);
/* DSCPs and limits (`classes` of a reply), with the same members: "dscp ef: tcp 22 at db; limit 20mbit"; "" for none. The caller frees. */
char *classes_text(const json_t *classes, const char *a, const char *a_name, const char *b,
		   const char *b_name);
const char *seconds_of(const json_t *o, const char *member, char buf[static HUMAN_B]);
const char *bytes_of(const json_t *o, const char *member, char buf[static HUMAN_B]);
const char *time_of(const json_t *o, const char *member, char buf[static HUMAN_B]);
/* of a member "mode": what the operator must know about such keys; "" when they are end to end */
const char *server_knows(const json_t *o, char buf[static HUMAN_B]);
/* after how long off-line the device goes; "" if it stays */
const char *ephemeral_of(const json_t *o, char buf[static HUMAN_B]);
/* first 8 digits of an id, enough to name it */
const char *id_of(const json_t *o, const char *member, char buf[static HUMAN_B]);

#endif
