# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# Too big for the tunnel: with DF the sender is told the size that fits, without it the packet arrives in fragments; what
# fits just passes.
# wires: udp xdp
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/../lib.sh"

net_up
ping4 a b -c 1
ping6 a b -c 1
mtu=$(ctlj a sessions | jq '[.sessions[].mtu] | max')
((mtu == 1500)) || fail "the path's MTU is $mtu in sessions"
ping4 a b -c 2 -i 0.1 -M "do" -s 1372 || fail "an inner packet of 1400 bytes does not fit"
out=$(on a ping -4 -n -c 2 -i 0.2 -W 1 -M "do" -s 1472 "${ADDR4[b]}" 2>&1) && fail "a packet of 1500 bytes with DF went through"
grep -qiE 'frag needed|too long|mtu' <<<"$out" || fail "the sender was not told: $out"
told=$(grep -oiE 'mtu ?= ?[0-9]+' <<<"$out" | grep -oE '[0-9]+' | head -n 1)
((told <= 1440 && told >= 1280)) || fail "the sender was told an MTU of $told"
ping4 a b -c 2 -i 0.1 -M "do" -s $((told - 28)) || fail "the size that was told ($told) does not fit"
ping4 a b -c 2 -i 0.2 -M "do"nt -s 1472 || fail "1500 bytes without DF are lost"
ping4 a b -c 2 -i 0.2 -M "do"nt -s 8000 || fail "8000 bytes without DF are lost"
ping6 a b -c 3 -i 0.2 -s 4000 || fail "4000 bytes over IPv6 are lost"
copy a b udp 4 120000
assert_no_leak a b
