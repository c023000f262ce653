# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# Workers are added while datagrams flow: sessions get more lanes, one end after the other, and nothing is lost or doubled.
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/../lib.sh"

setup
for h in a b; do
	mkdir -p "$TMP/$h"
	printf '[data]\nworkers = 1\n' >"$TMP/$h/keyd.conf"
done
net_up
ping4 a b -c 1
lanes() { [[ $(ctlj "$1" sessions | jq '[.sessions[] | select(.transmits)][0].lanes') == "$2" ]]; } # HOST COUNT
lanes a 1 || fail "more than one lane to begin with"
flows_start a b 4 200 8
flows_start b a 4 200 8
for n in 2 4; do
	for h in a b; do
		ctl $h attach eth0 --wire udp --queues $n >"$TMP/log/attach-$h.log" 2>&1 || fail "attach --queues: $(cat "$TMP/log/attach-$h.log")"
		[[ $(status_of $h .workers) == "$n" && $(status_of $h '.interfaces[0].queues') == "$n" ]] || fail "not $n workers on $h"
		wait_for 10 "session of $n lanes on $h" lanes $h $n
	done
done
# fewer than there are: nothing changes
ctl a attach eth0 --wire udp --queues 1 >/dev/null
[[ $(status_of a .workers) == 4 ]] || fail "workers were taken back"
! ctl a attach eth0 --wire udp --queues 17 >/dev/null 2>&1 || fail "17 queues were accepted"
flows_end a b 4 reorder
flows_end b a 4 reorder
copy a b tcp 4 2000000
copy b a tcp 6 2000000
assert_no_leak a b
