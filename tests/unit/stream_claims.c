/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What another keyd claims: in whose name a stream or a datagram comes, for whom it is, and that it is new. The other one has the session's keys here,
 * and says whatever it likes.
 */
#include "test.h"

#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../keyd/datagrams.h"
#include "../../keyd/peers.h"
#include "../../keyd/sessions.h"
#include "../../keyd/streams_class.h"
#include "lpm.h"

#define SPI 0x1234
#define PEER 7 /* its index */
#define OTHER 8
#define MINE "127.0.0.2"
#define ITS "10.1.0.1"

/* ---- the rest of keyd ---- */

static struct keyd k;
static struct peer twin = {.index = PEER}, peer = {.layer = MVPN_LAYER_SOCKET};
static uint8_t keys[64], opener_key[32];
static struct session_streams session_streams;
static struct session session = {.peer = &peer, .streams = &session_streams};
static struct streams streams;
static struct stream made;
static int incoming = -1;
static uint16_t port;	  /* of ours that something listens on */
static uint16_t named;	  /* the one that the policy names */
static struct mvpn_endpoint client; /* in whose name it was delivered */
static unsigned delivered, datagrams;
static struct stream *replaced; /* the last one that made room */

struct peer *peer_by_id(struct keyd *keyd, const uint8_t id[MVPN_ID_LEN])
{
	return &twin;
}

const char *peer_label(const struct peer *p)
{
	return "peer";
}

struct session *session_by_spi(struct keyd *keyd, uint32_t spi)
{
	return spi == SPI ? &session : NULL;
}

struct session *session_transmitting(const struct peer *p)
{
	return &session;
}

bool session_serves(const struct session *s, bool here, uint8_t proto, uint16_t at)
{
	return at == named;
}

void session_stream_seen(struct session *s)
{
}

int shim_deliver_as(struct shim *s, const struct mvpn_endpoint *from, const struct mvpn_endpoint *as)
{
	delivered += as != NULL;
	if (as)
		client = *as;
	return 0;
}

int streams_accept(struct keyd *keyd, int listener, struct sockaddr_storage *from)
{
	int fd = incoming;

	incoming = -1;
	return fd;
}

struct stream *stream_new(struct keyd *keyd, struct peer *p, bool opener)
{
	memset(&made, 0, sizeof(made));
	made.k = keyd;
	made.peer = p;
	made.app.fd = made.net.fd = -1;
	return &made;
}

void stream_free(struct stream *s)
{
	if (s->app.fd >= 0)
		close(s->app.fd);
	if (s->net.fd >= 0)
		close(s->net.fd);
	s->app.fd = s->net.fd = -1;
	datagrams_free(s);
}

void stream_abort(struct stream *s, enum mvpn_reason why)
{
	if (why == MVPN_R_REPLACED)
		replaced = s;
	else
		stream_free(s);
}

int stream_keys(struct stream *s, const uint8_t nonce[static STREAM_NONCE_B])
{
	return -1;
}

int stream_watch(struct stream *s, struct stream_half *h, uint32_t events, loop_io_fn *fn)
{
	return 0;
}

void stream_socket_far(int fd)
{
}

void stream_socket(int fd)
{
}

void stream_run(struct stream *s)
{
}

void stream_move(struct stream *s)
{
}

void stream_open_begin(struct stream *s)
{
}

struct peer *streams_peer(struct keyd *keyd, const struct mvpn_addr *dst)
{
	return &peer;
}

bool streams_gateway_is(const struct keyd *keyd, const struct mvpn_addr *a, uint32_t index)
{
	return false;
}

bool datagram_class_passes(const struct session *s, bool out, const struct stream_tuple *t, size_t len)
{
	return true;
}

void datagrams_deliver(struct keyd *keyd, const struct stream_tuple *t, const uint8_t *data, size_t len)
{
	datagrams++;
}

void datagrams_untaken(struct keyd *keyd, const struct stream_tuple *t)
{
}

/* ---- */

static struct mvpn_endpoint at(const char *addr, uint16_t p)
{
	struct mvpn_endpoint e;

	assert_int_equal(mvpn_endpoint_parse(&e, addr, p), 0);
	return e;
}

static void owns(const char *prefix, uint32_t index)
{
	struct mvpn_prefix p;

	assert_int_equal(mvpn_prefix_parse(&p, prefix), 0);
	assert_int_equal(lpm_set(k.prefixes, &p, index), 0);
}

static int listener = -1;

static int begin(void **state)
{
	struct sockaddr_storage sa;
	struct mvpn_endpoint own = at(MINE, 0);
	socklen_t len = mvpn_endpoint_to_sockaddr(&own, false, &sa);

	memset(k.counters, 0, sizeof(k.counters));
	memset(&session_streams.seen, 0, sizeof(session_streams.seen));
	session_streams.keys = keys;
	session_streams.suite = aead_suites() & 1 ? MVPN_CHACHA20_POLY1305 : MVPN_AES256_GCM;
	k.streams = &streams;
	delivered = datagrams = 0;
	assert_int_equal(lpm_new(&k.prefixes), 0);
	owns(ITS, PEER);
	owns("10.2.0.0/16", OTHER);
	owns(MINE, KEYD_SELF);
	listener = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(bind(listener, (struct sockaddr *)&sa, len), 0);
	assert_int_equal(listen(listener, 5), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&sa, &len), 0);
	assert_int_equal(mvpn_endpoint_from_sockaddr(&own, (struct sockaddr *)&sa), 0);
	named = port = own.port;
	return 0;
}

static int end(void **state)
{
	stream_free(&made);
	lpm_free(k.prefixes);
	close(listener);
	return 0;
}

/* an OPEN as the session's opener seals it */
static void opens_one(uint64_t number, enum stream_kind kind, const struct stream_tuple *t)
{
	const struct stream_session s = {session.id, opener_key, keys, session_streams.suite};
	uint8_t open[STREAM_OPEN_B];
	int fd[2];

	assert_int_equal(stream_open_seal(open, &s, SPI, number, kind, t), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	assert_int_equal(send(fd[0], open, sizeof(open), 0), sizeof(open));
	incoming = fd[1];
	streams_remote_ready(&k, 0);
	close(fd[0]);
	stream_free(&made);
}

/* true: the application was connected to */
static bool opens(uint64_t number, const char *src, const char *dst, uint16_t dport)
{
	const struct stream_tuple t = {at(src, 4000), at(dst, dport)};
	unsigned before = delivered;

	opens_one(number, STREAM_CONNECTION, &t);
	return delivered > before;
}

static bool sends(const char *src, const char *dst, uint16_t dport)
{
	const struct stream_tuple t = {at(src, 4000), at(dst, dport)};
	uint8_t record[STREAM_DATAGRAM_HEAD_MAX_B + 1];
	struct stream *s = stream_new(&k, &peer, false);
	unsigned before = datagrams;

	assert_int_equal(datagrams_receive(s, record, stream_datagram_put(record, &t) + 1), 0);
	stream_free(s);
	return datagrams > before;
}

static void names_of_streams(void **state)
{
	const struct mvpn_endpoint its = at(ITS, 4000);

	assert_true(opens(1, ITS, MINE, port));
	assert_memory_equal(&client, &its, sizeof(its));
	assert_false(opens(2, "10.2.0.1", MINE, port)); /* another device's */
	assert_false(opens(3, "10.3.0.1", MINE, port)); /* nobody's */
	assert_false(opens(4, MINE, MINE, port));
	assert_false(opens(5, ITS, "10.2.0.1", port)); /* to somebody else, by way of us */
	assert_false(opens(6, ITS, "127.0.0.1", port));
	assert_int_equal(k.counters[KC_STREAM_REFUSED], 5);
	assert_int_equal(k.counters[KC_STREAM_STRANGER], 0);
}

static void services_of_streams(void **state)
{
	named = port + 1;
	assert_false(opens(1, ITS, MINE, port));
	named = port;
	assert_true(opens(2, ITS, MINE, port));
}

/* somebody on the way sends what he has seen, or has no key */
static void streams_once(void **state)
{
	assert_true(opens(9, ITS, MINE, port));
	assert_false(opens(9, ITS, MINE, port));
	assert_int_equal(k.counters[KC_STREAM_STRANGER], 1);
	assert_true(opens(8, ITS, MINE, port));
	opener_key[0] ^= 1;
	assert_false(opens(10, ITS, MINE, port));
	opener_key[0] ^= 1;
	assert_int_equal(k.counters[KC_STREAM_STRANGER], 2);
}

static void names_of_datagrams(void **state)
{
	assert_true(sends(ITS, MINE, port));
	assert_false(sends("10.2.0.1", MINE, port));
	assert_false(sends("10.3.0.1", MINE, port));
	assert_false(sends(ITS, "10.2.0.1", port));
	assert_false(sends(ITS, MINE, port + 1));
	assert_int_equal(k.counters[KC_DATAGRAM_REFUSED], 4);
}

/* a peer that opens stream after stream for its datagrams has as many as it may, the newest */
static void streams_of_datagrams(void **state)
{
	struct stream had[MVPN_DATAGRAM_STREAMS_MAX] = {{0}}, ours = {.kind = STREAM_DATAGRAMS, .opener = true};

	for (unsigned i = 0; i < MVPN_DATAGRAM_STREAMS_MAX; i++)
		had[i] = (struct stream){.kind = STREAM_DATAGRAMS, .next = i ? &had[i - 1] : &ours};
	replaced = NULL;
	peer.streams = &had[MVPN_DATAGRAM_STREAMS_MAX - 2];
	opens_one(1, STREAM_DATAGRAMS, NULL);
	assert_null(replaced);
	peer.streams = &had[MVPN_DATAGRAM_STREAMS_MAX - 1];
	opens_one(2, STREAM_DATAGRAMS, NULL);
	assert_ptr_equal(replaced, &had[0]);
	peer.streams = NULL;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(names_of_streams, begin, end),
		cmocka_unit_test_setup_teardown(services_of_streams, begin, end),
		cmocka_unit_test_setup_teardown(streams_once, begin, end),
		cmocka_unit_test_setup_teardown(names_of_datagrams, begin, end),
		cmocka_unit_test_setup_teardown(streams_of_datagrams, begin, end),
	};

	return MVPN_RUN(tests);
}
