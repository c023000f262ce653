/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The socket shim with real sockets (the kernel has no test runs of these programs), on a cgroup of the test's own: who asks
 * for a session, before any packet, and who does not.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../keyd/traits.h"
#include "shimtest_cgroup.h"

static int up(void **state)
{
	if (st_shim())
		st_run("ip link add v0 type veth peer name v1; ip link set v0 up; ip link set v1 up; "
		       "ip addr add 10.9.0.1/8 dev v0; ip addr add fd09::1/8 dev v0 nodad");
	return stc_up(state);
}

static void need(struct shim *s)
{
	const char *error;

	stc_need();
	if (shim_socket_attach(s) < 0) {
		shim_socket(s, &error);
		fail_msg("%s", error ? error : "no memory");
	}
	assert_string_equal(shim_socket(s, &error), stc_cgroup());
}

/* ---- events ---- */
struct seen {
	unsigned n;
	struct mvpn_event last;
};

static void on_event(void *arg, const struct mvpn_event *e)
{
	struct seen *seen = arg;

	seen->n++;
	seen->last = *e;
}

/* none of the last 50 ms counts */
static void forget(struct shim *s, uint32_t peer)
{
	struct seen seen = {};

	shim_events(s, on_event, &seen);
	assert_int_equal(shim_map_set(bpf_map__fd(s->bpf->maps.event_rate), &peer, &(__u64){0}, 0),
			 0);
}

static void expect_event(struct shim *s, const char *dst, uint16_t port, uint8_t proto)
{
	struct seen seen = {};
	struct mvpn_addr a;

	shim_events(s, on_event, &seen);
	assert_int_equal(seen.n, 1);
	assert_int_equal(seen.last.reason, MVPN_EVENT_SOCKET);
	assert_int_equal(seen.last.peer, 2);
	assert_int_equal(mvpn_addr_parse(&a, dst), 0);
	assert_memory_equal(seen.last.flow.dst, a.b, 16);
	assert_int_equal(seen.last.flow.dport, htons(port));
	assert_int_equal(seen.last.flow.proto, proto);
	forget(s, 2);
}

static void expect_none(struct shim *s)
{
	struct seen seen = {};

	shim_events(s, on_event, &seen);
	assert_int_equal(seen.n, 0);
}

/* ---- sockets ---- */
static struct sockaddr_in6 to(const char *dst, uint16_t port, socklen_t *ret_len)
{
	struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	struct sockaddr_in *in = (struct sockaddr_in *)&a;

	*ret_len = sizeof(a);
	if (inet_pton(AF_INET6, dst, &a.sin6_addr) == 1)
		return a;
	*ret_len = sizeof(*in);
	in->sin_family = AF_INET;
	assert_int_equal(inet_pton(AF_INET, dst, &in->sin_addr), 1);
	return a;
}

static int make(const char *dst, int type)
{
	int fd = socket(strchr(dst, ':') ? AF_INET6 : AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC,
			0);

	assert_true(fd >= 0);
	return fd;
}

static void connect_to(const char *dst, int type)
{
	socklen_t len;
	struct sockaddr_in6 a = to(dst, 5432, &len);
	int fd = make(dst, type);

	assert_true(connect(fd, (struct sockaddr *)&a, len) == 0 || errno == EINPROGRESS);
	close(fd);
}

static void send_to(int fd, const char *dst)
{
	socklen_t len;
	struct sockaddr_in6 a = to(dst, 53, &len);

	assert_int_equal(sendto(fd, "x", 1, 0, (struct sockaddr *)&a, len), 1);
}

/* ---- tests ---- */
static void test_connect(void **state)
{
	struct shim *s = st_shim();

	need(s);
	forget(s, 2);
	connect_to("10.2.0.1", SOCK_DGRAM);
	expect_event(s, "10.2.0.1", 5432, IPPROTO_UDP);
	connect_to("10.2.0.1", SOCK_STREAM);
	expect_event(s, "10.2.0.1", 5432, IPPROTO_TCP);
	connect_to("fd02::1", SOCK_STREAM);
	expect_event(s, "fd02::1", 5432, IPPROTO_TCP);
	connect_to("::ffff:10.2.0.1", SOCK_STREAM);
	expect_event(s, "10.2.0.1", 5432, IPPROTO_TCP);
}

static void test_sendmsg(void **state)
{
	struct shim *s = st_shim();
	int fd4, fd6;

	need(s);
	forget(s, 2);
	fd4 = make("10.2.0.1", SOCK_DGRAM);
	fd6 = make("fd02::1", SOCK_DGRAM);
	send_to(fd4, "10.2.0.1");
	expect_event(s, "10.2.0.1", 53, IPPROTO_UDP);
	/* seen a moment ago: not even looked up */
	send_to(fd4, "10.2.0.1");
	expect_none(s);
	send_to(fd4, "10.2.0.2");
	expect_event(s, "10.2.0.2", 53, IPPROTO_UDP);
	send_to(fd6, "fd02::1");
	expect_event(s, "fd02::1", 53, IPPROTO_UDP);
	send_to(fd6, "::ffff:10.2.0.3");
	expect_event(s, "10.2.0.3", 53, IPPROTO_UDP);
	close(fd4);
	close(fd6);
}

/* whose socket it is, also while there is a session */
static void test_owner(void **state)
{
	struct shim *s = st_shim();
	socklen_t len = sizeof(__u64), alen;
	struct sockaddr_in6 a = to("10.1.0.1", 5432, &alen);
	struct mvpn_socket owner;
	struct stat st;
	char comm[17] = "";
	__u64 cookie;
	int fd;

	need(s);
	assert_int_equal(stat(stc_cgroup(), &st), 0);
	for (int connects = 0; connects <= 1; connects++) {
		fd = make("10.1.0.1", SOCK_DGRAM);
		assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &len), 0);
		assert_int_equal(shim_socket_get(s, cookie, &owner), -ENOENT);
		if (connects)
			assert_int_equal(connect(fd, (struct sockaddr *)&a, alen), 0);
		else
			send_to(fd, "10.1.0.1");
		assert_int_equal(shim_socket_get(s, cookie, &owner), 0);
		assert_int_equal(owner.pid, getpid());
		assert_int_equal(owner.uid, getuid());
		assert_int_equal(owner.cgroup, st.st_ino);
		memcpy(comm, owner.comm, sizeof(owner.comm));
		assert_string_equal(comm, "shim_socket");
		close(fd);
	}
	fd = make("10.9.0.9", SOCK_DGRAM);
	send_to(fd, "10.9.0.9"); /* not protected: nobody's business */
	assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &len), 0);
	assert_int_equal(shim_socket_get(s, cookie, &owner), -ENOENT);
	close(fd);
}

/* one event a peer in 50 ms, whoever asks; the first packet's comes all the same */
static void test_rate(void **state)
{
	struct shim *s = st_shim();
	struct seen seen = {};
	struct packet p;

	need(s);
	forget(s, 2);
	for (int i = 0; i < 20; i++)
		connect_to("10.2.0.1", SOCK_DGRAM);
	shim_events(s, on_event, &seen);
	assert_in_range(seen.n, 1, 3); /* on a machine that stood still for a while */
	pkt_simple(&p, "10.9.9.9", "10.2.0.1");
	seen = (struct seen){};
	st_prog_run(EGRESS(s), &p, NULL);
	st_prog_run(EGRESS(s), &p, NULL);
	shim_events(s, on_event, &seen);
	assert_int_equal(seen.n, 1);
	assert_int_equal(seen.last.reason, MVPN_C_TO_TAP_HELD);
	connect_to("10.2.0.1", SOCK_DGRAM);
	expect_none(s);
}

static void test_none(void **state)
{
	const struct mvpn_endpoint server = {.port = 5432};
	struct mvpn_config c, gone;
	struct shim *s = st_shim();
	struct mvpn_endpoint e = server;
	socklen_t len = sizeof(__u64);
	__u64 cookie;
	int fd;

	need(s);
	for (uint32_t peer = 1; peer <= 5; peer++)
		forget(s, peer);
	connect_to("10.9.0.9", SOCK_STREAM); /* not protected */
	connect_to("10.1.0.1", SOCK_STREAM); /* has a session */
	connect_to("10.3.0.1", SOCK_STREAM); /* refused */
	connect_to("10.4.0.1", SOCK_STREAM); /* nobody's */
	connect_to("10.5.0.1", SOCK_STREAM); /* ours */
	expect_none(s);
	/* the channel to a server on a member */
	assert_int_equal(mvpn_addr_parse(&e.addr, "10.2.0.1"), 0);
	assert_int_equal(shim_exempt_add(s, &e), 0);
	connect_to("10.2.0.1", SOCK_STREAM);
	expect_none(s);
	connect_to("10.2.0.1", SOCK_DGRAM);
	expect_event(s, "10.2.0.1", 5432, IPPROTO_UDP);
	assert_int_equal(shim_exempt_clear(s), 0);
	/* keyd's own packets */
	fd = make("10.2.0.1", SOCK_DGRAM);
	assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &len), 0);
	assert_int_equal(shim_own_socket_add(s, cookie), 0);
	send_to(fd, "10.2.0.1");
	expect_none(s);
	close(fd);
	assert_int_equal(shim_own_sockets_clear(s), 0);
	/* nobody would read it */
	assert_int_equal(shim_get_config(s, &c), 0);
	gone = c;
	gone.alive_ns = 0;
	assert_int_equal(shim_config(s, &gone), 0);
	connect_to("10.2.0.1", SOCK_STREAM);
	expect_none(s);
	assert_int_equal(shim_config(s, &c), 0);
}

static unsigned attached(enum bpf_attach_type type)
{
	int dir = open(stc_cgroup(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	__u32 ids[64], n = 64;

	assert_true(dir >= 0);
	assert_int_equal(bpf_prog_query(dir, type, 0, NULL, ids, &n), 0);
	close(dir);
	return n;
}

/* all hooks once, in the next life too; on another cgroup when that is asked for; and gone */
static void test_life(void **state)
{
	static const enum bpf_attach_type hooks[] = {
		BPF_CGROUP_INET4_CONNECT, BPF_CGROUP_INET6_CONNECT, BPF_CGROUP_UDP4_SENDMSG,
		BPF_CGROUP_UDP6_SENDMSG};
	char below[CGROUP_PATH_MAX + 48];
	struct shim *s = st_shim();
	const char *error;

	need(s);
	s = st_reopen();
	st_alive(s);
	assert_int_equal(shim_cgroup_choose(s, stc_cgroup(), MVPN_NETNS_OWN), 0);
	need(s);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(attached(hooks[i]), 1);
	forget(s, 2);
	connect_to("10.2.0.1", SOCK_STREAM);
	expect_event(s, "10.2.0.1", 5432, IPPROTO_TCP);

	snprintf(below, sizeof(below), "%s/below", stc_cgroup());
	assert_int_equal(mkdir(below, 0755), 0);
	s = st_reopen();
	st_alive(s);
	assert_int_equal(shim_cgroup_choose(s, below, MVPN_NETNS_OWN), 0);
	assert_int_equal(shim_socket_attach(s), 0);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(attached(hooks[i]), 0);
	shim_socket_detach(s);
	assert_null(shim_socket(s, &error));
	assert_int_equal(rmdir(below), 0);

	assert_int_equal(shim_cgroup_choose(s, "/proc", MVPN_NETNS_OWN), 0);
	assert_int_equal(shim_socket_attach(s), -ENOTDIR);
	shim_socket(s, &error);
	assert_non_null(strstr(error, "/proc"));
	assert_int_equal(shim_cgroup_choose(s, stc_cgroup(), MVPN_NETNS_OWN), 0);
	need(s);
	shim_socket_detach(s);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(attached(hooks[i]), 0);
	connect_to("10.2.0.1", SOCK_STREAM);
	expect_none(s);
}

/* sockets of another network namespace count only if that is asked for */
static void test_namespaces(void **state)
{
	struct shim *s = st_shim();

	need(s);
	forget(s, 2);
	for (int all = 0; all <= 1; all++) {
		shim_socket_detach(s);
		assert_int_equal(
			shim_cgroup_choose(s, stc_cgroup(), all ? MVPN_NETNS_ALL : MVPN_NETNS_AUTO), 0);
		need(s);
		st_run("unshare -n bash -c 'ip link set lo up; ip route add default dev lo; "
		       "echo x >/dev/udp/10.2.0.1/5432'");
		if (all)
			expect_event(s, "10.2.0.1", 5432, IPPROTO_UDP);
		else
			expect_none(s);
	}
	shim_cgroup_choose(s, stc_cgroup(), MVPN_NETNS_OWN);
	shim_socket_detach(s);
}

/* ---- which processes may ---- */
static struct mvpn_refusal refusal;
static unsigned refusals;

static void on_refusal(void *arg, const struct mvpn_refusal *e)
{
	refusal = *e;
	refusals++;
}

static void guard(struct shim *s, uint64_t unit, uint64_t uid)
{
	struct mvpn_guard g = {.n = 2};

	g.lines[0] = (struct mvpn_guard_line){
		.traits[MVPN_BY_UNIT] = unit, .traits[MVPN_BY_UID] = uid, .line = 7, .lo = 5000,
		.hi = 6000, .proto = IPPROTO_UDP};
	g.lines[1] = (struct mvpn_guard_line){.line = 8, .lo = 9, .hi = 9, .proto = IPPROTO_UDP};
	assert_int_equal(shim_guard_set(s, 1, &g), 0);
}

/* numbers what this process is: bit 0 its unit, bit 1 its uid, bit 2 somebody else's */
static void number(struct shim *s, const char *unit)
{
	static struct shim_traits t;
	const struct mvpn_processes now = {.generation = 5, .oldest = 5};

	memset(&t, 0, sizeof(t));
	t.nuids = 2;
	t.uids[0] = getuid();
	t.uids[1] = getuid() + 1;
	t.uid_traits[0] = 2;
	t.uid_traits[1] = 4;
	t.ngroups = 1;
	t.groups[0].under = MVPN_GROUP_UNIT;
	snprintf(t.groups[0].name, sizeof(t.groups[0].name), "%s", unit);
	t.group_traits[0].traits = 1;
	assert_int_equal(shim_traits_only(s, &t), 0);
	assert_int_equal(shim_processes(s, &now), 0);
}

static int try(int fd, uint16_t port)
{
	socklen_t len;
	struct sockaddr_in6 a = to("10.1.0.1", port, &len);

	return connect(fd, (struct sockaddr *)&a, len) < 0 ? -errno : 0;
}

/* likewise by sendmsg(), each time */
static int try_to_send(int fd, uint16_t port)
{
	socklen_t len;
	struct sockaddr_in6 a = to("10.1.0.1", port, &len);

	return sendto(fd, "x", 1, 0, (struct sockaddr *)&a, len) < 0 ? -errno : 0;
}

/* the network shim's verdict of what the socket sends, by the counters */
static bool passes(struct shim *s, int fd, uint16_t port)
{
	uint64_t tap = st_counter(s, MVPN_C_TO_TAP), dropped = st_counter(s, MVPN_C_DROP_PROCESS);
	socklen_t len;
	struct sockaddr_in6 a = to("10.1.0.1", port, &len);

	sendto(fd, "x", 1, 0, (struct sockaddr *)&a, len);
	tap = st_counter(s, MVPN_C_TO_TAP) - tap;
	dropped = st_counter(s, MVPN_C_DROP_PROCESS) - dropped;
	assert_int_equal(tap + dropped, 1);
	return tap;
}

static void test_process(void **state)
{
	struct shim *s = st_shim();
	const char *name = strrchr(stc_cgroup(), '/') + 1;
	struct shim_iface i;
	int fd, before;
	const char *error;

	need(s);
	st_run("ip neigh replace 10.1.0.1 lladdr 02:00:00:00:00:01 dev v0");
	before = make("10.1.0.1", SOCK_DGRAM); /* older than the lines */
	shim_on_refusal(s, on_refusal, NULL);
	/* the name of the group is not a unit's, but here only that it is the first on the way counts */
	number(s, name);
	if (shim_process_attach(s) < 0) {
		shim_process(s, &error);
		fail_msg("%s", error ? error : "no memory");
	}
	assert_int_equal(shim_process_walk(s), 0);
	guard(s, 1, 2);
	fd = make("10.1.0.1", SOCK_DGRAM);
	assert_int_equal(try(fd, 5432), 0);
	assert_int_equal(try(fd, 9), 0);
	guard(s, 1, 4); /* the unit alone does not do */
	assert_int_equal(try(fd, 5432), -EPERM);
	assert_int_equal(try(fd, 6001), 0); /* no line is about it */
	assert_int_equal(try(fd, 9), 0);
	assert_int_equal(st_counter(s, MVPN_C_REFUSE_PROCESS), 1);
	shim_events(s, on_event, &(struct seen){});
	assert_int_equal(refusals, 1);
	assert_int_equal(refusal.line, 7);
	assert_int_equal(refusal.pid, getpid());
	assert_int_equal(refusal.why, MVPN_REFUSED_CALL);
	assert_int_equal(refusal.flow.dport, htons(5432));
	assert_string_equal(refusal.unit, name);
	assert_string_equal(refusal.exe, "shim_socket");
	assert_int_equal(try(fd, 5432), -EPERM); /* not told again at once */
	shim_events(s, on_event, &(struct seen){});
	assert_int_equal(refusals, 1);
	close(fd);
	guard(s, 1, 2);
	fd = make("10.1.0.1", SOCK_DGRAM);
	assert_int_equal(try_to_send(fd, 5432), 0);
	guard(s, 1, 4);
	assert_int_equal(try_to_send(fd, 5432), -EPERM); /* it is not let for having been let just now */
	close(fd);

	/* packets: of a socket that was there before, of one made since, and what is known since another numbering */
	i = st_attach(s, "v0");
	shim_socket_detach(s);
	guard(s, 1, 2);
	fd = make("10.1.0.1", SOCK_DGRAM);
	assert_true(passes(s, fd, 5432));
	assert_true(passes(s, before, 5432));
	guard(s, 0, 4);
	assert_false(passes(s, fd, 5432));
	assert_true(passes(s, fd, 9));
	guard(s, 0, 2);
	assert_int_equal(shim_processes(s, &(struct mvpn_processes){6, 6}), 0);
	assert_false(passes(s, before, 5432));
	assert_int_equal(shim_process_walk(s), 0);
	assert_true(passes(s, before, 5432));
	close(fd);
	close(before);
	st_detach(s, i.name);
	shim_process_detach(s);
	assert_int_equal(shim_guards_clear_all(s), 0);
	shim_on_refusal(s, NULL, NULL);
}

static int bind_to(int fd, bool v6, uint16_t port)
{
	struct sockaddr_in6 a6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	struct sockaddr_in a4 = {.sin_family = AF_INET, .sin_port = htons(port)};

	return v6 ? bind(fd, (struct sockaddr *)&a6, sizeof(a6))
		  : bind(fd, (struct sockaddr *)&a4, sizeof(a4));
}

static int given(void *arg, uint8_t proto, uint16_t port)
{
	shim_port_give(arg, proto, port);
	return 0;
}

/* keyd's ports are its own, in the next life too; the other protocol's of that number is anybody's */
static void test_ports(void **state)
{
	struct shim *s = st_shim();

	need(s);
	assert_int_equal(shim_port_keep(s, IPPROTO_UDP, 61234), 0);
	assert_int_equal(shim_port_keep(s, IPPROTO_UDP, 61234), -EEXIST);
	for (unsigned v6 = 0; v6 < 2; v6++) {
		int family = v6 ? AF_INET6 : AF_INET, fd = socket(family, SOCK_DGRAM, 0),
		    tcp = socket(family, SOCK_STREAM, 0);

		assert_int_equal(bind_to(fd, v6, 61234), -1);
		assert_int_equal(errno, EPERM);
		assert_int_equal(bind_to(tcp, v6, 61234), 0);
		s = st_reopen();
		assert_int_equal(shim_cgroup_choose(s, stc_cgroup(), MVPN_NETNS_OWN), 0);
		need(s);
		assert_int_equal(bind_to(fd, v6, 61234), -1);
		assert_int_equal(errno, EPERM);
		assert_int_equal(shim_stream_own(s, fd), 0);
		assert_int_equal(bind_to(fd, v6, 61234), 0);
		close(fd);
		close(tcp);
	}
	assert_int_equal(shim_port_keep(s, IPPROTO_TCP, 61235), 0);
	assert_int_equal(shim_ports_each(s, given, s), 0);
	for (unsigned port = 61234; port < 61236; port++) {
		int fd = socket(AF_INET, port & 1 ? SOCK_STREAM : SOCK_DGRAM, 0);

		assert_int_equal(bind_to(fd, false, (uint16_t)port), 0);
		close(fd);
	}
}

static int bypasses(int fd, int on)
{
	socklen_t len = sizeof(on);

	assert_int_equal(setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof(on)), 0);
	assert_int_equal(getsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &on, &len), 0);
	return on;
}

/* packet sockets do not go round tc; other options are as they were, also with more than a page */
static void test_bypass(void **state)
{
	int fd, udp, large[3000] = {40000}, size;
	struct shim *s = st_shim();
	socklen_t len = sizeof(size);

	need(s);
	fd = socket(AF_PACKET, SOCK_RAW, 0);
	udp = socket(AF_INET, SOCK_DGRAM, 0);
	assert_true(fd >= 0 && udp >= 0);
	assert_int_equal(bypasses(fd, 1), 0);
	assert_int_equal(bypasses(fd, 0), 0);
	assert_int_equal(setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, large, 1), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(setsockopt(udp, SOL_SOCKET, SO_SNDBUF, large, sizeof(large)), 0);
	assert_int_equal(getsockopt(udp, SOL_SOCKET, SO_SNDBUF, &size, &len), 0);
	assert_int_equal(size, 80000);
	shim_socket_detach(s);
	assert_int_equal(bypasses(fd, 1), 1);
	close(udp);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_connect),	   cmocka_unit_test(test_sendmsg),
		cmocka_unit_test(test_owner),	   cmocka_unit_test(test_rate),
		cmocka_unit_test(test_none),	   cmocka_unit_test(test_life),
		cmocka_unit_test(test_namespaces), cmocka_unit_test(test_process),
		cmocka_unit_test(test_ports),	   cmocka_unit_test(test_bypass),
	};

	if (st_setup(NULL) < 0)
		return 1;
	return cmocka_run_group_tests(tests, up, stc_down);
}
