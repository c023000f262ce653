/* SPDX-License-Identifier: BSD-2-Clause */
#include "ether.h"

#include <endian.h>
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attach.h"
#include "control.h"
#include "crypto.h"
#include "fsutil.h"
#include "log.h"
#include "mvpn/ether.h"
#include "peers.h"

#define KEPT_FILE "frames"
#define KEPT_MAX_B (1U << 20)
/* the server sends MVPN_FRAMES_MAX and an entry for each type of a policy to cover the rest */
#define ENTRIES_MAX (MVPN_FRAMES_MAP / 2)

struct ether_table {
	unsigned n;
	struct ether_entry entries[ENTRIES_MAX];
};

struct ether {
	struct ether_table *table, *incoming; /* incoming: being received after RESET */
	uint8_t own[MVPN_MACS_MAX][6];	      /* accepted by the server */
	unsigned nown;
	unsigned tap_ifindex;
	char tap_name[IFNAMSIZ];
};

/* ---- asking ---- */

const char *ether_entry_str(const struct ether_entry *e, char ret[static ETHER_ENTRY_STRLEN])
{
	char mac[MVPN_MACSTRLEN];

	if (e->type == ETHER_ANY)
		snprintf(ret, ETHER_ENTRY_STRLEN, "%s/*", mvpn_mac_str(e->mac, mac));
	else
		snprintf(ret, ETHER_ENTRY_STRLEN, "%s/0x%04x", mvpn_mac_str(e->mac, mac), e->type);
	return ret;
}

const struct ether_entry *ether_entries(const struct keyd *k, unsigned *ret_count)
{
	*ret_count = k->ether->table->n;
	return k->ether->table->entries;
}

static const struct ether_entry *find(const struct ether_table *t, const uint8_t mac[6],
				      uint16_t type)
{
	for (unsigned i = 0; i < t->n; i++)
		if (t->entries[i].type == type && !memcmp(t->entries[i].mac, mac, 6))
			return &t->entries[i];
	return NULL;
}

const struct ether_entry *ether_find(const struct keyd *k, const uint8_t mac[6], uint16_t type)
{
	static const uint8_t every[6];
	const struct ether_table *t = k->ether->table;
	const struct ether_entry *e;

	if (ether_never(type) || !mvpn_mac_is_ownable(mac))
		return NULL;
	e = find(t, mac, type);
	if (!e)
		e = find(t, mac, ETHER_ANY);
	if (!e)
		e = find(t, every, ETHER_ANY);
	return e ? e : find(t, every, type);
}

unsigned ether_tap_ifindex(const struct keyd *k)
{
	return k->ether->tap_ifindex;
}

const char *ether_tap_name(const struct keyd *k)
{
	return k->ether->tap_name;
}

/* ---- the kept table ---- */

static void save(struct keyd *k)
{
	const struct ether_table *t = k->ether->table;
	char *path = path_join(k->state_dir, KEPT_FILE), *text = NULL;
	char entry[ETHER_ENTRY_STRLEN], id[2 * MVPN_ID_LEN + 1];
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);
	int r = -ENOMEM;

	for (unsigned i = 0; f && i < t->n; i++) {
		mvpn_hex(id, t->entries[i].owner, MVPN_ID_LEN);
		fprintf(f, "%s %u %s\n", ether_entry_str(&t->entries[i], entry),
			t->entries[i].flags, id);
	}
	if (f && !fclose(f) && path)
		r = file_replace(path, text, len, 0600);
	if (r)
		log_err("cannot keep the table of frames in %s/" KEPT_FILE
			": %s; after a reboot the guard would protect an older set until keyd is "
			"connected",
			k->state_dir, strerror(-r));
	free(text);
	free(path);
}

static int entry_parse(char *line, struct ether_entry *ret)
{
	char *save, *where = strtok_r(line, " ", &save), *flags = strtok_r(NULL, " ", &save);
	char *owner = strtok_r(NULL, " ", &save), *slash = where ? strchr(where, '/') : NULL;
	unsigned type = ETHER_ANY;

	memset(ret, 0, sizeof(*ret));
	if (!slash || !flags || !owner || mvpn_unhex(ret->owner, MVPN_ID_LEN, owner))
		return -EBADMSG;
	*slash++ = '\0';
	if (mvpn_mac_parse(ret->mac, where) ||
	    (strcmp(slash, "*") && sscanf(slash, "0x%4x", &type) != 1) ||
	    (type != ETHER_ANY && ether_never(type)))
		return -EBADMSG;
	ret->type = (uint16_t)type;
	ret->flags = (uint8_t)(strtoul(flags, NULL, 10) & (MVPN_FRAME_TX | MVPN_FRAME_RX));
	return 0;
}

int ether_kept_each(const char *state_dir, int (*fn)(void *arg, const struct ether_entry *e),
		    void *arg)
{
	char *path = path_join(state_dir, KEPT_FILE), *text = NULL, *line, *next = NULL;
	struct ether_entry e;
	size_t len;
	int r = path ? file_read(path, KEPT_MAX_B, &text, &len) : -ENOMEM;

	free(path);
	for (line = r ? NULL : strtok_r(text, "\n", &next); line && !r;
	     line = strtok_r(NULL, "\n", &next)) {
		r = entry_parse(line, &e);
		if (!r)
			r = fn(arg, &e);
	}
	free(text);
	return r;
}

/* ---- the device ---- */

static void tap_close(struct keyd *k)
{
	struct ether *x = k->ether;

	if (!x->tap_ifindex)
		return;
	shim_frame_tap(k->shim, 0, NULL);
	dp_frames_close(k->dp);
	x->tap_ifindex = 0;
	log_info("no policy line pairs this device for frames any more: %s is gone", x->tap_name);
}

static void tap_open(struct keyd *k)
{
	struct ether *x = k->ether;
	char *error = NULL;
	int r;

	if (x->tap_ifindex)
		return;
	r = dp_frames_open(k->dp, x->tap_name, &x->tap_ifindex);
	if (r) {
		x->tap_ifindex = 0;
		log_err("cannot make %s, which frames take: %s; they are dropped", x->tap_name,
			strerror(-r));
		return;
	}
	r = shim_frame_tap(k->shim, x->tap_ifindex, &error);
	if (r) {
		log_err("%s: frames are dropped: %s", x->tap_name, error ? error : strerror(-r));
		free(error);
		dp_frames_close(k->dp);
		x->tap_ifindex = 0;
		return;
	}
	log_info("a policy line pairs this device for frames: they take %s", x->tap_name);
}

/* ---- the table in the maps and in the key table ---- */

static uint32_t index_of(const struct ether_entry *e)
{
	return e->peer ? e->peer->index : MVPN_PEER_NONE;
}

static void entry_protect(struct keyd *k, const struct ether_entry *e)
{
	char text[ETHER_ENTRY_STRLEN];
	int r = shim_frame_set(k->shim, e->mac, e->type, index_of(e), e->flags);

	if (!r)
		return;
	k->counters[KC_MAP_FULL]++;
	log_err("frames to %s are NOT protected, they pass in CLEAR: the BPF map `frames`: %s",
		ether_entry_str(e, text), strerror(-r));
}

struct sweep {
	struct keyd *k;
	const struct ether_table *keep;
};

static int entry_release(void *arg, const uint8_t mac[6], uint16_t type, const struct mvpn_frame *v)
{
	struct sweep *s = arg;

	if (!find(s->keep, mac, type))
		shim_frame_unset(s->k->shim, mac, type);
	return 0;
}

static void publish(struct keyd *k)
{
	const struct ether *x = k->ether;
	struct frametab *t = NULL;
	int r = x->table->n ? frametab_new(&t) : 0;

	for (unsigned i = 0; i < x->table->n && !r; i++) {
		const struct ether_entry *e = &x->table->entries[i];

		r = frametab_set(t, e->mac, e->type, &(struct frame_right){index_of(e), e->flags});
	}
	for (unsigned i = 0; t && i < x->nown && !r; i++)
		r = frametab_set_local(t, x->own[i]);
	if (r)
		frametab_free(t);
	else
		r = kt_set_frames(k->kt, t);
	if (r) {
		kt_set_frames(k->kt, NULL);
		log_err("no memory for the table of frames: they are dropped");
	}
}

/* first protect what is new, then let go what is not protected any more */
static void apply(struct keyd *k)
{
	struct ether *x = k->ether;
	struct sweep s = {k, x->table};

	for (unsigned i = 0; i < x->table->n; i++)
		entry_protect(k, &x->table->entries[i]);
	shim_frames_each(k->shim, entry_release, &s);
	publish(k);
	if (x->table->n)
		tap_open(k);
	else
		tap_close(k);
}

/* ---- own addresses ---- */

static bool is_own(const struct ether *x, const uint8_t mac[6])
{
	for (unsigned i = 0; i < x->nown; i++)
		if (!memcmp(x->own[i], mac, 6))
			return true;
	return false;
}

void ether_ports_changed(struct keyd *k)
{
	struct shim_port ports[MVPN_IFACES_MAX];
	unsigned n = 0;
	int r;

	for (unsigned i = 0; i < k->nifaces; i++) {
		const struct attachment *a = k->ifaces[i];
		unsigned same = 0;

		while (same < n && memcmp(ports[same].mac, a->mac, 6))
			same++;
		/* of several with one address the first attached gets the frames */
		if (!a->ifindex || same < n || !is_own(k->ether, a->mac))
			continue;
		memcpy(ports[n].mac, a->mac, 6);
		ports[n++].ifindex = a->ifindex;
	}
	r = shim_ports_set(k->shim, ports, n);
	if (r)
		log_err("cannot write the BPF map `ports`: %s; frames of peers are dropped",
			strerror(-r));
}

void ether_claim(struct keyd *k, struct chan_buf *b)
{
	for (unsigned i = 0; i < k->nifaces; i++)
		if (k->ifaces[i]->ifindex && mvpn_mac_is_ownable(k->ifaces[i]->mac))
			chan_put(b, MVPN_TLV_MAC, k->ifaces[i]->mac, 6);
}

void ether_welcome(struct keyd *k, const struct chan_msg *m)
{
	struct ether *x = k->ether;
	char text[MVPN_MACSTRLEN];
	struct chan_tlv t;
	size_t pos = 0;

	x->nown = 0;
	while (chan_tlv_next(m, &pos, &t)) {
		if (t.type == MVPN_TLV_MAC && x->nown < MVPN_MACS_MAX) {
			memcpy(x->own[x->nown++], t.value, 6);
		} else if (t.type == MVPN_TLV_MAC_REFUSED) {
			k->counters[KC_MAC_REFUSED]++;
			log_warn("the server refused our MAC address %s: %s",
				 mvpn_mac_str(t.value, text),
				 mvpn_reason_text((unsigned)t.value[6] << 8 | t.value[7]));
		}
	}
	publish(k);
	ether_ports_changed(k);
}

/* ---- ETHER ---- */

static int take(struct keyd *k, const uint8_t *value)
{
	struct ether_table *t = k->ether->incoming;
	struct mvpn_ether v;
	struct ether_entry e = {0};

	memcpy(&v, value, sizeof(v));
	e.type = be16toh(v.type_be);
	if (t->n == ENTRIES_MAX || v.flags & ~(MVPN_FRAME_TX | MVPN_FRAME_RX) ||
	    (e.type != ETHER_ANY && ether_never(e.type)) ||
	    (!sodium_is_zero(v.mac, 6) && !mvpn_mac_is_ownable(v.mac)))
		return -EPROTO;
	memcpy(e.mac, v.mac, 6);
	memcpy(e.owner, v.owner, MVPN_ID_LEN);
	e.flags = v.flags;
	t->entries[t->n++] = e;
	return 0;
}

void ether_lost(struct keyd *k)
{
	free(k->ether->incoming);
	k->ether->incoming = NULL;
}

static void find_peers(struct keyd *k, struct ether_table *t)
{
	for (unsigned i = 0; i < t->n; i++)
		if (!sodium_is_zero(t->entries[i].owner, MVPN_ID_LEN))
			t->entries[i].peer = peer_layer_ensure(k, t->entries[i].owner, MVPN_LAYER_LINK);
}

int ether_message(struct keyd *k, const struct chan_msg *m)
{
	struct ether *x = k->ether;
	struct chan_tlv t;
	size_t pos = 0;
	int r = 0;

	if (m->flags & MVPN_PFX_RESET) {
		if (!x->incoming)
			x->incoming = malloc(sizeof(*x->incoming));
		if (!x->incoming)
			return -ENOMEM;
		x->incoming->n = 0;
	} else if (!x->incoming) {
		return -EPROTO;
	}
	while (!r && chan_tlv_next(m, &pos, &t))
		if (t.type == MVPN_TLV_ETHER)
			r = take(k, t.value);
	if (r || !(m->flags & MVPN_PFX_COMMIT))
		return r;
	free(x->table);
	x->table = x->incoming;
	x->incoming = NULL;
	find_peers(k, x->table);
	apply(k);
	save(k);
	return 0;
}

/* ---- life ---- */

static int kept_load(void *arg, const struct ether_entry *e)
{
	struct ether_table *t = ((struct keyd *)arg)->ether->table;

	if (t->n == ENTRIES_MAX)
		return -EBADMSG;
	t->entries[t->n++] = *e;
	return 0;
}

/* an entry of an earlier life that the kept table does not name stays protected, by nobody, until the server speaks */
static int orphan(void *arg, const uint8_t mac[6], uint16_t type, const struct mvpn_frame *v)
{
	struct ether_table *t = ((struct keyd *)arg)->ether->table;
	struct ether_entry e = {.type = type};

	memcpy(e.mac, mac, 6);
	if (!find(t, mac, type) && t->n < ENTRIES_MAX)
		t->entries[t->n++] = e;
	return 0;
}

int ether_init(struct keyd *k)
{
	struct ether *x = k->ether = calloc(1, sizeof(*x));
	int r;

	if (x)
		x->table = calloc(1, sizeof(*x->table));
	if (!x || !x->table)
		return -ENOMEM;
	/* the tap's name and an e, within what an interface name holds */
	snprintf(x->tap_name, sizeof(x->tap_name), "%.*se", IFNAMSIZ - 2, k->conf.tap);
	r = ether_kept_each(k->state_dir, kept_load, k);
	if (r && r != -ENOENT)
		log_err("%s/" KEPT_FILE
			" is damaged (%s): frames that the pinned maps protect stay "
			"protected, the rest when the server is reached",
			k->state_dir, strerror(-r));
	shim_frames_each(k->shim, orphan, k);
	find_peers(k, x->table);
	apply(k);
	return 0;
}

void ether_free(struct keyd *k)
{
	struct ether *x = k->ether;

	if (!x)
		return;
	free(x->table);
	free(x->incoming);
	free(x);
	k->ether = NULL;
}
