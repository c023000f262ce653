/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The policy language of docs/control.md: who may talk to whom, and which prefixes are protected besides the devices'
 * addresses. A parsed policy does not change; names are resolved when it is asked, so devices may come and go.
 */
#ifndef SERVER_POLICY_H
#define SERVER_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"
#include "by.h"
#include "class.h"
#include "mvpn/limits.h"
#include "service.h"

#define POLICY_TEXT_MAX_B (1 << 20)
#define POLICY_RULES_MAX 20000
#define POLICY_GROUPS_MAX 5000
#define POLICY_MEMBERS_MAX 200000 /* of all groups, after nested ones are expanded */
#define POLICY_PROTECTS_MAX 100000
#define POLICY_ETHERS_MAX 1000
#define POLICY_TESTS_MAX 10000
#define POLICY_PAIRINGS_MAX 1000 /* mode lines, and as many level lines */
#define POLICY_RELAYS_MAX 1000 /* names */
#define POLICY_ETHERTYPES_MAX 32 /* different ones in one policy: bounds what is told about a pair */

struct policy;

struct policy_error {
	unsigned line, column; /* from 1; 0 when the whole text is meant */
	char message[256];
};
/* -EINVAL with *ret_error filled, -ENOMEM. The empty text is valid: nothing is allowed. */
int policy_parse(const char *text, size_t len, struct policy **ret, struct policy_error *ret_error);
void policy_free(struct policy *p); /* NULL is fine */

/* what the policy sees of a device: its name, and the groups that its token put it into */
struct policy_subject {
	const char *name;
	const char *const *groups;
	unsigned ngroups;
};
struct policy_rule {
	unsigned line;
	bool only;
	const char *src, *dst; /* names, or "*" */
	/* of dst, and without `only` of src too, that the other one may use; none: everything. One line about a pair that says
	 * everything makes the others' services void. */
	struct mvpn_service *services;
	unsigned nservices;
	/* Which processes of src, by kind; none: all. Of the same kind one is enough, different kinds must all be met. Such a line
	 * has `only`. */
	struct mvpn_by_value *by;
	unsigned nby;
	struct mvpn_class class; /* of what it is about, unless an earlier line is about that too */
};
/* The first rule that lets src open a session to dst, or NULL: refused. */
const struct policy_rule *policy_allows(const struct policy *p, const struct policy_subject *src,
					const struct policy_subject *dst);
/* The rule by which src may begin that with dst, or NULL. Protocol or port 0: anything of that kind. */
const struct policy_rule *policy_allows_flow(const struct policy *p, const struct policy_subject *src,
					     const struct policy_subject *dst, uint8_t proto,
					     uint16_t port);
/* ---- processes (policy_by.c) ---- */
/* The same for a process that is what `who` says and nothing else. */
const struct policy_rule *policy_allows_process(const struct policy *p,
						const struct policy_subject *src,
						const struct policy_subject *dst, uint8_t proto,
						uint16_t port, const struct mvpn_by_value *who,
						unsigned nwho);
bool policy_has_by(const struct policy *p);
/* is there a line about processes of src, wherever they go? */
bool policy_by_about(const struct policy *p, const struct policy_subject *src);
/* is there a line about processes of src that go to dst? */
bool policy_by_pair(const struct policy *p, const struct policy_subject *src,
		    const struct policy_subject *dst);
const struct policy_rule *policy_rules(const struct policy *p, unsigned *ret_count);
/* does the line let src begin with dst, in this direction? */
bool policy_rule_begins(const struct policy *p, const struct policy_rule *r,
			const struct policy_subject *src, const struct policy_subject *dst);

bool policy_limited(const struct policy *p); /* is any rule for certain services only, or with a class? */
/* what a session between the two is for */
struct policy_services {
	bool all;      /* everything, both ways; else the services at src and at dst */
	bool overflow; /* there were more than fit: the others are left out */
	bool classes_overflow; /* likewise, of classes: the others' packets are the rest's */
	unsigned nsrc, ndst;
	struct mvpn_service src[MVPN_SERVICES_MAX], dst[MVPN_SERVICES_MAX];
	struct mvpn_classes classes; /* A is src */
};
void policy_services_of(const struct policy *p, const struct policy_subject *src,
			const struct policy_subject *dst, struct policy_services *ret);
/* lines that let the two talk, in the order of the text, and which of them may begin by each; how many, `max` at most */
struct policy_rule_of {
	const struct policy_rule *rule;
	unsigned begins; /* enum mvpn_rule_flags, A is src */
};
unsigned policy_rules_of(const struct policy *p, const struct policy_subject *src,
			 const struct policy_subject *dst, struct policy_rule_of *ret, unsigned max);
/* the classes of frames between the two, all of end A; -ENOSPC: some are left out */
int policy_frame_classes(const struct policy *p, const struct policy_subject *a,
			  const struct policy_subject *b, struct mvpn_classes *ret);
/* does x let all pass that y does? */
bool policy_services_cover(const struct policy_services *x, const struct policy_services *y);
/* "allow only a -> b proto tcp port 22", for people; what does not fit is left out for an ellipsis */
void policy_rule_str(const struct policy_rule *r, char *ret, size_t size);
/* May src and dst have a session of this layer (enum mvpn_layer)? Frames have their own rules. */
bool policy_allows_layer(const struct policy *p, unsigned layer, const struct policy_subject *src,
			 const struct policy_subject *dst);
/* does the name, a group or a device, mean this subject? */
bool policy_name_matches(const struct policy *p, const char *name, const struct policy_subject *s);

struct policy_protect {
	unsigned line;
	struct mvpn_prefix prefix;
	unsigned nvia; /* 0: nobody owns it */
	const char *via[MVPN_GATEWAYS_MAX]; /* devices, in the order in which they are to be used */
	bool translated; /* hosts there see the gateway's address as the source, not the devices' */
};
/* in the order of policy_prefix_cmp() */
const struct policy_protect *policy_protects(const struct policy *p, unsigned *ret_count);
int policy_prefix_cmp(const struct mvpn_prefix *x, const struct mvpn_prefix *y);
/* the line about exactly this prefix, or NULL */
const struct policy_protect *policy_protect_of(const struct policy *p, const struct mvpn_prefix *prefix);

/* an `ethernet` line: frames of these types between src and dst are sealed or dropped */
struct policy_ether {
	unsigned line;
	bool only; /* from src to dst alone: the other way they are dropped */
	const char *src, *dst;
	unsigned ntypes; /* 0: every type that can be protected */
	uint16_t types[POLICY_ETHERTYPES_MAX];
	struct mvpn_class class; /* as policy_rule.class */
};
const struct policy_ether *policy_ethers(const struct policy *p, unsigned *ret_count);
/* enum mvpn_frame_flags, as `a` sees it: MVPN_FRAME_TX a may send to b, MVPN_FRAME_RX b to a; 0: not about the two */
unsigned policy_ether_flags(const struct policy *p, const struct policy_ether *e,
			    const struct policy_subject *a, const struct policy_subject *b);
/* "ethernet only a -> b type 0x88b5, 0x88b6", for people */
void policy_ether_str(const struct policy_ether *e, char *ret, size_t size);

/* a `test` line: what must hold before the policy is put in force */
struct policy_test {
	unsigned line;
	bool allow;
	const char *src, *dst;
	uint8_t proto; /* 0: any */
	uint16_t port; /* 0: any */
	struct mvpn_by_value *by; /* what the process is; none: any one */
	unsigned nby;
};
const struct policy_test *policy_tests(const struct policy *p, unsigned *ret_count);
/* "test deny a -> b tcp 22", for people */
void policy_test_str(const struct policy_test *t, char *ret, size_t size);
/* puts the groups of a device that is known by name into *subject; leaves it else */
struct policy_resolver {
	void (*fn)(void *arg, const char *name, struct policy_subject *subject);
	void *arg;
};
/* How many tests fail, each told with the reason. `by` may be NULL: names alone count. Takes less than a second. */
int policy_run_tests(const struct policy *p, const struct policy_resolver *by,
		     void (*failed)(void *arg, const struct policy_test *t, const char *why),
		     void *arg);
/* a `mode` or `level` line: what holds between two devices, both ways */
struct policy_pairing {
	unsigned line;
	uint8_t value;
	const char *src, *dst;
};
/* `mode`, enum mvpn_mode: where the keys of their sessions come from */
const struct policy_pairing *policy_modes(const struct policy *p, unsigned *ret_count);
/* enum mvpn_mode of every session between the two */
unsigned policy_mode_of(const struct policy *p, const struct policy_subject *a,
			const struct policy_subject *b);

/* is there a level line about that device, whoever the other one is? */
bool policy_level_about(const struct policy *p, const struct policy_subject *self);
/* enum mvpn_level */
unsigned policy_level_of(const struct policy *p, const struct policy_subject *a,
			 const struct policy_subject *b);

/* a name of a `relay` line: a device, or those of a group, that pass on the sealed packets of pairs which find no direct way */
struct policy_relay {
	unsigned line;
	const char *name;
	uint32_t rate_kbit; /* of each pair */
};
const struct policy_relay *policy_relays(const struct policy *p, unsigned *ret_count);
/* the first that means this device; NULL: it relays nothing */
const struct policy_relay *policy_relay_of(const struct policy *p, const struct policy_subject *s);

/* what it sets for the whole network: enum mvpn_options */
uint32_t policy_options(const struct policy *p);
/* and these, if it does; else what the server's configuration says */
uint32_t policy_rekey_s(const struct policy *p, uint64_t otherwise);
uint32_t policy_max_offline_s(const struct policy *p, uint64_t otherwise);

/* why this prefix must never be protected, or NULL */
const char *policy_unprotectable(const struct mvpn_prefix *p);

/* the declared groups that mean this subject, in the order of their names */
void policy_each_group(const struct policy *p, const struct policy_subject *s,
		       void (*fn)(void *arg, const char *group), void *arg);
/* is this device named by a protect line? */
bool policy_has_gateway(const struct policy *p, const char *name);
bool policy_has_group(const struct policy *p, const char *name);
/* every name that is not a declared group, where it is used, in the order of the text; for warnings */
void policy_each_name(const struct policy *p,
		      void (*fn)(void *arg, unsigned line, const char *name), void *arg);
/* Lines that an earlier one makes void, or, of mode, level and relay lines, for some pairs or devices, of which the text names some; for
 * warnings. Takes less than a second: of more than 2000 allow lines, or fewer beside large groups, not all are looked at. */
typedef void policy_overlap_fn(void *arg, unsigned line, const char *text);
void policy_each_overlap(const struct policy *p, policy_overlap_fn *fn, void *arg);

#endif
