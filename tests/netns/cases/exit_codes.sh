# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# Exit codes that scripts rely on: 0 ok, 1 failed, 2 usage, 3 unreachable, 4 not ready, 5 denied; errors are JSON when asked for.
# waits
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/../lib.sh"

exits() { # STATUS COMMAND…
	local want=$1 status=0
	shift
	"$@" >"$TMP/out" 2>&1 || status=$?
	((status == want)) || fail "'$*' exits with $status, expected $want: $(cat "$TMP/out")"
}

topo_up server a b c
ctlnone() { "$BUILD/mvpnctl" --socket "$TMP/none.sock" "$@"; }
exits 3 ctlnone status
exits 3 ctlnone -o json status
jq -e '.ok == false and .exit == 3 and (.error.message | length > 0)' "$TMP/out" >/dev/null || fail "the error is not JSON: $(cat "$TMP/out")"
exits 3 ctlnone server status
exits 2 "$BUILD/mvpnctl"
exits 2 "$BUILD/mvpnctl" nonsense
exits 2 "$BUILD/mvpnctl" attach
exits 2 "$BUILD/mvpnctl" attach eth0 --wire pigeon
exits 2 "$BUILD/mvpnctl" --no-such-option
exits 0 "$BUILD/mvpnctl" --help
exits 0 "$BUILD/keyd" --help
exits 0 "$BUILD/keyd" --version
exits 2 "$BUILD/keyd" --no-such-option
exits 0 "$BUILD/mvpn-server" --help
exits 2 "$BUILD/mvpn-server"

server_start
host_start a
exits 4 ctl a wait --timeout 1
exits 4 ctl a doctor
enrol a
exits 0 ctl a wait --timeout 5
attach a
exits 0 ctl a status
exits 0 ctl a leaks
exits 0 ctl a doctor
host_start b
enrol b
attach b
wait_for 5 "peer" has_peer a
exits 5 ctl a ping b --timeout 3000
exits 1 ctl a ping nobody-of-that-name
exits 5 srv policy test a b
policy 'allow a -> b'
exits 0 srv policy test a b
wait_for 5 "new policy on a" same_rev a
wait_for 5 "new policy on b" same_rev b
exits 0 ctl a ping b --count 2 --timeout 5000
host_stop b KILL
drop() { ! ctl a ping b --count 1 --timeout 1000; }
wait_for 10 "end of b" drop
exits 4 ctl a ping b --count 1 --timeout 2000
