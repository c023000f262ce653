/* SPDX-License-Identifier: BSD-2-Clause */
/* The XDP program: sealed packets of a known SPI to the XSKMAP, anything else to the stack. */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_xdp.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shimtest.h"
#include "wire.skel.h"

#define SPI 0xabcd1234
#define XDP_PASSED 2
#define XDP_REDIRECTED 4

static struct wire_bpf *wire;
static int prog;

/* the program as shim_attach_xdp() loads it: on the shim's config, spis and counters */
static int load(void **state)
{
	struct shim *s;

	if (st_setup(state) < 0)
		return -1;
	s = st_shim();
	if (!s)
		return 0;
	wire = wire_bpf__open();
	if (!wire || bpf_map__reuse_fd(wire->maps.config, bpf_map__fd(s->bpf->maps.config)) ||
	    bpf_map__reuse_fd(wire->maps.spis, bpf_map__fd(s->bpf->maps.spis)) ||
	    bpf_map__reuse_fd(wire->maps.counters, bpf_map__fd(s->bpf->maps.counters)) ||
	    wire_bpf__load(wire))
		return -1;
	prog = bpf_program__fd(wire->progs.wire);
	return shim_spi_set(s, SPI);
}

static int unload(void **state)
{
	wire_bpf__destroy(wire);
	return st_teardown(state);
}

static void sealed(struct packet *p, int family, uint16_t dport, uint8_t type, uint32_t spi)
{
	uint8_t h[16] = {type,
			 0,
			 0,
			 0,
			 (uint8_t)(spi >> 24),
			 (uint8_t)(spi >> 16),
			 (uint8_t)(spi >> 8),
			 (uint8_t)spi};
	unsigned at;

	if (family == 4) {
		pkt_eth(p, 0x0800);
		pkt_ip4(p, "10.1.0.1", "10.9.0.1", IPPROTO_UDP);
	} else {
		pkt_eth(p, 0x86dd);
		pkt_ip6(p, "fd01::1", "fd09::1", IPPROTO_UDP);
	}
	at = p->len + 8;
	pkt_udp(p, 50000, dport, 64);
	memcpy(p->b + at, h, sizeof(h));
	pkt_done(p);
}

/* without an AF_XDP socket in the map the packet falls back to XDP_PASS, counted so */
static void test_no_socket(void **state)
{
	struct shim *s = st_shim();
	struct packet p;

	st_need_root();
	sealed(&p, 4, 7469, 0x41, SPI);
	st_expect(s, prog, &p, XDP_PASSED, MVPN_C_WIRE_PASS);
}

/* an AF_XDP socket on queue 0 of lo: BPF_PROG_RUN says it comes from there */
static int xsk_open(void)
{
	struct xdp_umem_reg umem = {.len = 16 * 4096, .chunk_size = 4096};
	struct sockaddr_xdp a = {.sxdp_family = AF_XDP, .sxdp_ifindex = if_nametoindex("lo")};
	int fd = socket(AF_XDP, SOCK_RAW, 0), n = 16;

	umem.addr = (uintptr_t)mmap(NULL, umem.len, PROT_READ | PROT_WRITE,
				    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	st_run("ip link set lo up");
	assert_true(fd >= 0);
	assert_int_equal(setsockopt(fd, SOL_XDP, XDP_UMEM_REG, &umem, sizeof(umem)), 0);
	assert_int_equal(setsockopt(fd, SOL_XDP, XDP_UMEM_FILL_RING, &n, sizeof(n)), 0);
	assert_int_equal(setsockopt(fd, SOL_XDP, XDP_UMEM_COMPLETION_RING, &n, sizeof(n)), 0);
	assert_int_equal(setsockopt(fd, SOL_XDP, XDP_RX_RING, &n, sizeof(n)), 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	return fd;
}

static int xsk = -1;

/* one socket for all tests: a queue is busy for a second after its socket has gone */
static int with_socket(void **state)
{
	__u32 queue = 0;

	if (!st_shim())
		return 0;
	if (xsk < 0)
		xsk = xsk_open();
	return shim_spi_set(st_shim(), SPI) ||
	       bpf_map_update_elem(bpf_map__fd(wire->maps.xsks), &queue, &xsk, BPF_ANY);
}

static void test_known_spi(void **state)
{
	struct shim *s = st_shim();
	struct packet p;

	st_need_root();
	for (int family = 4; family <= 6; family += 2) {
		for (uint8_t type = 0x41; type <= 0x44; type++) {
			sealed(&p, family, 7469, type, SPI);
			st_expect(s, prog, &p, XDP_REDIRECTED, MVPN_C_WIRE_REDIRECT);
		}
		sealed(&p, family, 7469, 0x40, SPI);
		st_expect(s, prog, &p, XDP_PASSED, MVPN_C_WIRE_PASS);
		sealed(&p, family, 7469, 0x45, SPI);
		st_expect(s, prog, &p, XDP_PASSED, MVPN_C_WIRE_PASS);
		sealed(&p, family, 7470, 0x41, SPI);
		st_expect(s, prog, &p, XDP_PASSED, MVPN_C_WIRE_PASS);
		/* same slot, another SPI; a free slot; no SPI */
		sealed(&p, family, 7469, 0x41, SPI ^ (1U << MVPN_SPI_SLOT_BITS));
		st_expect(s, prog, &p, XDP_PASSED, MVPN_C_WIRE_UNKNOWN_SPI);
		sealed(&p, family, 7469, 0x41, SPI ^ 1);
		st_expect(s, prog, &p, XDP_PASSED, MVPN_C_WIRE_UNKNOWN_SPI);
		sealed(&p, family, 7469, 0x41, 0);
		st_expect(s, prog, &p, XDP_PASSED, MVPN_C_WIRE_UNKNOWN_SPI);
	}
}

static void test_spis(void **state)
{
	struct shim *s = st_shim();
	struct packet p;

	st_need_root();
	/* the multi-buffer form */
	sealed(&p, 4, 7469, 0x41, SPI);
	st_expect(s, bpf_program__fd(wire->progs.wire_frags), &p, XDP_REDIRECTED,
		  MVPN_C_WIRE_REDIRECT);
	assert_int_equal(shim_spi_clear(s, SPI ^ (1U << MVPN_SPI_SLOT_BITS)), -ENOENT);
	st_expect(s, prog, &p, XDP_REDIRECTED, MVPN_C_WIRE_REDIRECT);
	assert_int_equal(shim_spi_clear(s, SPI), 0);
	st_expect(s, prog, &p, XDP_PASSED, MVPN_C_WIRE_UNKNOWN_SPI);
	assert_int_equal(shim_spi_set(s, SPI), 0);
	st_expect(s, prog, &p, XDP_REDIRECTED, MVPN_C_WIRE_REDIRECT);
	assert_int_equal(shim_spis_clear_all(s), 0);
	st_expect(s, prog, &p, XDP_PASSED, MVPN_C_WIRE_UNKNOWN_SPI);
	assert_int_equal(shim_spi_set(s, SPI), 0);
}

static void test_vlan(void **state)
{
	struct shim *s = st_shim();
	struct packet p;

	st_need_root();
	sealed(&p, 4, 7469, 0x41, SPI);
	/* VLAN tags do not hide it */
	for (unsigned tags = 1; tags <= 3; tags++) {
		struct packet t;

		pkt_eth(&t, 0x8100);
		for (unsigned i = tags; i > 0; i--)
			pkt_vlan(&t, 0x8100, 5, i > 1 ? 0x8100 : 0x0800);
		pkt_bytes(&t, p.b + 14, p.len - 14);
		st_expect(s, prog, &t, tags <= 2 ? XDP_REDIRECTED : XDP_PASSED,
			  tags <= 2 ? MVPN_C_WIRE_REDIRECT : MVPN_C_WIRE_PASS);
	}
}

static void test_needs_stack(void **state)
{
	struct shim *s = st_shim();
	struct packet p;

	st_need_root();
	/* what needs the stack: options, fragments, extension headers, and non-UDP */
	sealed(&p, 4, 7469, 0x41, SPI);
	p.b[14] = 0x46;
	st_expect(s, prog, &p, XDP_PASSED, MVPN_C_WIRE_PASS);
	p.b[14] = 0x45;
	p.b[14 + 6] = 0x20;
	st_expect(s, prog, &p, XDP_PASSED, MVPN_C_WIRE_PASS);
	p.b[14 + 6] = 0;
	p.b[14 + 7] = 1;
	st_expect(s, prog, &p, XDP_PASSED, MVPN_C_WIRE_PASS);
	p.b[14 + 6] = 0x40;
	p.b[14 + 7] = 0;
	p.b[14 + 9] = IPPROTO_TCP;
	st_expect(s, prog, &p, XDP_PASSED, MVPN_C_WIRE_PASS);
	sealed(&p, 6, 7469, 0x41, SPI);
	p.b[14 + 6] = 60;
	st_expect(s, prog, &p, XDP_PASSED, MVPN_C_WIRE_PASS);
	sealed(&p, 6, 7469, 0x41, SPI);
	p.b[14] = 0x45;
	st_expect(s, prog, &p, XDP_PASSED, MVPN_C_WIRE_PASS);
}

static void test_cut(void **state)
{
	struct packet p;

	st_need_root();
	/* cut after each byte of the headers */
	for (int family = 4; family <= 6; family += 2) {
		unsigned need = 14 + (family == 4 ? 20 : 40) + 8 + 16;

		sealed(&p, family, 7469, 0x41, SPI);
		for (p.len = 15; p.len < need; p.len++)
			assert_int_equal(st_prog_run(prog, &p, NULL), XDP_PASSED);
		assert_int_equal(st_prog_run(prog, &p, NULL), XDP_REDIRECTED);
	}
}

static void test_no_port(void **state)
{
	struct shim *s = st_shim();
	struct packet p;

	st_need_root();
	/* keyd has not said which port */
	{
		struct mvpn_config none = {};

		assert_int_equal(shim_config(s, &none), 0);
		sealed(&p, 4, 0, 0x41, SPI);
		st_expect(s, prog, &p, XDP_PASSED, MVPN_C_WIRE_PASS);
		st_alive(s);
	}
}

/* keyd is killed: its socket leaves the map, and packets go to the stack */
static void test_socket_closes(void **state)
{
	struct shim *s = st_shim();
	struct packet p;

	st_need_root();
	sealed(&p, 4, 7469, 0x41, SPI);
	st_expect(s, prog, &p, XDP_REDIRECTED, MVPN_C_WIRE_REDIRECT);
	close(xsk);
	st_expect(s, prog, &p, XDP_PASSED, MVPN_C_WIRE_PASS);
}

int main(void)
{
#define WITH_SOCKET(test) cmocka_unit_test_setup(test, with_socket)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_socket), WITH_SOCKET(test_known_spi),
		WITH_SOCKET(test_spis),		  WITH_SOCKET(test_vlan),
		WITH_SOCKET(test_needs_stack),	  WITH_SOCKET(test_cut),
		WITH_SOCKET(test_no_port),	  WITH_SOCKET(test_socket_closes),
	};

	return cmocka_run_group_tests(tests, load, unload);
}
