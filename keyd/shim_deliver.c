/* SPDX-License-Identifier: BSD-2-Clause */
/* The programs on the fast path's two devices, for what it has opened and what enters the tap, and the map of where the former comes out. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "shim_priv.h"

/* the program goes with the device */
static int device_attach(struct shim *s, int prog, unsigned ifindex, enum shim_prog like, int *ret_link,
			 char **ret_error)
{
	bool made, fresh;
	int r = -EOPNOTSUPP;

	shim_log_reset();
	if (!s->no_tcx) {
		*ret_link = bpf_link_create(prog, (int)ifindex,
					    like == SHIM_INGRESS ? TCX_INGRESS : TCX_EGRESS, NULL);
		r = *ret_link >= 0 ? 0 : errno == EINVAL ? -EOPNOTSUPP : -errno;
	}
	if (r == -EOPNOTSUPP) {
		r = clsact_create(ifindex, &made);
		if (r == 0)
			r = clsact_set(s, ifindex, like, prog, &fresh);
	}
	if (r < 0)
		return shim_fail(ret_error, r, "cannot attach the program %s: %s%s%s",
				 like == SHIM_INGRESS ? "that delivers" : "for what enters the tap",
				 strerror(-r), *shim_log_tail() ? "\n" : "", shim_log_tail());
	return 0;
}

int shim_frame_tap(struct shim *s, unsigned ifindex, char **ret_error)
{
	struct mvpn_frame_tap t = {0};
	__u32 zero = 0;
	int fd = bpf_map__fd(s->bpf->maps.frame_tap), r = shim_map_set(fd, &zero, &t, BPF_ANY);

	if (s->deliver_link >= 0)
		close(s->deliver_link);
	s->deliver_link = -1;
	if (r == 0 && ifindex)
		r = device_attach(s, bpf_program__fd(s->bpf->progs.deliver), ifindex, SHIM_INGRESS,
				  &s->deliver_link, ret_error);
	if (r == 0 && ifindex) {
		t.ifindex = ifindex;
		r = shim_map_set(fd, &zero, &t, BPF_ANY);
	}
	return r;
}

int shim_tap(struct shim *s, unsigned ifindex, char **ret_error)
{
	return device_attach(s, bpf_program__fd(s->bpf->progs.arrive), ifindex, SHIM_INGRESS,
			     &s->arrive_link, ret_error);
}

int shim_tap_enter(struct shim *s, unsigned ifindex, char **ret_error)
{
	return device_attach(s, bpf_program__fd(s->bpf->progs.enter), ifindex, SHIM_EGRESS,
			     &s->enter_link, ret_error);
}

int shim_arrivals_set(struct shim *s, const struct shim_arrival *list, unsigned n)
{
	struct mvpn_arrival_key keep[MVPN_ARRIVALS_MAX] = {0};
	int fd = bpf_map__fd(s->bpf->maps.arrivals), r = 0;

	if (n > MVPN_ARRIVALS_MAX)
		return -ENOSPC;
	for (unsigned i = 0; i < n && r == 0; i++) {
		struct mvpn_arrival v = {
			.ifindex = list[i].ifindex,
			.ethernet = list[i].ethernet,
			.attached = list[i].attached,
		};

		memcpy(keep[i].addr, list[i].to.b, sizeof(keep[i].addr));
		memcpy(v.mac, list[i].mac, sizeof(v.mac));
		r = shim_map_set(fd, &keep[i], &v, BPF_ANY);
	}
	return r < 0 ? r : shim_clear_but(fd, keep, n, sizeof(keep[0]));
}
