# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# keyd is stopped as an administrator would: protected traffic is dropped, not sent in clear, and comes back with it.
# waits
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/../lib.sh"

net_up
ping4 a b -c 1
capture_start wire a
host_stop a
! ping4 a b -c 3 -W 1 -i 0.2 || fail "something answered without keyd"
! ping6 a b -c 2 -W 1 -i 0.2 || fail "something answered without keyd"
! ping4 b a -c 2 -W 1 -i 0.2 || fail "something answered without keyd"
ping4 a c -c 1 || fail "what is not protected stopped too"
capture_stop wire
assert_only_sealed wire a b
host_start a
ctl a wait --timeout 40 >/dev/null || fail "the new keyd is not online"
wait_for 15 "healing" ping4 a b -c 1
ping4 b a -c 1
assert_no_leak a b
