/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * PKCS#11 modules are other people's code, block as long as a card does, and may crash: they run here, apart from the session
 * keys, without capabilities, and can be killed. The PIN is read here and nowhere else.
 */
#include "hsm_helper.h"

#include <cap-ng.h>
#include <errno.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "hsm_p11.h"
#include "identity.h"
#include "mvpn/ctl.h"

static int read_pin(const char *path, struct passphrase **ret, char text[HSM_TEXT_MAX_B])
{
	int r = *path ? passphrase_read(path, ret) : 0;

	if (r)
		snprintf(text, HSM_TEXT_MAX_B, "cannot read the PIN in %.150s: %s", path,
			 r == -EPERM	? "it must be a file of root's that nobody else may read "
					  "(chmod 600)"
			 : r == -EINVAL ? "it must hold one line"
					: strerror(-r));
	return r ? -EACCES : 0;
}

static int open_key(struct p11 **p, const struct hsm_request *q, struct hsm_reply *a)
{
	struct passphrase *pin = NULL;
	int r = read_pin(q->pin_file, &pin, a->text);

	p11_free(*p);
	*p = NULL;
	if (!r)
		r = p11_open(p, q->uri, pin ? pin->text : NULL, pin ? pin->len : 0,
			     q->op == HSM_MAKE, q->use, a->out, &a->use, a->text);
	passphrase_free(pin);
	return r;
}

static int answer(struct p11 **p, const struct hsm_request *q, struct hsm_reply *a)
{
	switch (q->op) {
	case HSM_OPEN:
	case HSM_MAKE:
		return open_key(p, q, a);
	case HSM_DH:
		return *p ? p11_dh(*p, q->data, a->out, a->text) : -ENODEV;
	case HSM_SIGN:
		return *p ? p11_sign(*p, q->data, sizeof(q->data), a->out, a->text) : -ENODEV;
	case HSM_CHECK:
		return *p ? p11_check(*p, a->text) : -ENODEV;
	default:
		return -EINVAL;
	}
}

int hsm_helper(void)
{
	struct hsm_request q;
	struct hsm_reply a;
	struct p11 *p = NULL;
	ssize_t n;

	/* keyd ends it; systemd's signal to the whole group comes to keyd, too */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGTERM, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	capng_clear(CAPNG_SELECT_BOTH);
	if (capng_apply(CAPNG_SELECT_CAPS) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return MVPN_EXIT_FAILED;
	while ((n = recv(HSM_FD, &q, sizeof(q), 0)) == sizeof(q)) {
		q.uri[sizeof(q.uri) - 1] = q.pin_file[sizeof(q.pin_file) - 1] = 0;
		memset(&a, 0, sizeof(a));
		a.seq = q.seq;
		a.r = answer(&p, &q, &a);
		n = send(HSM_FD, &a, sizeof(a), MSG_NOSIGNAL);
		sodium_memzero(&a, sizeof(a));
		if (n != sizeof(a))
			break;
	}
	p11_free(p);
	return n == 0 ? MVPN_EXIT_OK : MVPN_EXIT_FAILED;
}
