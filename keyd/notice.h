/* SPDX-License-Identifier: BSD-2-Clause */
/* What the keyd of a network tells its supervisor: sd_notify(3) to a socket of the supervisor's own, which asks the kernel who has sent it. */
#ifndef MVPN_KEYD_NOTICE_H
#define MVPN_KEYD_NOTICE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define NOTICE_STATUS_B 512
#define NOTICE_MAX_B 2048

struct notice {
	bool ready, watchdog;
	char status[NOTICE_STATUS_B]; /* printable, cut if it is long; "": none */
};

/* lines of VARIABLE=VALUE; others than these three are passed over */
void notice_parse(const char *text, size_t len, struct notice *ret);

/* replaces what is there; root's alone. A descriptor, or -errno */
int notice_listen(const char *path);
/* 0; -EAGAIN: there is no more; -EBADMSG: too long, or the kernel does not say whose */
int notice_receive(int fd, pid_t *ret_pid, struct notice *ret);

#endif
