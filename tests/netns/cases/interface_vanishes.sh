# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# An attached interface goes down, comes back, vanishes: keyd says so, stays alive and serves the interface once it is there again.
# wires: udp xdp
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/../lib.sh"

link_is() { ctlj "$1" status | jq -e --arg l "$2" '.interfaces[0].link == $l'; }
no_interface_up() { ctlj a status | jq -e '[.interfaces[] | select(.link == "up")] | length == 0'; }

net_up
ping4 a b -c 1
ip -n "$P-a" link set dev eth0 down
wait_for 5 "news of the link" link_is a down
ip -n "$P-a" link set dev eth0 up
ip -n "$P-a" addr replace "${ADDR6[a]}/64" dev eth0 nodad
wait_for 5 "news of the link" link_is a up
wait_for 15 "talking again" ping4 a b -c 1

ip -n "$P-sw" link del dev a
wait_for 5 "news of the end" no_interface_up
pid=$(pid_of keyd-a)
kill -0 "$pid" || fail "keyd died"
[[ $(awk '{ print $14 + $15 }' "/proc/$pid/stat") -lt 500 ]] || fail "keyd spins"
ctl a status >/dev/null || (($? == 4)) || fail "keyd does not answer"
ip -n "$P-a" link add eth0 type veth peer name a netns "$P-sw"
ip -n "$P-sw" link set dev a master br0 up
ip -n "$P-a" addr add "${ADDR4[a]}/24" dev eth0
ip -n "$P-a" addr add "${ADDR6[a]}/64" dev eth0 nodad
ip -n "$P-a" link set eth0 up
attach a
ctl a wait --timeout 40 >/dev/null
wait_for 20 "talking again" ping4 a b -c 1
assert_no_leak a b
