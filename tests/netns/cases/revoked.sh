# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# Revoking a device cuts its live sessions within a second, and it gets nothing afterwards.
# sanitized
# waits
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/../lib.sh"

net_up
ping4 a b -c 2 -i 0.05
spawn flood a ping -4 -n -i 0.01 "${ADDR4[b]}"
wait_for 5 "answers" grep -q icmp_seq=20 "$TMP/log/flood.log"
capture_start wire a
start=${EPOCHREALTIME/./}
srv device revoke b >/dev/null
wait_for 1 "end of the session on a" no_session a
took=$(((${EPOCHREALTIME/./} - start) / 1000))
last=$(wc -l <"$TMP/log/flood.log")
! ping4 a b -c 3 -W 1 -i 0.2 || fail "a reaches the revoked b"
! ping6 b a -c 3 -W 1 -i 0.2 || fail "the revoked b reaches a"
(($(wc -l <"$TMP/log/flood.log") <= last + 3)) || fail "the live flow went on"
capture_stop wire
assert_only_sealed wire a b
[[ $(srvj device show b | jq -r .state) == revoked ]] || fail "the server does not say revoked"
knows() { [[ $(status_of b .state) != online ]]; }
wait_for 5 "b's knowledge" knows
assert_no_leak a b
echo "cut after $took ms"
