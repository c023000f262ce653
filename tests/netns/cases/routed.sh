# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# a and b in different networks, with a router between whose far link is smaller: the next hop is the router's, and TCP and
# UDP fit or are told.
# wires: udp xdp
# waits
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/../lib.sh"

topo_up server a b c
router_add r
b_behind r eth1
daemons_up
capture_start wire a
for family in 4 6; do
	"ping$family" a b -c 2 -i 0.1
	"ping$family" b a -c 2 -i 0.1
	copy a b tcp $family 2000000
	copy b a tcp $family 2000000
done
# the far link shrinks under the session
ip -n "$P-r" link set eth1 mtu 1400
ip -n "$P-b" link set eth0 mtu 1400
wait_for 30 "TCP through the smaller link" eval 'copy a b tcp 4 300000'
copy b a tcp 4 2000000
copy a b tcp 6 2000000
capture_stop wire
assert_no_plaintext wire "${CANARY:0:12}"
assert_only_sealed wire a b
assert_no_leak a b
