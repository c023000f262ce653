# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# Jumbo frames: with an MTU of 9000 the interface is attached with the wire that was asked for, or refused with a reason and
# nothing left behind; large packets pass.
# wires: udp xdp
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/../lib.sh"

topo_up server a b c
for h in server a b c; do
	ip -n "$P-sw" link set dev $h mtu 9000
	ip -n "$P-$h" link set dev eth0 mtu 9000
done
ip -n "$P-sw" link set dev br0 mtu 9000
server_start
for h in a b; do
	host_start $h
	enrol $h
	if ! ctl $h attach eth0 --wire "$WIRE" >"$TMP/out" 2>&1; then
		[[ $WIRE == xdp ]] || fail "attach: $(cat "$TMP/out")"
		grep -qiE 'mtu|frag|too long' "$TMP/out" || fail "refused without a reason: $(cat "$TMP/out")"
		[[ -z $(on $h "$HOOKS" eth0) ]] || fail "the refused attach left programs"
		attach $h udp
	fi
done
policy 'allow a -> b'
for h in a b; do
	wait_for 10 "both addresses of both hosts on $h" protects $h 4
	wait_for 10 "new policy on $h" same_rev $h
done
ping4 a b -c 2 -i 0.1 -M "do" -s 1400
ping4 a b -c 2 -i 0.1 -M "dont" -s 8972
for family in 4 6; do
	copy a b tcp $family 5000000
	copy b a tcp $family 5000000
done
copy a c tcp 4 1000000
assert_no_leak a b
