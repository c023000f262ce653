# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# Packets replayed, reordered, cut, grown, bit-flipped, of unknown type or random on the data port: each is counted,
# none reaches the stack, and the session goes on.
# wires: udp xdp
# sanitized
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/../lib.sh"

net_up
mac=$(ip -n "$P-b" -j link show eth0 | jq -r '.[0].address')
spawn listen b socat -u UDP4-RECV:9999 OPEN:"$TMP/heard",creat,append
wait_for 5 listener listening b u 9999
datagrams() { # COUNT MARK: one datagram each, faster than a neighbour entry can go stale
	# shellcheck disable=SC2016
	on a bash -c 'for ((i = 1; i <= $1; i++)); do echo "$2-$i-$3" >/dev/udp/$4/9999; done' - "$1" "$2" "$CANARY" "${ADDR4[b]}"
}
# shellcheck disable=SC2120 # called by wait_for
heard() { [[ -e $TMP/heard ]] && (($(wc -l <"$TMP/heard") >= $1)); }
total() { ctlj b status | jq '.counters.dp | .rx_short + .rx_bad_type + .rx_unknown_spi + .rx_auth_fail + .rx_replay'; }
counted() { (($(total) >= $1)); }
# poked MODE COUNTER: replays the capture so and expects every packet to be counted and none to be heard
poked() {
	local n before lines
	before=$(total)
	one=$(counter b dp "$2")
	lines=$(wc -l <"$TMP/heard")
	n=$(on sw "$POKE" replay b "$TMP/wire.pcap" "$1")
	((n > 0)) || fail "no data packets in the capture"
	wait_for 10 "all $n packets ($1) in the counters" counted $((before + n))
	assert_counter_over b dp "$2" "$one"
	(($(wc -l <"$TMP/heard") == lines)) || fail "$1: something reached the application"
	say "$1: $n packets"
}

ping4 a b -c 1
capture_start wire b
datagrams 20 once
wait_for 5 "datagrams" heard 20
capture_stop wire
poked same rx_replay
poked shuffle rx_replay
poked flip rx_auth_fail
poked grow rx_auth_fail
poked random rx_auth_fail
poked truncate rx_short
poked type rx_bad_type
[[ $(sort -u "$TMP/heard" | wc -l) == 20 ]] || fail "the application heard something else"

# what never arrived, delivered late and in another order, is accepted once
capture_start late a
ip -n "$P-sw" link set dev b nomaster
datagrams 30 late
capture_stop late
ip -n "$P-sw" link set dev b master br0
n=$(on sw "$POKE" replay b "$TMP/late.pcap" shuffle 7)
((n >= 30)) || fail "only $n of 30 late datagrams were sealed"
wait_for 5 "late datagrams" heard 50
[[ $(sort -u "$TMP/heard" | wc -l) == 50 ]] || fail "reordered packets were lost or doubled"
cp "$TMP/late.pcap" "$TMP/wire.pcap"
poked shuffle rx_replay

# random bytes from nowhere, both families, to the data port of both directions
for i in 1 2 3; do
	on sw "$POKE" junk b "$mac" "${ADDR4[c]}" "${ADDR4[b]}" "$DATA_PORT" 300 "$i"
	on sw "$POKE" junk b "$mac" "${ADDR6[c]}" "${ADDR6[b]}" "$DATA_PORT" 300 "$i"
	on sw "$POKE" junk b "$mac" "${ADDR4[a]}" "${ADDR4[b]}" "$DATA_PORT" 300 "$i"
done
ping4 a b -c 3 -i 0.05 || fail "the session did not survive"
copy a b tcp 4 500000
[[ $(ctlj b sessions | jq '[.sessions[] | select(.state == "active")] | length') -ge 1 ]] || fail "no session any more"
assert_no_leak a b
