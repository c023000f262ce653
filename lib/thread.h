/* SPDX-License-Identifier: BSD-2-Clause */
/* Threads beside the main one, which has the signals. */
#ifndef MVPN_THREAD_H
#define MVPN_THREAD_H

#include <pthread.h>

/* `top -H` shows name and number, 15 bytes at most. -EAGAIN: no room for a thread */
int thread_start(pthread_t *ret, const char *name, unsigned number, void *(*fn)(void *arg), void *arg);

#endif
