/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Messages inside frames: a head of four bytes and TLVs. What is checked on arrival is checked when
 * built, too.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "chan_impl.h"
#include "intro.h"
#include "mvpn/limits.h"

#define TLV_HEAD_B 4

/* sizes that the comments of mvpn/auth.h give; max 0: no such type */
static const struct {
	uint16_t min, max;
} sizes[] = {
	[MVPN_TLV_NAME] = {1, MVPN_NAME_MAX_B},
	[MVPN_TLV_ADDR] = {16, 16},
	[MVPN_TLV_UDP_PORT] = {2, 2},
	[MVPN_TLV_BOOT_GEN] = {8, 8},
	[MVPN_TLV_SUITES] = {2, 2},
	[MVPN_TLV_VERSION] = {0, 128},
	[MVPN_TLV_TIME] = {8, 8},
	[MVPN_TLV_REASON] = {2, 2},
	[MVPN_TLV_TEXT] = {0, 1024},
	[MVPN_TLV_DEVICE] = {MVPN_ID_LEN, MVPN_ID_LEN},
	[MVPN_TLV_NET] = {MVPN_NET_ID_LEN, MVPN_NET_ID_LEN},
	[MVPN_TLV_STATE] = {1, 1},
	[MVPN_TLV_ADDR_REFUSED] = {18, 18},
	[MVPN_TLV_MAX_OFFLINE] = {4, 4},
	[MVPN_TLV_REKEY] = {4, 4},
	[MVPN_TLV_PREFIX] = {34, 34},
	[MVPN_TLV_PEER] = {17, 17 + MVPN_NAME_MAX_B},
	[MVPN_TLV_REV] = {8, 8},
	[MVPN_TLV_REQ] = {sizeof(struct mvpn_req), INTRO_REQ_MAX_B},
	[MVPN_TLV_NOISE1] = {INTRO_MSG1_B, INTRO_MSG1_B},
	[MVPN_TLV_NOISE2] = {INTRO_MSG1_B, INTRO_MSG2_MAX_B},
	[MVPN_TLV_SESSION] = {MVPN_ID_LEN, MVPN_ID_LEN},
	[MVPN_TLV_SEQ] = {8, 8},
	[MVPN_TLV_S_PUB] = {MVPN_KEY_LEN, MVPN_KEY_LEN},
	[MVPN_TLV_PSK] = {MVPN_KEY_LEN, MVPN_KEY_LEN},
	[MVPN_TLV_SELECTORS] = {2, MVPN_SELECTORS_MAX_B},
	[MVPN_TLV_TTL] = {4, 4},
	[MVPN_TLV_ENDPOINT] = {18, 18},
	[MVPN_TLV_NONCE] = {16, 16},
	[MVPN_TLV_OPTIONS] = {4, 4},
	[MVPN_TLV_MAC] = {6, 6},
	[MVPN_TLV_MAC_REFUSED] = {8, 8},
	[MVPN_TLV_ETHER] = {sizeof(struct mvpn_ether), sizeof(struct mvpn_ether)},
	[MVPN_TLV_LAYER] = {1, 1},
	[MVPN_TLV_KEY] = {MVPN_KEY_LEN, MVPN_KEY_LEN},
	[MVPN_TLV_MODE] = {1, 1},
	[MVPN_TLV_VOUCH] = {MVPN_TLV_VOUCH_B, MVPN_TLV_VOUCH_B},
	[MVPN_TLV_PSK_EPOCH] = {4, 4},
	[MVPN_TLV_SPI] = {4, 4},
	[MVPN_TLV_NO_UDP] = {1, 1},
	[MVPN_TLV_RETURN] = {4, 4},
	[MVPN_TLV_RELAY_RATE] = {4, 4},
	[MVPN_TLV_RELAY_END] = {sizeof(struct mvpn_relay_end) + 1,
				sizeof(struct mvpn_relay_end) + MVPN_NAME_MAX_B},
	[MVPN_TLV_RELAY_BY] = {sizeof(struct mvpn_relay_by) + 1,
			       sizeof(struct mvpn_relay_by) + MVPN_NAME_MAX_B},
	[MVPN_TLV_ECHO] = {MVPN_TLV_ECHO_B, MVPN_TLV_ECHO_B},
	[MVPN_TLV_KEY_SERIAL] = {8, 8},
	[MVPN_TLV_KEY_LEFT] = {4, 4},
	[MVPN_TLV_KEY_IN] = {4, 4},
	[MVPN_TLV_SET] = {32, 32},
	[MVPN_TLV_DELEGATION] = {MVPN_TLV_DELEGATION_B, MVPN_TLV_DELEGATION_B},
	[MVPN_TLV_GATEWAYS] = {MVPN_TLV_GATEWAYS_HEAD_B + MVPN_ID_LEN,
			       MVPN_TLV_GATEWAYS_HEAD_B + MVPN_GATEWAYS_MAX * MVPN_ID_LEN},
	[MVPN_TLV_RULE] = {MVPN_RULE_HEAD_B,
			   MVPN_RULE_HEAD_B + MVPN_SERVICE_B * MVPN_SERVICES_MAX + MVPN_RULE_TEXT_B},
	[MVPN_TLV_TICKET] = {MVPN_TICKET_B, MVPN_TICKET_B},
	[MVPN_TLV_PROCESS_RULE] = {1, MVPN_RULE_TEXT_B},
	[MVPN_TLV_PROCESS_REFUSED] = {sizeof(struct mvpn_process_refused) + 3,
				      sizeof(struct mvpn_process_refused) +
					      MVPN_PROCESS_REFUSED_TEXT_B},
	[MVPN_TLV_PROCESS_LINE] = {4, 4 + 1024},
	[MVPN_TLV_PROCESS_SERVICE] = {MVPN_SERVICE_B, MVPN_SERVICE_B},
	[MVPN_TLV_PROCESS_BY] = {2, 1 + MVPN_BY_MAX_B},
	[MVPN_TLV_PROCESS_PEER] = {MVPN_ID_LEN, MVPN_ID_LEN},
	[MVPN_TLV_LEVEL] = {MVPN_ID_LEN + 1, MVPN_ID_LEN + 1},
};

static bool known(uint16_t type)
{
	return type < sizeof(sizes) / sizeof(sizes[0]) && sizes[type].max != 0;
}

static bool size_ok(uint16_t type, size_t len)
{
	return !known(type) || (len >= sizes[type].min && len <= sizes[type].max);
}

/* ---- reading ---- */

int chan_msg_check(const uint8_t *plain, size_t len)
{
	struct chan_msg m = {.tlvs = plain + CHAN_MSG_HEAD_B, .len = len - CHAN_MSG_HEAD_B};
	struct chan_tlv t;
	size_t pos = 0;

	while (chan_tlv_next(&m, &pos, &t)) {
		if (!known(t.type) && (t.type & MVPN_TLV_CRITICAL))
			return -EPROTO;
		if (!size_ok(t.type, t.len))
			return -EPROTO;
	}
	return pos == m.len ? 0 : -EPROTO;
}

bool chan_tlv_next(const struct chan_msg *m, size_t *pos, struct chan_tlv *ret)
{
	size_t left = m->len - *pos, len;
	const uint8_t *p;

	if (left < TLV_HEAD_B) /* of none at all `tlvs` may be NULL */
		return false;
	p = m->tlvs + *pos;
	len = p[2] << 8 | p[3];
	if (left - TLV_HEAD_B < len)
		return false;
	*ret = (struct chan_tlv){.type = p[0] << 8 | p[1], .len = len, .value = p + TLV_HEAD_B};
	*pos += TLV_HEAD_B + len;
	return true;
}

const uint8_t *chan_tlv_find(const struct chan_msg *m, uint16_t type, uint16_t *ret_len)
{
	struct chan_tlv t;
	size_t pos = 0;

	while (chan_tlv_next(m, &pos, &t)) {
		if (t.type != type)
			continue;
		if (ret_len)
			*ret_len = t.len;
		return t.value;
	}
	return NULL;
}

/* the value of exactly len bytes as a big-endian number */
static bool get_number(const struct chan_msg *m, uint16_t type, size_t len, uint64_t *ret)
{
	uint16_t have;
	const uint8_t *p = chan_tlv_find(m, type, &have);
	uint64_t v = 0;

	if (!p || have != len)
		return false;
	for (size_t i = 0; i < len; i++)
		v = v << 8 | p[i];
	*ret = v;
	return true;
}

bool chan_get_u8(const struct chan_msg *m, uint16_t type, uint8_t *ret)
{
	uint64_t v;

	if (!get_number(m, type, 1, &v))
		return false;
	*ret = v;
	return true;
}

bool chan_get_u16(const struct chan_msg *m, uint16_t type, uint16_t *ret)
{
	uint64_t v;

	if (!get_number(m, type, 2, &v))
		return false;
	*ret = v;
	return true;
}

bool chan_get_u32(const struct chan_msg *m, uint16_t type, uint32_t *ret)
{
	uint64_t v;

	if (!get_number(m, type, 4, &v))
		return false;
	*ret = v;
	return true;
}

bool chan_get_u64(const struct chan_msg *m, uint16_t type, uint64_t *ret)
{
	return get_number(m, type, 8, ret);
}

bool chan_get_bytes(const struct chan_msg *m, uint16_t type, void *ret, size_t len)
{
	uint16_t have;
	const uint8_t *p = chan_tlv_find(m, type, &have);

	if (!p || have != len)
		return false;
	memcpy(ret, p, len);
	return true;
}

bool mvpn_name_valid(const char *name, size_t len)
{
	if (!len || len > MVPN_NAME_MAX_B || name[0] == '-' || name[0] == '.')
		return false;
	for (size_t i = 0; i < len; i++) {
		char c = name[i];

		if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
		      c == '.' || c == '_' || c == '-'))
			return false;
	}
	return true;
}

/* ---- building ---- */

static bool room(struct chan_buf *b, size_t more)
{
	size_t size = b->size ? b->size : 256;
	uint8_t *data;

	if (b->error)
		return false;
	if (more > MVPN_CHAN_PLAIN_MAX_B - b->len) {
		b->error = -EMSGSIZE;
		return false;
	}
	if (b->size - b->len >= more)
		return true;
	while (size < b->len + more)
		size *= 2;
	data = malloc(size);
	if (!data) {
		b->error = -ENOMEM;
		return false;
	}
	if (b->data) {
		memcpy(data, b->data, b->len);
		/* may hold a PSK: not for realloc() to leave behind */
		sodium_memzero(b->data, b->size);
		free(b->data);
	}
	b->data = data;
	b->size = size;
	return true;
}

void chan_begin(struct chan_buf *b, uint8_t type, uint8_t flags, uint16_t reqid)
{
	const uint8_t head[CHAN_MSG_HEAD_B] = {type, flags, reqid >> 8, reqid};

	if (b->data)
		sodium_memzero(b->data, b->len);
	b->len = 0;
	b->error = 0;
	if (!room(b, sizeof(head)))
		return;
	memcpy(b->data, head, sizeof(head));
	b->len = sizeof(head);
}

void chan_put(struct chan_buf *b, uint16_t type, const void *value, size_t len)
{
	uint8_t *p;

	if (!b->error && !size_ok(type, len))
		b->error = -EINVAL;
	if (len > MVPN_CHAN_PLAIN_MAX_B && !b->error)
		b->error = -EMSGSIZE;
	if (!room(b, TLV_HEAD_B + len))
		return;
	p = b->data + b->len;
	p[0] = type >> 8;
	p[1] = type;
	p[2] = len >> 8;
	p[3] = len;
	if (len)
		memcpy(p + TLV_HEAD_B, value, len);
	b->len += TLV_HEAD_B + len;
}

static void put_number(struct chan_buf *b, uint16_t type, uint64_t v, size_t len)
{
	uint8_t be[8];

	for (size_t i = 0; i < len; i++)
		be[i] = v >> 8 * (len - 1 - i);
	chan_put(b, type, be, len);
}

void chan_put_u8(struct chan_buf *b, uint16_t type, uint8_t v)
{
	put_number(b, type, v, 1);
}

void chan_put_u16(struct chan_buf *b, uint16_t type, uint16_t v)
{
	put_number(b, type, v, 2);
}

void chan_put_u32(struct chan_buf *b, uint16_t type, uint32_t v)
{
	put_number(b, type, v, 4);
}

void chan_put_u64(struct chan_buf *b, uint16_t type, uint64_t v)
{
	put_number(b, type, v, 8);
}

void chan_buf_free(struct chan_buf *b)
{
	if (b->data)
		sodium_memzero(b->data, b->size);
	free(b->data);
	memset(b, 0, sizeof(*b));
}
