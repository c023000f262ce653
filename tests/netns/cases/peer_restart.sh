# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# The other end dies without a word, and comes back as another life of itself: traffic heals by itself, both ways.
# wires: udp xdp
# sanitized
# waits
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/../lib.sh"

net_up
ping4 a b -c 2 -i 0.05
host_stop b KILL
! ping4 a b -c 2 -i 0.2 -W 1 || fail "somebody answered for b"
host_start b
ctl b wait --timeout 40 >/dev/null
wait_for 10 "answers to a" ping4 a b -c 1
ping4 b a -c 1 || fail "b does not reach a"
ping6 b a -c 1 || fail "b does not reach a"
# and the one that comes back speaks first
host_stop b KILL
host_start b
ctl b wait --timeout 40 >/dev/null
wait_for 10 "answers to b" ping4 b a -c 1
copy b a tcp 4 300000
assert_no_leak a b
