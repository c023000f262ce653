/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>

#include "dispatch.h"
#include "echo.h"
#include "introduce.h"
#include "log.h"
#include "processes.h"
#include "relay.h"
#include "relay_device.h"
#include "rotate.h"
#include "server_key.h"
#include "session.h"

#define DEBT \
	20 /* seconds of budget that answers and acks may overdraw before the channel is closed */

static void take_budget(struct conn *c)
{
	uint64_t now = mono_ms();
	int64_t rate = (int64_t)c->s->conf->messages_channel, full = rate * 1000;

	c->budget += (int64_t)(now - c->budget_ms) * rate;
	c->budget_ms = now;
	if (c->budget > full)
		c->budget = full;
	c->budget -= 1000;
}

static int device_message(struct conn *c, const struct chan_msg *m)
{
	switch (m->type) {
	case MVPN_MSG_REQUEST:
		return introduce_request(c, m);
	case MVPN_MSG_ACCEPT:
		return introduce_accept(c, m);
	case MVPN_MSG_REJECT:
		return introduce_reject(c, m);
	case MVPN_MSG_RELAY:
		return relay_message(c, m);
	case MVPN_MSG_FORWARD:
		return relay_device_message(c, m);
	case MVPN_MSG_PROCESSES:
		return processes_message(c, m);
	case MVPN_MSG_UDP:
		return echo_udp(c, m);
	case MVPN_MSG_ROTATE:
		return rotate_message(c, m);
	case MVPN_MSG_PIN:
		return rotate_pin_heard(c, m);
	case MVPN_MSG_SERVER_KEY:
		return server_key_heard(c, m);
	case MVPN_MSG_ENDED:
		return session_ended(c, m);
	case MVPN_MSG_REVOKE:
		session_revoke_heard(c, m->reqid); /* an ack */
		return 0;
	default:
		log_ratelimited(LOG_L_WARN, "device %s sent a message of unknown type %u: closed",
				c->dev->row.name, m->type);
		return -EPROTO;
	}
}

int dispatch_message(struct conn *c, const struct chan_msg *m)
{
	take_budget(c);
	if (c->budget < -(int64_t)c->s->conf->messages_channel * 1000 * DEBT) {
		count(c->s, too_many_messages);
		conn_close(c, MVPN_R_LIMIT);
		return 0;
	}
	if (c->phase == CONN_RETIRED)
		return 0;
	switch (m->type) {
	case MVPN_MSG_REGISTER:
		return register_message(c, m);
	case MVPN_MSG_HEARTBEAT:
		session_heartbeat(c);
		return 0;
	case MVPN_MSG_CLOSE:
		count(c->s, closed_by_peer);
		conn_drop(c);
		return 0;
	default:
		return c->phase == CONN_READY ? device_message(c, m) : -EPROTO;
	}
}
