# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# a and b are each behind a NAT of their own that keeps one mapping for all destinations: both open their way, and talk
# directly. A NAT that forgets is found again, and so are two hosts behind the same one.
# wires: udp xdp
# waits
# shellcheck source=tests/netns/nat.sh
source "$(dirname "$0")/../nat.sh"

topo_up server a b c
behind_nat a 1
behind_nat b 2
nat_daemons_up
capture_start wire nb
start=${EPOCHREALTIME/./}
ctlj a ping b --count 1 | jq -e '.received == 1 and .path == "direct"' >/dev/null || fail "a does not reach b"
took=$(((${EPOCHREALTIME/./} - start) / 1000))
for pair in "a b" "b a"; do
	read -r x y <<<"$pair"
	# shellcheck disable=SC2086
	ping4 $x $y -c 2 -i 0.05
	copy "$x" "$y" tcp 4 1000000
	copy "$x" "$y" udp 4 60000
done
sees a "${ADDR4[nb]}:$DATA_PORT" || fail "a's peer is not where NAT shows it: $(ctl a sessions)"
sees b "${ADDR4[na]}:$DATA_PORT" || fail "b's peer is not where NAT shows it: $(ctl b sessions)"
ctlj a rekey b >/dev/null || fail "no rekey"
ping4 b a -c 2 -i 0.05
# the router of b forgets: b's next packet opens the way again
nat_forget nb
wait_for 5 "b to reach a again" ping4 b a -c 1 -W 1
wait_for 5 "a to reach b again" ping4 a b -c 1 -W 1
capture_stop wire
assert_no_plaintext wire "${CANARY:0:12}"
(($(packets wire "host ${ADDR4[server]} and udp and not port $CHAN_PORT") == 0)) || fail "data went to the server"
assert_no_leak a b
echo "first session in $took ms"
