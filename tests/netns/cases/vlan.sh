# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# Protected traffic that leaves eth0 through a VLAN device on top of it is caught as well: sealed or dropped, never clear.
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/../lib.sh"

net_up
ip -n "$P-a" link add link eth0 name eth0.5 type vlan id 5 2>/dev/null || skip "kernel: no 8021q"
ip -n "$P-a" link set eth0.5 up
ping4 a b -c 1
ip -n "$P-a" route add "${ADDR4[b]}/32" dev eth0.5
ip -n "$P-a" neigh add "${ADDR4[b]}" lladdr 02:00:00:00:00:99 dev eth0.5
capture_start wire a
ping4 a b -c 3 -i 0.1 -W 1 -p 4d56504e || true
capture_stop wire
(($(packets wire "vlan 5 and icmp") == 0)) || fail "ICMP in clear on the VLAN"
assert_no_leak a
