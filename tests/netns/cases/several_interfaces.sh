# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# Two interfaces attached: what leaves by either is caught; detaching one leaves the other protected.
# wires: udp xdp
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/../lib.sh"

net_up
ip -n "$P-a" link add eth1 type veth peer name a1 netns "$P-sw"
ip -n "$P-sw" link set dev a1 master br0 up
ip -n "$P-a" link set eth1 up
attach a "$WIRE" eth1
ping4 a b -c 1
ip -n "$P-a" route add "${ADDR4[b]}/32" dev eth1 src "${ADDR4[a]}"
capture_start wire a1
ping4 a b -c 2 -i 0.1 -W 1 -p 4d56504e || true
ctl a detach eth1 >/dev/null
[[ $(status_of a '.interfaces | map(.name) | join(" ")') == eth0 ]] || fail "interfaces after the detach: $(status_of a .interfaces)"
capture_stop wire
assert_no_plaintext wire MVPNMVPN
ip -n "$P-a" route del "${ADDR4[b]}/32" dev eth1
wait_for 5 "talking over eth0" ping4 a b -c 1
assert_no_leak a b
