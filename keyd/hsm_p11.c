/* SPDX-License-Identifier: BSD-2-Clause */
#include "hsm_p11.h"

#include <errno.h>
#include <p11-kit/p11-kit.h>
#include <p11-kit/pkcs11.h>
#include <p11-kit/uri.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypto.h"

#define SLOTS_MAX 64
#define CKM_MONTGOMERY_KEY_PAIR_GEN 0x1056UL /* PKCS #11 3.0; p11-kit's header has no name for it */

struct p11 {
	P11KitUri *uri;
	CK_FUNCTION_LIST **modules; /* all that are configured, or */
	CK_FUNCTION_LIST *own;	    /* the one that the URI names */
	CK_FUNCTION_LIST *f;	    /* the token's */
	CK_SLOT_ID slot;
	CK_TOKEN_INFO info;
	CK_SESSION_HANDLE session;
	bool in_session;
	CK_OBJECT_HANDLE key;
	enum hsm_use use;
	bool der; /* the token takes public keys as a DER OCTET STRING */
	char *text;
};

static int fail(struct p11 *p, int r, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static int fail(struct p11 *p, int r, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(p->text, HSM_TEXT_MAX_B, fmt, ap);
	va_end(ap);
	return r;
}

static int failed(struct p11 *p, const char *what, CK_RV rv)
{
	bool gone = rv == CKR_DEVICE_REMOVED || rv == CKR_TOKEN_NOT_PRESENT ||
		    rv == CKR_SESSION_HANDLE_INVALID || rv == CKR_SESSION_CLOSED ||
		    rv == CKR_OBJECT_HANDLE_INVALID || rv == CKR_KEY_HANDLE_INVALID;

	return fail(p, gone ? -ENODEV : -EIO, "%s%s: %s", what,
		    gone ? " (was the token taken out?)" : "", p11_kit_strerror(rv));
}

/* ---- the token ---- */

static int load_modules(struct p11 *p)
{
	const char *path = p11_kit_uri_get_module_path(p->uri);
	CK_RV rv;

	if (!path) {
		p->modules = p11_kit_modules_load_and_initialize(0);
		return p->modules ? 0
				  : fail(p, -EIO, "p11-kit: %s",
					 p11_kit_message() ? p11_kit_message() : "no modules");
	}
	p->own = p11_kit_module_load(path, 0);
	if (!p->own)
		return fail(p, -EIO, "cannot load the module %.100s: %s", path,
			    p11_kit_message() ? p11_kit_message() : "?");
	rv = p11_kit_module_initialize(p->own);
	if (rv == CKR_OK)
		return 0;
	p11_kit_module_release(p->own);
	p->own = NULL;
	return failed(p, "the module does not start", rv);
}

/* its tokens that the URI matches, remembering the last; returns how many */
static unsigned match_tokens(struct p11 *p, CK_FUNCTION_LIST *f)
{
	CK_SLOT_ID slots[SLOTS_MAX];
	CK_ULONG n = SLOTS_MAX;
	CK_TOKEN_INFO info;
	unsigned found = 0;

	if (f->C_GetSlotList(CK_TRUE, slots, &n) != CKR_OK)
		return 0;
	for (CK_ULONG i = 0; i < n; i++) {
		if (f->C_GetTokenInfo(slots[i], &info) != CKR_OK ||
		    !(info.flags & CKF_TOKEN_INITIALIZED) ||
		    !p11_kit_uri_match_token_info(p->uri, &info))
			continue;
		p->f = f;
		p->slot = slots[i];
		p->info = info;
		found++;
	}
	return found;
}

static int find_token(struct p11 *p)
{
	unsigned found = 0;

	if (p->own)
		found = match_tokens(p, p->own);
	for (CK_FUNCTION_LIST **m = p->modules; m && *m; m++)
		found += match_tokens(p, *m);
	if (!found)
		return fail(p, -ENODEV, "no token that the URI names is there: is it plugged in?");
	return found == 1 ? 0
			  : fail(p, -EIO, "%u tokens match the URI: name one by serial=", found);
}

static int log_in(struct p11 *p, const char *pin, size_t pin_len, bool write)
{
	bool pad = p->info.flags & CKF_PROTECTED_AUTHENTICATION_PATH;
	CK_RV rv = p->f->C_OpenSession(p->slot, CKF_SERIAL_SESSION | (write ? CKF_RW_SESSION : 0),
				       NULL, NULL, &p->session);

	if (rv != CKR_OK)
		return failed(p, "cannot open a session", rv);
	p->in_session = true;
	if (!(p->info.flags & CKF_LOGIN_REQUIRED))
		return 0;
	if (p->info.flags & CKF_USER_PIN_LOCKED)
		return fail(p, -EACCES, "the token has locked its PIN after too many wrong ones");
	if (p->info.flags & CKF_USER_PIN_FINAL_TRY)
		return fail(p, -EACCES,
			    "one try is left before the token locks its PIN, and it is left to "
			    "you: log in once with the token's own tool");
	if (!pin && !pad)
		return fail(p, -EACCES, "the token needs a PIN: name a pin_file");
	rv = p->f->C_Login(p->session, CKU_USER, (CK_UTF8CHAR *)pin, pin ? pin_len : 0);
	if (rv == CKR_OK || rv == CKR_USER_ALREADY_LOGGED_IN)
		return 0;
	if (rv == CKR_PIN_INCORRECT || rv == CKR_PIN_INVALID || rv == CKR_PIN_LEN_RANGE ||
	    rv == CKR_PIN_LOCKED || rv == CKR_PIN_EXPIRED)
		return fail(p, -EACCES, "the token does not take the PIN: %s",
			    p11_kit_strerror(rv));
	return failed(p, "cannot log in", rv);
}

/* ---- the key ---- */

static int find_object(struct p11 *p, CK_ATTRIBUTE *want, CK_ULONG n, CK_OBJECT_HANDLE *ret)
{
	CK_OBJECT_HANDLE found[2];
	CK_ULONG nfound = 0;
	CK_RV rv = p->f->C_FindObjectsInit(p->session, want, n);

	if (rv == CKR_OK) {
		rv = p->f->C_FindObjects(p->session, found, 2, &nfound);
		p->f->C_FindObjectsFinal(p->session);
	}
	if (rv != CKR_OK)
		return failed(p, "cannot look for the key", rv);
	if (!nfound)
		return fail(p, -ENOENT, "the token has no key that the URI names");
	if (nfound > 1)
		return fail(p, -EIO, "several keys on the token match the URI: name one by id=");
	*ret = found[0];
	return 0;
}

/* an object of that class with the name and id of the URI; returns how many attributes */
static CK_ULONG wanted(struct p11 *p, CK_OBJECT_CLASS *class, CK_ATTRIBUTE ret[3])
{
	CK_ATTRIBUTE *label = p11_kit_uri_get_attribute(p->uri, CKA_LABEL);
	CK_ATTRIBUTE *id = p11_kit_uri_get_attribute(p->uri, CKA_ID);
	CK_ULONG n = 0;

	ret[n++] = (CK_ATTRIBUTE){CKA_CLASS, class, sizeof(*class)};
	if (label)
		ret[n++] = *label;
	if (id)
		ret[n++] = *id;
	return n;
}

/* as DER's OCTET STRING, or bare: tokens differ */
static int read_point(struct p11 *p, CK_OBJECT_HANDLE pub, uint8_t ret[32])
{
	uint8_t point[64];
	CK_ATTRIBUTE a = {CKA_EC_POINT, point, sizeof(point)};
	CK_RV rv = p->f->C_GetAttributeValue(p->session, pub, &a, 1);

	if (rv != CKR_OK)
		return failed(p, "cannot read the public key", rv);
	if (a.ulValueLen == 34 && point[0] == 4 && point[1] == 32)
		memcpy(ret, point + 2, 32);
	else if (a.ulValueLen == 32)
		memcpy(ret, point, 32);
	else
		return fail(p, -EIO, "the key is neither one for Ed25519 nor for X25519");
	return 0;
}

static CK_RV sign(struct p11 *p, const void *data, size_t len, uint8_t ret[64])
{
	CK_MECHANISM mechanism = {CKM_EDDSA, NULL, 0}; /* no parameters: pure Ed25519 */
	CK_ULONG n = 64;
	CK_RV rv = p->f->C_SignInit(p->session, &mechanism, p->key);

	if (rv == CKR_OK)
		rv = p->f->C_Sign(p->session, (CK_BYTE *)data, len, ret, &n);
	return rv == CKR_OK && n != 64 ? CKR_SIGNATURE_LEN_RANGE : rv;
}

/* The key does Ed25519, and pk is its other half. What is signed is of no use to anybody. */
static int prove_signs(struct p11 *p, const uint8_t pk[32])
{
	uint8_t text[48] = "mvpn probe", signature[64];
	CK_RV rv;

	randombytes_buf(text + 16, 32);
	rv = sign(p, text, sizeof(text), signature);
	if (rv != CKR_OK)
		return failed(p, "the key does not sign (CKM_EDDSA)", rv);
	if (crypto_sign_verify_detached(signature, text, sizeof(text), pk))
		return fail(p, -EIO, "what the key signs is not Ed25519");
	return 0;
}

static CK_RV derive(struct p11 *p, const uint8_t peer[32], bool der, uint8_t ret[32])
{
	uint8_t point[34] = {4, 32};
	CK_ECDH1_DERIVE_PARAMS params = {CKD_NULL, 0, NULL, der ? 34 : 32,
					 der ? point : point + 2};
	CK_MECHANISM mechanism = {CKM_ECDH1_DERIVE, &params, sizeof(params)};
	CK_OBJECT_CLASS class = CKO_SECRET_KEY;
	CK_KEY_TYPE type = CKK_GENERIC_SECRET;
	CK_ULONG len = 32;
	CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
	CK_ATTRIBUTE want[] = {
		{CKA_CLASS, &class, sizeof(class)}, {CKA_KEY_TYPE, &type, sizeof(type)},
		{CKA_VALUE_LEN, &len, sizeof(len)}, {CKA_TOKEN, &no, sizeof(no)},
		{CKA_EXTRACTABLE, &yes, sizeof(yes)}, {CKA_SENSITIVE, &no, sizeof(no)},
	};
	CK_ATTRIBUTE value = {CKA_VALUE, ret, 32};
	CK_OBJECT_HANDLE secret;
	CK_RV rv;

	memcpy(point + 2, peer, 32);
	rv = p->f->C_DeriveKey(p->session, &mechanism, p->key, want,
			       sizeof(want) / sizeof(want[0]), &secret);
	if (rv != CKR_OK)
		return rv;
	rv = p->f->C_GetAttributeValue(p->session, secret, &value, 1);
	p->f->C_DestroyObject(p->session, secret);
	return rv == CKR_OK && value.ulValueLen != 32 ? CKR_KEY_SIZE_RANGE : rv;
}

/* The key does X25519, and pk is its other half: tried, whatever its type is called. Learns how the token takes public keys. */
static int prove_computes(struct p11 *p, const uint8_t pk[32])
{
	uint8_t sk[32], peer[32], here[32], there[32];
	CK_RV rv = CKR_OK;
	int r = -EIO;

	mvpn_keypair(sk, peer);
	if (mvpn_x25519(here, sk, pk) == 0) {
		for (unsigned der = 0; der < 2 && r; der++) {
			rv = derive(p, peer, der, there);
			if (rv == CKR_OK && !sodium_memcmp(here, there, 32)) {
				p->der = der;
				r = 0;
			}
		}
	}
	sodium_memzero(sk, sizeof(sk));
	sodium_memzero(here, sizeof(here));
	sodium_memzero(there, sizeof(there));
	if (!r)
		return 0;
	return rv == CKR_OK ? fail(p, -EIO, "the key does not compute X25519")
			    : failed(p, "the key does not derive (CKM_ECDH1_DERIVE)", rv);
}

static int prove(struct p11 *p, enum hsm_use use, const uint8_t pk[32])
{
	int r = -EIO;

	if (use != HSM_COMPUTES) {
		p->use = HSM_SIGNS;
		r = prove_signs(p, pk);
	}
	if (r && use != HSM_SIGNS) {
		p->use = HSM_COMPUTES;
		r = prove_computes(p, pk);
	}
	return r;
}

static int adopt(struct p11 *p, CK_OBJECT_HANDLE pub, enum hsm_use use, uint8_t ret_pk[32])
{
	CK_BBOOL extractable = CK_TRUE;
	CK_ATTRIBUTE a = {CKA_EXTRACTABLE, &extractable, sizeof(extractable)};
	int r = read_point(p, pub, ret_pk);

	if (r)
		return r;
	if (p->f->C_GetAttributeValue(p->session, p->key, &a, 1) != CKR_OK || extractable)
		return fail(p, -EIO, "the key can be taken out of the token (CKA_EXTRACTABLE): "
				     "make one that cannot");
	return prove(p, use, ret_pk);
}

/* the ways in which tokens say Ed25519 and X25519: an OID, or the curve's name as a PrintableString */
static const struct way {
	enum hsm_use use;
	CK_MECHANISM_TYPE mechanism;
	uint8_t params[14], len;
} ways[] = {
	{HSM_SIGNS, CKM_EC_EDWARDS_KEY_PAIR_GEN, {6, 3, 0x2b, 0x65, 0x70}, 5},
	{HSM_SIGNS, CKM_EC_EDWARDS_KEY_PAIR_GEN, {0x13, 12, 'e', 'd', 'w', 'a', 'r', 'd', 's', '2', '5', '5', '1', '9'}, 14},
	{HSM_COMPUTES, CKM_MONTGOMERY_KEY_PAIR_GEN, {6, 3, 0x2b, 0x65, 0x6e}, 5},
	{HSM_COMPUTES, CKM_MONTGOMERY_KEY_PAIR_GEN, {0x13, 10, 'c', 'u', 'r', 'v', 'e', '2', '5', '5', '1', '9'}, 12},
	{HSM_COMPUTES, CKM_EC_EDWARDS_KEY_PAIR_GEN, {6, 3, 0x2b, 0x65, 0x6e}, 5},
};

/* a pair of the URI's name and id */
static CK_RV generate(struct p11 *p, const struct way *w, CK_OBJECT_HANDLE *ret_pub)
{
	CK_ATTRIBUTE *label = p11_kit_uri_get_attribute(p->uri, CKA_LABEL);
	CK_ATTRIBUTE *id = p11_kit_uri_get_attribute(p->uri, CKA_ID);
	CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
	bool signs = w->use == HSM_SIGNS;
	CK_MECHANISM m = {w->mechanism, NULL, 0};
	CK_ATTRIBUTE pub[6] = {
		{CKA_EC_PARAMS, (void *)w->params, w->len},
		{CKA_TOKEN, &yes, sizeof(yes)},
		{signs ? CKA_VERIFY : CKA_DERIVE, &yes, sizeof(yes)},
	};
	CK_ATTRIBUTE key[8] = {
		{CKA_TOKEN, &yes, sizeof(yes)},	    {CKA_PRIVATE, &yes, sizeof(yes)},
		{CKA_SENSITIVE, &yes, sizeof(yes)}, {signs ? CKA_SIGN : CKA_DERIVE, &yes, sizeof(yes)},
		{CKA_EXTRACTABLE, &no, sizeof(no)},
	};
	CK_ULONG npub = 3, nkey = 5;

	if (label)
		pub[npub++] = key[nkey++] = *label;
	if (id)
		pub[npub++] = key[nkey++] = *id;
	return p->f->C_GenerateKeyPair(p->session, &m, pub, npub, key, nkey, ret_pub, &p->key);
}

/* a later way only if the token takes none before */
static int make_key(struct p11 *p, enum hsm_use use, uint8_t ret_pk[32])
{
	CK_RV rv = CKR_MECHANISM_INVALID;
	CK_OBJECT_HANDLE pub;
	int r = -EIO;

	for (unsigned i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		if (use != HSM_ANY && ways[i].use != use)
			continue;
		rv = generate(p, &ways[i], &pub);
		if (rv != CKR_OK)
			continue;
		r = adopt(p, pub, ways[i].use, ret_pk);
		if (!r)
			return 0;
		/* not what was asked for */
		p->f->C_DestroyObject(p->session, pub);
		p->f->C_DestroyObject(p->session, p->key);
	}
	return rv == CKR_OK ? r
			    : fail(p, -EIO, "the token cannot make %s key: %s",
				   use == HSM_SIGNS	 ? "an Ed25519"
				   : use == HSM_COMPUTES ? "an X25519"
							 : "an Ed25519 or X25519",
				   p11_kit_strerror(rv));
}

static int find_key(struct p11 *p, bool make, enum hsm_use use, uint8_t ret_pk[32])
{
	CK_OBJECT_CLASS class = CKO_PRIVATE_KEY;
	CK_OBJECT_HANDLE pub;
	CK_ATTRIBUTE want[3];
	int r = find_object(p, want, wanted(p, &class, want), &p->key);

	if (r == -ENOENT && make)
		return make_key(p, use, ret_pk);
	if (r)
		return r;
	class = CKO_PUBLIC_KEY;
	r = find_object(p, want, wanted(p, &class, want), &pub);
	if (r == -ENOENT)
		return fail(p, -EIO, "the token has no public key beside the private one");
	return r ? r : adopt(p, pub, use, ret_pk);
}

/* ---- all of it ---- */

static int parse_uri(struct p11 *p, const char *uri)
{
	int r = p->uri ? p11_kit_uri_parse(uri, P11_KIT_URI_FOR_ANY, p->uri)
		       : P11_KIT_URI_UNEXPECTED;

	if (r != P11_KIT_URI_OK)
		return fail(p, -EIO, "the URI cannot be read: %s", p11_kit_uri_message(r));
	if (p11_kit_uri_any_unrecognized(p->uri))
		return fail(p, -EIO, "the URI has an attribute that p11-kit does not know");
	if (p11_kit_uri_get_pin_value(p->uri))
		return fail(p, -EIO, "the URI holds a PIN, which everybody could read: use "
				     "pin_file");
	if (!p11_kit_uri_get_attribute(p->uri, CKA_LABEL) &&
	    !p11_kit_uri_get_attribute(p->uri, CKA_ID))
		return fail(p, -EIO, "the URI names no key: add object= or id=");
	return 0;
}

int p11_open(struct p11 **ret, const char *uri, const char *pin, size_t pin_len, bool make,
	     enum hsm_use use, uint8_t ret_pk[32], uint32_t *ret_use, char text[HSM_TEXT_MAX_B])
{
	struct p11 *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return -ENOMEM;
	p->text = text;
	p->uri = p11_kit_uri_new();
	r = parse_uri(p, uri);
	if (!r)
		r = load_modules(p);
	if (!r)
		r = find_token(p);
	if (!r)
		r = log_in(p, pin, pin_len, make);
	if (!r)
		r = find_key(p, make, use, ret_pk);
	if (r) {
		p11_free(p);
		return r;
	}
	*ret_use = p->use;
	*ret = p;
	return 0;
}

int p11_dh(struct p11 *p, const uint8_t peer[32], uint8_t ret[32], char text[HSM_TEXT_MAX_B])
{
	CK_RV rv = derive(p, peer, p->der, ret);

	p->text = text;
	return rv == CKR_OK ? 0 : failed(p, "the token does not compute", rv);
}

int p11_sign(struct p11 *p, const void *data, size_t len, uint8_t ret[64],
	     char text[HSM_TEXT_MAX_B])
{
	CK_RV rv = sign(p, data, len, ret);

	p->text = text;
	return rv == CKR_OK ? 0 : failed(p, "the token does not sign", rv);
}

/* the objects are asked for again: some modules go on with what they remember of a token that is gone */
int p11_check(struct p11 *p, char text[HSM_TEXT_MAX_B])
{
	CK_OBJECT_CLASS class = CKO_PRIVATE_KEY;
	CK_OBJECT_HANDLE key;
	CK_ATTRIBUTE want[3];
	CK_SLOT_INFO slot;
	CK_RV rv = p->f->C_GetSlotInfo(p->slot, &slot);
	int r;

	p->text = text;
	if (rv != CKR_OK)
		return failed(p, "the token does not answer", rv);
	if (!(slot.flags & CKF_TOKEN_PRESENT))
		return fail(p, -ENODEV, "the token was taken out");
	r = find_object(p, want, wanted(p, &class, want), &key);
	return r == -ENOENT ? fail(p, -ENODEV, "the token was taken out, or its key deleted") : r;
}

void p11_free(struct p11 *p)
{
	if (!p)
		return;
	if (p->in_session)
		p->f->C_CloseSession(p->session);
	if (p->own) {
		p11_kit_module_finalize(p->own);
		p11_kit_module_release(p->own);
	}
	if (p->modules)
		p11_kit_modules_finalize_and_release(p->modules);
	p11_kit_uri_free(p->uri);
	free(p);
}
