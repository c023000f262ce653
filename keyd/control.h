/* SPDX-License-Identifier: BSD-2-Clause */
/* Local control: the verbs of docs/control.md. control.c dispatches and changes things, control_show.c and control_explain.c
 * tell, control_wait.c answers later. */
#ifndef MVPN_CONTROL_H
#define MVPN_CONTROL_H

#include "attach.h"
#include "keyd.h"

int control_init(struct keyd *k);
void control_free(struct keyd *k);

/* what others tell those who wait (control_wait.c) */
void control_session_up(struct keyd *k, struct peer *p);
void control_session_failed(struct keyd *k, struct peer *p, enum mvpn_reason why);
void control_pong(struct keyd *k, struct peer *p, const struct dp_event *e);
/* error NULL: enrolled; else what failed, and what to do (""; the error says it) */
void control_enrol_done(struct keyd *k, const char *error, const char *todo);
void control_state_changed(struct keyd *k);
void control_attached(struct keyd *k, struct ipc_call *call, const struct attachment *a, bool already);
void control_attach_failed(struct ipc_call *call, const char *iface, int r, const char *error);

/* ---- within control ---- */
void control_ping(struct keyd *k, struct ipc_call *call, json_t *args);
void control_wait(struct keyd *k, struct ipc_call *call, json_t *args);
void control_rekey(struct keyd *k, struct ipc_call *call, json_t *args);
void control_identity_unlock(struct keyd *k, struct ipc_call *call, json_t *args);
void control_identity_passphrase(struct keyd *k, struct ipc_call *call, json_t *args);
void control_rotate(struct keyd *k, struct ipc_call *call, json_t *args);
void control_pin(struct keyd *k, struct ipc_call *call, json_t *args);
void control_wait_free(struct keyd *k);

json_t *show_status(struct keyd *k);
json_t *show_interface(struct keyd *k, const struct attachment *a);
json_t *show_peers(struct keyd *k); /* control_peers.c */
json_t *show_sessions(struct keyd *k);
json_t *show_flows(struct keyd *k); /* control_flows.c */
json_t *show_relays(struct keyd *k); /* control_relays.c */
json_t *show_gateways(struct keyd *k); /* gateways_show.c */
json_t *show_addr16(const uint8_t b[16]);
json_t *show_leaks(struct keyd *k);
json_t *show_doctor(struct keyd *k);
/* of a packet with that protocol and destination port; 0: not said */
struct process_asked;
/* src: that it leaves with, zero: as the route says; who: of which process */
json_t *show_explain(struct keyd *k, const struct mvpn_addr *src, const struct mvpn_addr *dst, uint8_t proto,
		     uint16_t port, const struct process_asked *who);
json_t *show_explain_frame(struct keyd *k, const uint8_t mac[6], uint16_t type);
json_t *show_metrics(struct keyd *k);
json_t *show_identity(struct keyd *k);
json_t *show_device(struct keyd *k);
json_t *show_hex(const void *data, size_t len);
json_t *show_endpoint(const struct mvpn_endpoint *e); /* null if there is none */
double show_age_s(uint64_t at_ms); /* since then */
struct session;
const char *show_suite(const struct session *s);
/* control_classes.c */
json_t *show_classes(const struct session *s);
void show_class_of(const struct session *s, uint8_t proto, uint16_t port, json_t *why);
/* one more sentence of a list: problems, reasons */
void show_line(json_t *list, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
