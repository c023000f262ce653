/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where this device's identity is kept while keyd runs: the file in the state directory or a systemd credential, plain or sealed
 * with a passphrase. Owns k->id together with channel.c, which makes it by enrolment. What costs a second of CPU time is done by
 * a thread, so that the loop goes on.
 */
#ifndef MVPN_KEYSTORE_H
#define MVPN_KEYSTORE_H

#include <jansson.h>

#include "identity.h"

/* names of systemd credentials, below $CREDENTIALS_DIRECTORY: mvpn.X, or mvpn-NAME.X of a network of several in one service */
#define CREDENTIAL "mvpn"
#define CREDENTIAL_IDENTITY "identity"
#define CREDENTIAL_PASSPHRASE "passphrase"
#define CREDENTIAL_PIN "pin"

/* Finds the identity and opens it if it can: k->id stays NULL if there is none, or if it is locked. An error is logged. */
int keystore_start(struct keyd *k);
void keystore_free(struct keyd *k);
/* why there is an identity that cannot be used, and what to do; NULL: it can, or there is none */
const char *keystore_locked(const struct keyd *k);
/* keep what is known by now, sealed as it was; -EROFS a credential */
int keystore_save(struct keyd *k, const struct identity *id);

/* Both take the passphrase over and answer the call when they are done (control_identity.c). -EALREADY: one is under way;
 * -EROFS as above */
int keystore_unlock(struct keyd *k, struct passphrase *p, struct ipc_call *call);
int keystore_seal(struct keyd *k, struct passphrase *p, struct ipc_call *call);
/* keep it plain from now on; -EROFS */
int keystore_unseal(struct keyd *k);
/* file with the token's PIN, malloc'ed; NULL: none is configured */
char *keystore_pin_path(const struct keyd *k);
json_t *keystore_show(const struct keyd *k);

/* control_identity.c's: an unlocking or sealing is over; `warning` may be NULL */
void control_identity_done(struct keyd *k, struct ipc_call *call, int r, const char *warning);

#endif
