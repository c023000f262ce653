/* SPDX-License-Identifier: BSD-2-Clause */
/* The verbs peers and sessions (docs/control.md has the members). */
#include "control.h"

#include <stdlib.h>
#include <string.h>

#include "ether.h"
#include "gateways.h"
#include "levels.h"
#include "nat.h"
#include "path.h"
#include "peers.h"
#include "relayed.h"
#include "sessions.h"
#include "streams.h"
#include "translate.h"

/* ---- peers ---- */

struct prefix_walk {
	struct keyd *k;
	json_t **by_index; /* arrays of prefixes */
};

static int prefix_collect(void *arg, const struct mvpn_prefix *p, uint32_t owner)
{
	struct prefix_walk *w = arg;
	char text[MVPN_ADDRSTRLEN];

	if (owner != KEYD_SELF && owner && owner <= w->k->npeers)
		json_array_append_new(w->by_index[owner], json_string(mvpn_prefix_str(p, text)));
	return 0;
}

static const char *device_state_name(unsigned s)
{
	static const char *const names[] = {"unknown", "pending", "active", "suspended", "revoked"};

	return names[s <= MVPN_DEV_REVOKED ? s : 0];
}

static json_t *heard_json(uint64_t at_ns)
{
	return at_ns ? json_real((mono_ns() - at_ns) / 1e9) : json_null();
}

/* of a peer for frames, in place of prefixes */
static void frames_collect(struct keyd *k, json_t **by_index)
{
	char text[ETHER_ENTRY_STRLEN];
	const struct ether_entry *e;
	unsigned n;

	e = ether_entries(k, &n);
	for (unsigned i = 0; i < n; i++)
		if (e[i].peer)
			json_array_append_new(by_index[e[i].peer->index],
					      json_string(ether_entry_str(&e[i], text)));
}

/* streams are counted by peer, not by session: they outlive it */
static void session_stats(const struct session *s, struct kt_stats *ret)
{
	memset(ret, 0, sizeof(*ret));
	if (s->kt)
		kt_session_stats(s->kt, ret);
}

static unsigned stream_sums(const struct peer *p, uint64_t *ret_tx, uint64_t *ret_rx)
{
	unsigned n = 0;

	*ret_tx = *ret_rx = 0;
	for (const struct stream *s = p->streams; s; s = s->next) {
		n += s->state == STREAM_RUNS;
		*ret_tx += s->sent;
		*ret_rx += s->received;
	}
	return n;
}

static json_t *show_peer(const struct keyd *k, const struct peer *p, json_t *prefixes)
{
	const struct session *s;
	json_int_t tx = 0, rx = 0;
	struct kt_stats stats;
	uint64_t last = 0;

	for (s = p->sessions; s; s = s->next) {
		session_stats(s, &stats);
		tx += stats.tx_bytes;
		rx += stats.rx_bytes;
		last = stats.rx_last_ns > last ? stats.rx_last_ns : last;
	}
	return json_pack("{s:i, s:s, s:o, s:s, s:s, s:o, s:b, s:o, s:o, s:I, s:I, s:o, s:s?, s:o}", "index",
			 p->index, "layer", peer_layer_name(p), "id", show_hex(p->id, MVPN_ID_LEN),
			 "name", p->name, "state", device_state_name(p->state), "prefixes",
			 prefixes, "session", session_transmitting(p) != NULL, "endpoint",
			 show_endpoint(&p->endpoint), "last_rx_s", heard_json(last), "tx_bytes", tx,
			 "rx_bytes", rx, "error",
			 p->error ? json_string(mvpn_reason_text(p->error)) : json_null(),
			 "reason", p->error ? mvpn_reason_name(p->error) : NULL,
			 "gateway", gateways_show(k, p));
}

json_t *show_peers(struct keyd *k)
{
	json_t *list = json_array();
	struct prefix_walk w = {k, calloc(k->npeers + 1, sizeof(*w.by_index))};
	uint32_t i;

	for (i = 1; w.by_index && i <= k->npeers; i++)
		w.by_index[i] = json_array();
	if (w.by_index) {
		lpm_each(k->prefixes, prefix_collect, &w);
		frames_collect(k, w.by_index);
	}
	for (i = 1; w.by_index && i <= k->npeers; i++)
		json_array_append_new(list, show_peer(k, k->peers[i], w.by_index[i]));
	free(w.by_index);
	return json_pack("{s:o}", "peers", list);
}

/* ---- sessions ---- */

static json_t *spi_json(uint32_t spi)
{
	char text[9];

	snprintf(text, sizeof(text), "%08x", spi);
	return json_string(text);
}

static json_t *prefixes_json(const struct mvpn_prefix *p, unsigned n)
{
	json_t *list = json_array();
	char text[MVPN_ADDRSTRLEN];
	unsigned i;

	for (i = 0; i < n; i++)
		json_array_append_new(list, json_string(mvpn_prefix_str(&p[i], text)));
	return list;
}

static json_t *services_json(const struct mvpn_service *list, unsigned n)
{
	char text[MVPN_SERVICESTRLEN];
	json_t *o = json_array();

	for (unsigned i = 0; i < n; i++)
		json_array_append_new(o, json_string(mvpn_service_str(&list[i], text)));
	return o;
}

const char *show_suite(const struct session *s)
{
	unsigned suite = s->kt ? s->kt->suite : s->streams->suite;

	return suite == MVPN_AES256_GCM ? "aes-256-gcm" : "chacha20-poly1305";
}

/* what is counted of it; of a session for streams the bytes are theirs */
static void show_traffic(json_t *o, const struct session *s)
{
	uint64_t tx, rx;
	unsigned streams = stream_sums(s->peer, &tx, &rx);
	struct kt_stats stats;

	session_stats(s, &stats);
	if (!s->kt) {
		stats.tx_bytes = tx;
		stats.rx_bytes = rx;
	}
#define STAT(name) json_object_set_new(o, #name, json_integer(stats.name))
	STAT(tx_packets);
	STAT(tx_bytes);
	STAT(rx_packets);
	STAT(rx_bytes);
	STAT(rx_auth_fail);
	STAT(rx_replay);
	STAT(rx_bad_inner);
	STAT(tx_refused);
	STAT(rx_refused);
#undef STAT
	json_object_set_new(o, "last_rx_s", heard_json(stats.rx_last_ns));
	json_object_set_new(o, "streams", json_integer(streams));
}

static json_t *show_services(const struct session *s)
{
	return s->limited ? json_pack("{s:o, s:o}", "local", services_json(s->services, s->nserv_local), "remote",
				      services_json(s->services + s->nserv_local, s->nserv_remote))
			  : json_null();
}

static json_t *show_session(struct keyd *k, const struct session *s)
{
	static const char *const states[] = {"unconfirmed", "active", "draining"};
	const struct kt_session *kt = s->kt;
	uint64_t now = mono_ms();
	const char *via = relayed_via(s->peer);
	json_t *o;

	o = json_pack("{s:o, s:s, s:o, s:s, s:s, s:s, s:s, s:s, s:i}", "id",
		      show_hex(s->id, MVPN_ID_LEN), "peer", peer_label(s->peer), "peer_id",
		      show_hex(s->peer->id, MVPN_ID_LEN), "role",
		      s->initiator ? "initiator" : "responder", "state", states[s->state], "layer",
		      peer_layer_name(s->peer), "mode", mvpn_mode_name(s->mode), "suite",
		      show_suite(s), "epoch", s->epoch);
	json_object_set_new(o, "level", json_string(mvpn_level_name(peer_level(k, s->peer))));
	json_object_set_new(o, "transmits", json_boolean(s->transmits));
	json_object_set_new(o, "age_s", json_real(show_age_s(s->created_ms)));
	json_object_set_new(o, "rekey_in_s",
			    json_real(s->rekey_ms > now ? (s->rekey_ms - now) / 1000.0 : 0));
	json_object_set_new(o, "tx_spi", spi_json(s->tx_spi));
	json_object_set_new(o, "rx_spi", spi_json(s->rx_spi));
	json_object_set_new(o, "lanes", json_integer(kt ? kt->ntx : 0));
	json_object_set_new(o, "endpoint", show_endpoint(&s->peer->endpoint));
	json_object_set_new(o, "translated", translate_share(s->peer));
	json_object_set_new(o, "path", json_string(nat_path_name(s)));
	json_object_set_new(o, "relay", via ? json_string(via) : json_null());
	json_object_set_new(o, "mtu", json_integer(path_mtu(s->peer)));
	json_object_set_new(o, "mtu_state", json_string(path_mtu_state(s->peer)));
	show_traffic(o, s);
	json_object_set_new(o, "local", prefixes_json(kt ? kt->local : NULL, kt ? kt->nlocal : 0));
	json_object_set_new(o, "remote",
			    prefixes_json(kt ? kt->remote : NULL, kt ? kt->nremote : 0));
	json_object_set_new(o, "services", show_services(s));
	json_object_set_new(o, "classes", show_classes(s));
	return o;
}

json_t *show_sessions(struct keyd *k)
{
	json_t *list = json_array();
	const struct session *s;
	uint32_t i;

	for (i = 1; i <= k->npeers; i++)
		for (s = k->peers[i]->sessions; s; s = s->next)
			json_array_append_new(list, show_session(k, s));
	return json_pack("{s:o}", "sessions", list);
}
