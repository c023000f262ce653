/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a packet costs as peers, protected prefixes and sessions grow, and what they take of memory: `make bench-scale`, as root.
 *
 *   scale [ROUNDS]
 *
 * The code is keyd's own, with a wire and a tap that swallow what they get (scale_path.c), and the BPF programs by BPF_PROG_RUN with
 * real maps (scale_bpf.c, scale_translate.c), and keyd's main thread (scale_keyd.c). Sizes are made side by side, and each round measures each of them once, so that whatever else the
 * machine does falls on all alike. TSV: system metric value unit peers prefixes sessions access ratio_to_smallest min max.
 */
#include "scale.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../unit/inner.h"
#include "aead.h"
#include "crypto.h"

#define ROUNDS_MAX 101
#define SERIES_MAX 256

const unsigned scale_peers[SCALE_SIZES] = {1, 100, 10000, 100000};
const unsigned scale_prefixes[SCALE_SIZES] = {10, 1000, 100000, 1000000};

static struct series {
	const char *metric, *unit;
	struct scale_size size;
	enum scale_access access;
	double v[ROUNDS_MAX];
	unsigned n;
} series[SERIES_MAX];
static unsigned nseries;

void scale_must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "scale: %s: %s\n", what, errno ? strerror(errno) : "failed");
	exit(1);
}

uint32_t scale_random(uint32_t below)
{
	static uint64_t state = 1;

	state = state * 6364136223846793005ULL + 1442695040888963407ULL;
	return (uint32_t)((state >> 32) * below >> 32);
}

/* ---- what is looked up ---- */
static struct mvpn_prefix masked(struct mvpn_addr a, uint8_t len)
{
	struct mvpn_prefix p = {.addr = a, .len = len};

	for (unsigned i = len; i < 128; i++)
		p.addr.b[i / 8] &= (uint8_t) ~(0x80 >> (i % 8));
	return p;
}

static struct mvpn_addr v4(uint32_t host)
{
	uint32_t be = htonl(host);
	struct mvpn_addr a;

	mvpn_addr_from_v4(&a, &be);
	return a;
}

struct mvpn_addr scale_host(unsigned n)
{
	return v4(0x0a000000 + n);
}

/* of ten: six IPv4 hosts, a /24 and a /20, an IPv6 host and a /64. An odd factor scatters them over their ranges. */
static struct mvpn_addr kind(unsigned n, uint8_t *len)
{
	unsigned k = n % 10, i = n / 10;
	struct mvpn_addr a = {.b = {0xfd, (uint8_t)k}};
	uint32_t be;

	if (k < 6) {
		*len = 128;
		return v4(0x0a000000 | (((i * 6 + k) * 0x9e3779b1u) & 0xffffff));
	}
	if (k < 8) {
		*len = k == 6 ? 96 + 24 : 96 + 20;
		return v4((k == 6 ? 0x40000000 : 0x80000000) |
			  (i * 0x9e3779b1u << (k == 6 ? 8 : 12) & 0x3fffffff) | 0x77);
	}
	*len = k == 8 ? 128 : 64;
	be = htonl(i * 0x9e3779b1u);
	memcpy(a.b + 4, &be, 4);
	a.b[15] = 1;
	return a;
}

struct mvpn_prefix scale_prefix(unsigned n)
{
	uint8_t len;
	struct mvpn_addr a = kind(n, &len);

	return masked(a, len);
}

struct mvpn_addr scale_addr(unsigned n)
{
	uint8_t len;

	return kind(n, &len);
}

unsigned scale_packet(uint8_t *ret, const struct mvpn_addr *dst)
{
	bool v6 = !mvpn_addr_is_v4(dst);
	struct inner i = {INNER_UDP, .v6 = v6, .payload = 64};
	unsigned len = inner_build(ret, &i, true);

	memcpy(ret + (v6 ? IP6_DST : IP4_DST), dst->b + (v6 ? 0 : 12), v6 ? 16 : 4);
	return len;
}

/* ---- what came out ---- */
void scale_value(const char *metric, struct scale_size size, enum scale_access access, double value,
		 const char *unit)
{
	struct series *s = series, *end = series + nseries;

	while (s < end && (strcmp(s->metric, metric) || s->access != access ||
			   memcmp(&s->size, &size, sizeof(size))))
		s++;
	if (s == end) {
		scale_must(nseries < SERIES_MAX, "too many series");
		*s = (struct series){
			.metric = metric, .unit = unit, .size = size, .access = access};
		nseries++;
	}
	if (s->n < ROUNDS_MAX)
		s->v[s->n++] = value;
}

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double scale_median(double *v, unsigned n)
{
	qsort(v, n, sizeof(v[0]), ascending);
	return v[n / 2];
}

uint64_t scale_cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000ULL + (uint64_t)t.tv_nsec;
}

static void column(unsigned n)
{
	if (n)
		printf("\t%u", n);
	else
		printf("\t-");
}

static void print(void)
{
	static const char *const access[] = {"-", "hot", "random"};

	printf("system\tmetric\tvalue\tunit\tpeers\tprefixes\tsessions\taccess\tratio_to_"
	       "smallest\tmin\tmax\n");
	for (struct series *s = series; s < series + nseries; s++)
		scale_median(s->v, s->n);
	for (struct series *s = series; s < series + nseries; s++) {
		const struct series *first = series;

		/* series of one metric are made from the smallest size on */
		while (strcmp(first->metric, s->metric) || first->access != s->access)
			first++;
		printf("scale\t%s\t%.4g\t%s", s->metric, s->v[s->n / 2], s->unit);
		column(s->size.peers);
		column(s->size.prefixes);
		column(s->size.sessions);
		printf("\t%s\t%.2f\t%.4g\t%.4g\n", access[s->access],
		       s->v[s->n / 2] > 0 ? first->v[first->n / 2] / s->v[s->n / 2] : 1, s->v[0],
		       s->v[s->n - 1]);
	}
}

int main(int argc, char **argv)
{
	int rounds = argc > 1 ? atoi(argv[1]) : 9;

	scale_must(rounds > 0 && rounds <= ROUNDS_MAX, "rounds: 1..101");
	scale_must(!mvpn_crypto_init() && !aead_init(), "the cryptographic library does not start");
	scale_path_make();
	scale_bpf_make();
	scale_translate_make();
	for (int r = 0; r < rounds; r++) {
		scale_path_round();
		scale_bpf_round();
		scale_translate_round();
	}
	scale_keyd_make();
	scale_keyd_run((unsigned)rounds);
	print();
	scale_keyd_free();
	scale_translate_free();
	scale_bpf_free();
	return 0;
}
