# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# Jumbo frames: with an MTU of 9000 the interface is attached with the wire that was asked for, and packets of every size pass;
# also when the MTU shrinks and grows meanwhile.
# wires: udp xdp
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/../lib.sh"

sessions_mtu() { ctlj a sessions | jq -e --argjson m "$1" '[.sessions[].mtu] | max == $m'; }

topo_up server a b c
for h in server a b c; do
	ip -n "$P-sw" link set dev $h mtu 9000
	ip -n "$P-$h" link set dev eth0 mtu 9000
done
ip -n "$P-sw" link set dev br0 mtu 9000
daemons_up
ping4 a b -c 2 -i 0.1 -M "do" -s 1400
ping4 a b -c 2 -i 0.1 -M "dont" -s 8972
for family in 4 6; do
	copy a b tcp $family 5000000
	copy b a tcp $family 5000000
done
if [[ $WIRE == xdp ]]; then
	for h in a b; do
		[[ $(status_of $h '.interfaces[0].wire') == xdp ]] || fail "no AF_XDP wire on $h: $(status_of $h .interfaces)"
		for c in xsk_rx_dropped xsk_rx_ring_full; do
			(($(counter $h dp $c) == 0)) || fail "$c is $(counter $h dp $c) on $h"
		done
		# joined packets count once
		(($(counter $h shim wire_redirect) > 100)) || fail "only $(counter $h shim wire_redirect) packets by AF_XDP on $h"
	done
fi
copy a c tcp 4 1000000
for mtu in 1500 9000; do
	for h in a b; do ip -n "$P-$h" link set dev eth0 mtu $mtu; done
	wait_for 10 "sessions at $mtu" sessions_mtu $mtu
	copy a b tcp 4 3000000
	copy b a tcp 6 3000000
done
assert_no_leak a b
