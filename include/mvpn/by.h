/* SPDX-License-Identifier: BSD-2-Clause */
/* What `by` in the policy may ask of a process; numbers on the wire and in maps. */
#ifndef MVPN_BY_H
#define MVPN_BY_H

enum mvpn_by { MVPN_BY_UNIT, MVPN_BY_CGROUP, MVPN_BY_UID, MVPN_BY_EXE, MVPN_BY_KINDS };

#endif
