/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the programs on the cgroup tree share. Every network namespace passes there. */
#ifndef BPF_SOCKCTX_H
#define BPF_SOCKCTX_H

#include "vmlinux.h"
#include <bpf/bpf_endian.h>

#define AF_INET 2
#define AF_INET6 10
#define SOCK_RAW 3 /* enum sock_type of the kernel */

/* of the namespace that keyd is in; set before the program is loaded */
const volatile __u64 netns_cookie = 0;

/* Read here and now: the compiler would join loads of two fields to one from "ctx + register", which the verifier refuses. */
#define FIELD(var, expr)    \
	__u32 var = (expr); \
	asm volatile("" : "+r"(var))

#endif
