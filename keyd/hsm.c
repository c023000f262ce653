/* SPDX-License-Identifier: BSD-2-Clause */
#include "hsm.h"

#include <errno.h>
#include <signal.h>
#include <sodium.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "channel.h"
#include "crypto.h"
#include "hsm_msg.h"
#include "keystore.h"
#include "log.h"

#define OPEN_TIMEOUT_MS 30000
#define MAKE_TIMEOUT_MS 60000 /* cards make keys slowly */
#define DH_TIMEOUT_MS 5000
#define CHECK_MS 5000
#define RETRY_MS 1000
#define RETRY_MAX_MS 10000

extern char **environ;

/* one operation that is waited for */
struct hsm_job {
	struct hsm_job *next;
	enum hsm_op op;
	uint8_t data[sizeof(((struct hsm_request *)0)->data)];
	hsm_done_fn *fn; /* NULL: nobody waits any more */
	void *arg;
};

struct hsm {
	struct keyd *k;
	pid_t pid; /* 0: none */
	int fd;
	struct loop_source *source;
	struct loop_timer *timer; /* of the question, of the next check, or of the next try */
	enum hsm_op asked;	  /* 0: the helper has nothing to do */
	uint32_t seq;
	bool ready;
	/* not tried again by itself: the PIN was wrong, and a card locks itself after a few such; or enrolment makes the key */
	bool waits;
	unsigned retry_ms;
	char *problem;
	hsm_make_fn *make;
	struct hsm_job *queue, **tail;
	unsigned waiting;
};

/* ---- problems ---- */

/* this device's key is there, or will be */
static bool ours(const struct keyd *k)
{
	return k->id && (identity_on_token(k->id) || k->id->next_signs);
}

__attribute__((format(printf, 2, 3))) static void set_problem(struct hsm *h, const char *fmt, ...)
{
	char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	va_end(ap);
	if (h->problem && text && !strcmp(h->problem, text))
		; /* said before */
	else if (h->k->id && identity_on_token(h->k->id))
		log_err("the key on the token cannot be used: %s; sessions that there are go on, "
			"new ones are not made",
			text ? text : "out of memory");
	else
		log_info("token: %s", text ? text : "out of memory");
	free(h->problem);
	h->problem = text;
}

const char *hsm_state(const struct keyd *k)
{
	return !k->hsm		 ? "keyd.conf names no token"
	       : k->hsm->ready	 ? NULL
	       : k->hsm->problem ? k->hsm->problem
				 : "the token is being opened";
}

const char *hsm_problem(const struct keyd *k)
{
	if (k->id && !identity_on_token(k->id))
		return NULL;
	if (k->hsm)
		return hsm_state(k);
	return k->id
		       ? "this device's key is on a token, and keyd.conf names none: pkcs11 in "
			 "[identity]"
		       : NULL;
}

/* ---- the helper ---- */

/* false: the one before is not gone yet */
static bool reap(struct hsm *h)
{
	if (h->pid && waitpid(h->pid, NULL, WNOHANG) == h->pid)
		h->pid = 0;
	return !h->pid;
}

static void helper_end(struct hsm *h)
{
	loop_remove(h->source);
	h->source = NULL;
	if (h->fd >= 0)
		close(h->fd);
	h->fd = -1;
	h->asked = 0;
	h->ready = false;
	if (h->pid)
		kill(h->pid, SIGKILL);
	reap(h);
}

static void on_reply(void *arg, uint32_t events);

static int helper_start(struct hsm *h)
{
	char *argv[] = {"keyd", "--token-helper", NULL};
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	sigset_t none;
	int pair[2], r;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return -errno;
	sigemptyset(&none);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_adddup2(&files, pair[1], HSM_FD);
	r = -posix_spawn_file_actions_addclosefrom_np(&files, HSM_FD + 1);
	if (r == 0)
		r = -posix_spawn(&h->pid, "/proc/self/exe", &files, &attr, argv, environ);
	posix_spawn_file_actions_destroy(&files);
	posix_spawnattr_destroy(&attr);
	close(pair[1]);
	h->fd = pair[0];
	if (r)
		h->pid = 0;
	else
		r = loop_add(h->k->loop, h->fd, EPOLLIN, on_reply, h, &h->source);
	return r;
}

static unsigned timeout_ms(enum hsm_op op)
{
	return op == HSM_OPEN ? OPEN_TIMEOUT_MS : op == HSM_MAKE ? MAKE_TIMEOUT_MS : DH_TIMEOUT_MS;
}

/* data: of a job; NULL */
static int ask(struct hsm *h, enum hsm_op op, const uint8_t *data)
{
	const struct identity *id = h->k->id;
	struct hsm_request q = {
		.op = op,
		.seq = ++h->seq,
		.use = !id	      ? (enum hsm_use)h->k->conf.token_key
		       : id->on_token ? HSM_COMPUTES
				      : HSM_SIGNS,
	};
	char *pin_file = keystore_pin_path(h->k);

	if (data)
		memcpy(q.data, data, sizeof(q.data));
	snprintf(q.uri, sizeof(q.uri), "%s", h->k->conf.pkcs11);
	snprintf(q.pin_file, sizeof(q.pin_file), "%s", pin_file ? pin_file : "");
	free(pin_file);
	if (send(h->fd, &q, sizeof(q), MSG_NOSIGNAL | MSG_DONTWAIT) != sizeof(q))
		return -errno;
	h->asked = op;
	loop_timer_arm(h->timer, timeout_ms(op));
	return 0;
}

/* ---- who waits ---- */

static void give(struct hsm *h, const uint8_t *out)
{
	struct hsm_job *j = h->queue;

	h->queue = j->next;
	if (!h->queue)
		h->tail = &h->queue;
	h->waiting--;
	if (j->fn)
		j->fn(j->arg, out);
	free(j);
}

static void made(struct hsm *h, const uint8_t *pk, bool signs)
{
	hsm_make_fn *fn = h->make;

	h->make = NULL;
	if (fn)
		fn(h->k, pk, signs);
}

/* with h->problem set: whoever waits is told, and it is tried again */
static void down(struct hsm *h)
{
	unsigned n = h->waiting;

	h->k->counters[KC_TOKEN_FAILED]++;
	helper_end(h);
	h->retry_ms = h->retry_ms ? h->retry_ms * 2 : RETRY_MS;
	if (h->retry_ms > RETRY_MAX_MS)
		h->retry_ms = RETRY_MAX_MS;
	if (h->waits)
		loop_timer_disarm(h->timer);
	else
		loop_timer_arm(h->timer, h->retry_ms);
	while (n--)
		give(h, NULL);
	made(h, NULL, false);
}

/* the next question, if one is due */
static void next(struct hsm *h)
{
	while (h->ready && !h->asked && h->queue) {
		if (!h->queue->fn) {
			give(h, NULL);
		} else if (ask(h, h->queue->op, h->queue->data)) {
			set_problem(h, "the helper process has ended");
			down(h);
		}
	}
	if (h->ready && !h->asked)
		loop_timer_arm(h->timer, CHECK_MS);
}

/* ---- answers ---- */

static void opened(struct hsm *h, const uint8_t pk[32], bool signs)
{
	struct keyd *k = h->k;
	const uint8_t *key = !k->id			? NULL
			     : identity_on_token(k->id) ? identity_key(k->id)
			     : k->id->next_signs	? k->id->next_pk
							: NULL; /* being found, or made */
	char text[MVPN_FINGERPRINT_LEN];

	if (key && sodium_memcmp(key, pk, 32)) {
		mvpn_fingerprint(text, pk);
		set_problem(h,
			    "the token holds another key (%s) than this device enrolled with: put "
			    "in the right one",
			    text);
		down(h);
		return;
	}
	h->ready = true;
	h->retry_ms = 0;
	if (h->problem)
		log_info("the key on the token can be used again");
	free(h->problem);
	h->problem = NULL;
	made(h, pk, signs);
	if (k->id)
		channel_start(k);
	next(h);
}

static void refused(struct hsm *h, const struct hsm_reply *a)
{
	const char *text = *a->text ? a->text : strerror(-a->r);

	h->waits = a->r == -EACCES || (a->r == -ENOENT && !ours(h->k));
	if (a->r == -EACCES)
		set_problem(h, "%s; mend it, then `mvpnctl reload`", text);
	else if (a->r == -ENOENT && ours(h->k))
		set_problem(h, "%s: this is not the token that this device enrolled with", text);
	else if (a->r == -ENOENT)
		set_problem(h, "%s yet: `mvpnctl %s` makes it", text, h->k->id ? "rotate --token" : "enroll");
	else
		set_problem(h, "%s", text);
	down(h);
}

static void on_reply(void *arg, uint32_t events)
{
	struct hsm *h = arg;
	enum hsm_op asked = h->asked;
	struct hsm_reply a;
	ssize_t n = recv(h->fd, &a, sizeof(a), MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n != sizeof(a) || !asked || a.seq != h->seq) {
		set_problem(h, "the helper process has ended: did the PKCS#11 module crash?");
		down(h);
		return;
	}
	a.text[sizeof(a.text) - 1] = 0;
	h->asked = 0;
	if (a.r) {
		refused(h, &a);
	} else if (asked == HSM_DH || asked == HSM_SIGN) {
		give(h, a.out);
		next(h);
	} else if (asked == HSM_CHECK) {
		next(h);
	} else {
		opened(h, a.out, a.use == HSM_SIGNS);
	}
	sodium_memzero(&a, sizeof(a));
}

static void on_timer(void *arg)
{
	struct hsm *h = arg;
	int r;

	if (h->asked) {
		h->k->counters[KC_TOKEN_TIMEOUT]++;
		set_problem(h, "the token has not answered for %u s: it is opened anew",
			    timeout_ms(h->asked) / 1000);
		down(h);
		return;
	}
	if (h->ready && h->queue) {
		next(h);
		return;
	}
	if (h->ready) {
		if (ask(h, HSM_CHECK, NULL)) {
			set_problem(h, "the helper process has ended");
			down(h);
		}
		return;
	}
	if (!reap(h)) { /* in the kernel, with a driver */
		loop_timer_arm(h->timer, RETRY_MS);
		return;
	}
	r = helper_start(h);
	if (!r)
		r = ask(h, h->make ? HSM_MAKE : HSM_OPEN, NULL);
	if (r) {
		set_problem(h, "cannot start the helper process: %s", strerror(-r));
		down(h);
	}
}

/* ---- what others ask ---- */

static int job_add(struct keyd *k, enum hsm_op op, const uint8_t *data, size_t len, hsm_done_fn *fn,
		   void *arg, struct hsm_job **ret)
{
	struct hsm *h = k->hsm;
	struct hsm_job *j;

	if (!h || !h->ready)
		return -ENOKEY;
	j = h->waiting < MVPN_HSM_WAITING_MAX ? calloc(1, sizeof(*j)) : NULL;
	if (!j)
		return -ENOBUFS;
	j->op = op;
	memcpy(j->data, data, len);
	j->fn = fn;
	j->arg = arg;
	*h->tail = j;
	h->tail = &j->next;
	h->waiting++;
	*ret = j;
	if (!h->asked)
		loop_timer_arm(h->timer, 0);
	return 0;
}

int hsm_dh(struct keyd *k, const uint8_t peer[32], hsm_done_fn *fn, void *arg, struct hsm_job **ret)
{
	return job_add(k, HSM_DH, peer, 32, fn, arg, ret);
}

int hsm_sign(struct keyd *k, const uint8_t text[MVPN_DELEGATION_TEXT_B], hsm_done_fn *fn, void *arg,
	     struct hsm_job **ret)
{
	return job_add(k, HSM_SIGN, text, MVPN_DELEGATION_TEXT_B, fn, arg, ret);
}

void hsm_cancel(struct hsm_job *j)
{
	if (j)
		j->fn = NULL;
}

int hsm_make(struct keyd *k, hsm_make_fn *fn)
{
	struct hsm *h = k->hsm;

	if (!h)
		return -ENOKEY;
	if (h->make)
		return -EALREADY;
	h->make = fn;
	hsm_retry(k);
	return 0;
}

void hsm_retry(struct keyd *k)
{
	struct hsm *h = k->hsm;

	if (!h || (h->ready && !h->make))
		return;
	helper_end(h);
	h->waits = false;
	h->retry_ms = 0;
	loop_timer_arm(h->timer, 0);
}

int hsm_start(struct keyd *k)
{
	if (!k->conf.pkcs11)
		return 0;
	if (k->id && !identity_on_token(k->id) && !k->id->next_signs) {
		log_warn("keyd.conf names a PKCS#11 token, but this device's key is in a file: "
			 "`mvpnctl rotate --token` moves it there");
		return 0;
	}
	return hsm_open(k);
}

int hsm_open(struct keyd *k)
{
	struct hsm *h;
	int r;

	if (k->hsm)
		return 0;
	if (!k->conf.pkcs11)
		return -ENOKEY;
	h = calloc(1, sizeof(*h));
	if (!h)
		return -ENOMEM;
	h->k = k;
	h->fd = -1;
	h->tail = &h->queue;
	r = loop_timer_new(k->loop, on_timer, h, &h->timer);
	if (r) {
		free(h);
		return r;
	}
	k->hsm = h;
	loop_timer_arm(h->timer, 0);
	return 0;
}

void hsm_free(struct keyd *k)
{
	struct hsm *h = k->hsm;

	if (!h)
		return;
	helper_end(h);
	while (h->queue) {
		h->queue->fn = NULL;
		give(h, NULL);
	}
	loop_timer_free(h->timer);
	free(h->problem);
	free(h);
	k->hsm = NULL;
}
