# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# While keys change and keyd is killed and started again, in turn at both ends, no two packets that pass the switch have the same SPI,
# lane and counter: no nonce comes twice. Each life has a boot generation of its own.
# wires: udp xdp
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/../lib.sh"

HEADERS=$ROOT/tests/netns/headers.py
QUEUES=2
setup
for h in a b; do
	mkdir -p "$TMP/$h"
	printf '[data]\nworkers = 2\n' >"$TMP/$h/keyd.conf"
done
net_up
ping4 a b -c 1
serve a
serve b
capture_start wire a
# all the time, whether anything comes of it or not
spawn talk-a a sh -c "while :; do '$PINGPONG' send ${ADDR4[b]} 7000 200 1 2500; done"
spawn talk-b b sh -c "while :; do '$PINGPONG' send ${ADDR4[a]} 7000 200 1 2500; done"
spawn ping-a a ping -4 -n -q -i 0.01 "${ADDR4[b]}"

answers() { ping4 a b -c 1; }
rekeyed() { ctl "$1" rekey "$2"; }
lives=0
for round in 1 2 3; do
	for h in a b; do
		peer=$([[ $h == a ]] && echo b || echo a)
		wait_for 10 "rekey from $h" rekeyed $h "$peer"
		wait_for 10 "rekey from $peer" rekeyed "$peer" $h
		before=$(status_of $h .boot_gen)
		host_stop $h KILL
		host_start $h
		after=$(status_of $h .boot_gen)
		((after > before)) || fail "boot_gen of $h was $before and is $after"
		ctl $h wait --timeout 40 >/dev/null || fail "$h is not online again (round $round)"
		wait_for 20 "answers after the end of keyd on $h" answers
		lives=$((lives + 1))
	done
done
stop talk-a
stop talk-b
stop ping-a INT
capture_stop wire
read -r packets spis lanes _ <<<"$("$HEADERS" nonces "$TMP/wire.pcap")" || fail "a nonce came twice"
# two SPIs a session: the first, and three a life, one of which may have ended before it carried a packet
((packets > 3000 && spis >= 2 * (lives * 2 + 1))) || fail "only $packets packets under $spis SPIs"
echo "$packets packets, $spis SPIs, $lanes lanes, $lives lives: no nonce twice"
assert_no_leak a b
