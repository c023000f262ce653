# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# As at boot: no keyd, no pins. The guard alone, from what was last known, keeps protected traffic off the wire until keyd
# has come; then it heals without an attach.
# waits
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/../lib.sh"

net_up
ping4 a b -c 1
host_stop a
# a reboot forgets everything in the kernel
find "$PIN/a" -depth -delete
[[ -z $(on a "$HOOKS" eth0) ]] || fail "programs are left without pins"
capture_start open a
on a ping -4 -n -q -c 1 -W 1 "${ADDR4[b]}" >/dev/null || true
capture_stop open
(($(packets open "icmp and src ${ADDR4[a]}") > 0)) || fail "without a guard nothing is on the wire: the test sees nothing"

on a "$BUILD/keyd" --guard --state "$TMP/a/state" --pin "$PIN/a" >"$TMP/log/guard.log" 2>&1 || fail "keyd --guard: $(cat "$TMP/log/guard.log")"
capture_start wire a
! ping4 a b -c 2 -i 0.2 -W 1 || fail "something answered"
! ping6 a b -c 2 -i 0.2 -W 1 || fail "something answered"
ping4 a c -c 1 || fail "what is not protected stopped too"
capture_stop wire
assert_only_sealed wire a b
host_start a
ctl a wait --timeout 40 >/dev/null
[[ $(status_of a '.interfaces | length') == 1 ]] || fail "keyd did not adopt eth0"
wait_for 15 "healing" ping4 a b -c 1
assert_no_leak a b
