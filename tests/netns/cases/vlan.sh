# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# VLANs: what leaves an attached eth0 through a VLAN device on top of it is sealed, with the tag taken off; and a VLAN device can be
# attached itself, on top of an interface that is not.
# wires: udp xdp
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/../lib.sh"

net_up
ip -n "$P-a" link add link eth0 name eth0.5 type vlan id 5 2>/dev/null || skip "kernel: no 8021q"
ip -n "$P-b" link add link eth0 name eth0.5 type vlan id 5
for h in a b; do
	ip -n "$P-$h" link set eth0.5 up
	ip -n "$P-$h" addr add "10.5.0.${ADDR4[$h]##*.}/24" dev eth0.5
done
tagged() { packets wire 'vlan 5 and ip'; }

# in clear first: the capture does see a tag, and the switch carries it
capture_start wire a
on a ping -4 -n -q -c 1 -W 3 10.5.0.2 -p 4d56504e >/dev/null || fail "the VLAN does not work"
capture_stop wire
(($(tagged) >= 2)) || fail "no tags in the capture: it would not have seen a leak either"

for h in a b; do
	srv device address add "$h" "10.5.0.${ADDR4[$h]##*.}/32" >/dev/null
done
for h in a b; do
	wait_for 20 "the VLAN's addresses on $h" protects $h 6
done
across() { # everything that goes by the VLAN's addresses is sealed
	local before
	before=$(counter a shim to_tap)
	capture_start wire a
	wait_for 20 "talking on the VLAN" on a ping -4 -n -q -c 1 -W 1 10.5.0.2
	on a ping -4 -n -q -c 3 -i 0.1 -W 3 10.5.0.2 -p 4d56504e >/dev/null || fail "$1: no answer"
	canary_file "$TMP/vlan" 500000
	spawn hear b socat -u TCP4-LISTEN:7005,bind=10.5.0.2,reuseaddr "OPEN:$TMP/vlan.heard,creat,trunc"
	wait_for 5 listener listening b t 7005
	on a socat -u "OPEN:$TMP/vlan" TCP4:10.5.0.2:7005,connect-timeout=20 || fail "$1: TCP"
	wait_for 20 "end of the transfer" gone "$(pid_of hear)"
	cmp "$TMP/vlan" "$TMP/vlan.heard" || fail "$1: contents differ"
	capture_stop wire
	assert_no_plaintext wire "${CANARY:0:12}"
	assert_no_plaintext wire MVPNMVPN
	assert_sealed wire 10
	assert_counter_over a shim to_tap "$before"
}
across "eth0 attached"
(($(tagged) == 0)) || fail "eth0 attached: tagged IPv4 in clear: $(tagged)"

for h in a b; do
	attach $h "$WIRE" eth0.5
	ctl $h detach eth0 --force >/dev/null
	[[ $(status_of $h '.interfaces | map(.name) | join(" ")') == eth0.5 ]] || fail "interfaces: $(status_of $h .interfaces)"
done
across "eth0.5 attached"
assert_no_leak a b
