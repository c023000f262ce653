/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The programs in the kernel, by BPF_PROG_RUN with maps as full as a host's would be. The kernel's own stopwatch counts, so the
 * system call is left out; a single run has the cost of two looks at the clock in it.
 */
#include "scale.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../keyd/dp/packet.h"
#include "../../keyd/shim_priv.h"
#include "loop.h"
#include "mvpn/wire.h"
#include "spi.h"
#include "wire.skel.h"

#define RUNS 8192 /* of random destinations */
#define REPEAT 100000
#define ETH_B 14

static struct host {
	struct scale_size size;
	struct shim *shim;
	struct wire_bpf *wire;
	char pins[64];
	bool hosts; /* each peer owns one address; else the mixed set */
} host[2 * SCALE_SIZES];
static unsigned nhosts;

/* ---- making ---- */
static struct mvpn_prefix prefix_of(const struct host *h, unsigned n)
{
	struct mvpn_addr a = scale_host(n + 1);

	return h->hosts ? mvpn_prefix_host(&a) : scale_prefix(n);
}

static struct mvpn_addr addr_of(const struct host *h, unsigned n)
{
	return h->hosts ? scale_host(n + 1) : scale_addr(n);
}

/* bytes in the kernel that a map takes, as it says itself */
static double map_memory(int fd)
{
	char path[64], line[128];
	unsigned long long bytes = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		sscanf(line, "memlock: %llu", &bytes);
	if (f)
		fclose(f);
	return (double)bytes;
}

static uint32_t spi_of(unsigned session)
{
	return 7U << MVPN_SPI_SLOT_BITS | spi_slot(session * 0x9e3779b1u);
}

static void wire_make(struct host *h)
{
	h->wire = wire_bpf__open();
	scale_must(h->wire &&
			   !bpf_map__reuse_fd(h->wire->maps.config,
					      bpf_map__fd(h->shim->bpf->maps.config)) &&
			   !bpf_map__reuse_fd(h->wire->maps.spis,
					      bpf_map__fd(h->shim->bpf->maps.spis)) &&
			   !bpf_map__reuse_fd(h->wire->maps.counters,
					      bpf_map__fd(h->shim->bpf->maps.counters)) &&
			   !wire_bpf__load(h->wire),
		   "cannot load the XDP program");
}

static void host_make(unsigned peers, unsigned prefixes, bool hosts)
{
	struct host *h = &host[nhosts++];
	const struct mvpn_key armed = {.state = MVPN_KEY_ARMED};
	/* keyd that breathes until the end */
	const struct mvpn_config c = {.tap_ifindex = 1,
				      .udp_port = MVPN_DATA_PORT,
				      .alive_ns = mono_ns() + 3600000000000ULL};
	struct shim_opts o = {0};
	char *error = NULL;
	uint64_t since;

	h->size = (struct scale_size){peers, prefixes, peers};
	h->hosts = hosts;
	snprintf(h->pins, sizeof(h->pins), "/sys/fs/bpf/mvpn-scale-%d-%u", getpid(), nhosts);
	if (shim_open_with(&h->shim, h->pins, &o, &error)) {
		fprintf(stderr, "scale: %s\n", error ? error : "cannot load the BPF programs");
		exit(1);
	}
	shim_config(h->shim, &c);
	since = scale_cpu_ns();
	for (unsigned n = 0; n < prefixes; n++) {
		struct mvpn_prefix p = prefix_of(h, n);

		scale_must(!shim_protect(h->shim, &p, 1 + n % peers, 0),
			   "cannot fill the map of prefixes");
	}
	if (!hosts) {
		scale_value("bpf_load", h->size, SCALE_ALL, (double)(scale_cpu_ns() - since) / 1e9,
			    "s");
		scale_value("bpf_prefixes_memory", h->size, SCALE_ALL,
			    map_memory(bpf_map__fd(h->shim->bpf->maps.protected)), "B");
	}
	for (unsigned i = 1; i <= peers; i++)
		scale_must(!shim_key_set(h->shim, i, &armed) && !shim_spi_set(h->shim, spi_of(i)),
			   "cannot fill the maps of peers");
	wire_make(h);
}

void scale_bpf_make(void)
{
	for (unsigned i = 0; i < SCALE_SIZES; i++) {
		host_make(scale_peers[i], scale_peers[i], true);
		host_make(100, scale_prefixes[i], false);
	}
}

void scale_bpf_free(void)
{
	for (unsigned i = 0; i < nhosts; i++) {
		wire_bpf__destroy(host[i].wire);
		shim_purge(host[i].shim);
		shim_close(host[i].shim);
	}
}

/* ---- packets ---- */
static unsigned frame(uint8_t *ret, const struct mvpn_addr *dst)
{
	unsigned len = scale_packet(ret + ETH_B, dst);

	memset(ret, 2, 12);
	put16(ret + 12, mvpn_addr_is_v4(dst) ? 0x0800 : 0x86dd);
	return ETH_B + len;
}

/* a sealed packet of that session, from anywhere */
static unsigned sealed_frame(uint8_t *ret, unsigned session)
{
	struct mvpn_addr any = scale_host(1);
	struct mvpn_hdr h = {.type = MVPN_TUNNEL, .spi = htonl(spi_of(session))};
	unsigned len = frame(ret, &any);

	put16(ret + ETH_B + 20 + 2, MVPN_DATA_PORT);
	memcpy(ret + ETH_B + 28, &h, sizeof(h));
	return len;
}

/* ---- measuring ---- */
static double run(int prog, uint8_t *data, unsigned len, unsigned repeat)
{
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = data, .data_size_in = len,
		    .repeat = (int)repeat);

	scale_must(!bpf_prog_test_run_opts(prog, &o), "BPF_PROG_RUN");
	return o.duration;
}

typedef unsigned fill_fn(const struct host *h, uint8_t *ret, unsigned n);

static void measure(const struct host *h, const char *metric, int prog, fill_fn *fill,
		    unsigned many)
{
	static double each[RUNS];
	uint8_t data[2 * SCALE_PACKET_B];
	unsigned len = fill(h, data, 0);

	scale_value(metric, h->size, SCALE_HOT, run(prog, data, len, REPEAT), "ns");
	for (unsigned i = 0; i < RUNS; i++) {
		len = fill(h, data, scale_random(many));
		each[i] = run(prog, data, len, 1);
	}
	scale_value(metric, h->size, SCALE_RANDOM, scale_median(each, RUNS), "ns");
}

static unsigned fill_protected(const struct host *h, uint8_t *ret, unsigned n)
{
	struct mvpn_addr a = addr_of(h, n);

	return frame(ret, &a);
}

/* 203.x: in no prefix of any set */
static unsigned fill_unprotected(const struct host *h, uint8_t *ret, unsigned n)
{
	struct mvpn_addr a = scale_host(0xcb000000 - 0x0a000000 + n);

	return frame(ret, &a);
}

static unsigned fill_sealed(const struct host *h, uint8_t *ret, unsigned n)
{
	return sealed_frame(ret, n + 1);
}

void scale_bpf_round(void)
{
	for (unsigned i = 0; i < nhosts; i++) {
		const struct host *h = &host[i];
		int egress = bpf_program__fd(h->shim->bpf->progs.egress);

		measure(h, h->hosts ? "egress_peers" : "egress", egress, fill_protected,
			h->size.prefixes);
		if (!h->hosts)
			measure(h, "egress_unprotected", egress, fill_unprotected, 1000000);
		else
			measure(h, "xdp", bpf_program__fd(h->wire->progs.wire), fill_sealed,
				h->size.sessions);
	}
}
