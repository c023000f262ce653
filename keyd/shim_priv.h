/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files of the shim share; tests use shim_open_with() too. */
#ifndef MVPN_SHIM_PRIV_H
#define MVPN_SHIM_PRIV_H

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "shim.h"
#include "shim.skel.h"

struct shim_opts {
	const char *share_dir; /* shim_networks.c; NULL: no other network on this host is to be known */
	bool no_tcx; /* clsact filters even where the kernel has TCX; the environment variable MVPN_NO_TCX does the same */
	unsigned protected_max, keys_max; /* 0: MVPN_PREFIXES_MAX, MVPN_PEERS_MAX */
};
int shim_open_with(struct shim **ret, const char *pin_dir, const struct shim_opts *o,
		   char **ret_error);

/* the XDP object of one interface, in this process */
struct shim_wire {
	struct shim_wire *next;
	char name[16];
	int xsks_map;
};

struct shim {
	char *pin_dir;
	struct shim_bpf *bpf;
	bool no_tcx;
	struct ring_buffer *ring;
	void (*on_event)(void *arg, const struct mvpn_event *e); /* while shim_events() runs */
	void *on_event_arg;
	void (*on_refusal)(void *arg, const struct mvpn_refusal *e);
	void *on_refusal_arg;
	struct shim_wire *wires;
	struct mvpn_lengths *lengths; /* as in the map prefix_lengths */
	size_t nprotected, ngone;     /* prefixes; taken out since the lengths were last made anew */
	/* shim_cgroup.c, shim_transport.c, shim_socket.c */
	char *cgroup_asked; /* NULL: the root of the tree */
	enum mvpn_namespaces namespaces;
	char cgroup[CGROUP_PATH_MAX];
	bool transport, socket;		       /* attached, at `cgroup` */
	char *transport_error, *socket_error; /* why not, once it was tried */
	/* shim_process.c */
	struct shim_process *process; /* NULL: not attached */
	char *process_error;
	/* shim_streams.c */
	struct shim_streams *streams; /* NULL: not attached */
	char *streams_error;
	/* shim_networks.c */
	char *share_dir;    /* NULL: alone */
	uint32_t network;   /* what entries of shared maps have as their value */
	uint64_t conflicts; /* prefixes that another network had claimed before */
	struct shim_holders *holders; /* shim_holders.c; NULL: not asked for yet */
	struct shim_translate *translate; /* shim_translate.c; NULL: nothing is translated */
	/* shim_deliver.c */
	int deliver_link, arrive_link, enter_link; /* TCX links on the frame tap, and two on the tap; -1 none */
};

/* -ENOSPC: the map is full; -EEXIST with BPF_NOEXIST */
int shim_map_set(int fd, const void *key, const void *value, uint64_t flags);
int shim_lengths_init(struct shim *s); /* makes it agree with the map `protected` that was adopted */

/* set *ret_error (which may be NULL) to a malloc'ed message and return err: "return shim_fail(…)" */
int shim_fail(char **ret_error, int err, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* libbpf is quiet; what it last said, the verifier's log above all, is kept for messages. "" when it said nothing */
void shim_log_reset(void);
const char *shim_log_tail(void);

/* pin_dir/NAME; or with an interface, pin_dir/if/IFACE/NAME ('.' of the name as %2e: bpffs refuses dots). NULL: no memory */
char *shim_pin(const struct shim *s, const char *name);
char *shim_pin_if(const struct shim *s, const char *iface, const char *name);
void shim_iface_unescape(const char *dirent,
			 char ret[static 16]);	/* "" when it is not one of ours */
int shim_pin_replace(int fd, const char *path); /* pin, over what may be there */

/* what a pin is */
enum shim_pinned { SHIM_PIN_NONE, SHIM_PIN_LINK, SHIM_PIN_PROG, SHIM_PIN_MAP };
enum shim_pinned shim_pin_open(const char *path, int *ret_fd); /* SHIM_PIN_NONE: -1 */
unsigned shim_link_ifindex(int link_fd); /* 0: its device is gone */

/* the marker of an interface in the map `ifaces` */
int shim_iface_get(struct shim *s, const char *iface, struct mvpn_iface *ret); /* -ENOENT */
int shim_iface_set(struct shim *s, const char *iface, const struct mvpn_iface *v);
void shim_iface_clear(struct shim *s, const char *iface);

/* every key out of a map but the nkeep ones at `keep`, each of `size` bytes, at most 128; with `value` only those that have it */
int shim_clear_but(int fd, const void *keep, unsigned nkeep, size_t size);
int shim_clear_own(int fd, const void *keep, unsigned nkeep, size_t size, const uint32_t *value);

/* ---- several networks on one host (shim_networks.c) ---- */
bool shim_is_shared(const char *map);
int shim_networks_init(struct shim *s);
/* of the directory that networks share, which is made if it is missing: a descriptor to be closed, -ETIMEDOUT */
int shim_share_lock(const char *dir);
/* -ESTALE: another network, the last one then, has taken away what we share, before it could see us */
int shim_share_check(struct shim *s);
/* after it is protected, and before it is not any more */
int shim_claim(struct shim *s, const struct mvpn_prefix *p, uint32_t flags);
void shim_unclaim(struct shim *s, const struct mvpn_prefix *p);
/* after the programs are on the interface, and before they are not any more */
int shim_attached_add(struct shim *s, unsigned ifindex);
void shim_attached_del(struct shim *s, unsigned ifindex);
void shim_networks_leave(struct shim *s); /* nothing of ours is left in shared maps; if they are empty they go */

/* ---- programs on the cgroup tree (shim_cgroup.c) ---- */
int shim_cgroup_find(struct shim *s, char **ret_error); /* sets s->cgroup */
int shim_own_netns(__u64 *ret, char **ret_error); /* cookie of this network namespace */
int shim_share_maps(struct shim *s, struct bpf_object *obj); /* those that the shim has by the same name */
/* with these; what: "socket programs" */
int shim_load(struct shim *s, struct bpf_object_skeleton *programs, const char *what, char **ret_error);
/* links that go with this process, in that order, at s->cgroup. On error the caller has those that are not -1, as they were before */
struct shim_cgroup_hook {
	const struct bpf_program *prog;
	enum bpf_attach_type type;
};
int shim_cgroup_hooks(struct shim *s, const struct shim_cgroup_hook *hooks, unsigned n, int *links, char **ret_error);
/* a pinned link, that of an earlier life if it is there */
int shim_cgroup_link(struct shim *s, const char *pin, int prog, enum bpf_attach_type type,
		     char **ret_error);
void shim_cgroup_unlink(struct shim *s, const char *pin);

/* shim_walk.c: each of the records that the iterator writes, aligned as its size is, 8 bytes at best; record_b: 8 KiB at most. -errno */
typedef void shim_record_fn(void *arg, const void *record);
int shim_walk(const struct bpf_link *iter, size_t record_b, shim_record_fn *fn, void *arg);

void shim_translate_leave(struct shim_translate *t); /* the programs stay */

/* <linux/bpf.h> of 6.6 and later */
#define TCX_INGRESS 46
#define TCX_EGRESS 47

/* ---- clsact filters (shim_clsact.c) ---- */
enum shim_prog {
	/* of an attached interface, in the order of attachment */
	SHIM_EGRESS,
	SHIM_LEAK,
	SHIM_INGRESS,
	SHIM_PROGS,
	/* of one behind this gateway */
	SHIM_TRANSLATE_OUT = SHIM_PROGS,
	SHIM_TRANSLATE_IN
};
extern const char *const shim_prog_names[SHIM_PROGS];
/* *ret_made: the qdisc was not there before */
int clsact_create(unsigned ifindex, bool *ret_made);
/* removes the qdisc if no filter of anybody is left on it */
void clsact_remove_unused(unsigned ifindex);
/* the filters of this network's, which stand beside those of another on the same interface */
int clsact_set(const struct shim *s, unsigned ifindex, enum shim_prog which, int prog_fd,
	       bool *ret_fresh);
void clsact_unset(const struct shim *s, unsigned ifindex, enum shim_prog which);
/* classifiers that come before ours on the hook: how many */
int clsact_before(const struct shim *s, unsigned ifindex, enum shim_prog which);

#endif
