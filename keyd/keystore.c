/* SPDX-License-Identifier: BSD-2-Clause */
#include "keystore.h"

#include <errno.h>
#include <pthread.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "channel.h"
#include "cmdline.h"
#include "control.h"
#include "delegate.h"
#include "fsutil.h"
#include "hsm.h"
#include "log.h"

#define IDENTITY_FILE "identity"

/* Argon2id in a thread of its own: opening the file, or making a new lock for it */
struct job {
	struct keyd *k;
	pthread_t thread;
	int fd; /* eventfd, readable when it is done */
	struct loop_source *source;
	struct ipc_call *call; /* NULL when nobody waits any more */
	const char *path;      /* NULL: make a lock */
	struct passphrase *p;
	/* results */
	int r;
	struct identity *id;
	struct identity_lock *lock;
};

struct keystore {
	char *path;
	bool credential;
	struct identity_lock *lock; /* what it is sealed with; NULL: plain */
	char *locked;
	struct job *job;
};

/* ---- where things are ---- */

/* NULL: not given. In the service of several networks the named ones have credentials of their own. */
static char *credential_path(const struct keyd *k, const char *name)
{
	const char *dir = getenv("CREDENTIALS_DIRECTORY");
	char *path, file[64];

	if (k->args && k->args->supervisor && k->args->network)
		snprintf(file, sizeof(file), CREDENTIAL "-%s.%s", k->args->network, name);
	else
		snprintf(file, sizeof(file), CREDENTIAL ".%s", name);
	path = dir && *dir ? path_join(dir, file) : NULL;

	if (path && access(path, F_OK)) {
		free(path);
		path = NULL;
	}
	return path;
}

static char *passphrase_path(const struct keyd *k)
{
	return k->conf.passphrase_file ? strdup(k->conf.passphrase_file)
				       : credential_path(k, CREDENTIAL_PASSPHRASE);
}

char *keystore_pin_path(const struct keyd *k)
{
	return k->conf.pin_file ? strdup(k->conf.pin_file) : credential_path(k, CREDENTIAL_PIN);
}

static const char *passphrase_error(int r)
{
	return r == -EPERM    ? "it must be a file of root's that nobody else may read (chmod 600)"
	       : r == -EINVAL ? "it must hold one line of 1 to 1024 bytes"
			      : strerror(-r);
}

static void set_locked(struct keystore *ks, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
static void set_locked(struct keystore *ks, const char *fmt, ...)
{
	va_list ap;

	free(ks->locked);
	va_start(ap, fmt);
	if (vasprintf(&ks->locked, fmt, ap) < 0)
		ks->locked = NULL;
	va_end(ap);
}

const char *keystore_locked(const struct keyd *k)
{
	return k->keystore ? k->keystore->locked : NULL;
}

/* ---- at the start ---- */

static int open_failed(struct keystore *ks, int r, const char *source)
{
	switch (r) {
	case -ENOKEY:
		set_locked(ks, "the identity is sealed with a passphrase that keyd was not given: "
			       "`mvpnctl identity unlock`");
		break;
	case -EKEYREJECTED:
		set_locked(ks,
			   "the passphrase in %s does not open the identity (or the identity was "
			   "tampered with): `mvpnctl identity unlock` takes the right one",
			   source);
		break;
	case -EBADMSG:
		log_err("the identity is damaged; restore it from a backup, or remove it and "
			"enrol again: %s",
			ks->path);
		return r;
	case -EPERM:
		log_err("the identity must be a file of root's that nobody else may read (chmod "
			"600): %s",
			ks->path);
		return r;
	default:
		log_err("cannot read the identity %s: %s", ks->path, strerror(-r));
		return r;
	}
	log_err("%s", ks->locked ? ks->locked : "the identity is locked");
	return 0;
}

/* with what the configuration names; p is NULL if it names nothing, or what it names cannot be read */
static int start_with(struct keyd *k, const struct passphrase *p, const char *source)
{
	struct keystore *ks = k->keystore;
	int r = identity_load(ks->path, p, &k->id, &ks->lock);

	if (r == -ENOENT && source && !p) {
		set_locked(ks,
			   "the passphrase in %s cannot be read, and without it an identity would be "
			   "kept unsealed: put it right and restart keyd",
			   source);
		return 0;
	}
	if (r == -ENOENT) /* enrolment shall seal what it gets */
		return p ? identity_lock_new(&ks->lock, p, &identity_cost_default) : 0;
	if (r)
		return open_failed(ks, r, source);
	if (p && !ks->lock)
		log_warn("there is a passphrase in %s, but the identity is not sealed with it: "
			 "`mvpnctl identity passphrase set --passphrase-file F`",
			 source);
	return 0;
}

int keystore_start(struct keyd *k)
{
	struct keystore *ks = k->keystore = calloc(1, sizeof(*ks));
	struct passphrase *p = NULL;
	char *file = path_join(k->state_dir, IDENTITY_FILE), *source = passphrase_path(k);
	int r = -ENOMEM;

	if (!ks || !file)
		goto out;
	ks->path = credential_path(k, CREDENTIAL_IDENTITY);
	ks->credential = ks->path != NULL;
	if (ks->credential && !access(file, F_OK))
		log_warn("the identity is the credential %s; %s is not used: remove it", ks->path,
			 file);
	if (!ks->path) {
		ks->path = file;
		file = NULL;
	}
	r = source ? passphrase_read(source, &p) : 0;
	if (r) {
		/* not fatal if it turns out that none is needed, or a person has it */
		log_err("cannot read the passphrase in %s: %s", source, passphrase_error(r));
	}
	r = start_with(k, p, source);
	if (r == -ENOMEM)
		log_err("no memory for the identity: a passphrase takes 256 MiB while keyd starts");
out:
	passphrase_free(p);
	free(source);
	free(file);
	return r;
}

static void job_free(struct job *j)
{
	if (!j)
		return;
	pthread_join(j->thread, NULL);
	loop_remove(j->source);
	close(j->fd);
	passphrase_free(j->p);
	identity_free(j->id);
	identity_lock_free(j->lock);
	free(j);
}

void keystore_free(struct keyd *k)
{
	struct keystore *ks = k->keystore;

	if (!ks)
		return;
	job_free(ks->job);
	identity_lock_free(ks->lock);
	free(ks->locked);
	free(ks->path);
	free(ks);
	k->keystore = NULL;
}

/* ---- later ---- */

int keystore_save(struct keyd *k, const struct identity *id)
{
	struct keystore *ks = k->keystore;

	return ks->credential ? -EROFS : identity_save(ks->path, id, ks->lock);
}

int keystore_unseal(struct keyd *k)
{
	struct keystore *ks = k->keystore;
	int r = ks->credential ? -EROFS : identity_save(ks->path, k->id, NULL);

	if (r)
		return r;
	identity_lock_free(ks->lock);
	ks->lock = NULL;
	return 0;
}

static void *job_run(void *arg)
{
	struct job *j = arg;

	j->r = j->path ? identity_load(j->path, j->p, &j->id, &j->lock)
		       : identity_lock_new(&j->lock, j->p, &identity_cost_default);
	eventfd_write(j->fd, 1);
	return NULL;
}

static void unlocked(struct keyd *k, struct job *j)
{
	struct keystore *ks = k->keystore;

	free(ks->locked);
	ks->locked = NULL;
	k->id = j->id;
	j->id = NULL;
	ks->lock = j->lock;
	j->lock = NULL;
	k->state = KEYD_OFFLINE;
	hsm_free(k); /* whose key it is could not be checked before */
	if (hsm_start(k))
		log_err("no memory for the token");
	log_info("the identity is unlocked: %s", k->id->name);
	channel_start(k);
}

static int sealed(struct keyd *k, struct job *j)
{
	struct keystore *ks = k->keystore;
	int r = identity_save(ks->path, k->id, j->lock);

	if (r)
		return r;
	identity_lock_free(ks->lock);
	ks->lock = j->lock;
	j->lock = NULL;
	return 0;
}

/* what the next start will miss, malloc'ed; NULL: nothing. p is what the identity is sealed with */
static char *start_warning(const struct keyd *k, const struct passphrase *p)
{
	char *source = passphrase_path(k), *text = NULL;
	struct passphrase *kept = NULL;
	int r = source ? passphrase_read(source, &kept) : 0;

	if (!source)
		r = asprintf(&text, "keyd.conf names no passphrase_file: after its next start keyd "
				    "waits for `mvpnctl identity unlock`");
	else if (r)
		r = asprintf(&text, "the next start needs the passphrase in %s, and %s", source,
			     passphrase_error(r));
	else if (kept->len != p->len || sodium_memcmp(kept->text, p->text, p->len))
		r = asprintf(&text,
			     "%s holds another passphrase: put this one there, or keyd is locked "
			     "after its next start",
			     source);
	passphrase_free(kept);
	free(source);
	return r < 0 ? NULL : text;
}

static void job_done(void *arg, uint32_t events)
{
	struct job *j = arg;
	struct keyd *k = j->k;
	struct ipc_call *call = j->call;
	char *warning = NULL;
	int r = j->r;

	k->keystore->job = NULL;
	if (!r && j->path)
		unlocked(k, j);
	else if (!r)
		r = sealed(k, j);
	if (!r && !j->path)
		warning = start_warning(k, j->p);
	job_free(j);
	if (call)
		control_identity_done(k, call, r, warning);
	free(warning);
}

static void job_unwanted(void *arg)
{
	((struct job *)arg)->call = NULL;
}

/* takes p over, whatever becomes of it */
static int job_start(struct keyd *k, const char *path, struct passphrase *p, struct ipc_call *call)
{
	struct job *j = k->keystore->job ? NULL : calloc(1, sizeof(*j));
	int r;

	if (!j) {
		passphrase_free(p);
		return k->keystore->job ? -EALREADY : -ENOMEM;
	}
	j->k = k;
	j->path = path;
	j->p = p;
	j->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = j->fd < 0 ? -errno : loop_add(k->loop, j->fd, EPOLLIN, job_done, j, &j->source);
	if (!r)
		r = -pthread_create(&j->thread, NULL, job_run, j);
	if (r) {
		loop_remove(j->source);
		if (j->fd >= 0)
			close(j->fd);
		passphrase_free(p);
		free(j);
		return r;
	}
	k->keystore->job = j;
	j->call = call;
	ipc_call_on_gone(call, job_unwanted, j);
	return 0;
}

int keystore_unlock(struct keyd *k, struct passphrase *p, struct ipc_call *call)
{
	return job_start(k, k->keystore->path, p, call);
}

int keystore_seal(struct keyd *k, struct passphrase *p, struct ipc_call *call)
{
	if (k->keystore->credential) {
		passphrase_free(p);
		return -EROFS;
	}
	return job_start(k, NULL, p, call);
}

json_t *keystore_show(const struct keyd *k)
{
	const struct keystore *ks = k->keystore;
	char *source = passphrase_path(k);
	bool there = k->id || ks->locked;
	bool token = k->id && identity_on_token(k->id);
	json_t *o = json_pack("{s:s, s:s?, s:b, s:b, s:s?, s:s?, s:s, s:s?, s:s?}", "kept",
			      !there	       ? "nowhere"
			      : ks->credential ? "credential"
					       : "file",
			      "path", there ? ks->path : NULL, "sealed",
			      there && (ks->lock || ks->locked), "locked", ks->locked != NULL,
			      "why", ks->locked, "passphrase_source", source, "private_key",
			      !k->id  ? "unknown"
			      : token ? "token"
				      : "memory",
			      "token", k->conf.pkcs11, "token_problem",
			      token || k->hsm ? hsm_problem(k) : NULL);

	json_object_set_new(o, "token_key", !token ? json_null() : json_string(k->id->delegates ? "sign" : "ecdh"));
	json_object_set_new(o, "delegated_until", token && delegate_valid(k) ? json_integer(delegate_until(k)) : json_null());
	free(source);
	return o;
}
