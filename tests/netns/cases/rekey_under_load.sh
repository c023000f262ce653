# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# Keys change while datagrams flow and a TCP transfer runs: nothing is lost, doubled or out of order.
# wires: udp xdp
# sanitized
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/../lib.sh"

net_up
serve b
ping4 a b -c 1
spawn load a "$PINGPONG" send "${ADDR4[b]}" 7000 200 6 1000
before=$(ctlj a peers | jq '.peers[0].index')
rekeys=0
end=$((SECONDS + 5))
while ((SECONDS < end)); do
	ctlj a rekey b >"$TMP/rekey.json" || fail "rekey from a: $(cat "$TMP/rekey.json")"
	ctlj b rekey a >"$TMP/rekey.json" || fail "rekey from b: $(cat "$TMP/rekey.json")"
	rekeys=$((rekeys + 2))
done
wait_for 20 "end of the load" gone "$(pid_of load)"
read -r _ sent _ received _ duplicate _ reordered _ <"$TMP/log/load.log" || fail "no figures: $(cat "$TMP/log/load.log")"
((sent > 4000 && rekeys >= 4)) || fail "only $sent datagrams and $rekeys rekeys"
((sent == received && duplicate == 0)) ||
	fail "$rekeys rekeys: of $sent datagrams $received arrived, $duplicate twice, $reordered out of order"
[[ $(ctlj a peers | jq '.peers[0].index') == "$before" ]] || fail "the peer index changed"
ctlj a sessions | jq -e '[.sessions[] | select(.state == "active")] | length >= 1' >/dev/null || fail "no active session"
echo "$rekeys rekeys under $sent datagrams, $reordered out of order"

spawn iperf-server b iperf3 -s -1
wait_for 5 "iperf3 server" listening b t 5201
spawn iperf a iperf3 -c "${ADDR4[b]}" -t 4 --connect-timeout 3000 -J
for _ in 1 2 3 4 5 6; do
	ctl a rekey b >/dev/null || fail "rekey under TCP"
done
wait_for 20 "end of iperf3" gone "$(pid_of iperf)"
jq -e '.end.sum_received.bytes > 10000000' "$TMP/log/iperf.log" >/dev/null || fail "iperf3: $(tail -n 5 "$TMP/log/iperf.log")"
# not one second stood still
jq -e '[.intervals[].sum.bytes] | min > 0' "$TMP/log/iperf.log" >/dev/null || fail "TCP stood still: $(jq -c '[.intervals[].sum.bytes]' "$TMP/log/iperf.log")"
assert_no_leak a b
