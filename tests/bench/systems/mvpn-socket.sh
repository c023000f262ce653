# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash disable=SC2034
# mvpn at the socket level: TCP as streams, datagrams by a stream, nothing as packets.
# shellcheck source=tests/bench/systems/mvpn-udp.sh
source "$HERE/systems/mvpn-udp.sh"
# shellcheck source=tests/bench/crowd.sh
source "$HERE/crowd.sh"
WIRE=udp LEVEL=socket
level_policy() { printf '%s\n' 'allow a -> b' "level $LEVEL a -> b"; }
at_level() { ctlj "$1" explain "${ADDR4[$2]}" | jq -e --arg l "$LEVEL" '.level == $l'; }
level_up() {
	drop_sessions
	policy "$(level_policy)"
	wait_for 5 "level on a" at_level a b
	wait_for 5 "level on b" at_level b a
}
system_up() {
	net_up
	level_up
	TARGET=${ADDR4[b]}
}
system_cut() { level_up; }

# as many streams at once as descriptors let there be, STREAMS at most, and what each takes of keyd's memory
STREAMS=${STREAMS:-10000}
system_extra() {
	local rss
	crowd_room "$STREAMS"
	rss=$(rss_of "$(pid_of keyd-a)")
	crowd_start
	emit streams "$(crowd_said exact 1 2)" ''
	emit streams_s "$(crowd_said opened 1 3 exact 1 3)" s
	emit stream_kib "$(awk -v n="$CROWD_N" -v b="$rss" -v a="$(rss_of "$(pid_of keyd-a)")" 'BEGIN { print (a - b) * 1024 / n }')" KiB
	crowd_end || fail "$SYSTEM: not all of $CROWD_N streams answered"
}
