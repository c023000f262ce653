/* SPDX-License-Identifier: BSD-2-Clause */
/* What the translation of sources costs a gateway, by BPF_PROG_RUN as in scale_bpf.c; the programs are attached to nothing. */
#include "scale.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../keyd/dp/packet.h"
#include "../../keyd/shim_priv.h"
#include "translate.skel.h"

#define FLOWS 1000 /* to one end: more would not all find a port within the tries that a packet has */
#define RUNS 8192
#define ETH_B 14
#define LO 1 /* that BPF_PROG_RUN's packets go by */
#define HOST_PORT 53
#define FIRST_PORT 10000

static struct shim *shim;
static struct translate_bpf *bpf;
static struct mvpn_addr device, behind, own, elsewhere;
static uint16_t as[FLOWS]; /* the port that the host sees */
static const struct scale_size size = {.peers = 1, .prefixes = 2};

static struct mvpn_addr addr(const char *text)
{
	struct mvpn_addr a;

	scale_must(!mvpn_addr_parse(&a, text), "an address");
	return a;
}

static unsigned frame(uint8_t *ret, const struct mvpn_addr *src, uint16_t sport,
		      const struct mvpn_addr *dst, uint16_t dport)
{
	unsigned len = scale_packet(ret + ETH_B, dst);

	memset(ret, 2, 12);
	put16(ret + 12, 0x0800);
	memcpy(ret + ETH_B + 12, src->b + 12, 4);
	put16(ret + ETH_B + 20, sport);
	put16(ret + ETH_B + 22, dport);
	return ETH_B + len;
}

/* forwarded, as what comes out of the tunnel is; *ret_port: the source's, afterwards */
static double run(const struct bpf_program *prog, uint8_t *data, unsigned len, uint16_t *ret_port)
{
	struct __sk_buff ctx = {.ingress_ifindex = LO};
	uint8_t out[ETH_B + SCALE_PACKET_B];
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = data, .data_size_in = len, .ctx_in = &ctx,
		    .ctx_size_in = sizeof(ctx), .data_out = out, .data_size_out = sizeof(out),
		    .repeat = 1);

	scale_must(!bpf_prog_test_run_opts(bpf_program__fd(prog), &o), "BPF_PROG_RUN");
	scale_must((int)o.retval == -1, "a packet was not let by");
	*ret_port = get16(out + ETH_B + 20);
	return o.duration;
}

void scale_translate_make(void)
{
	const struct mvpn_translate_iface lo = {LO, 1};
	struct shim_opts o = {0};
	struct mvpn_prefix p;
	char pins[64], *error = NULL;
	const __u32 zero = 0, most = MVPN_TRANSLATIONS_MAX;

	device = addr("10.1.0.7");
	behind = addr("10.6.0.9");
	own = addr("10.6.0.1");
	elsewhere = addr("10.7.0.9");
	snprintf(pins, sizeof(pins), "/sys/fs/bpf/mvpn-scale-%d-t", getpid());
	scale_must(!shim_open_with(&shim, pins, &o, &error), error ? error : "the BPF programs");
	p = mvpn_prefix_host(&device);
	scale_must(!shim_protect(shim, &p, 1, 0), "a prefix");
	p = mvpn_prefix_host(&behind);
	scale_must(!shim_protect(shim, &p, 0, MVPN_PROT_LOCAL | MVPN_PROT_TRANSLATED), "a prefix");
	bpf = translate_bpf__open();
	scale_must(bpf && !shim_share_maps(shim, bpf->obj) && !translate_bpf__load(bpf),
		   "cannot load the programs that translate");
	scale_must(!bpf_map_update_elem(bpf_map__fd(bpf->maps.translate_as), &lo, &own, 0) &&
			   !bpf_map_update_elem(bpf_map__fd(bpf->maps.translate_most), &zero, &most,
						0),
		   "cannot fill the maps");
	for (unsigned i = 0; i < FLOWS; i++) {
		uint8_t data[ETH_B + SCALE_PACKET_B];
		unsigned len = frame(data, &device, (uint16_t)(FIRST_PORT + i), &behind, HOST_PORT);

		run(bpf->progs.translate_out, data, len, &as[i]);
	}
}

typedef unsigned fill_fn(uint8_t *ret, unsigned flow);

static unsigned fill_out(uint8_t *ret, unsigned flow)
{
	return frame(ret, &device, (uint16_t)(FIRST_PORT + flow), &behind, HOST_PORT);
}

static unsigned fill_in(uint8_t *ret, unsigned flow)
{
	return frame(ret, &behind, HOST_PORT, &own, as[flow]);
}

/* to where nothing is translated: what the programs cost everybody else */
static unsigned fill_none(uint8_t *ret, unsigned flow)
{
	return frame(ret, &device, (uint16_t)(FIRST_PORT + flow), &elsewhere, HOST_PORT);
}

/* later ones of one datagram, of which more follow */
static unsigned fill_fragment(uint8_t *ret, unsigned flow)
{
	unsigned len = fill_out(ret, flow);

	put16(ret + ETH_B + 4, (uint16_t)(1 + flow));
	put16(ret + ETH_B + 6, 0x2000 | 64);
	return len;
}

/* single runs, hot ones too: a second one would find the packet translated */
static void measure(const char *metric, const struct bpf_program *prog, fill_fn *fill)
{
	static double each[RUNS];
	uint8_t data[ETH_B + SCALE_PACKET_B];
	uint16_t port;

	for (unsigned access = SCALE_HOT; access <= SCALE_RANDOM; access++) {
		for (unsigned i = 0; i < RUNS; i++) {
			unsigned len = fill(data, access == SCALE_HOT ? 0 : scale_random(FLOWS));

			each[i] = run(prog, data, len, &port);
		}
		scale_value(metric, size, access, scale_median(each, RUNS), "ns");
	}
}

void scale_translate_round(void)
{
	measure("translate_out", bpf->progs.translate_out, fill_out);
	measure("translate_in", bpf->progs.translate_in, fill_in);
	measure("translate_fragment", bpf->progs.translate_out, fill_fragment);
	measure("translate_none", bpf->progs.translate_out, fill_none);
}

void scale_translate_free(void)
{
	translate_bpf__destroy(bpf);
	shim_purge(shim);
	shim_close(shim);
}
