/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Noise Protocol Framework, revision 34: the patterns XKpsk3 (channel) and KXpsk2 (introduction) over
 * 25519_ChaChaPoly_SHA256. Messages are written and read in turn. On any error the state is wiped and only
 * noise_free may follow.
 */
#ifndef MVPN_NOISE_H
#define MVPN_NOISE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum noise_pattern { NOISE_XKPSK3, NOISE_KXPSK2 };
struct noise;

struct noise_config {
	enum noise_pattern pattern;
	bool initiator;
	const void *prologue;
	size_t prologue_len;
	const uint8_t *s;  /* own static secret, 32; NULL: elsewhere, see noise_set_dh */
	const uint8_t *s_pub; /* its public key, if s is NULL, or to save a multiplication; else NULL */
	const uint8_t *rs; /* remote static public where the pattern's pre-message has it, else NULL */
	const uint8_t *e;  /* fixed ephemeral for test vectors only, else NULL */
};

int noise_new(struct noise **ret, const struct noise_config *c);
void noise_free(struct noise *n); /* wipes; NULL is fine */
/* any time before the psk token's message is written or read: the responder learns the PSK late */
void noise_set_psk(struct noise *n, const uint8_t psk[32]);
/*
 * For a static secret that is elsewhere (on a token): what X25519 makes of it and `peer`. In both patterns it meets one key only,
 * the other end's ephemeral, the first 32 bytes of its first message. Before the message that needs it is read or written, which
 * else is -ENOKEY.
 */
void noise_set_dh(struct noise *n, const uint8_t peer[32], const uint8_t dh[32]);
/* returns the message's length (payload_len plus NOISE overhead of that message), -ENOBUFS, -EINVAL out of turn */
int noise_write(struct noise *n, const void *payload, size_t payload_len, uint8_t *out, size_t out_size);
/* returns the payload's length; -EBADMSG does not authenticate, -EINVAL out of turn or too short.
 * XKpsk3 message 3: the initiator's static and the psk are in one message, so reading it is split: first
 * noise_read_static (decrypts s and gives it), then noise_set_psk, then noise_read. Optional; noise_read does both. */
int noise_read_static(struct noise *n, const uint8_t *msg, size_t len, uint8_t ret_rs[32]);
int noise_read(struct noise *n, const uint8_t *msg, size_t len, uint8_t *payload, size_t payload_size);
bool noise_done(const struct noise *n);
const uint8_t *noise_remote_static(const struct noise *n); /* NULL before it is known */
/* after the last message: k1 (initiator → responder), k2, handshake hash h, and optionally the export key X (third HKDF
 * output, PROTOCOL §1). -EINVAL if not done. */
int noise_split(struct noise *n, uint8_t k1[32], uint8_t k2[32], uint8_t h[32], uint8_t x[32]);

#endif
