/* SPDX-License-Identifier: BSD-2-Clause */
/* REGISTER and WELCOME: what this device says of itself, and what the server makes of it. */
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "attach.h"
#include "conn.h"
#include "control.h"
#include "delegate.h"
#include "endpoint.h"
#include "ether.h"
#include "keystore.h"
#include "levels.h"
#include "log.h"
#include "rotate.h"
#include "server_key.h"
#include "sessions.h"
#include "ticket.h"

void register_send(struct conn *c)
{
	struct keyd *k = c->k;
	struct mvpn_addr *list;
	struct chan_buf b = {0};
	unsigned n, i;

	chan_begin(&b, MVPN_MSG_REGISTER, MVPN_REG_PROCESSES | MVPN_REG_SERVICES, 0);
	if (c->fresh && c->fresh->name[0])
		chan_put(&b, MVPN_TLV_NAME, c->fresh->name, strlen(c->fresh->name));
	n = attach_addresses(k, c->fd, &list);
	for (i = 0; i < n; i++)
		chan_put(&b, MVPN_TLV_ADDR, list[i].b, 16);
	free(list);
	ether_claim(k, &b);
	if (c->key)
		chan_put(&b, MVPN_TLV_DELEGATION, c->key->word, sizeof(c->key->word));
	chan_put_u16(&b, MVPN_TLV_UDP_PORT, k->conf.udp_port);
	chan_put_u64(&b, MVPN_TLV_BOOT_GEN, k->boot_gen);
	chan_put_u16(&b, MVPN_TLV_SUITES, k->suites);
	chan_put(&b, MVPN_TLV_VERSION, MVPN_VERSION, strlen(MVPN_VERSION));
	if (k->policy_rev)
		chan_put_u64(&b, MVPN_TLV_REV, k->policy_rev);
	/* the successor of a working channel asks for the whole set: the other one may still bring changes */
	if (c == k->conn && k->set_known)
		chan_put(&b, MVPN_TLV_SET, k->set, sizeof(k->set));
	chan_send(c->chan, &b);
	chan_buf_free(&b);
	conn_flush(c);
}

static void take_addresses(struct keyd *k, const struct chan_msg *m)
{
	struct chan_tlv t;
	size_t pos = 0;
	char text[MVPN_ADDRSTRLEN];
	struct mvpn_addr a;

	free(k->addresses);
	k->addresses = NULL;
	k->naddresses = k->naddresses_refused = 0;
	while (chan_tlv_next(m, &pos, &t)) {
		if (t.type == MVPN_TLV_ADDR) {
			struct mvpn_addr *more =
				reallocarray(k->addresses, k->naddresses + 1, sizeof(*more));

			if (!more)
				return;
			k->addresses = more;
			memcpy(more[k->naddresses++].b, t.value, 16);
		} else if (t.type == MVPN_TLV_ADDR_REFUSED) {
			k->naddresses_refused++;
			k->counters[KC_ADDR_REFUSED]++;
			memcpy(a.b, t.value, 16);
			log_warn("the server refused our address %s: %s", mvpn_addr_str(&a, text),
				 mvpn_reason_text(t.value[16] << 8 | t.value[17]));
		}
	}
}

/* the first WELCOME after enrolment: from now on we are somebody */
static int become(struct conn *c)
{
	struct keyd *k = c->k;
	int r = chan_device_psk(c->chan, c->fresh->psk, c->fresh->psk);

	if (!r)
		r = server_key_forget(k);
	if (!r)
		r = keystore_save(k, c->fresh);
	if (r) {
		conn_failed(c,
			    "enrolled, but the identity could not be kept in %s: %s; the token is "
			    "used up: make another",
			    k->state_dir, strerror(-r));
		return r;
	}
	identity_free(k->id);
	k->id = c->fresh;
	c->fresh = NULL;
	log_info("enrolled as %s", k->id->name);
	return 0;
}

/* The next channel PSK. Kept first, then used; what cannot be kept is not used, and the server goes on taking the one before. */
static void take_psk(struct keyd *k, const struct chan_msg *m)
{
	struct identity *next;
	uint32_t epoch;
	int r = -ENOMEM;

	if (!chan_get_u32(m, MVPN_TLV_PSK_EPOCH, &epoch) || epoch != k->id->psk_epoch + 1)
		return;
	next = identity_new();
	if (next) {
		*next = *k->id;
		next->psk_epoch = epoch;
		r = chan_get_bytes(m, MVPN_TLV_PSK, next->psk, sizeof(next->psk))
			    ? keystore_save(k, next)
			    : -EPROTO;
	}
	if (!r) {
		memcpy(k->id->psk, next->psk, sizeof(next->psk));
		k->id->psk_epoch = epoch;
		log_info("new channel PSK, epoch %u", epoch);
	} else {
		log_ratelimited(LOG_L_WARN, "the new channel PSK cannot be kept (%s): this device "
					    "stays with the one that it has",
				strerror(-r));
	}
	identity_free(next);
}

/* what each WELCOME says; nothing of it counts before all of it is there */
struct welcome {
	uint8_t device_id[MVPN_ID_LEN], net_id[MVPN_NET_ID_LEN];
	uint8_t state; /* enum mvpn_device_state */
	const uint8_t *name;
	uint16_t name_len;
	uint32_t max_offline_s, rekey_s;
};

static bool parse(const struct chan_msg *m, struct welcome *ret)
{
	ret->name = chan_tlv_find(m, MVPN_TLV_NAME, &ret->name_len);
	return ret->name && mvpn_name_valid((const char *)ret->name, ret->name_len) &&
	       chan_get_u8(m, MVPN_TLV_STATE, &ret->state) &&
	       chan_get_bytes(m, MVPN_TLV_DEVICE, ret->device_id, sizeof(ret->device_id)) &&
	       chan_get_bytes(m, MVPN_TLV_NET, ret->net_id, sizeof(ret->net_id)) &&
	       chan_get_u32(m, MVPN_TLV_MAX_OFFLINE, &ret->max_offline_s) &&
	       chan_get_u32(m, MVPN_TLV_REKEY, &ret->rekey_s);
}

/* false: it is not for us, and the connection is dead */
static bool fits(struct conn *c, const struct welcome *w, const struct identity *id)
{
	if (memcmp(w->net_id, id->net_id, sizeof(w->net_id)))
		conn_failed(c, "the server is of another network than the %s names", c->fresh ? "token" : "identity");
	else if (!c->fresh && memcmp(w->device_id, id->device_id, sizeof(w->device_id)))
		conn_failed(c, "the server takes this device for another one: was it made anew, with this one's key? Enrol again");
	else
		return true;
	return false;
}

/* the first one of a connection: it takes the place of the one before */
static void first_welcome(struct conn *c)
{
	struct keyd *k = c->k;

	if (k->next_conn == c) {
		conn_free(k->conn);
		k->conn = c;
		k->next_conn = NULL;
	}
	if (c->welcomed)
		return;
	k->counters[KC_CHANNEL_UP]++;
	c->rekey_ms = mono_ms() + MVPN_CHAN_REKEY_S * 900ULL + randombytes_uniform(MVPN_CHAN_REKEY_S * 200);
	c->welcomed = true;
}

static void state_set(struct keyd *k, uint8_t device_state)
{
	bool was_online = k->state == KEYD_ONLINE;

	k->state = device_state == MVPN_DEV_ACTIVE    ? KEYD_ONLINE
		   : device_state == MVPN_DEV_PENDING ? KEYD_PENDING
						      : KEYD_SUSPENDED;
	channel_set_error(k, k->state == KEYD_PENDING
			     ? "waiting for approval: `mvpnctl server device approve` on the server"
		     : k->state == KEYD_SUSPENDED
			     ? "an administrator has suspended this device on the server"
			     : NULL);
	if (!was_online && k->state == KEYD_ONLINE) {
		log_info("online as %s", k->id->name);
		k->online_since_ms = mono_ms();
	}
	if (k->state == KEYD_ONLINE && !rotate_online(k) && !was_online)
		introduce_resume(k);
}

int register_welcome(struct conn *c, const struct chan_msg *m)
{
	struct keyd *k = c->k;
	struct identity *id = c->fresh ? c->fresh : k->id;
	bool enrolled = c->fresh != NULL;
	struct welcome w;

	if (!parse(m, &w))
		return -EPROTO;
	if (!fits(c, &w, id))
		return 0; /* dead */
	memcpy(id->device_id, w.device_id, sizeof(id->device_id));
	memset(id->name, 0, sizeof(id->name));
	memcpy(id->name, w.name, w.name_len);
	k->max_offline_s = w.max_offline_s;
	k->rekey_s = w.rekey_s;
	if (enrolled && become(c))
		return 0; /* dead */
	if (!c->welcomed) /* first: it may be what signs for c->key */
		rotate_channel_new(k, c->next_key);
	if (c->key)
		delegate_taken(c);
	if (!c->welcomed)
		server_key_reached(k, chan_who(c->chan)->server_pk);
	take_psk(k, m);
	channel_take_return(k, m);
	ticket_take(k, m, !c->welcomed);
	take_addresses(k, m);
	levels_apply(k);
	ether_welcome(k, m);
	first_welcome(c);
	endpoint_welcome(k, m);
	k->server_heard_ms = mono_ms();
	state_set(k, w.state);
	if (enrolled)
		control_enrol_done(k, NULL, NULL);
	control_state_changed(k);
	return 0;
}
