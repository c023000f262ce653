/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How long a worker looks for more work before it sleeps. To be woken costs tens of microseconds on a
 * core that has gone to sleep, and to look costs CPU time; so a worker looks as long as lately would
 * have been long enough, and not at all where work comes rarely (as KVM polls before it halts a
 * virtual CPU: Linux, Documentation/virt/kvm/halt-polling.rst).
 */
#ifndef MVPN_SPIN_H
#define MVPN_SPIN_H

#include <stdbool.h>
#include <stdint.h>

struct spin {
	uint64_t most_ns; /* never longer; 0: never at all */
	uint64_t ns;	  /* now */
	uint64_t idle_ns; /* CLOCK_MONOTONIC at which work ended, 0: there is some */
	bool steady;	  /* always as long as most_ns */
};

void spin_init(struct spin *s, uint64_t most_ns, bool steady);
/* there was work; `now_ns` is when it was looked for */
void spin_work(struct spin *s, uint64_t now_ns);
/* there was none: look again (true), or sleep */
bool spin_again(struct spin *s, uint64_t now_ns);

#endif
