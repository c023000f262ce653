/* SPDX-License-Identifier: BSD-2-Clause */
/* relays: the pairs whose sealed packets this device passes on. */
#include <stdatomic.h>

#include "control.h"
#include "forward.h"
#include "forwards.h"
#include "fwdtab.h"

static json_t *show_end(const struct forward_view *v, unsigned i)
{
	const struct fwd_half *h = &v->pair->half[i];
	char text[MVPN_ADDRSTRLEN], spi[9];

	snprintf(spi, sizeof(spi), "%08x", h->spi);
	return json_pack("{s:s, s:o, s:s, s:s?}", "name", v->name[i], "id",
			 show_hex(h->device, MVPN_ID_LEN), "spi", spi, "endpoint",
			 v->at[i].port ? mvpn_endpoint_str(&v->at[i], text) : NULL);
}

static json_int_t number(const _Atomic uint64_t *n)
{
	return (json_int_t)atomic_load_explicit(n, memory_order_relaxed);
}

static void add(void *arg, const struct forward_view *v)
{
	uint64_t ends_ms = v->pair->at_ms + MVPN_RELAY_IDLE_S * 1000, now = mono_ms();

	json_array_append_new(
		arg, json_pack("{s:o, s:o, s:o, s:I, s:I, s:I, s:I, s:f}", "session",
			       show_hex(v->pair->session, MVPN_ID_LEN), "a", show_end(v, 0), "b",
			       show_end(v, 1), "packets", number(&v->account->packets), "bytes",
			       number(&v->account->bytes), "limited", number(&v->account->limited),
			       "rate_kbit", (json_int_t)v->rate_kbit, "ends_in_s",
			       ends_ms > now ? (double)(ends_ms - now) / 1000 : 0.0));
}

json_t *show_relays(struct keyd *k)
{
	json_t *list = json_array();

	forwards_each(k, add, list);
	return json_pack("{s:o}", "relays", list);
}
