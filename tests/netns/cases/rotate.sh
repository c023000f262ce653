# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# A device changes its key under traffic: no datagram and no session is lost, and nobody's alarm goes off, not that of a peer which
# was away over two of them either. keyd is killed at every step, and can log in whichever key the server knows by then.
# waits
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/../lib.sh"

key_of() { status_of "$1" .device.fingerprint; }
at_server() { srvj device show a | jq -r "$1"; }
magic() { head -c 7 "$TMP/a/state/identity"; }
session() { ctlj "$1" sessions | jq -c '[.sessions[].id]'; }
rotate() { ctlj a rotate >"$TMP/rotate.json" || fail "rotate: $(cat "$TMP/rotate.json")"; }
online() { ctl a wait --timeout 20 >/dev/null || fail "a is not online: $(ctlj a status)"; }
finished() { [[ $(magic) == MVPNID1 && $(key_of a) == "$(at_server .fingerprint)" ]]; }
no_alarm() {
	local h
	for h in a b; do
		[[ $(counter "$h" control pin_changed) == 0 ]] || fail "the alarm on $h: $(tail -n 5 "$TMP/log/keyd-$h.log")"
		[[ $(counter "$h" control bad_vouch) == 0 ]] || fail "a vouch was refused on $h: $(tail -n 5 "$TMP/log/keyd-$h.log")"
	done
}
told() { [[ $(counter b control pin_vouched) == 1 ]]; }
announced() { ctlj a identity show | jq -e '.next_key.step == "announcing"'; }
kept() { [[ $(magic) == MVPNID3 ]]; }
known() { [[ $(at_server .next_key) != null ]]; }
rekeyed() { ctlj a rekey b >"$TMP/rekey.json" || fail "rekey: $(cat "$TMP/rekey.json")"; }

need python3
net_up
ctlj a rotate >/dev/null || fail "no peer is pinned yet, and a cannot rotate"
serve b
ping4 a b -c 1
first=$(key_of a) sessions=$(session a)
spawn load a "$PINGPONG" send "${ADDR4[b]}" 7000 200 2 1000
rotate
jq -e --arg was "$first" '.before == $was and .device.fingerprint != $was and .vouched == 1' "$TMP/rotate.json" >/dev/null ||
	fail "rotate says $(cat "$TMP/rotate.json")"
[[ $(session a) == "$sessions" && $(session b) == "$sessions" ]] || fail "the session was lost"
wait_for 5 "word of the new key on b" told
rekeyed # by the new key
ctl a rotate >"$TMP/rotate.txt" || fail "$(cat "$TMP/rotate.txt")"
for text in '^a has a new key' 'vouched.*to 1 peer'; do
	grep -q "$text" "$TMP/rotate.txt" || fail "the table: $(cat "$TMP/rotate.txt")"
done
rekeyed
wait_for 20 "end of the load" gone "$(pid_of load)"
read -r _ sent _ received _ duplicate _ <"$TMP/log/load.log" || fail "no figures: $(cat "$TMP/log/load.log")"
((sent > 1000 && sent == received && duplicate == 0)) || fail "of $sent datagrams $received arrived, $duplicate twice"
no_alarm
finished || fail "identity $(magic), key $(key_of a), at the server $(at_server .fingerprint)"

# the peer is away for two of them; both rotate, and meet again
host_stop b
rotate
rotate
host_start b
ctl b wait --timeout 20 >/dev/null || fail "b is not online"
ctlj b rotate >/dev/null || fail "b cannot rotate"
ping4 b a -c 1
no_alarm

# killed before the server has heard of the next key ...
kill -STOP "$(pid_of mvpn-server)"
ctl a rotate >/dev/null 2>&1 &
wait_for 5 "next key on the disk" kept
host_stop a KILL
stop mvpn-server KILL # what it had not read is gone
server_start
[[ $(at_server .next_key) == null ]] || fail "the server knows the next key"
host_start a
online
wait_for 20 "end of the rotation" finished

# ... when the server has it, and the answer was not heard ...
kill -STOP "$(pid_of mvpn-server)"
ctl a rotate >/dev/null 2>&1 &
wait_for 5 "ROTATE on its way" announced
cp -a "$TMP/a/state/identity" "$TMP/both"
kill -STOP "$(pid_of keyd-a)" # not killed yet: the server drops a dead channel with what it has not read
kill -CONT "$(pid_of mvpn-server)"
wait_for 10 "word of the next key at the server" known
host_stop a KILL
host_start a
online
wait_for 20 "end of the rotation" finished

# ... and when it is the key, and the device has not written so yet
host_stop a KILL
cp -a "$TMP/both" "$TMP/a/state/identity"
host_start a
online
wait_for 20 "end of the rotation" finished

attach a
wait_for 10 "addresses of a" protects b 4
ping4 a b -c 1
no_alarm

# somebody has changed the word of the old key at the server: it is not believed, and the alarm comes with the first session
host_stop b
rotate
stop mvpn-server
python3 -c 'import sqlite3, sys; db = sqlite3.connect(sys.argv[1]); db.execute("UPDATE vouches SET mac = zeroblob(32)"); db.commit()' \
	"$TMP/server/state/server.db"
server_start
host_start b
ctl b wait --timeout 20 >/dev/null || fail "b is not online"
forged() { [[ $(counter b control bad_vouch) == 1 ]]; }
wait_for 5 "refusal of a forged vouch" forged
grep -q 'the old key does not vouch for it' "$TMP/log/keyd-b.log" || fail "no word of it"
[[ $(counter b control pin_vouched) == 0 && $(counter b control pin_changed) == 0 ]] || fail "b: $(ctlj b status | jq -c .counters.control)"
attach b
online
wait_for 10 "addresses of b" protects a 4
ping4 a b -c 1
[[ $(counter b control pin_changed) == 1 ]] || fail "no alarm on b"
srvj audit --limit 1000 | jq -e '[.events[] | select(.event == "device-rotate") | .detail] | length >= 6 and all(.from != .to)' >/dev/null ||
	fail "the audit trail: $(srvj audit)"
