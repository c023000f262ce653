# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# ICMP can be forged by anybody: "too big" lowers nothing by itself. What quotes none of our packets is counted and forgotten; what
# quotes one is a reason to probe, and the probes find that nothing has changed. (What the host's own stack believes is its affair.)
# wires: udp xdp
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/../lib.sh"

net_up
capture_start wire a
ping4 a b -c 3 -i 0.1
capture_stop wire
mtu() { ctlj a sessions | jq '[.sessions[]|select(.transmits)|.mtu]|max'; }
[[ $(mtu) == 1500 ]] || fail "the MTU is $(mtu) before"
forged=$(on sw "$POKE" toobig a "$TMP/wire.pcap" 10.77.0.3 1000 forge)
((forged > 5)) || fail "only $forged forged errors"
all_ignored() { (($(counter a dp icmp_ignored) >= 3)); }
wait_for 5 "count of forged errors" all_ignored
[[ $(counter a dp icmp_too_big) == 0 ]] || fail "forged errors were believed"
quoting=$(on sw "$POKE" toobig a "$TMP/wire.pcap" 10.77.0.3 1000)
believed() { (($(counter a dp icmp_too_big) > 0)); }
wait_for 5 "count of errors that quote us" believed
for _ in 1 2 3 4 5 6 7 8; do
	[[ $(mtu) == 1500 ]] || fail "$quoting forged errors lowered the MTU to $(mtu)"
	ping4 a b -c 2 -i 0.1 -s 1372 || fail "1400 bytes do not pass any more"
done
copy a b tcp 4 1000000
assert_no_leak a b
