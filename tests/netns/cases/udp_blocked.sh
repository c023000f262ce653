# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# Where UDP is blocked, at one end and at both, sealed packets are relayed by TCP; when it is let through again the pair goes
# directly. A session that was direct goes by TCP when UDP is blocked under it.
# wires: udp
# waits
# shellcheck source=tests/netns/nat.sh
source "$(dirname "$0")/../nat.sh"

udp_drop() { # HOST: the network lets no UDP to it or from it
	on sw nft -f - <<-RULES || skip "kernel: no nftables for bridges"
		add table bridge blocked
		add chain bridge blocked way { type filter hook forward priority 0; }
		add rule bridge blocked way iifname $1 ether type { ip, ip6 } meta l4proto udp drop
		add rule bridge blocked way oifname $1 ether type { ip, ip6 } meta l4proto udp drop
	RULES
}
udp_pass() { on sw nft delete table bridge blocked; }
udp_is() { [[ $(status_of "$1" .udp) == "$2" ]]; }
both_are() { path_is a "$1" && path_is b "$1"; }
goes() { # by TCP, both ways
	wait_for 5 "both to say relayed-tcp" both_are relayed-tcp
	ping4 a b -c 2 -i 0.05
	copy a b udp 4 60000
	copy a b tcp 4 1000000
	copy b a tcp 4 1000000
}

topo_up server a b c
members_up
policy 'allow * -> *'
capture_start wire server
# at both ends
udp_drop a
udp_drop b
for h in a b; do
	ip -n "$P-$h" addr add "10.77.0.6${#h}/32" dev eth0 # an address more makes a host look anew how it is seen
done
for h in a b; do
	wait_for 8 "$h to find UDP blocked" udp_is $h blocked
	wait_for 5 "new policy on $h" same_rev "$h"
done
start=${EPOCHREALTIME/./}
ping4 b a -c 1 -W 5 || fail "the first packet is lost"
took=$(((${EPOCHREALTIME/./} - start) / 1000))
goes
(($(srvj status | jq .counters.conduits) == 2)) || fail "not two conduits"
ctl a status | finds '^UDP .*by TCP' || fail "status: $(ctl a status)"
ctlj a ping b --count 1 | jq -e '.received == 1 and .path == "relayed-tcp"' >/dev/null || fail "ping: $(ctl a ping b)"
ctl a explain "${ADDR4[b]}" | finds relayed-tcp || fail "explain: $(ctl a explain "${ADDR4[b]}")"
ctl a sessions | finds relayed-tcp || fail "sessions: $(ctl a sessions)"
{ ctl a doctor || true; } | finds 'UDP.*by TCP' || fail "doctor: $(ctl a doctor)"
ctlj a rekey b >"$TMP/log/rekey.log" || fail "no rekey through the conduit: $(cat "$TMP/log/rekey.log")"
ping4 b a -c 2 -i 0.05
# at one end
udp_pass
udp_drop a
wait_for 10 "b to find UDP open" udp_is b works
goes
# at none
udp_pass
wait_for 15 "a direct way" eval 'ping4 a b -c 1 -W 1; both_are direct'
ping4 b a -c 2 -i 0.05
copy a b tcp 4 300000
capture_stop wire
assert_no_plaintext wire "${CANARY:0:12}"
(($(packets wire "tcp port $CHAN_PORT and greater 1000") > 1000)) || fail "TCP has not carried it"
# under a session that is direct, and the end that it is blocked at has nothing to send
udp_drop b
start=${EPOCHREALTIME/./}
wait_for 20 "a way by TCP under a direct session" eval 'ping4 a b -c 1 -W 1 && both_are relayed-tcp'
cut=$(((${EPOCHREALTIME/./} - start) / 1000))
assert_no_leak a b
echo "first packet in $took ms; $cut ms after UDP was cut it goes by TCP"
