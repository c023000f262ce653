/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The network shim from user space: load, pin, adopt and attach the BPF programs, and write their maps. Everything is
 * pinned below the pin directory (/sys/fs/bpf/mvpn/v4), so that it outlives keyd:
 *
 *   protected prefix_lengths keys config exempt own_sockets flows event_rate events spis counters ifaces     maps
 *   frames frame_tap ports sock_last sockets levels kept_ports own_streams guards uids exes groups processes sock_process refused translated returning
 *   refusals arrivals network
 *   claims claimants attached data_ports host: these, exempt and own_sockets below the directory that networks share, if there is one
 *   transport sock_{connect,sendmsg,bind}{4,6} sock_create sock_option  links on the root of the cgroup tree
 *   if/IFACE/{egress,ingress,leak}    TCX links, or programs where clsact filters are used (kernel < 6.6)
 *   translate-N-{in,out}            links on interface N, behind this gateway
 *   if/IFACE/{xdp,xsks}               XDP link and XSKMAP when the AF_XDP wire is in use
 *
 * A restarted keyd adopts what is there: maps are reused (if their layout fits, else -ESTALE with a message that says so),
 * links get the new programs by bpf_link_update: no instant without protection.
 */
#ifndef MVPN_SHIM_H
#define MVPN_SHIM_H

#include <stdbool.h>
#include <stdint.h>

#include "addr.h"
#include "mvpn/maps.h"

struct shim;

/* the BPF file system on /sys/fs/bpf, if `pin_dir` is below it and it is not there */
int shim_mount(const char *pin_dir, char **ret_error);
/* `pin_dir` is made (bpffs is mounted on /sys/fs/bpf if it is not, when pin_dir is below it). */
int shim_open(struct shim **ret, const char *pin_dir, char **ret_error);
/*
 * The same on a host with several networks, each a keyd with a pin directory of its own: they share some maps below `share_dir`, so that of
 * nested prefixes the narrowest counts and none seals what another has sealed. With NULL it is the only one.
 */
int shim_open_shared(struct shim **ret, const char *pin_dir, const char *share_dir, char **ret_error);
uint64_t shim_conflicts(const struct shim *s); /* prefixes that are another network's, too, which came first */
/* -ESTALE: what is shared has gone away in the meantime; a new start finds it made anew */
int shim_data_port(struct shim *s, uint16_t port);
bool shim_is_anothers(struct shim *s, const struct mvpn_addr *a); /* in a narrower prefix of a network that is attached somewhere */
void shim_close(struct shim *s); /* pins stay */
int shim_config(struct shim *s, const struct mvpn_config *c);
int shim_get_config(struct shim *s, struct mvpn_config *ret);
int shim_breathe(struct shim *s); /* alive_ns is now, if keyd runs: in work that takes long */

int shim_protect(struct shim *s, const struct mvpn_prefix *p, uint32_t peer, uint32_t flags); /* -ENOSPC: map full */
int shim_unprotect(struct shim *s, const struct mvpn_prefix *p); /* -ENOENT */
int shim_protected_each(struct shim *s, int (*fn)(void *arg, const struct mvpn_prefix *p, const struct mvpn_protected *v), void *arg);
int shim_key_set(struct shim *s, uint32_t peer, const struct mvpn_key *k);
int shim_key_clear(struct shim *s, uint32_t peer);
int shim_keys_clear_all(struct shim *s); /* a new life of keyd: no session survives */
int shim_exempt_add(struct shim *s, const struct mvpn_endpoint *tcp);
int shim_exempt_clear(struct shim *s);
/* exactly these, with no instant at which one of them is missing that was there before */
int shim_exempt_set(struct shim *s, const struct mvpn_endpoint *tcp, unsigned n);
int shim_own_socket_add(struct shim *s, uint64_t cookie);
int shim_own_sockets_clear(struct shim *s);
int shim_own_sockets_set(struct shim *s, const uint64_t *cookies, unsigned n); /* exactly these, likewise */
int shim_spi_set(struct shim *s, uint32_t spi);
int shim_spi_clear(struct shim *s, uint32_t spi);
int shim_spis_clear_all(struct shim *s);

/* ---- frames (shim_frames.c) ---- */
int shim_frame_set(struct shim *s, const uint8_t mac[6], uint16_t type, uint32_t peer, uint32_t flags);
int shim_frame_unset(struct shim *s, const uint8_t mac[6], uint16_t type);
int shim_frames_each(struct shim *s,
		     int (*fn)(void *arg, const uint8_t mac[6], uint16_t type, const struct mvpn_frame *v), void *arg);
/* MAC addresses of attached interfaces, exactly these */
struct shim_port {
	uint8_t mac[6];
	unsigned ifindex;
};
int shim_ports_set(struct shim *s, const struct shim_port *ports, unsigned n);
/* Frames are handed to this device, and what comes out of it is delivered; with 0 they are dropped. The program on it goes
 * with the device. */
int shim_frame_tap(struct shim *s, unsigned ifindex, char **ret_error);
/* IP packets that come out of the tap arrive on the interface of their destination address, those to other addresses on that of
 * the all-zero one; without an entry, on the tap. Exactly these; at most MVPN_ARRIVALS_MAX. */
struct shim_arrival {
	struct mvpn_addr to;
	unsigned ifindex;
	uint8_t mac[6];
	bool ethernet, attached;
};
int shim_arrivals_set(struct shim *s, const struct shim_arrival *list, unsigned n);
int shim_tap(struct shim *s, unsigned ifindex, char **ret_error);
/* what enters the tap without having passed an attached interface is asked who has sent it, too */
int shim_tap_enter(struct shim *s, unsigned ifindex, char **ret_error);

int shim_counters(struct shim *s, uint64_t ret[MVPN_C_MAX]); /* summed over CPUs */
extern const char *const shim_counter_names[MVPN_C_MAX];
int shim_flows_each(struct shim *s, int (*fn)(void *arg, const struct mvpn_flow_key *k, const struct mvpn_flow *f), void *arg);
/* -ENOENT: not known, or forgotten */
int shim_socket_get(struct shim *s, uint64_t cookie, struct mvpn_socket *ret);
/* miss events: fd for the loop, and read what is there */
int shim_events_fd(struct shim *s);
int shim_events(struct shim *s, void (*fn)(void *arg, const struct mvpn_event *e), void *arg);

/* ---- interfaces ---- */
enum shim_hook { SHIM_TCX = 1, SHIM_CLSACT };
enum shim_xdp { SHIM_XDP_NONE, SHIM_XDP_NATIVE, SHIM_XDP_GENERIC };
struct shim_iface {
	char name[16];
	unsigned ifindex;
	enum shim_hook hook;
	enum shim_xdp xdp;
	bool fresh; /* a program was attached now; false: already there, updated in place */
};
/* egress, ingress guard and last hook. Attaching again updates in place (fresh = false). */
int shim_attach(struct shim *s, const char *iface, struct shim_iface *ret, char **ret_error);
/* XDP in the given mode, steering packets of at most frame_max bytes (0: any); *ret_xsks_map is owned by the shim. -EOPNOTSUPP,
 * -EBUSY (another program is there) … */
int shim_attach_xdp(struct shim *s, const char *iface, enum shim_xdp mode, unsigned frame_max, int *ret_xsks_map,
		    char **ret_error);
void shim_detach_xdp(struct shim *s, const char *iface);
/* interrupts of an attached interface deferred for busy polling, and as they were before; detaching does the latter too.
 * -ENODEV: /sys does not show this interface, -ENOENT: this kernel has no such setting */
int shim_defer(struct shim *s, const char *iface);
void shim_undefer(struct shim *s, const char *iface);
/* all of it; the clsact qdisc is removed only if we made it. Works for an interface that has vanished: pins are removed. */
int shim_detach(struct shim *s, const char *iface, char **ret_error);
int shim_ifaces_each(struct shim *s, int (*fn)(void *arg, const struct shim_iface *i), void *arg); /* by what is pinned */
/*
 * The transport shim (bpf/sockops.bpf.c), while anything is attached. Without cgroup2, or on a kernel that refuses it, everything
 * else works all the same: the fast path clamps the MSS.
 */
int shim_transport_attach(struct shim *s);
void shim_transport_detach(struct shim *s);
/* the cgroup that it is on; NULL: it is not, and *ret_error says why (NULL: not tried) */
const char *shim_transport(const struct shim *s, const char **ret_error);
/*
 * The socket shim (bpf/sock.bpf.c), likewise: without it the introduction begins with the first packet. It outlives keyd, when it does
 * nothing but to keep ports.
 */
int shim_socket_attach(struct shim *s);
void shim_socket_detach(struct shim *s);
const char *shim_socket(const struct shim *s, const char **ret_error);
enum mvpn_namespaces shim_namespaces(const struct shim *s); /* whose sockets it looks at */
#define CGROUP_PATH_MAX 256
int shim_cgroup_root(char where[static CGROUP_PATH_MAX]); /* of cgroup2; -ENOENT */
/* before they are attached: on another cgroup (NULL: the root), and whose sockets the socket shim looks at */
int shim_cgroup_choose(struct shim *s, const char *dir, enum mvpn_namespaces which);
/*
 * Whose each socket is (bpf/process.bpf.c), for lines of the policy with `by`; it goes with the process. Without it no socket has
 * a trait, and what such a line asks for nobody meets.
 */
int shim_process_attach(struct shim *s);
void shim_process_detach(struct shim *s);
const char *shim_process(const struct shim *s, const char **ret_error);
int shim_process_walk(struct shim *s); /* looks at all sockets that there are */
struct shim_traits;
int shim_traits_add(struct shim *s, const struct shim_traits *t);
int shim_traits_only(struct shim *s, const struct shim_traits *t); /* takes out all others */
int shim_processes(struct shim *s, const struct mvpn_processes *p);
int shim_guard_set(struct shim *s, uint32_t peer, const struct mvpn_guard *g);
int shim_guard_clear(struct shim *s, uint32_t peer);
int shim_guards_clear_all(struct shim *s);
/* what is told of refusals, while shim_events() runs; NULL: it is thrown away */
void shim_on_refusal(struct shim *s, void (*fn)(void *arg, const struct mvpn_refusal *e), void *arg);
/*
 * The socket level (bpf/stream.bpf.c), likewise, but it goes with the process: then connections go as packets, and the network
 * shim drops them.
 */
int shim_streams_attach(struct shim *s);
void shim_streams_detach(struct shim *s);
bool shim_streams(const struct shim *s, const char **ret_error); /* attached? else why not (NULL: not tried) */
/* a socket of keyd's, and what it accepts: sealed already */
int shim_stream_own(struct shim *s, int fd);
/* ports that only such a socket may bind, while the socket shim is there, keyd or not; -EEXIST: it is kept already */
int shim_port_keep(struct shim *s, uint8_t proto, uint16_t port);
void shim_port_give(struct shim *s, uint8_t proto, uint16_t port);
int shim_ports_each(struct shim *s, int (*fn)(void *arg, uint8_t proto, uint16_t port), void *arg); /* fn may give it */
/* connections to that peer go to keyd; -ENOENT: not attached, or not diverted */
int shim_divert(struct shim *s, uint32_t peer, const struct mvpn_diversion *d);
int shim_undivert(struct shim *s, uint32_t peer);
int shim_undivert_all(struct shim *s);
/* this host's own, and no others: what is from there comes by lo */
int shim_stream_addresses(struct shim *s, const struct mvpn_addr *list, unsigned n);
void shim_talks_note(struct shim *s, bool yes); /* who sends datagrams as packets, though there are streams: answers go likewise */
void shim_end_get(struct mvpn_endpoint *ret, const struct mvpn_end *e); /* an end as the programs have it */
/* where a connection that goes to keyd's listener was going to; -ENOENT: it was not diverted */
int shim_diverted(struct shim *s, const struct mvpn_endpoint *from, struct mvpn_endpoint *ret_to);
void shim_undiverted(struct shim *s, const struct mvpn_endpoint *from); /* it is forgotten */
/* SYNs to this listener do not reach it but by shim_syn_passes(); what it accepts is to lose the filter (SO_DETACH_FILTER) */
int shim_syns_hold(struct shim *s, int listener);
int shim_syns_fd(struct shim *s); /* for the loop */
/* tells of those that have come, each time that one does, `most` of them; -errno */
int shim_syns(struct shim *s, unsigned most, void (*fn)(void *arg, const struct mvpn_syn *e), void *arg);
/* the one with that sequence number passes */
int shim_syn_passes(struct shim *s, const struct mvpn_endpoint *from, uint32_t seq);
/* the socket that accepts a connection from there takes `client` for its peer; NULL: no longer */
int shim_deliver_as(struct shim *s, const struct mvpn_endpoint *from, const struct mvpn_endpoint *client);
/* each open connection at the socket level that an application here has, and whose it is; -ENOENT: not attached */
typedef void shim_owner_fn(void *arg, const struct mvpn_endpoint *self, const struct mvpn_process *who);
int shim_stream_owners(struct shim *s, shim_owner_fn *fn, void *arg);
/* each process that has one of these sockets open, at most MVPN_FLOWS_ASKED_MAX, by their cookies; a socket may have several, in no order */
typedef void shim_holder_fn(void *arg, const struct mvpn_holder *h);
int shim_holders(struct shim *s, const uint64_t *cookies, unsigned n, shim_holder_fn *fn, void *arg);
void shim_holders_free(struct shim *s);
/* datagrams (bpf/datagram.h): a UDP port of keyd's that can stand for a remote end, in the programs' stock and out of it again */
int shim_datagram_ready(struct shim *s, uint16_t port);
int shim_datagram_take(struct shim *s, uint16_t *ret_port); /* -ENOENT: none is left */
int shim_datagram_end(struct shim *s, uint16_t port, struct mvpn_endpoint *ret); /* -ENOENT: nobody's */
int shim_datagram_port(struct shim *s, const struct mvpn_endpoint *there, uint16_t *ret_port);
int shim_datagram_assign(struct shim *s, uint16_t port, const struct mvpn_endpoint *there); /* -EEXIST: another port is */
void shim_datagram_release(struct shim *s, uint16_t port, const struct mvpn_endpoint *there);
uint64_t shim_datagram_refused(struct shim *s); /* since it was asked last, for want of a port */
/*
 * Sources that this gateway translates (bpf/translate.bpf.c), on the interfaces behind it. Programs and entries outlive keyd.
 */
int shim_translate_start(struct shim *s, char **ret_error);
void shim_translate_stop(struct shim *s); /* and what an earlier life has left on interfaces */
/* an interface, and the address that hosts behind it see; one of each family */
struct shim_behind {
	unsigned ifindex;
	bool raw; /* no link header */
	struct mvpn_addr addr;
};
/* exactly these, 2 * MVPN_TRANSLATE_IFACES_MAX at most; -errno of the first that failed, the others are done */
int shim_translate_set(struct shim *s, const struct shim_behind *list, unsigned n);
/* Looks at so many entries and takes out those that are idle or nobody's; tells of the others. true: that was the last one */
typedef void shim_translated_fn(void *arg, const struct mvpn_flow_key *flow);
bool shim_translate_sweep(struct shim *s, unsigned most, uint64_t now_ns, shim_translated_fn *fn, void *arg);
/* what one device may have of them, and what each has made since it was forgotten or counted; nothing of them while it is not started */
int shim_translate_most(struct shim *s, unsigned each);
typedef void shim_share_fn(void *arg, uint32_t peer, const struct mvpn_share *share);
void shim_shares_each(struct shim *s, shim_share_fn *fn, void *arg);
/* c NULL: it has none */
int shim_share_counted(struct shim *s, uint32_t peer, const struct mvpn_share_counted *c);
/* what hosts behind this gateway see of a flow of a device's; -ENOENT: it is not translated */
int shim_translation_get(struct shim *s, const struct mvpn_flow_key *flow, struct mvpn_translation *ret);
int shim_translate_counters(struct shim *s, uint64_t ret[MVPN_T_MAX]);
/* after the last detach, and with `purge`: remove every pin and the directory */
int shim_purge(struct shim *s);
/* programs of others that come before ours on the hook and may hide us: names into a malloc'ed list, or NULL */
int shim_before_us(struct shim *s, const char *iface, char **ret_names);

#endif
