/* SPDX-License-Identifier: BSD-2-Clause */
/* Real sockets through two fast paths (dp_net.h): what applications see, and what is on the wire.
 */
#include "dp_net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHUNK_B 65536
#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

/* ---- TCP ---- */
/* how many times slower than native the machine is (tests/vm) */
static uint32_t slow(void)
{
	const char *s = getenv("MVPN_SLOW");

	return s && atoi(s) > 0 ? (uint32_t)atoi(s) : 1;
}

static uint32_t stream_b(void)
{
	return (24u << 20) / slow();
}

static uint8_t stream_byte(uint32_t at)
{
	return (uint8_t)((at * 2654435761u) >> 23);
}

struct stream {
	int fd;
	uint32_t bytes;
	bool ok;
};

static void *stream_send(void *arg)
{
	static _Thread_local uint8_t buf[CHUNK_B];
	struct stream *s = arg;
	uint32_t at = 0;

	while (at < s->bytes) {
		uint32_t n = s->bytes - at < CHUNK_B ? s->bytes - at : CHUNK_B;

		for (uint32_t i = 0; i < n; i++)
			buf[i] = stream_byte(at + i);
		for (uint32_t done = 0; done < n;) {
			ssize_t w = send(s->fd, buf + done, n - done, MSG_NOSIGNAL);

			if (w <= 0)
				return NULL;
			done += (uint32_t)w;
		}
		at += n;
	}
	shutdown(s->fd, SHUT_WR);
	s->ok = true;
	return NULL;
}

static uint32_t stream_receive(int fd)
{
	static uint8_t buf[CHUNK_B];
	uint32_t at = 0;
	ssize_t n;

	while ((n = recv(fd, buf, sizeof(buf), 0)) > 0)
		for (ssize_t i = 0; i < n; i++)
			if (buf[i] != stream_byte(at++))
				return 0;
	return at;
}

static void tcp_connect(struct end *from, struct end *to, bool v6, int ret[2])
{
	struct sockaddr_storage ss;
	int l = sock(to, SOCK_STREAM, v6);
	socklen_t len;

	addr_of(to, v6, 0, &ss, &len);
	assert_int_equal(bind(l, (struct sockaddr *)&ss, len), 0);
	assert_int_equal(listen(l, 1), 0);
	assert_int_equal(getsockname(l, (struct sockaddr *)&ss, &len), 0);
	ret[0] = sock(from, SOCK_STREAM, v6);
	assert_int_equal(connect(ret[0], (struct sockaddr *)&ss, len), 0);
	ret[1] = accept(l, NULL, NULL);
	assert_true(ret[1] >= 0);
	close(l);
}

static void tcp_transfer(struct end *from, struct end *to, bool v6, uint32_t bytes)
{
	struct stream s = {.bytes = bytes};
	pthread_t t;
	int fd[2];

	tcp_connect(from, to, v6, fd);
	s.fd = fd[0];
	assert_int_equal(pthread_create(&t, NULL, stream_send, &s), 0);
	assert_int_equal(stream_receive(fd[1]), bytes);
	pthread_join(t, NULL);
	assert_true(s.ok);
	close(fd[0]);
	close(fd[1]);
}

static void tcp_both_ways(uint32_t bytes)
{
	for (unsigned v6 = 0; v6 < 2; v6++) {
		tcp_transfer(&A, &B, v6, bytes);
		tcp_transfer(&B, &A, v6, bytes);
	}
	/*
	 * super-packets at both sides of the tap, or it would be slow; smaller ones where
	 * fewer packets wait for each other
	 */
	assert_true(dp_count(&B, DP_C_RX_PACKETS) >
		    (slow() > 1 ? 1 : 4) * dp_count(&B, DP_C_TAP_TX));
	assert_int_equal(dp_count(&A, DP_C_RX_BAD_INNER) + dp_count(&B, DP_C_RX_BAD_INNER), 0);
	assert_int_equal(dp_count(&A, DP_C_RX_AUTH_FAIL) + dp_count(&B, DP_C_RX_AUTH_FAIL), 0);
	assert_int_equal(dp_count(&A, DP_C_DROP_TAP_FULL) + dp_count(&B, DP_C_DROP_TAP_FULL), 0);
}

static void tcp_over_udp_wire(void **state)
{
	net_make("");
	/*
	 * the tap's MTU is 1500 and nobody told TCP of the overhead: segments are cut smaller
	 * on the way
	 */
	tcp_both_ways(stream_b());
	set_endpoint(&A, true, 0);
	set_endpoint(&B, true, 1400);
	tcp_both_ways(stream_b());
	net_remove();
}

static void tcp_over_xdp_wire(void **state)
{
	uint64_t shim[MVPN_C_MAX];

	net_make("numrxqueues 2 numtxqueues 2");
	net_wires_xdp(2);
	tcp_both_ways(stream_b() / 4);
	assert_int_equal(shim_counters(B.shim, shim), 0);
	assert_true(shim[MVPN_C_WIRE_REDIRECT] >= stream_b() / 4 / 1400); /* it went by AF_XDP */
	set_endpoint(&A, true, 0);
	set_endpoint(&B, true, 0);
	tcp_both_ways(stream_b() / 4);
	assert_int_equal(dp_count(&A, DP_C_XSK_TX_INVALID) + dp_count(&B, DP_C_XSK_RX_INVALID), 0);
	/* taken away under way, the UDP socket goes on, with the workers that there are */
	enter(&A);
	dp_xsk_del(A.dp, if_nametoindex(A.link));
	leave();
	tcp_both_ways(stream_b() / 4);
	net_remove();
}

/* ---- UDP ---- */
static void udp_pair(bool v6, int fd[2])
{
	struct sockaddr_storage ss;
	int size = 8 << 20;
	socklen_t len;

	fd[0] = sock(&A, SOCK_DGRAM, v6);
	fd[1] = sock(&B, SOCK_DGRAM, v6);
	setsockopt(fd[1], SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	addr_of(&B, v6, 0, &ss, &len);
	assert_int_equal(bind(fd[1], (struct sockaddr *)&ss, len), 0);
	assert_int_equal(getsockname(fd[1], (struct sockaddr *)&ss, &len), 0);
	assert_int_equal(connect(fd[0], (struct sockaddr *)&ss, len), 0);
}

static void expect_datagram(int fd, size_t len, unsigned seq)
{
	static uint8_t buf[70000];

	assert_int_equal(recv(fd, buf, sizeof(buf), 0), len);
	for (size_t i = 0; i < len; i++)
		assert_int_equal(buf[i], (uint8_t)(seq + i * 7));
}

static void fill(uint8_t *buf, size_t len, unsigned seq)
{
	for (size_t i = 0; i < len; i++)
		buf[i] = (uint8_t)(seq + i * 7);
}

/* every datagram as it was, in order; those over the MTU in fragments */
static void udp_boundaries(void **state)
{
	static const size_t sizes[] = {0,    1,	   2,	 100,  1000, 1000,  1000, 1411,
				       1412, 1413, 1472, 1473, 9000, 30000, 65000};
	static uint8_t buf[70000];
	int fd[2];

	net_make("");
	for (unsigned v6 = 0; v6 < 2; v6++) {
		udp_pair(v6, fd);
		if (!v6) { /* may fragment */
			int dont = IP_PMTUDISC_DONT;

			setsockopt(fd[0], IPPROTO_IP, IP_MTU_DISCOVER, &dont, sizeof(dont));
		}
		for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
			if (v6 && sizes[i] > 1380)
				continue; /* see udp_too_big */
			fill(buf, sizes[i], i);
			assert_int_equal(send(fd[0], buf, sizes[i], 0), sizes[i]);
			expect_datagram(fd[1], sizes[i], i);
		}
		close(fd[0]);
		close(fd[1]);
	}
	net_remove();
}

/*
 * UDP segmentation offload: one send, many datagrams, cut in the fast path and joined again at
 * the other end
 */
static void udp_segments(void **state)
{
	static uint8_t buf[40 * 1200];
	uint16_t gso = 1200;
	int fd[2];

	net_make("");
	for (unsigned v6 = 0; v6 < 2; v6++) {
		udp_pair(v6, fd);
		assert_int_equal(
			setsockopt(fd[0], IPPROTO_UDP, UDP_SEGMENT, &(int){gso}, sizeof(int)), 0);
		for (unsigned i = 0; i < 40; i++)
			fill(buf + i * gso, gso, i);
		assert_int_equal(send(fd[0], buf, 40 * 1200 - 77, 0), 40 * 1200 - 77);
		for (unsigned i = 0; i < 40; i++)
			expect_datagram(fd[1], i == 39 ? 1200 - 77 : 1200, i);
		close(fd[0]);
		close(fd[1]);
	}
	net_remove();
}

/*
 * a datagram that may not be cut: the sender learns the size, its next one fits or is cut by
 * its own stack
 */
static void udp_too_big(void **state)
{
	static uint8_t buf[1500];
	int fd[2], mtu, tries;
	socklen_t len;

	net_make("");
	for (unsigned v6 = 0; v6 < 2; v6++) {
		int level = v6 ? IPPROTO_IPV6 : IPPROTO_IP,
		    discover = v6 ? IPV6_PMTUDISC_DO : IP_PMTUDISC_DO;

		udp_pair(v6, fd);
		assert_int_equal(setsockopt(fd[0], level, v6 ? IPV6_MTU_DISCOVER : IP_MTU_DISCOVER,
					    &discover, sizeof(int)),
				 0);
		assert_int_equal(send(fd[0], buf, 1450, 0), 1450);
		for (tries = 0, mtu = 1500; mtu == 1500 && tries < 500; tries++) {
			len = sizeof(mtu);
			poll(NULL, 0, 10);
			assert_int_equal(
				getsockopt(fd[0], level, v6 ? IPV6_MTU : IP_MTU, &mtu, &len), 0);
		}
		assert_int_equal(mtu, 1440);
		send(fd[0], buf, 100, 0); /* takes the pending error */
		assert_int_equal(send(fd[0], buf, 1450, 0), -1);
		assert_int_equal(errno, EMSGSIZE);
		fill(buf, 1392, 3);
		assert_int_equal(send(fd[0], buf, 1392, 0), 1392);
		for (ssize_t n = 0; n != 1392;) {
			n = recv(fd[1], buf, sizeof(buf), 0);
			assert_true(n == 1392 || n == 100);
		}
		close(fd[0]);
		close(fd[1]);
	}
	assert_int_equal(dp_count(&A, DP_C_ICMP_SENT), 2);
	net_remove();
}

/* ---- the wire ---- */
static bool capture_stop;
static unsigned captured, foreign, readable;
static const char marker[] = "this must not be readable on the wire";

static void *capture(void *arg)
{
	static uint8_t frame[70000];
	int fd = *(int *)arg;

	for (;;) {
		ssize_t n = recv(fd, frame, sizeof(frame), 0);

		if (n < 0 && __atomic_load_n(&capture_stop, __ATOMIC_RELAXED))
			break; /* all that was captured has been looked at */
		if (n < 42)
			continue;
		captured++;
		if (memmem(frame, (size_t)n, marker, sizeof(marker) - 1))
			readable++;
		if (frame[12] == 0x08 && frame[13] == 0x00 &&
		    (frame[23] != IPPROTO_UDP ||
		     memcmp(frame + 36, &(uint16_t){htons(DP_PORT)}, 2)))
			foreign++;
	}
	return NULL;
}

static void nothing_readable_on_the_wire(void **state)
{
	struct timeval t = {.tv_usec = 100000};
	static uint8_t buf[60000];
	int fd[2], raw, room = 64 << 20;
	pthread_t thread;

	net_make("");
	enter(&B);
	raw = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL));
	assert_int_equal(bind(raw,
			      (struct sockaddr *)&(struct sockaddr_ll){
				      .sll_family = AF_PACKET,
				      .sll_protocol = htons(ETH_P_ALL),
				      .sll_ifindex = (int)if_nametoindex(B.link)},
			      sizeof(struct sockaddr_ll)),
			 0);
	leave();
	setsockopt(raw, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
	setsockopt(raw, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
	assert_int_equal(pthread_create(&thread, NULL, capture, &raw), 0);
	for (size_t i = 0; i + sizeof(marker) < sizeof(buf); i += sizeof(marker))
		memcpy(buf + i, marker, sizeof(marker));
	tcp_connect(&A, &B, false, fd);
	for (unsigned i = 0; i < 20; i++) {
		assert_int_equal(send(fd[0], buf, sizeof(buf), 0), sizeof(buf));
		assert_int_equal(recv(fd[1], buf, sizeof(buf), MSG_WAITALL), sizeof(buf));
	}
	assert_memory_equal(buf, marker, sizeof(marker));
	close(fd[0]);
	close(fd[1]);
	__atomic_store_n(&capture_stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	close(raw);
	assert_true(captured >= 20); /* 60 KB a frame at most */
	assert_int_equal(readable, 0);
	assert_int_equal(foreign, 0);
	net_remove();
}

/* ---- sessions ---- */
static void *arm_when_wanted(void *arg)
{
	struct dp_event e;

	*(bool *)arg = wait_event(&A, DP_EV_WANT, &e) && e.peer == 1;
	kt_session_arm_tx(A.kt, A.s);
	dp_flush_held(A.dp, 1);
	return NULL;
}

/* the first packet of a connection waits for its session and is not lost: no retransmission */
static void first_packet_is_held(void **state)
{
	struct tcp_info info;
	socklen_t len = sizeof(info);
	bool wanted = false;
	pthread_t t;
	int fd[2];

	net_make("");
	kt_session_disarm_tx(A.kt, A.s);
	assert_int_equal(pthread_create(&t, NULL, arm_when_wanted, &wanted), 0);
	tcp_connect(&A, &B, false, fd);
	pthread_join(t, NULL);
	assert_true(wanted);
	assert_int_equal(getsockopt(fd[0], IPPROTO_TCP, TCP_INFO, &info, &len), 0);
	assert_int_equal(info.tcpi_total_retrans, 0);
	assert_int_equal(dp_count(&A, DP_C_HELD), dp_count(&A, DP_C_HELD_SENT));
	close(fd[0]);
	close(fd[1]);
	net_remove();
}

static void refused_connections_fail_at_once(void **state)
{
	struct sockaddr_storage ss;
	socklen_t len;
	int fd;

	net_make("");
	atomic_store(&kt_lookup_peer(A.kt, 1)->denied, true);
	fd = sock(&A, SOCK_STREAM, false);
	addr_of(&B, false, 99, &ss, &len);
	assert_int_equal(connect(fd, (struct sockaddr *)&ss, len), -1);
	assert_int_equal(errno, EHOSTUNREACH);
	close(fd);
	net_remove();
}

static void ping_and_close(void **state)
{
	struct dp_event e;

	net_make("");
	assert_int_equal(dp_send_ctrl(A.dp, A.rx_spi, MVPN_CTRL_PING, 42, 1000), 0);
	assert_true(wait_event(&A, DP_EV_PONG, &e));
	assert_int_equal(e.token, 42);
	assert_true(wait_event(&B, DP_EV_CONFIRMED, &e));
	/* CLOSE leaves although the session is removed right after */
	assert_int_equal(dp_send_ctrl(A.dp, A.rx_spi, MVPN_CTRL_CLOSE, 0, 0), 0);
	kt_session_remove(A.kt, A.s);
	assert_true(wait_event(&B, DP_EV_CLOSE, &e));
	assert_int_equal(e.rx_spi, B.rx_spi);
	net_remove();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tcp_over_udp_wire),
		cmocka_unit_test(tcp_over_xdp_wire),
		cmocka_unit_test(udp_boundaries),
		cmocka_unit_test(udp_segments),
		cmocka_unit_test(udp_too_big),
		cmocka_unit_test(nothing_readable_on_the_wire),
		cmocka_unit_test(first_packet_is_held),
		cmocka_unit_test(refused_connections_fail_at_once),
		cmocka_unit_test(ping_and_close),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
