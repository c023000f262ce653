# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# An interface with several queues: each has its worker, and what arrives on any of them is received.
# wires: udp xdp
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/../lib.sh"

QUEUES=2
net_up
serve b
if [[ $WIRE == xdp ]]; then
	[[ $(status_of a '.interfaces[0].queues') == 2 && $(status_of a .workers) == 2 ]] ||
		fail "not two queues and workers: $(status_of a '[.interfaces, .workers]')"
fi
for family in 4 6; do
	ping4 a b -c 2 -i 0.05
	copy a b tcp $family 2000000
	copy b a tcp $family 2000000
done
on b iperf3 -s -1 -D -I "$TMP/iperf.pid"
wait_for 5 "iperf3 server" listening b t 5201
on a iperf3 -c "${ADDR4[b]}" -P 4 -t 2 -J >"$TMP/iperf.json" || fail "iperf3: $(jq -r .error "$TMP/iperf.json")"
# each of the four connections moves
jq -e '[.end.streams[].receiver.bytes] | min > 1000000' "$TMP/iperf.json" >/dev/null ||
	fail "a connection stood still: $(jq -c '[.end.streams[].receiver.bytes]' "$TMP/iperf.json")"
read -r sent received duplicate _ <<<"$(numbered a b 1000 2)"
((sent == received && duplicate == 0)) || fail "of $sent datagrams $received arrived, $duplicate twice"
assert_no_leak a b
