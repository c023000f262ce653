/* SPDX-License-Identifier: BSD-2-Clause */
/* Shared by the files of the policy only. */
#ifndef SERVER_POLICY_INTERNAL_H
#define SERVER_POLICY_INTERNAL_H

#include "policy.h"

struct policy_group {
	const char *name;
	unsigned line;
	const char **members; /* as written: devices and groups */
	unsigned nmembers;
	const char **flat; /* sorted; nested groups expanded, no group names left */
	unsigned nflat;
	int mark; /* while expanding: 0 not seen, 1 under way, 2 done */
};

struct policy_name {
	const char *name;
	unsigned line;
};

enum { POLICY_SET_DSCP, POLICY_SET_MULTICAST, POLICY_SET_REKEY, POLICY_SET_MAX_OFFLINE, POLICY_SETTINGS };

struct policy {
	char *text; /* names point into it */
	struct policy_group *groups;
	unsigned ngroups;
	struct policy_rule *rules;
	unsigned nrules;
	unsigned nlimited; /* of them, to services, or with a class */
	struct policy_key *by_name, *by_member; /* policy_index.c: of nrules, of nby_member */
	uint32_t nby_member;
	unsigned nby;	   /* and to processes */
	struct policy_protect *protects;
	unsigned nprotects;
	struct policy_ether *ethers;
	unsigned nethers;
	uint16_t types[POLICY_ETHERTYPES_MAX]; /* named by any of them */
	unsigned ntypes;
	struct policy_test *tests;
	unsigned ntests;
	struct policy_pairing *modes, *levels;
	unsigned nmodes, nlevels;
	struct policy_relay *relays;
	unsigned nrelays;
	struct policy_name *names; /* used, in order */
	unsigned nnames;
	unsigned setting_line[POLICY_SETTINGS]; /* 0: not set */
	uint32_t options;
	uint32_t rekey_s, max_offline_s; /* 0: not set */
};

/* one more rule counts for the pair, unless ->all; between begin and end */
void policy_services_begin(struct policy_services *ret);
void policy_services_end(struct policy_services *ret);
void policy_services_add(struct policy_services *to, const struct policy_rule *r, bool at_src,
			 bool at_dst);
/* policy_by.c: " by uid 5, 6 exe /bin/x" at ret + n, as snprintf; is it met by a process that is this? */
int policy_by_str(const struct mvpn_by_value *by, unsigned nby, char *ret, size_t size);
bool policy_by_met(const struct policy_rule *r, const struct mvpn_by_value *who, unsigned nwho);
/* ---- policy_index.c ---- */
int policy_index(struct policy *p); /* once groups are sorted and expanded: -ENOMEM */
#define POLICY_WALK_NAMES 64 /* that mean either of two devices; with more all lines are gone through */
struct policy_walk {
	const struct policy *p;
	bool all;
	uint32_t next;
	unsigned n;
	struct {
		uint32_t at, end;
	} name[POLICY_WALK_NAMES];
};
/* every line that is about the two, and few others, in the order of the text; p may be NULL */
void policy_walk(struct policy_walk *w, const struct policy *p, const struct policy_subject *a,
		 const struct policy_subject *b);
const struct policy_rule *policy_walk_next(struct policy_walk *w); /* NULL: no more */
/* ---- */
const struct policy_group *policy_group_find(const struct policy *p, const char *name);
int policy_name_cmp(const void *a, const void *b); /* of const char * elements */

#endif
