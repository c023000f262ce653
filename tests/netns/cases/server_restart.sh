# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# Sessions live on while the server is away; once it is back the devices return and new sessions are made.
# sanitized
# waits
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/../lib.sh"

connected() { ctlj "$1" status | jq -e .server.connected; }
disconnected() { ! connected "$1"; }

net_up
serve b
ping4 a b -c 2 -i 0.05
spawn load a "$PINGPONG" send "${ADDR4[b]}" 7000 200 5 200
stop mvpn-server KILL
wait_for 5 "end of a's channel" disconnected a
ping4 a b -c 3 -i 0.1 || fail "the session died with the server"
status=0
ctl a wait --timeout 1 >/dev/null 2>&1 || status=$?
((status == 4)) || fail "wait exits with $status while the server is away, expected 4"
server_start
for h in a b; do
	ctl $h wait --timeout 40 >/dev/null || fail "$h did not come back: $(status_of $h .server)"
done
wait_for 10 "end of the load" gone "$(pid_of load)"
read -r _ sent _ received _ <"$TMP/log/load.log"
((sent == received)) || fail "of $sent datagrams $received arrived while the server restarted"
drop_sessions
ping6 a b -c 1 || fail "no new session after the restart"
srvj device list | jq -e '[.devices[] | select(.online)] | length == 2' >/dev/null || fail "the server does not see both"
assert_no_leak a b
