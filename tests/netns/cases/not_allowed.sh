# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# Without a rule two enrolled devices get nothing from each other; a new policy is in force at once, both ways.
# waits
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/../lib.sh"

topo_up server a b c
server_start
for h in a b; do
	host_start $h
	enrol $h
	attach $h
done
wait_for 5 "peer on a" has_peer a
capture_start wire a
! ping4 a b -c 2 -W 1 -i 0.2 || fail "a reaches b with no rule"
! ping6 b a -c 2 -W 1 -i 0.2 || fail "b reaches a with no rule"
status=0
ctl a ping b --timeout 3000 >/dev/null 2>&1 || status=$?
((status == 5)) || fail "mvpnctl ping exits with $status, expected 5 (denied by policy)"
status=0
srv policy test a b >/dev/null 2>&1 || status=$?
((status == 5)) || fail "policy test exits with $status, expected 5"
policy 'allow a -> b'
srv policy test a b >/dev/null
wait_for 5 "new policy on a" same_rev a
wait_for 5 "new policy on b" same_rev b
ping4 a b -c 2 -i 0.2 || fail "the new rule does not help a"
ping4 b a -c 2 -i 0.2 || fail "the new rule does not help b"
policy '# nobody'
wait_for 1 "end of the session" no_session a
wait_for 5 "new policy on b" same_rev b
! ping4 a b -c 2 -W 1 -i 0.2 || fail "a still reaches b after the rule has gone"
capture_stop wire
assert_only_sealed wire a b
assert_counter_over a shim drop_denied 0
assert_no_leak a b
