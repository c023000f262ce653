# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash disable=SC2034
# mvpn over its UDP socket wire.
WIRE=${SYSTEM#mvpn-}
system_up() {
	net_up
	TARGET=${ADDR4[b]}
}
system_cut() { drop_sessions; }
system_pids() { pid_of keyd-a; }
system_extra() { # the server's memory, as a system of its own
	SYSTEM=server emit rss "$(awk '/^VmRSS/ { print $2 / 1024 }' "/proc/$(pid_of mvpn-server)/status")" MiB
}
