/* SPDX-License-Identifier: BSD-2-Clause */
/* What the tests of the shim share: a shim of their own, packets byte by byte, runs of a program with one packet. */
#ifndef SHIMTEST_H
#define SHIMTEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../../keyd/shim_priv.h"

#define NEXT (-1) /* TCX_NEXT */
#define SHOT 2
#define REDIRECT 7

/* Own network namespace, pin directory and shim; nothing of it without root, when st_need_root() skips each test. */
int st_setup(void **state);
int st_teardown(void **state);
void st_need_root(void);
struct shim *st_shim(void);
struct shim *st_reopen(void); /* closed and opened again, as by another keyd */
const char *st_pin_dir(void);
/* another one in the same directory */
struct shim *st_open(const struct shim_opts *o);

/* run a command, fail the test when it fails */
void st_run(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* its output, malloc'ed */
char *st_output(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* ---- packets ---- */
struct packet {
	uint8_t b[4096];
	unsigned len;
	unsigned l3; /* where the IP header is */
};
void pkt_eth(struct packet *p, uint16_t type);
void pkt_vlan(struct packet *p, uint16_t tpid, uint16_t vid, uint16_t type);
/* IP headers whose lengths fit what follows once pkt_done() has been called */
void pkt_ip4(struct packet *p, const char *src, const char *dst, uint8_t proto);
void pkt_ip6(struct packet *p, const char *src, const char *dst, uint8_t next);
void pkt_udp(struct packet *p, uint16_t sport, uint16_t dport, unsigned payload);
void pkt_tcp(struct packet *p, uint16_t sport, uint16_t dport, uint8_t flags);
void pkt_bytes(struct packet *p, const void *b, unsigned n); /* b NULL: zeroes */
void pkt_done(struct packet *p);
void pkt_bare(struct packet *p); /* one that is done loses its Ethernet header, as on the tap */
/* Ethernet, IPv4 or IPv6 by the addresses, UDP 1000 -> 2000 with 32 bytes */
void pkt_simple(struct packet *p, const char *src, const char *dst);

/* whole frames: ICMPv6 fd09::1 > fd01::1; DHCP, the same or 10.9.0.1 > 10.1.0.1, `op` its first byte; TCP */
void pkt_icmp6(struct packet *p, uint8_t type, uint8_t code, uint8_t hop_limit, unsigned len);
void pkt_dhcp4(struct packet *p, uint16_t sport, uint16_t dport, uint8_t op, uint32_t cookie);
void pkt_dhcp6(struct packet *p, uint16_t sport, uint16_t dport, uint8_t type);
#define PKT_SYN 0x02
#define PKT_ACK 0x10
void pkt_tcp4(struct packet *p, const char *src, uint16_t sport, const char *dst, uint16_t dport,
	      uint8_t flags);

/* the verdict; *ret (may be NULL) is the packet afterwards */
int st_prog_run(int prog_fd, const struct packet *in, struct packet *ret);
/* the same, as the last hook sees a packet that egress has let by when `let_by` */
int st_leak_run(const struct packet *in, bool let_by);
#define EGRESS(s) bpf_program__fd((s)->bpf->progs.egress)
#define LEAK(s) bpf_program__fd((s)->bpf->progs.leak)
#define INGRESS(s) bpf_program__fd((s)->bpf->progs.ingress)

/* ---- the shim's state ---- */
/*
 * For cmocka's setup: 10.1/16, fd01::/16 peer 1 armed; 10.2/16, fd02::/16 peer 2 without a session; 10.3/16 peer 3 denied;
 * 10.4/16 nobody's; 10.5/16 ours; 10.1.9/24 of 10.1/16 is peer 3's.
 */
int st_policy(void **state);
void st_protect(struct shim *s, const char *prefix, uint32_t peer, uint32_t flags);
void st_key(struct shim *s, uint32_t peer, enum mvpn_key_state state);
/* keyd breathes for longer than any machine takes for a test: tap 4242, port 7469, no flags */
void st_alive(struct shim *s);
void st_breathed(struct shim *s, int seconds_ago); /* the same for the last time then */
uint32_t st_mark(void); /* of what was opened */
uint64_t st_counter(struct shim *s, enum mvpn_counter c);
/* fn()'s verdict must be `verdict`, and of all counters only `counter` may rise, by one */
void st_expect(struct shim *s, int prog_fd, const struct packet *p, int verdict,
	       enum mvpn_counter counter);
#define NO_COUNTER MVPN_C_MAX

/* ---- interfaces ---- */
#define ST_TCX_INGRESS 46
#define ST_TCX_EGRESS 47
unsigned st_tcx_count(const char *iface, int type); /* programs on the hook */
bool st_has_tcx(void);
void st_need_tcx(void);
/* a veth pair v0, v1: for cmocka's setup and teardown */
int st_veth_up(void **state);
int st_veth_down(void **state);
struct shim_iface st_attach(struct shim *s, const char *iface);
void st_detach(struct shim *s, const char *iface);
unsigned st_list(struct shim *s, struct shim_iface *ret); /* shim_ifaces_each() into an array */

#endif
