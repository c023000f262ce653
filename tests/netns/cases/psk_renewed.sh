# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# A device's channel PSK is renewed whenever it connects; keyd is killed at whatever moment of that, the server too, and it can
# always log in again.
# waits
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/../lib.sh"

renewed() { srv audit | grep -c device-psk-renewed || true; }
online() { ctl a wait --timeout 10 >/dev/null || fail "a is not online: $(ctlj a status)"; }

topo_up server a
mkdir -p "$TMP/server"
printf '[session]\npsk_s = 1\n' >"$TMP/server/server.conf"
server_start
host_start a
enrol a
for delay in 0 0.05 0.1 0.2 1.1 1.1; do
	host_stop a KILL
	host_start a
	sleep "$delay" # whatever keyd is doing just then
done
online
stop mvpn-server KILL
server_start
is_back() { [[ $(status_of a .server.connected) == true ]]; }
wait_for 40 "return of a" is_back
(($(renewed) >= 1)) || fail "the PSK was never renewed: $(srv audit)"
grep -q 'new channel PSK' "$TMP/log/keyd-a.log" || fail "keyd does not say that it has a new PSK"
