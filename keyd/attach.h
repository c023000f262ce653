/* SPDX-License-Identifier: BSD-2-Clause */
/* Attached interfaces: the shim on them, the wire they use and why, and following them as they come, go and change. */
#ifndef MVPN_ATTACH_H
#define MVPN_ATTACH_H

#include "keyd.h"

enum wire_want { WIRE_AUTO, WIRE_XDP, WIRE_UDP };

struct attachment {
	char name[IFNAMSIZ];
	enum wire_want want;
	unsigned want_queues; /* 0: all */
	unsigned ifindex;     /* 0: gone */
	bool up;
	struct shim_iface shim;
	bool xdp; /* the wire in use */
	bool zerocopy;
	bool sends;    /* what goes out, too; else through the UDP socket */
	unsigned queues, mtu;
	uint8_t mac[6]; /* zero: none */
	char reason[256]; /* why this rung */

	/* attach_wire.c: a queue is still busy, the UDP wire carries on, and AF_XDP is tried again until then; 0: settled */
	uint64_t busy_until_ms;
	struct ipc_call *call; /* waits for that */
	bool undo;	       /* what the call attached goes when AF_XDP is refused */
};

int attach_init(
	struct keyd *k); /* netlink events; attaches again what was attached in the last life */
void attach_free(struct keyd *k); /* the shim stays where it is */
struct attachment *attachment_find(struct keyd *k, const char *name);
bool attached_index(const struct keyd *k, unsigned ifindex);
/* 0 or -errno with *ret_error (malloc'ed); *ret_already when it was attached before. With busy_until_ms set it is not settled. */
int attach_add(struct keyd *k, const char *name, enum wire_want want, unsigned queues,
	       struct attachment **ret, bool *ret_already, char **ret_error);
int attach_del(struct keyd *k, const char *name, char **ret_error);
const char *attach_rung(const struct attachment *a);
/* addresses to claim: those of attached interfaces and of the channel's, so that peers protect them from enrolment on, before
 * the interface is attached; malloc'ed, returns how many */
unsigned attach_addresses(struct keyd *k, int channel_fd, struct mvpn_addr **ret);
void attach_wire_failed(struct keyd *k, unsigned ifindex, int error); /* DP_EV_ERROR */
/*
 * attach_wire.c. -errno only when AF_XDP was asked for and cannot be had. 0 with busy_until_ms set: a queue is busy, which
 * k->rewire tries again; attach_settled() is called when that has come to an end, with the same results.
 */
int attach_wire_start(struct keyd *k, struct attachment *a, const struct nl_link *link,
		      char **ret_error);
void attach_wire_stop(struct keyd *k, struct attachment *a); /* AF_XDP off, if it is on or tried */
void attach_wire_retry(void *arg /* struct keyd */);	     /* k->rewire */
void attach_await(struct attachment *a, struct ipc_call *call); /* answer it when that is settled */
void attach_settled(struct keyd *k, struct attachment *a, int r, const char *error);
void attach_own_sockets(struct keyd *k); /* tells the shim which sockets are the fast path's */
/* names kept in the state directory; for the guard too */
int attach_kept_each(const char *state_dir,
		     int (*fn)(void *arg, const char *name, enum wire_want want, unsigned queues),
		     void *arg);

#endif
