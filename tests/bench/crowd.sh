# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
#
# Many connections from a to the pingpong server of b at once, by tests/bench/crowd; after tests/netns/lib.sh.

CROWD=$HELPERS/tests/bench/crowd
CROWD_N=

# crowd_room N: so many, or as many as keyd's descriptors allow: two each; it leaves 256 to others, the last 64th of the streams to other
# devices, and datagrams have one, too
crowd_room() {
	local room
	room=$(($(prlimit --pid "$(pid_of keyd-a)" --nofile --noheadings --output SOFT) / 2 - 128))
	CROWD_N=$((room - room / 64 - 16))
	if ((CROWD_N >= $1)); then
		CROWD_N=$1
	else
		echo "# $CROWD_N streams at once, not $1: keyd is allowed no more descriptors" >&2
	fi
}
crowd_has() { grep -c "^$1" "$TMP/crowd" | grep -qx "$2"; }
# they are there, and each has had its bytes back
crowd_start() {
	mkfifo "$TMP/hold"
	on a "$CROWD" "${ADDR4[b]}" 7000 "$CROWD_N" <"$TMP/hold" >"$TMP/crowd" 2>"$TMP/log/crowd.log" &
	echo $! >"$TMP/pid/crowd"
	exec 5>"$TMP/hold"
	wait_for 180 "answer of all streams" crowd_has exact 1
}
# they ask once more
crowd_again() {
	echo >&5
	wait_for 180 "second answer of all streams" crowd_has exact 2
}
# crowd_said WHAT NTH FIELD…: the sum of those of its lines
crowd_said() {
	local sum=0
	while (($#)); do
		sum=$(awk -v sum="$sum" -v what="$1" -v nth="$2" -v field="$3" '$1 == what && ++n == nth { print sum + $field }' "$TMP/crowd")
		shift 3
	done
	echo "$sum"
}
crowd_end() {
	local status=0
	exec 5>&-
	wait "$(pid_of crowd)" || status=$?
	rm "$TMP/pid/crowd"
	return $status
}
