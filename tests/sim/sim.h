/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A server in a child process, and devices that speak the real channel to it without a data path: blocking, one thread,
 * every wait has a deadline. Failures are cmocka assertions.
 */
#ifndef MVPN_TESTS_SIM_H
#define MVPN_TESTS_SIM_H

#include "../unit/test.h"

#include <jansson.h>
#include <sys/types.h>

#include "chan.h"
#include "delegation.h"
#include "intro.h"
#include "mvpn/auth.h"
#include "token.h"

#define SIM_WAIT_MS 20000 /* what is waited for comes in milliseconds, on a busy machine in seconds */
#define SIM_PREFIXES_MAX 40000 /* what has come and what has not gone yet, within a change */

struct sim_server {
	pid_t pid;
	char dir[64], socket[96];
	uint16_t port;
	uint64_t rekey_s, psk_s;
	uint64_t half_open_source, handshakes_source; /* 0: high */
	uint64_t handshakes_unproven, handshakes_worked; /* 0: high */
	uint64_t half_open; /* 0: the default */
	uint64_t handshake_s;
	uint64_t relay_mbit;
	uint64_t messages_channel; /* 0: the default */
};

struct sim_prefix {
	struct mvpn_prefix p;
	uint8_t owner[16];
	uint32_t next; /* of those whose by_prefix is the same, 1 + where it is; 0: none */
};

struct sim_device {
	struct sim_server *server;
	uint8_t sk[32], pk[32], psk[32], server_pk[32];
	uint8_t id[16], net_id[8];
	char name[MVPN_NAME_MAX_B + 1];
	uint8_t state;
	uint64_t boot_gen;
	uint32_t psk_epoch;
	bool tells_processes, knows_services; /* REGISTER says so */
	uint16_t udp_port; /* likewise; 0: 7469 */
	uint8_t mode; /* enum mvpn_mode that its requests ask for */
	/* a key that signs, as on a token: makes what REGISTER brings, and logs in as `id` with a key that the server need not know */
	bool named, has_word;
	uint8_t token_sk[64], token_pk[32];
	struct delegation word;
	int fd;
	struct chan *ch;
	/* the last message; its TLVs live in msg_data */
	struct chan_msg msg;
	uint8_t *msg_data;
	/* protected set as pushed */
	struct sim_prefix *prefixes;
	uint32_t *by_prefix; /* the first of them, by a hash: as struct sim_prefix's next */
	unsigned nprefixes, commits;
	uint64_t rev;
	bool knows_set, says_set; /* REGISTER says the SET and the REV of the last commit */
	uint8_t set[32];
	unsigned resets; /* whole sets that came */
	uint32_t options, max_offline_s;
	struct mvpn_addr accepted[64];
	unsigned naccepted, nrefused;
	uint16_t refused_reason; /* of the last refused address */
	/* what REGISTER claims, and what became of it */
	uint8_t macs[8][6];
	unsigned nmacs, naccepted_macs, nrefused_macs;
	uint16_t refused_mac_reason;
	/* the last SERVER_KEY */
	uint64_t key_serial;
	uint8_t key[32], key_flags;
	uint32_t key_left_s, key_in_s;
	unsigned nkeys; /* so many came */
	bool has_ticket;
	uint8_t ticket[MVPN_TICKET_B];
	uint32_t return_ms; /* RETURN; UINT32_MAX: not told */
	uint8_t echo[MVPN_TLV_ECHO_B]; /* of the last WELCOME; zero: none */
	/* the table of frames as pushed */
	struct mvpn_ether frames[MVPN_FRAMES_MAX + 64];
	unsigned nframes, frame_commits;
};

/* a temporary state directory with keys and store, and the server on a free loopback port */
void sim_server_new(struct sim_server *s);
void sim_server_start(struct sim_server *s);
/* what is sent to it in between comes in one round of its loop */
void sim_server_pause(struct sim_server *s);
void sim_server_resume(struct sim_server *s);
void sim_server_stop(struct sim_server *s);  /* SIGTERM; it must end well */
void sim_server_crash(struct sim_server *s); /* SIGKILL */
void sim_server_free(struct sim_server *s);  /* stops it if it runs, removes the directory */

/* a verb's reply; args by json_pack's format, or NULL */
json_t *sim_call(struct sim_server *s, const char *verb, const char *format, ...);
json_t *sim_ok(struct sim_server *s, const char *verb, const char *format, ...); /* must succeed */
json_int_t sim_counter(struct sim_server *s, const char *name);
json_int_t sim_sessions(struct sim_server *s); /* how many are on record */
void sim_policy(struct sim_server *s, const char *text);
/* waits until the counter is at least n */
void sim_wait_counter(struct sim_server *s, const char *name, json_int_t n);
/* token text for one use, with one address (NULL: none) and a group (NULL: none) */
void sim_token(struct sim_server *s, const char *address, const char *group,
	       char ret[MVPN_TOKEN_MAX]);

int sim_connect(struct sim_server *s);
void sim_expect_fd_eof(int fd); /* reads it to its end, closes it */
void sim_device_init(struct sim_device *d, struct sim_server *s);
void sim_device_free(struct sim_device *d);
void sim_hang_up(struct sim_device *d);
/* the handshake: true if it came up as far as this end can tell */
bool sim_enrol_start(struct sim_device *d, const char *token);
bool sim_login(struct sim_device *d);
/* another X25519 key, which the server does not know */
void sim_new_key(struct sim_device *d);
/* what its token says of its key on this channel, good for so many seconds, goes into the next REGISTER */
void sim_delegate(struct sim_device *d, int64_t seconds);
void sim_register(struct sim_device *d, const char *name, const char *const *addresses, unsigned n);
/* token, handshake, REGISTER with that one address, WELCOME (and the first PREFIXES if active) */
void sim_join(struct sim_device *d, const char *name, const char *address);
/* log in, REGISTER, WELCOME, PREFIXES */
void sim_rejoin(struct sim_device *d, const char *address);

void sim_send(struct sim_device *d, const struct chan_buf *b);
void sim_send_raw(struct sim_device *d, const void *data, size_t len);
/* The next message of that type. PREFIXES, ETHER, SERVER_KEY and WELCOME are taken in on the way, heartbeats skipped; any other type is
 * an error, and so is the end of the connection. */
void sim_expect(struct sim_device *d, uint8_t type);
/* as sim_expect, but false if it does not come: the server may be dead */
bool sim_try(struct sim_device *d, uint8_t type);
bool sim_try_for(struct sim_device *d, uint8_t type, unsigned ms);
/* CLOSE with this reason, then the end of the connection */
void sim_expect_close(struct sim_device *d, unsigned reason);
/* the end of the connection, with nothing before it */
void sim_expect_eof(struct sim_device *d);
/* as sim_expect, and it is about that device */
void sim_expect_about(struct sim_device *d, uint8_t type, const struct sim_device *about);
void sim_expect_fail(struct sim_device *d, unsigned reason);
/* nothing but PREFIXES, ETHER, LEVELS, SERVER_KEY and heartbeats for so long */
void sim_expect_nothing(struct sim_device *d, unsigned ms);
/* takes in PREFIXES until the predicate holds */
void sim_wait_prefix(struct sim_device *d, const char *prefix, const struct sim_device *owner);
void sim_wait_no_prefix(struct sim_device *d, const char *prefix);
void sim_wait_rev(struct sim_device *d, uint64_t rev);
bool sim_has_prefix(const struct sim_device *d, const char *prefix, const struct sim_device *owner);

/* takes in ETHER until a whole table has come */
void sim_expect_frames(struct sim_device *d);
/* enum mvpn_frame_flags of an entry that owner has, or -1 if there is none */
int sim_frame_flags(const struct sim_device *d, const uint8_t mac[6], unsigned type,
		    const struct sim_device *owner);

/* ---- introductions ---- */
struct sim_request {
	struct intro_a *a;
	uint8_t nonce[16];
	uint8_t req[INTRO_REQ_MAX_B], msg1[INTRO_MSG1_B];
	size_t req_len;
	const uint8_t *meant; /* a device, of several that own the destination; NULL: not said */
};
void sim_request(struct sim_device *a, const char *dst, struct sim_request *ret);
void sim_request_make(struct sim_device *a, const char *dst, struct sim_request *ret); /* not sent */
void sim_rekey(struct sim_device *a, const char *dst, const uint8_t replaces[16],
	       struct sim_request *ret);
/* a session for streams */
void sim_request_socket(struct sim_device *a, const char *dst, struct sim_request *ret);
/* a session for frames with that device */
void sim_request_link(struct sim_device *a, const struct sim_device *b, struct sim_request *ret);
void sim_request_send(struct sim_device *a, const struct sim_request *q);
/* b takes the OFFER that is in its last message, and answers; keys of this end */
void sim_accept(struct sim_device *b, uint8_t ret_session[16], struct intro_keys *ret);
void sim_accept_make(struct sim_device *b, uint8_t ret_session[16], struct intro_keys *ret,
		     struct chan_buf *ret_message); /* not sent */
/* a takes the ANSWER in its last message: 0 or -errno of the handshake */
int sim_finish(struct sim_device *a, struct sim_request *q, struct intro_keys *ret);
/* K of a central mode, as this end of the introduction has it: told by its last message, or made of its channel. As in sim_accept
 * and sim_finish; false: the mode is end to end */
bool sim_central_key(struct sim_device *d, const struct intro_pair *pair, const uint8_t *req, size_t req_len,
		     uint8_t ret[32]);
/* all of it, and the keys are checked; returns the session */
void sim_introduce(struct sim_device *a, struct sim_device *b, const char *dst,
		   uint8_t ret_session[16]);

/* a server, two devices that may talk, and a third that has not joined and that nobody named */
#define A_ADDR "192.0.2.1"
#define B_ADDR "192.0.2.2"
#define C_ADDR "192.0.2.3"
struct sim_net {
	struct sim_server s;
	struct sim_device a, b, c;
};
void sim_net_up(struct sim_net *n);
void sim_net_down(struct sim_net *n);

#endif
