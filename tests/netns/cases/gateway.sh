# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# A prefix behind b: "protect ... via b" makes b its gateway. a reaches the host behind it sealed as far as b, and what claims to
# come from there in clear is dropped.
# wires: udp xdp
# waits
# shellcheck source=tests/netns/gateway.sh
source "$(dirname "$0")/../gateway.sh"

net_up
behind b
policy 'allow a -> b
protect 10.9.0.0/24 via b
protect fd09::/64 via b'
for h in a b; do
	wait_for 10 "the prefix on $h" protects $h 6
	wait_for 10 "new policy on $h" same_rev $h
done
capture_start wire a
for family in 4 6; do
	"ping$family" a d -c 2 -i 0.1 || fail "a does not reach d over IPv$family"
	"ping$family" d a -c 2 -i 0.1 || fail "d does not reach a over IPv$family"
	copy a d tcp $family 1000000
	copy d a tcp $family 1000000
	copy a d udp $family 60000
	copy d a udp $family 60000
	# the tunnel is no hop, forwarding by b is one
	! "ping$family" a d -c 1 -t 1 -W 1 || fail "IPv$family: b does not count as a hop"
	"ping$family" a d -c 1 -t 2 || fail "IPv$family: the tunnel counts as a hop"
	"ping$family" a b -c 1 -t 1 || fail "IPv$family: the tunnel counts as a hop on the way to b"
	"ping$family" d a -c 1 -t 2 || fail "IPv$family: the tunnel counts as a hop on the way back"
done
said=$(on a ping -4 -n -c 3 -i 0.2 -t 1 -W 3 "${ADDR4[d]}" || true) # the kernel limits how many errors it sends
[[ $said == *"Time to live exceeded"* ]] || fail "b does not say that the TTL has run out: $said"
# what d sends comes to b as super-packets, and goes through the tunnel as such
super=$(counter b dp tap_rx)
sealed=$(counter b dp tx_packets)
copy d a tcp 4 5000000
super=$(($(counter b dp tap_rx) - super)) sealed=$(($(counter b dp tx_packets) - sealed))
((super * 2 < sealed)) || fail "$sealed packets of $super: forwarded super-packets were cut before the tunnel"
ping4 a b -c 1
capture_stop wire
assert_no_plaintext wire "${CANARY:0:12}"
(($(packets wire "(net 10.9.0.0/24 or net fd09::/64) and not arp") == 0)) || fail "packets of d are on the wire in clear"
mac=$(ip -n "$P-a" -j link show eth0 | jq -r '.[0].address')
before=$(counter a shim ingress_clear)
on sw "$POKE" spoof a "$mac" "${ADDR4[d]}" "${ADDR4[a]}" 3 SPOOFED
dropped() { (($(counter a shim ingress_clear) == before + 3)); }
wait_for 5 "counted spoofs" dropped
# there is no other gateway: that the hosts behind it are not reached is said by all who are concerned, and since when
is() { # STATE, and whether it is said since when
	[[ $(ctlj a gateways | jq -r '.gateways[]|select(.prefix == "10.9.0.0/24").gateways[0]|"\(.name) \(.state) \(.since_s != null)"') == "b $1" ]]
}
is "well false" || fail "$(ctl a gateways)"
ctlj a status | jq -e '.healthy' >/dev/null || fail "a: $(ctlj a status | jq -c .problems)"
ip -n "$P-d" link set dev to-b down
wait_for 4 "word of the cable that was cut" is "away true"
ctlj a status | jq -e '.problems|any(test("^hosts in .* are not reached for [0-9]+ s: b: it does not reach the hosts there"))' >/dev/null ||
	fail "status: $(ctlj a status | jq -c .problems)"
(ctlj a doctor || true) | jq -e '.checks[]|select(.name == "gateways").result == "warn"' >/dev/null || fail "doctor: $(ctlj a doctor)"
ctl a explain "${ADDR4[d]}" | finds "gateway 1: b, in use, away: .*, for [0-9]* s" || fail "explain: $(ctl a explain "${ADDR4[d]}")"
ctl a gateways | finds "^10.9.0.0/24 *b *away" || fail "$(ctl a gateways)"
(ctl b gateways || true) | finds "^10.9.0.0/24 *this device *lost .*no carrier" || fail "$(ctl b gateways)"
ip -n "$P-d" link set dev to-b up
wait_for 4 "word that they are reached again" is "well false"
# the gateway itself: no word comes from it
stop keyd-b KILL
spawn asks a ping -4 -n -q -i 0.2 "${ADDR4[d]}"
wait_for 8 "that b is silent" is "failed true"
ctlj a status | jq -e '.problems|any(test("^hosts in 10.9.0.0/24 are not reached for [0-9]+ s: b: "))' >/dev/null || fail "status: $(ctlj a status | jq -c .problems)"
host_start b
wait_for 10 "b again" is "well false"
stop asks
ctlj a status | jq -e '.healthy' >/dev/null || fail "a: $(ctlj a status | jq -c .problems)"
assert_no_leak a b
