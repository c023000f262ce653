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

# nine more peers of a, beside b; a has exchanged packets of full size with each
MORE_PEERS=(c d e f g h i j k)
peers_add() {
	local h
	for h in "${MORE_PEERS[@]}"; do
		[[ -e /run/netns/$P-$h ]] || host_add "$h"
		host_start "$h"
		enrol "$h"
		attach "$h"
		serve "$h"
	done
	policy "$(printf 'allow a -> %s\n' b "${MORE_PEERS[@]}")"
	wait_for 10 "new policy on a" same_rev a
	for h in "${MORE_PEERS[@]}"; do
		wait_for 10 "new policy on $h" same_rev "$h"
		on a "$PINGPONG" ask tcp "${ADDR4[$h]}" 7000 20 32000 >"$TMP/ask"
		on a "$PINGPONG" send "${ADDR4[$h]}" 7000 1372 0.1 0 >"$TMP/udp"
	done
}
sessions_at_least() { (($(ctlj a sessions | jq '[.sessions[].peer] | unique | length') >= $1)); } # PEERS
system_extra() {
	peers_add
	wait_for 5 "session of a with each" sessions_at_least $((1 + ${#MORE_PEERS[@]}))
	emit rss10 "$(rss_of "$(pid_of keyd-a)")" MiB
	# the server's memory, as a system of its own
	SYSTEM=server emit rss "$(rss_of "$(pid_of mvpn-server)")" MiB
}
