/* SPDX-License-Identifier: BSD-2-Clause */
/* What keyd's channel and sessions call that has no part in introductions between the two. */
#include <errno.h>

#include "pair.h"

#include "../../keyd/attach.h"
#include "../../keyd/control.h"
#include "../../keyd/keystore.h"
#include "../../keyd/resolve.h"
#include "../../keyd/rotate.h"
#include "../../keyd/streams.h"
#include "../../keyd/translate.h"

unsigned attach_addresses(struct keyd *k, int channel_fd, struct mvpn_addr **ret)
{
	struct mvpn_addr *one = malloc(sizeof(*one));

	assert_non_null(one);
	*one = k->dp->n->addr;
	*ret = one;
	return 1;
}

/* --wrap=nl_addr_list: this machine's addresses are none of theirs */
int __wrap_nl_addr_list(struct nl *n, int (*fn)(void *arg, unsigned ifindex, const struct mvpn_addr *addr), void *arg);
int __wrap_nl_addr_list(struct nl *n, int (*fn)(void *arg, unsigned ifindex, const struct mvpn_addr *addr), void *arg)
{
	return 0;
}

/* likewise its routes */
int __wrap_nl_route_get(struct nl *n, const struct mvpn_addr *dst, struct nl_route *ret);
int __wrap_nl_route_get(struct nl *n, const struct mvpn_addr *dst, struct nl_route *ret)
{
	return -ENETUNREACH;
}

int __wrap_nl_routes_into(struct nl *n, const struct mvpn_prefix *p, unsigned *ret_oif, unsigned max);
int __wrap_nl_routes_into(struct nl *n, const struct mvpn_prefix *p, unsigned *ret_oif, unsigned max)
{
	return 0;
}

bool attached_index(const struct keyd *k, unsigned ifindex)
{
	return false;
}

void streams_gateway_left(struct keyd *k, const struct mvpn_prefix *prefix, const struct peer *from)
{
}

unsigned dp_tap_ifindex(const struct dp *dp)
{
	return 0;
}

/* ---- the name of the server: known, but not at once ---- */

struct resolve {
	struct loop_timer *timer;
	resolve_fn *fn;
	void *arg;
};

static void resolved(void *arg)
{
	struct resolve *r = arg;
	struct resolve is = *r;
	const struct mvpn_endpoint at = {
		{.b = {[10] = 0xff, [11] = 0xff, [12] = 192, [14] = 2, [15] = 9}}, MVPN_CHAN_PORT};

	loop_timer_free(is.timer);
	free(r);
	is.fn(is.arg, &at, 1, NULL);
}

int resolve_start(struct resolve **ret, struct loop *l, const char *where, uint16_t default_port, resolve_fn *fn,
		  void *arg)
{
	struct resolve *r = calloc(1, sizeof(*r));

	assert_non_null(r);
	r->fn = fn;
	r->arg = arg;
	assert_int_equal(loop_timer_new(l, resolved, r, &r->timer), 0);
	loop_timer_arm(r->timer, PAIR_WAY_MS);
	*ret = r;
	return 0;
}

void resolve_cancel(struct resolve *r)
{
	if (r)
		loop_timer_free(r->timer);
	free(r);
}

/* ---- nobody asks, and nobody is told ---- */

void control_session_up(struct keyd *k, struct peer *p)
{
}

void control_session_failed(struct keyd *k, struct peer *p, enum mvpn_reason why)
{
}

void control_pong(struct keyd *k, struct peer *p, const struct dp_event *e)
{
}

void control_enrol_done(struct keyd *k, const char *error, const char *todo)
{
}

void control_state_changed(struct keyd *k)
{
}

void control_identity_done(struct keyd *k, struct ipc_call *call, int r, const char *warning)
{
}

void control_rotate_done(struct keyd *k, struct ipc_call *call, const char *error, const uint8_t before[32],
			 unsigned told)
{
}

void streams_session_up(struct peer *p)
{
}

void streams_session_failed(struct peer *p, enum mvpn_reason why)
{
}

void streams_probe(struct session *s)
{
}

void streams_session_changed(struct peer *p)
{
}

void streams_cut(struct peer *p, enum mvpn_reason why)
{
}

void streams_services(const struct session *session)
{
}

void translate_refresh(struct keyd *k)
{
}
