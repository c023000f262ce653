# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# "allow only a -> b": a may open a session with b, b may not open one with a; inside a's session answers flow.
# waits
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/../lib.sh"

net_up
policy 'allow only a -> b'
wait_for 5 "new policy on a" same_rev a
wait_for 5 "new policy on b" same_rev b
srv policy test a b >/dev/null || fail "policy test a b"
status=0
srv policy test b a >/dev/null 2>&1 || status=$?
((status == 5)) || fail "policy test b a exits with $status, expected 5"
! ping4 b a -c 2 -i 0.2 -W 1 || fail "b opened a session with a"
! ping6 b a -c 2 -i 0.2 -W 1 || fail "b opened a session with a"
ping4 a b -c 2 -i 0.1 || fail "a cannot open a session with b"
assert_no_leak a b
