/* SPDX-License-Identifier: BSD-2-Clause */
#include "privileges.h"

#include <cap-ng.h>
#include <errno.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "log.h"

void privileges_harden(void)
{
	struct rlimit none = {0, 0};

	setrlimit(RLIMIT_CORE, &none);
	prctl(PR_SET_DUMPABLE, 0);
	umask(077);
	if (!capng_have_capability(CAPNG_EFFECTIVE, CAP_IPC_LOCK))
		log_warn("no CAP_IPC_LOCK: keys are locked in memory only up to `ulimit -l`, and "
			 "sessions beyond that fail");
}

static const unsigned needed[] = {CAP_NET_ADMIN, CAP_NET_RAW, CAP_BPF, CAP_PERFMON, CAP_SETPCAP};
/* locked keys, many descriptors and BPF memory before 5.11, UDP ports below 1024, a mount namespace (isolate.h) */
static const unsigned useful[] = {CAP_IPC_LOCK, CAP_SYS_RESOURCE, CAP_NET_BIND_SERVICE, CAP_SYS_ADMIN};

/* false: said which one is missing */
static bool privileges_there(void)
{
	const char *name;

	for (unsigned i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
		if (capng_have_capability(CAPNG_EFFECTIVE, needed[i]) > 0)
			continue;
		name = capng_capability_to_name(needed[i]);
		log_err("keyd was started without the capability %s: start it as root, or add it to "
			"CapabilityBoundingSet= of its unit, or to what the container has",
			name ? name : "?");
		return false;
	}
	return true;
}

/*
 * What is left is what attach, AF_XDP and new sessions need. Root without these is an ordinary user who owns its state
 * directory. Capabilities belong to threads: this comes before the first worker, which inherits what is left.
 */
int privileges_drop(uint16_t udp_port)
{
	const capng_type_t all = CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_BOUNDING_SET;

	if (!privileges_there())
		return -EPERM;
	capng_clear(CAPNG_SELECT_BOTH);
	/* workers that are added later bind the data port again, and one above it */
	if ((udp_port < 1024 && capng_update(CAPNG_ADD, all, CAP_NET_BIND_SERVICE)) ||
	    capng_updatev(CAPNG_ADD, all, CAP_NET_ADMIN, CAP_NET_RAW, CAP_BPF, CAP_PERFMON,
			  CAP_IPC_LOCK, -1) ||
	    capng_apply(CAPNG_SELECT_BOTH) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -EPERM;
	return 0;
}

/* Where no new ones can be got (NoNewPrivileges=), a child has at most what is permitted here. */
int privileges_supervise(void)
{
	const capng_type_t give = CAPNG_PERMITTED | CAPNG_BOUNDING_SET;
	unsigned keep = 0;

	if (!privileges_there())
		return -EPERM;
	for (unsigned i = 0; i < sizeof(useful) / sizeof(useful[0]); i++)
		keep |= (capng_have_capability(CAPNG_PERMITTED, useful[i]) > 0) << i;
	capng_clear(CAPNG_SELECT_BOTH);
	for (unsigned i = 0; i < sizeof(needed) / sizeof(needed[0]); i++)
		if (capng_update(CAPNG_ADD, give, needed[i]))
			return -EPERM;
	for (unsigned i = 0; i < sizeof(useful) / sizeof(useful[0]); i++)
		if (keep & 1U << i && capng_update(CAPNG_ADD, give, useful[i]))
			return -EPERM;
	return capng_apply(CAPNG_SELECT_BOTH) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ? -EPERM : 0;
}
