# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# a and b in different networks, with a router between whose far link is smaller: the next hop is the router's, and TCP and
# UDP fit or are told.
# wires: udp xdp
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/../lib.sh"

topo_up server a b c
ip netns add "$P-r"
HOSTS+=(r)
ip -n "$P-r" link set lo up
on r sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv6.conf.default.accept_dad=0
# b hangs behind the router now
ip -n "$P-r" link add eth0 type veth peer name r netns "$P-sw"
ip -n "$P-sw" link set dev r master br0 up
ip -n "$P-b" link del eth0
ip -n "$P-b" link add eth0 type veth peer name eth1 netns "$P-r"
ADDR4[b]=10.78.0.2 ADDR6[b]=fd78::2
for link in "r eth0 10.77.0.100/24 fd77::100/64" "r eth1 10.78.0.1/24 fd78::1/64" "b eth0 10.78.0.2/24 fd78::2/64"; do
	read -r h dev four six <<<"$link"
	ip -n "$P-$h" addr add "$four" dev "$dev"
	ip -n "$P-$h" addr add "$six" dev "$dev" nodad
	ip -n "$P-$h" link set "$dev" up
done
for h in server a c; do
	ip -n "$P-$h" route add 10.78.0.0/24 via 10.77.0.100
	ip -n "$P-$h" route add fd78::/64 via fd77::100
done
ip -n "$P-b" route add default via 10.78.0.1
ip -n "$P-b" route add default via fd78::1
server_start
for h in a b; do
	host_start $h
	enrol $h
	attach $h
done
policy 'allow a -> b'
for h in a b; do
	wait_for 10 "both addresses of both hosts on $h" protects $h 4
	wait_for 10 "new policy on $h" same_rev $h
done
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
