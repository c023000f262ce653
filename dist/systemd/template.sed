# SPDX-License-Identifier: BSD-2-Clause
# mvpn-keyd.service and mvpn-guard.service as templates, for a network with a unit of its own: everything of network NAME has its name
s,--state /var/lib/mvpn,--network %i,
s,/var/lib/mvpn,/var/lib/mvpn/networks/%i,g
s,^\(State\|Runtime\)Directory=mvpn$,\1Directory=mvpn/networks/%i,
s,mvpn-\(keyd\|guard\)\.service,mvpn-\1@%i.service,g
s,^Description=.*,& (network %i),
# it has nobody beside it
/^# SYS_ADMIN/d
s, CAP_SYS_ADMIN$,,
s,^RestrictNamespaces=mnt$,RestrictNamespaces=yes,
s, mount umount2$,,
/^ConditionPathExistsGlob=/d
/^Alias=/d
