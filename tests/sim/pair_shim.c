/* SPDX-License-Identifier: BSD-2-Clause */
/* For the real ether.c, levels.c, options.c and processes.c: a kernel that takes everything, and nothing that uses it. */
#include "pair.h"

#include "../../keyd/datagrams.h"
#include "../../keyd/processes.h"
#include "../../keyd/streams.h"

/* ---- frames ---- */

int shim_frame_set(struct shim *s, const uint8_t mac[6], uint16_t type, uint32_t peer, uint32_t flags)
{
	return 0;
}

int shim_frame_unset(struct shim *s, const uint8_t mac[6], uint16_t type)
{
	return 0;
}

int shim_frames_each(struct shim *s,
		     int (*fn)(void *arg, const uint8_t mac[6], uint16_t type, const struct mvpn_frame *v),
		     void *arg)
{
	return 0;
}

int shim_ports_set(struct shim *s, const struct shim_port *ports, unsigned n)
{
	return 0;
}

int shim_frame_tap(struct shim *s, unsigned ifindex, char **ret_error)
{
	return 0;
}

int dp_frames_open(struct dp *dp, const char *name, unsigned *ret_ifindex)
{
	*ret_ifindex = 1;
	return 0;
}

void dp_frames_close(struct dp *dp)
{
}

/* ---- options ---- */

int shim_config(struct shim *s, const struct mvpn_config *c)
{
	return 0;
}

int shim_get_config(struct shim *s, struct mvpn_config *ret)
{
	*ret = (struct mvpn_config){0};
	return 0;
}

/* ---- levels ---- */

int shim_streams_attach(struct shim *s)
{
	return 0;
}

void shim_streams_detach(struct shim *s)
{
}

bool shim_streams(const struct shim *s, const char **ret_error)
{
	return true;
}

int shim_stream_addresses(struct shim *s, const struct mvpn_addr *list, unsigned n)
{
	return 0;
}

void shim_talks_note(struct shim *s, bool yes)
{
}

int shim_divert(struct shim *s, uint32_t peer, const struct mvpn_diversion *d)
{
	return 0;
}

int shim_undivert(struct shim *s, uint32_t peer)
{
	return 0;
}

int shim_undivert_all(struct shim *s)
{
	return 0;
}

int streams_start(struct keyd *k)
{
	return 0;
}

void streams_stop(struct keyd *k)
{
}

void streams_judge(struct keyd *k)
{
}

uint16_t streams_port(const struct keyd *k)
{
	return MVPN_DATA_PORT;
}

int datagrams_start(struct keyd *k)
{
	return 0;
}

void datagrams_stop(struct keyd *k)
{
}

void datagrams_addresses(struct keyd *k, const struct mvpn_addr *own4, const struct mvpn_addr *own6)
{
}

/* ---- processes ---- */

int process_audit_init(struct keyd *k)
{
	return 0;
}

void process_audit_free(struct process_audit *a)
{
}

int shim_process_attach(struct shim *s)
{
	return 0;
}

void shim_process_detach(struct shim *s)
{
}

const char *shim_process(const struct shim *s, const char **ret_error)
{
	return NULL;
}

int shim_process_walk(struct shim *s)
{
	return 0;
}

int shim_traits_add(struct shim *s, const struct shim_traits *t)
{
	return 0;
}

int shim_traits_only(struct shim *s, const struct shim_traits *t)
{
	return 0;
}

int shim_processes(struct shim *s, const struct mvpn_processes *p)
{
	return 0;
}

int shim_guard_set(struct shim *s, uint32_t peer, const struct mvpn_guard *g)
{
	return 0;
}

int shim_guard_clear(struct shim *s, uint32_t peer)
{
	return 0;
}

int shim_guards_clear_all(struct shim *s)
{
	return 0;
}
