/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Devices and who owns which prefix, in memory: the store's content, found by id, key, name and address. Changes go
 * to the store first; these functions only follow. Every change of an effective owner is reported to the callback, which
 * is how pushes learn of it.
 *
 * The effective owner of a prefix: the device that the policy's `protect … via` names (the first of several that is enrolled), else the device that has it (by
 * device-address or registration), else nobody (`protect` alone: protected, dropped).
 */
#ifndef SERVER_REGISTRY_H
#define SERVER_REGISTRY_H

#include <stdbool.h>
#include <stdint.h>

#include "addr.h"
#include "htab.h"
#include "lpm.h"
#include "policy.h"
#include "store.h"

#define DEVICE_GROUPS_MAX 16
#define DEVICE_PREFIXES_MAX 256 /* claims, given ones and scopes of one device */

struct conn;
struct gateway_set;
struct relay_tcp;

struct device_prefix {
	struct mvpn_prefix p;
	uint8_t kind; /* enum prefix_kind */
};

struct device {
	struct store_device row;
	uint32_t index; /* in registry.devices */
	char *groups[DEVICE_GROUPS_MAX];
	unsigned ngroups;
	struct device_prefix *prefixes;
	unsigned nprefixes;
	struct device_mac *macs[MVPN_MACS_MAX]; /* macs.c */
	unsigned nmacs;
	struct mvpn_prefix *owned; /* effective, from wherever, or as a gateway that stands by */
	unsigned nowned;
	/* of the present channel; NULL: offline */
	struct conn *conn;
	struct relay_tcp *conduit; /* relay_tcp.c; NULL: it takes packets by UDP */
	uint16_t udp_port;
	/* relay_device.c: on-line, and lets pairs go through it; 0: it does not */
	uint32_t relay_kbit;
	struct device *relay_prev, *relay_next;
	unsigned relay_pairs; /* that do */
	uint64_t offline_ms; /* since then without a channel; 0: since the server's start */
	uint64_t pass_ms;    /* gate.c: its rate of handshakes by ticket */
	uint64_t changes_ms; /* start of the window in which `changes` of its claims are counted */
	unsigned changes;
	bool seen;  /* last_seen_at is not in the store yet */
	bool renew; /* it has lost a prefix that its sessions name */
	struct hnode by_id, by_pk, by_next, by_name;
};

/* either may be NULL; a device that is about to be removed may be `before` */
typedef void registry_owner_fn(void *arg, const struct mvpn_prefix *p, struct device *before,
			       struct device *now);

struct registry {
	struct device **devices; /* by index; NULL: free */
	uint32_t size, count;
	uint32_t states[5]; /* devices by enum mvpn_device_state */
	struct htab by_id, by_pk, by_name;
	struct htab by_next; /* devices with a next key */
	struct htab by_mac; /* struct device_mac */
	struct lpm
		*given; /* prefix → index + 1 of the device that has it as claim or from an admin */
	struct lpm *policy; /* prefix of a protect line → index + 1 of its gateway, 0 none */
	struct lpm *owners; /* effective: index + 1, 0 protected without owner */
	struct gateway_set *sets; /* gateways.c, in the order of policy_prefix_cmp() */
	unsigned nsets;
	registry_owner_fn *changed; /* NULL until set: no reports while loading */
	void *changed_arg;
};

int registry_new(struct registry **ret);
void registry_free(struct registry *r); /* NULL is fine */
int registry_load(struct registry *r, struct store *st);

int registry_add(struct registry *r, const struct store_device *row, struct device **ret);
void registry_remove(struct registry *r, struct device *d); /* its prefixes first; frees d */
int registry_rename(struct registry *r, struct device *d, const char *name);
/* its X25519 key, and what vouches for that, are those of the row */
void registry_set_key(struct registry *r, struct device *d, const struct store_device *row);
void registry_set_state(struct registry *r, struct device *d, unsigned state);
int registry_join(struct device *d, const char *group); /* -ENOSPC over DEVICE_GROUPS_MAX */

struct device *registry_by_id(const struct registry *r, const uint8_t id[16]);
struct device *registry_by_pk(const struct registry *r, const uint8_t pk[32]);
struct device *registry_by_next(const struct registry *r, const uint8_t pk[32]);
/* pk of 0: no next key */
void registry_set_next(struct registry *r, struct device *d, const uint8_t pk[32], int64_t until);
void registry_rotate(struct registry *r, struct device *d); /* the next key is its own */
struct device *registry_by_name(const struct registry *r, const char *name);
/* by exact name, id, or unique prefix of one (at least 4 digits). -ENOENT, -ENOTUNIQ */
int registry_find(const struct registry *r, const char *text, struct device **ret);
/* does any device carry this group? */
bool registry_group_used(const struct registry *r, const char *group);
struct policy_subject registry_subject(const struct device *d);

/* kinds CLAIM and ADMIN: -EADDRINUSE if another device has exactly this prefix. -EEXIST, -ENOSPC, -ENOMEM */
int registry_prefix_add(struct registry *r, struct device *d, const struct mvpn_prefix *p,
			int kind);
void registry_prefix_del(struct registry *r, struct device *d, const struct mvpn_prefix *p,
			 int kind);
bool registry_prefix_has(const struct device *d, const struct mvpn_prefix *p, int kind);
/* another device that has exactly this prefix, by the policy, by registration or given; or NULL */
struct device *registry_prefix_other(const struct registry *r, const struct mvpn_prefix *p,
				     const struct device *self);

/* the same for the longest prefix around an address; *ret_len is its length */
struct device *registry_around_other(const struct registry *r, const struct mvpn_addr *a,
				     const struct device *self, unsigned *ret_len);

/* what the policy gave this device is nobody's from now on: its index may come to mean another device */
void registry_disown(struct registry *r, struct device *d);
/* take the protect lines of a policy (NULL: none); again after a device was added, renamed or removed */
int registry_set_policy(struct registry *r, const struct policy *p);

/* would a device that owns a prefix, or stands by in its set of gateways, be that no more under this policy? */
bool registry_would_lose(const struct registry *r, const struct policy *p, const struct device *d);

/* the longest protected prefix of an address: false if it is not protected; *ret NULL if nobody owns it */
bool registry_owner_of(const struct registry *r, const struct mvpn_addr *a, struct device **ret);
/* the list of what a device owns; NULL is fine */
int registry_owned_add(struct device *d, const struct mvpn_prefix *p);
void registry_owned_drop(struct device *d, const struct mvpn_prefix *p);
/* is the address in a prefix that the device owns, alone or with others? */
bool registry_owns(const struct device *d, const struct mvpn_addr *a);
/* exact; false if the prefix is not protected */
bool registry_effective(const struct registry *r, const struct mvpn_prefix *p, struct device **ret);

#endif
