/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A clock that stands still while anything is ready, and leaps to when the loop would wake otherwise: nobody outside this process is waited
 * for. Linked with --wrap=clock_gettime and --wrap=epoll_wait.
 */
#ifndef MVPN_TESTS_SIM_CLOCK_H
#define MVPN_TESTS_SIM_CLOCK_H

#include <stdint.h>

void sim_clock_start(void); /* it goes on where it stood; monotonic and the time of day are the same */
void sim_clock_stop(void);  /* from then on it is the machine's: who runs the runs asks too */
void sim_clock_set(uint64_t at_ns);
void sim_clock_leap(uint64_t ms);
extern void (*sim_clock_looks)(void); /* called each time that the loop looks what is ready; NULL: nobody */

#endif
