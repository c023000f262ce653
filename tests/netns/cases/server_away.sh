# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# Without a server sessions live on, past their own lifetime too, but only so long as policy says: a revocation cannot be kept from
# arriving by cutting the server off.
# waits
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/../lib.sh"

setup
mkdir -p "$TMP/server"
printf '[session]\nrekey_s = 10\nmax_offline_s = 60\n' >"$TMP/server/server.conf"
net_up
ping4 a b -c 1
stop mvpn-server
spawn talk a ping -4 -n -i 0.5 "${ADDR4[b]}"
ended() { (($(ctlj "$1" sessions | jq '.sessions | length') == 0)); }
wait_for 75 "end of the sessions on a" ended a
wait_for 15 "end of the sessions on b" ended b
stop talk INT
answers=$(grep -c 'bytes from' "$TMP/log/talk.log")
((answers > 70)) || fail "the session ended early: $answers answers, two a second"
capture_start wire a
! ping4 a b -c 3 -i 0.2 -W 1 || fail "traffic flows although nobody could have revoked it"
capture_stop wire
assert_only_sealed wire a b
assert_counter_over a control sessions_dropped_offline 0
assert_no_leak a b
