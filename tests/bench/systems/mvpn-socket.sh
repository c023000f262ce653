# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash disable=SC2034
# mvpn at the socket level: TCP as streams, datagrams by a stream, nothing as packets.
# shellcheck source=tests/bench/systems/mvpn-udp.sh
source "$HERE/systems/mvpn-udp.sh"
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
	local room rss
	room=$(($(prlimit --pid "$(pid_of keyd-a)" --nofile --noheadings --output SOFT) / 2 - 144)) # keyd leaves 256 to others, and datagrams have a stream, too
	((room <= STREAMS)) || room=$STREAMS
	((room == STREAMS)) || echo "# $SYSTEM: $room streams at once, not $STREAMS: more descriptors are not allowed" >&2
	rss=$(rss_of "$(pid_of keyd-a)")
	mkfifo "$TMP/hold"
	on a "$PINGPONG" crowd "${ADDR4[b]}" 7000 "$room" <"$TMP/hold" >"$TMP/crowd" &
	exec 5>"$TMP/hold"
	wait_for 120 "answer of all streams" test -s "$TMP/crowd"
	emit streams "$(awk '{ print $1 }' "$TMP/crowd")" ''
	emit streams_s "$(awk '{ print $2 }' "$TMP/crowd")" s
	emit stream_kib "$(awk -v n="$(awk '{ print $1 }' "$TMP/crowd")" -v b="$rss" -v a="$(rss_of "$(pid_of keyd-a)")" 'BEGIN { print (a - b) * 1024 / n }')" KiB
	exec 5>&-
	wait $! || fail "$SYSTEM: not all of $room streams answered"
}
