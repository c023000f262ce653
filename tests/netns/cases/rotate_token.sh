# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# The key of a, which is in a file, moves to a PKCS#11 token (SoftHSM's) that signs: a stays who it is, its session goes on, and b's
# alarm does not go off. keyd is killed in the middle, and the token is away: a has the key that it had until it has the other one.
# waits
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/../lib.sh"

softhsm_up
online() { ctl a wait --timeout 20 >/dev/null || fail "a is not online: $(ctlj a status)"; }
magic() { head -c 7 "$TMP/a/state/identity"; }
kept() { [[ $(magic) == MVPNID4 ]]; }
moved() { ctlj a identity show | jq -e '.private_key == "token" and .token_key == "sign" and .next_key == null'; }
step() { [[ $(ctlj a identity show | jq -r .next_key.step) == "$1" ]]; }
told() { [[ $(counter b control pin_vouched) == 1 ]]; }

net_up
serve b
ping4 a b -c 1
id=$(status_of a .device.id) file_key=$(status_of a .device.fingerprint)
! ctl a rotate --token >"$TMP/log/move.log" 2>&1 || fail "there is a token that keyd.conf does not name"
grep -q 'keyd.conf names no PKCS#11 token' "$TMP/log/move.log" || fail "rotate --token: $(cat "$TMP/log/move.log")"
cat >"$TMP/a/keyd.conf" <<-CONF
	[identity]
	pkcs11 = pkcs11:token=mvpn;object=device?module-path=$MODULE
	pin_file = $TMP/pin
CONF
host_stop a
mv "$TMP/tokens" "$TMP/pocket"
mkdir "$TMP/tokens"
host_start a
online
! ctl a rotate --token >"$TMP/log/move.log" 2>&1 || fail "there is no such token"
grep -q 'is it plugged in' "$TMP/log/move.log" || fail "rotate --token: $(cat "$TMP/log/move.log")"
[[ $(magic) == MVPNID1 ]] || fail "the identity has changed without a token"
rmdir "$TMP/tokens"
mv "$TMP/pocket" "$TMP/tokens"

# killed when the token has its key and the server has not heard of it; then the token is away
kill -STOP "$(pid_of mvpn-server)"
ctl a rotate --token >/dev/null 2>&1 &
wait_for 20 "next key on the disk" kept
host_stop a KILL
stop mvpn-server KILL
server_start
mv "$TMP/tokens" "$TMP/pocket"
mkdir "$TMP/tokens"
host_start a
online
[[ $(status_of a .device.fingerprint) == "$file_key" ]] || fail "a has another key without the token"
attach a
ctl b wait --timeout 20 >/dev/null || fail "b is not online"
for h in a b; do
	wait_for 10 "addresses on $h" protects "$h" 4
done
ping4 a b -c 1
# the server takes the next key, which waits for its token: nobody logs in over and over meanwhile
wait_for 10 "word of the server" step accepted
ups=$(counter a control channel_up)
sessions=$(ctlj a sessions | jq -c '[.sessions[].id]')
spawn load a "$PINGPONG" send "${ADDR4[b]}" 7000 200 4 500
rmdir "$TMP/tokens"
mv "$TMP/pocket" "$TMP/tokens"
wait_for 30 "end of the move" moved
(($(counter a control channel_up) == ups + 1)) || fail "$(counter a control channel_up) log-ins where $ups + 1 do"
[[ $(magic) == MVPNIDD && $(status_of a .device.id) == "$id" ]] || fail "identity $(magic), id $(status_of a .device.id)"
[[ $(status_of a .device.fingerprint) != "$file_key" && $(status_of a .device.fingerprint) == $(srvj device show a | jq -r .fingerprint) ]] ||
	fail "the key: $(status_of a .device)"
wait_for 5 "word of the new key on b" told
wait_for 20 "end of the load" gone "$(pid_of load)"
read -r _ sent _ received _ duplicate _ <"$TMP/log/load.log" || fail "no figures: $(cat "$TMP/log/load.log")"
((sent > 500 && sent == received && duplicate == 0)) || fail "of $sent datagrams $received arrived, $duplicate twice"
[[ $(ctlj a sessions | jq -c '[.sessions[].id]') == "$sessions" ]] || fail "the session was lost"

drop_sessions
ping4 a b -c 1
ctlj b status | jq -e '.counters.control | .pin_changed == 0 and .bad_vouch == 0' >/dev/null || fail "the alarm on b: $(tail -n 3 "$TMP/log/keyd-b.log")"
! ctl a rotate --token >"$TMP/log/move.log" 2>&1 || fail "it is there already"
grep -q 'is on a PKCS#11 token' "$TMP/log/move.log" || fail "rotate: $(cat "$TMP/log/move.log")"
host_stop a
host_start a
online
attach a
wait_for 10 "addresses of a" protects b 4
ping4 a b -c 1

# and back: the token says so, once, and is not needed any more
told_twice() { [[ $(counter b control pin_vouched) == 2 ]]; }
sessions=$(ctlj a sessions | jq -c '[.sessions[].id]')
ctlj a rotate --file >"$TMP/back.json" || fail "rotate --file: $(cat "$TMP/back.json")"
[[ $(magic) == MVPNID1 && $(status_of a .device.id) == "$id" ]] || fail "identity $(magic)"
wait_for 5 "word of the file's key on b" told_twice
[[ $(ctlj a sessions | jq -c '[.sessions[].id]') == "$sessions" ]] || fail "the session was lost"
: >"$TMP/a/keyd.conf"
mv "$TMP/tokens" "$TMP/pocket"
drop_sessions
ping4 a b -c 1
host_stop a
host_start a
online
ctlj b status | jq -e '.counters.control | .pin_changed == 0 and .bad_vouch == 0' >/dev/null || fail "the alarm on b: $(tail -n 3 "$TMP/log/keyd-b.log")"
srvj audit --limit 1000 | jq -e '[.events[] | select(.event == "device-rotate") | .detail] | length == 2 and .[0].to == .[1].from' >/dev/null ||
	fail "the audit trail: $(srvj audit)"
