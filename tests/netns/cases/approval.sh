# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# A token may ask for approval: the device then has a channel and no session, like a stranger, until an administrator has compared
# its fingerprint. Suspending cuts it off, and approving lets it back.
# waits
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/../lib.sh"

state_is() { [[ $(status_of "$1" .state) == "$2" ]]; } # HOST STATE

topo_up server a b c
server_start
host_start a
enrol a
attach a
host_start b
ctl b enroll --token-file "$(token b --approve)" --name b >"$TMP/log/enrol-b.log" 2>&1 || true
wait_for 5 "pending state" state_is b pending
attach b
policy 'allow a -> b'
wait_for 5 "new policy on a" same_rev a
! ctl a ping b --count 1 --timeout 2000 >/dev/null 2>&1 || fail "a reached a pending device"
[[ $(srvj device show b | jq -r .fingerprint) == $(status_of b .device.fingerprint) ]] || fail "the fingerprints differ"
[[ $(srvj sessions | jq '.sessions | length') == 0 ]] || fail "a pending device has a session"
srv device approve b >/dev/null
wait_for 10 "approval on b" state_is b online
wait_for 10 "both hosts on a" protects a 4
wait_for 10 "both hosts on b" protects b 4
capture_start wire a
wait_for 10 "talking" ping4 a b -c 1
srv device suspend b >/dev/null
wait_for 2 "suspension on b" state_is b suspended
wait_for 1 "end of the session" no_session a
! ping4 a b -c 2 -i 0.2 -W 1 || fail "a reaches the suspended b"
srv device approve b >/dev/null
wait_for 40 "return of b" state_is b online
# keyd believes a refusal for half a minute; an operator who asks is not kept waiting
wait_for 10 "talking again" ctl a ping b --count 1 --timeout 2000
ping4 a b -c 1
capture_stop wire
assert_only_sealed wire a b
assert_no_leak a b
