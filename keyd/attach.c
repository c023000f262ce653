/* SPDX-License-Identifier: BSD-2-Clause */
#include "attach_impl.h"

#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "control.h"
#include "ether.h"
#include "fsutil.h"
#include "levels.h"
#include "log.h"
#include "processes.h"

#define KEPT_FILE "interfaces"

static const char *const want_names[] = {"auto", "xdp", "udp"};

bool attached_index(const struct keyd *k, unsigned ifindex)
{
	for (unsigned i = 0; i < k->nifaces; i++)
		if (k->ifaces[i]->ifindex == ifindex)
			return ifindex;
	return false;
}

struct attachment *attachment_find(struct keyd *k, const char *name)
{
	unsigned i;

	for (i = 0; i < k->nifaces; i++)
		if (!strcmp(k->ifaces[i]->name, name))
			return k->ifaces[i];
	return NULL;
}

static struct attachment *by_ifindex(struct keyd *k, unsigned ifindex)
{
	unsigned i;

	for (i = 0; i < k->nifaces; i++)
		if (k->ifaces[i]->ifindex == ifindex)
			return k->ifaces[i];
	return NULL;
}

const char *attach_rung(const struct attachment *a)
{
	if (!a->xdp)
		return "udp";
	if (a->zerocopy)
		return "zero-copy";
	return a->shim.xdp == SHIM_XDP_NATIVE ? "native copy" : "generic copy";
}

/* ---- the kept list ---- */

void attach_keep(struct keyd *k)
{
	char *path = path_join(k->state_dir, KEPT_FILE), text[MVPN_IFACES_MAX * 40] = "";
	size_t len = 0;
	unsigned i;
	int r = -ENOMEM;

	for (i = 0; i < k->nifaces; i++)
		len += snprintf(text + len, sizeof(text) - len, "%s %s %u\n", k->ifaces[i]->name,
				want_names[k->ifaces[i]->want], k->ifaces[i]->want_queues);
	if (path)
		r = file_replace(path, text, len, 0600);
	if (r)
		log_err("cannot keep the list of interfaces in %s/" KEPT_FILE
			": %s; after a reboot they would not be protected",
			k->state_dir, strerror(-r));
	free(path);
}

int attach_kept_each(const char *state_dir,
		     int (*fn)(void *arg, const char *name, enum wire_want want, unsigned queues),
		     void *arg)
{
	char *path = path_join(state_dir, KEPT_FILE), *text = NULL, *line, *save = NULL;
	size_t len;
	int r = path ? file_read(path, 65536, &text, &len) : -ENOMEM;

	free(path);
	for (line = r ? NULL : strtok_r(text, "\n", &save); line && !r;
	     line = strtok_r(NULL, "\n", &save)) {
		char name[IFNAMSIZ], want[8];
		unsigned queues, w;

		if (sscanf(line, "%15s %7s %u", name, want, &queues) != 3)
			continue;
		for (w = WIRE_AUTO; w < WIRE_UDP && strcmp(want, want_names[w]); w++)
			;
		r = fn(arg, name, w, queues);
	}
	free(text);
	return r == -ENOENT ? 0 : r;
}

/* ---- attach, detach ---- */

void attach_take_mac(struct keyd *k, struct attachment *a, const struct nl_link *link)
{
	uint8_t mac[6] = {0};

	if (link->has_mac)
		memcpy(mac, link->mac, 6);
	if (memcmp(mac, a->mac, 6))
		loop_timer_arm(k->reregister, REREGISTER_AFTER_MS);
	memcpy(a->mac, mac, 6);
	ether_ports_changed(k);
}

/* by which no packet of another device comes or goes: what is sealed would come back to be sealed */
static int leads_nowhere(struct keyd *k, const char *name, const struct nl_link *link, char **ret_error)
{
	bool own = link->ifindex == dp_tap_ifindex(k->dp) || link->ifindex == ether_tap_ifindex(k);

	if (!own && !(link->flags & IFF_LOOPBACK))
		return 0;
	if (asprintf(ret_error, "%s is %s", name,
		     own ? "keyd's own device, behind the attached interfaces" : "the loopback device: nothing leaves this host by it") < 0)
		*ret_error = NULL;
	return -ENXIO;
}

/* the shim first: from then on nothing protected leaves in clear, whatever the wire does */
int attach_bring_up(struct keyd *k, struct attachment *a, char **ret_error)
{
	struct nl_link link;
	int r = nl_link_get(k->nl, a->name, &link);

	if (r) {
		if (asprintf(ret_error, "interface %s: %s", a->name, strerror(-r)) < 0)
			*ret_error = NULL;
		return r;
	}
	r = leads_nowhere(k, a->name, &link, ret_error);
	if (!r)
		r = shim_attach(k->shim, a->name, &a->shim, ret_error);
	if (!r) {
		a->ifindex =
			link.ifindex; /* from here on it counts as attached, with the UDP wire at least */
		a->up = link.flags & IFF_RUNNING;
		a->mtu = link.mtu;
		attach_take_mac(k, a, &link);
		r = attach_wire_start(k, a, &link, ret_error);
		attach_own_sockets(k);
		/* `doctor` tells why they are not there */
		shim_transport_attach(k->shim);
		shim_socket_attach(k->shim);
		processes_apply(k);
		levels_apply(k);
	}
	loop_timer_arm(k->refresh, 0);
	loop_timer_arm(k->reregister, REREGISTER_AFTER_MS);
	return r;
}

static void forget(struct keyd *k, struct attachment *a)
{
	unsigned i;

	for (i = 0; i < k->nifaces && k->ifaces[i] != a; i++)
		;
	if (i < k->nifaces) {
		k->ifaces[i] = k->ifaces[--k->nifaces];
		attach_keep(k);
	}
	ether_ports_changed(k);
	free(a);
}

int attach_add(struct keyd *k, const char *name, enum wire_want want, unsigned queues,
	       struct attachment **ret, bool *ret_already, char **ret_error)
{
	struct attachment *a = attachment_find(k, name);
	int r = 0;

	/* AF_XDP that was refused is tried again */
	*ret_already = a && a->ifindex && a->want == want && a->want_queues == queues &&
		       (want != WIRE_XDP || a->xdp || a->busy_until_ms);
	if (*ret_already)
		goto out;
	if (a) {
		/* another wire: the shim stays on, only the wire changes */
		attach_wire_stop(k, a);
	} else {
		if (k->nifaces == MVPN_IFACES_MAX || strlen(name) >= IFNAMSIZ) {
			r = k->nifaces == MVPN_IFACES_MAX ? -ENOSPC : -EINVAL;
			if (asprintf(ret_error, "interface %s: %s (at most %u interfaces)", name,
				     strerror(-r), MVPN_IFACES_MAX) < 0)
				*ret_error = NULL;
			return r;
		}
		a = calloc(1, sizeof(*a));
		if (!a)
			return -ENOMEM;
		snprintf(a->name, sizeof(a->name), "%s", name);
	}
	a->want = want;
	a->want_queues = queues;
	r = attach_bring_up(k, a, ret_error);
	if (r && !attachment_find(k, name)) {
		/* what was on it before this call protects, and stays */
		if (a->ifindex && a->shim.fresh)
			shim_detach(k->shim, name, NULL);
		free(a);
		return r;
	}
	if (!attachment_find(k, name))
		k->ifaces[k->nifaces++] = a;
	attach_keep(k);
	if (!r)
		log_info("attached to %s: wire %s (%s)", name, attach_rung(a), a->reason);
	a->undo = !r && a->busy_until_ms && a->shim.fresh;
out:
	*ret = a;
	return r;
}

int attach_del(struct keyd *k, const char *name, char **ret_error)
{
	struct attachment *a = attachment_find(k, name);
	int r;

	if (a)
		attach_wire_stop(k, a);
	r = shim_detach(k->shim, name, ret_error);
	if (a && r == -ENOENT) { /* the interface has gone, and its pins with it */
		free(*ret_error);
		*ret_error = NULL;
		r = 0;
	}
	if (a && !r) {
		forget(k, a);
		if (!k->nifaces) {
			shim_transport_detach(k->shim);
			shim_socket_detach(k->shim);
		}
		processes_apply(k);
		levels_apply(k);
		attach_own_sockets(k);
		loop_timer_arm(k->refresh, 0);
		loop_timer_arm(k->reregister, REREGISTER_AFTER_MS);
		log_info("detached from %s", name);
	} else if (!a && !r) {
		r = -ENOENT;
	}
	return r;
}

static void call_gone(void *arg)
{
	((struct attachment *)arg)->call = NULL;
}

void attach_await(struct attachment *a, struct ipc_call *call)
{
	a->call = call;
	ipc_call_on_gone(call, call_gone, a);
}

void attach_settled(struct keyd *k, struct attachment *a, int r, const char *error)
{
	struct ipc_call *call = a->call;
	bool undo = a->undo && r != -ECANCELED;
	char *text = NULL;

	a->call = NULL;
	a->undo = false;
	if (r)
		log_err("%s; the UDP wire carries on", error ? error : strerror(-r));
	else
		log_info("%s: wire %s (%s)", a->name, attach_rung(a), a->reason);
	if (call && r)
		control_attach_failed(call, a->name, r, error);
	else if (call)
		control_attached(k, call, a, false);
	/* who asked was told that it failed: then nothing of it stays */
	if (undo && r && attach_del(k, a->name, &text))
		log_err("%s", text ? text : "?");
	free(text);
}

/* AF_XDP broke under us (device reset, queue change): the UDP wire carries on, and the rungs are tried anew */
void attach_wire_failed(struct keyd *k, unsigned ifindex, int error)
{
	struct attachment *a = by_ifindex(k, ifindex);
	char *text = NULL;

	k->counters[KC_WIRE_ERRORS]++;
	if (!ifindex || !a || !a->xdp) {
		log_ratelimited(LOG_L_ERR, "wire error on %s: %s",
				a ? a->name : "the tap or the UDP socket", strerror(-error));
		return;
	}
	log_warn("AF_XDP on %s failed: %s; attaching it anew", a->name, strerror(-error));
	attach_wire_stop(k, a);
	if (attach_bring_up(k, a, &text))
		log_err("%s: the UDP wire carries on", text ? text : "?");
	free(text);
}

/* ---- addresses to claim ---- */

struct addr_list {
	struct keyd *k;
	struct mvpn_addr *list;
	unsigned n;
	struct mvpn_addr own; /* the channel's */
	unsigned own_ifindex; /* and its interface's, 0 if not found */
};

static int addr_locate(void *arg, unsigned ifindex, const struct mvpn_addr *addr)
{
	struct addr_list *l = arg;

	if (!memcmp(&l->own, addr, sizeof(*addr)))
		l->own_ifindex = ifindex;
	return 0;
}

static int addr_take(void *arg, unsigned ifindex, const struct mvpn_addr *addr)
{
	struct addr_list *l = arg;
	struct mvpn_addr *more;
	unsigned i;

	if (ifindex != l->own_ifindex && !by_ifindex(l->k, ifindex))
		return 0;
	for (i = 0; i < l->n; i++)
		if (!memcmp(&l->list[i], addr, sizeof(*addr)))
			return 0;
	more = reallocarray(l->list, l->n + 1, sizeof(*more));
	if (!more)
		return -ENOMEM;
	l->list = more;
	more[l->n++] = *addr;
	return 0;
}

unsigned attach_addresses(struct keyd *k, int channel_fd, struct mvpn_addr **ret)
{
	struct addr_list l = {.k = k};
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	struct mvpn_endpoint own;
	int r;

	if (!getsockname(channel_fd, (struct sockaddr *)&ss, &len) &&
	    !mvpn_endpoint_from_sockaddr(&own, (struct sockaddr *)&ss) &&
	    mvpn_addr_is_ownable(&own.addr))
		l.own = own.addr;
	r = nl_addr_list(k->nl, addr_locate, &l);
	if (!r)
		r = nl_addr_list(k->nl, addr_take, &l);
	if (r)
		log_ratelimited(LOG_L_WARN, "cannot list this host's addresses: %s", strerror(-r));
	*ret = l.list;
	return l.n;
}

/* ---- life ---- */

/*
 * What was attached in the last life. It is listed whatever happens: without an interface it is attached when that
 * appears, without its AF_XDP wire it has the UDP wire. Never is the shim taken off again.
 */
static int attach_again(void *arg, const char *name, enum wire_want want, unsigned queues)
{
	struct keyd *k = arg;
	struct attachment *a;
	char *text = NULL;

	if (attachment_find(k, name))
		return 0;
	if (k->nifaces == MVPN_IFACES_MAX) {
		log_err("%s is not attached again: at most %u interfaces", name, MVPN_IFACES_MAX);
		return 0;
	}
	a = calloc(1, sizeof(*a));
	if (!a)
		return -ENOMEM;
	snprintf(a->name, sizeof(a->name), "%s", name);
	a->want = want;
	a->want_queues = queues;
	k->ifaces[k->nifaces++] = a;
	if (!attach_bring_up(k, a, &text)) {
		log_info("attached to %s again: wire %s (%s)", name, attach_rung(a), a->reason);
	} else if (a->ifindex) {
		snprintf(a->reason, sizeof(a->reason), "%s", text ? text : "AF_XDP refused");
		log_err("%s; the UDP wire carries on", a->reason);
	} else {
		log_err("%s, which was attached, is NOT protected now: %s", name,
			text ? text : "?");
	}
	free(text);
	return 0;
}

/* pinned, but not on the kept list: it is attached all the same, and the operator must be able to see and detach it */
static int adopt(void *arg, const struct shim_iface *i)
{
	return attach_again(arg, i->name, WIRE_AUTO, 0);
}

int attach_init(struct keyd *k)
{
	int r = attach_follow(k);

	if (!r)
		r = loop_timer_new(k->loop, attach_wire_retry, k, &k->rewire);
	if (r)
		return r;
	attach_own_sockets(k);
	r = attach_kept_each(k->state_dir, attach_again, k);
	if (!r)
		r = shim_ifaces_each(k->shim, adopt, k);
	if (!r)
		attach_keep(k);
	return r;
}

void attach_free(struct keyd *k)
{
	unsigned i;

	for (i = 0; i < k->nifaces; i++) {
		shim_undefer(k->shim, k->ifaces[i]->name); /* nobody polls any more */
		free(k->ifaces[i]);
	}
	k->nifaces = 0;
	loop_timer_free(k->refresh);
	loop_timer_free(k->reregister);
	loop_timer_free(k->rewire);
}
