# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# a's key is on a PKCS#11 token (SoftHSM's) and only signs: it vouches for the key that a uses, for some seconds, and for the next one before
# those are over, with which no session is lost and no pin changes. Without the token no new session is made; then the channel ends, with the reason,
# and begins again when it is back.
# waits
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/../lib.sh"

softhsm_up
conf() { # SECONDS
	cat >"$TMP/a/keyd.conf" <<-CONF
		[identity]
		pkcs11 = pkcs11:token=mvpn;object=device?module-path=$MODULE
		pin_file = $TMP/pin
		delegation_s = $1
	CONF
}
delegated() { srvj status | jq .counters.delegated; }
renewed() { (($(delegated) > $1)); }
session_of() { ctlj "$1" sessions | jq -r '[.sessions[] | select(.state == "active")][0].id // ""'; }
problem() { ctl a status | finds "PROBLEM.*$1"; }
is_closed() { [[ $(status_of a .state) == offline ]]; }
is_online() { ctl a wait --timeout 15 >/dev/null || fail "a is not online: $(ctlj a status)"; }

conf 600
net_up
ctlj a identity show | jq -e '.private_key == "token" and .token_key == "sign" and .delegated_until > now' >/dev/null || fail "$(ctlj a identity show)"
ctl a identity show | finds 'vouches for the key in use until' || fail "the table: $(ctl a identity show)"
[[ $(head -c 7 "$TMP/a/state/identity") == MVPNIDD ]] || fail "the identity file is of another form"
[[ $(status_of a .device.fingerprint) == $(srvj device show a | jq -r .fingerprint) ]] || fail "the server shows another key"
srv device show a | finds 'vouches for the key in use until' || fail "the table: $(srv device show a)"
ping4 a b -c 2 -i 0.05
drop_sessions
ping4 b a -c 2 -i 0.05

# the server forgets its channels: a logs in with the key that it has, and the token is not asked
n=$(delegated)
mv "$TMP/tokens" "$TMP/pocket"
mkdir "$TMP/tokens"
stop mvpn-server
cp -a "$TMP/server/state" "$TMP/server/backup"
server_start
is_online
[[ $(delegated) == 0 ]] || fail "another key without the token ($n before)"
rmdir "$TMP/tokens"
mv "$TMP/pocket" "$TMP/tokens"

# another life of keyd has another key, which the token vouches for; it is short of time and gets the next ones
host_stop a
conf 6
host_start a
is_online
[[ $(delegated) == 1 ]] || fail "$(delegated) keys after the start"
ping4 a b -c 2 -i 0.05
session=$(session_of a)
[[ -n $session ]] || fail "no session: $(ctlj a sessions)"
n=$(delegated)
on a ping -qni 0.2 -w 7 "${ADDR4[b]}" >"$TMP/log/ping.log" &
pinging=$!
wait_for 8 "next key" renewed "$n"
wait "$pinging"
grep -q ' 0% packet loss' "$TMP/log/ping.log" || fail "$(cat "$TMP/log/ping.log")"
[[ $(session_of a) == "$session" ]] || fail "the session changed with the key"
ctl a rekey b >/dev/null
[[ $(counter b control pin_changed) == 0 ]] || fail "the pin changed with the key"
[[ $(srvj audit | jq '[.events[] | select(.event == "device-delegate")] | length') -ge 2 ]] || fail "the audit trail: $(srvj audit)"

# a peer changes its key: its old one vouches to the key that a uses, not to the one that only signs; nobody's alarm goes off
told() { [[ $(counter a control "$1") == "$2" ]]; }
ctlj b rotate >/dev/null || fail "b cannot rotate"
wait_for 5 "b's new key on a" told pin_vouched 1
[[ $(counter a control bad_vouch) == 0 && $(counter a control stale_vouch) == 0 ]] || fail "a vouch was refused: $(tail -n 3 "$TMP/log/keyd-a.log")"
drop_sessions
ping4 a b -c 1
[[ $(counter a control pin_changed) == 0 ]] || fail "the alarm: $(tail -n 3 "$TMP/log/keyd-a.log")"
# ... but one that is started anew has no such key any more: it says so
host_stop a
ctlj b rotate >/dev/null || fail "b cannot rotate"
host_start a
is_online
wait_for 5 "word that it cannot be checked" told stale_vouch 1
[[ $(counter a control bad_vouch) == 0 ]] || fail "a vouch was refused: $(tail -n 3 "$TMP/log/keyd-a.log")"
attach a
wait_for 10 "addresses of a" protects b 4
ping4 a b -c 1
told pin_changed 1 || fail "no alarm"

# without the token: the session lives, then the server ends the channel
mv "$TMP/tokens" "$TMP/pocket"
mkdir "$TMP/tokens"
wait_for 8 "problem with the token" problem token
! ctl a rekey b >"$TMP/log/rekey.log" 2>&1 || fail "a rekey without the token"
wait_for 10 "end of the channel" is_closed
grep -q 'closed by the server: the device.s token does not vouch' "$TMP/log/keyd-a.log" || fail "no reason"
ping4 a b -c 2 -i 0.05
rmdir "$TMP/tokens"
mv "$TMP/pocket" "$TMP/tokens"
is_online
drop_sessions
ping4 a b -c 2 -i 0.05

# a server that was restored does not know the key in use: it gets another one
stop mvpn-server
rm -r "$TMP/server/state"
mv "$TMP/server/backup" "$TMP/server/state"
server_start
wait_for 10 "key after the server was restored" renewed 0
is_online
assert_no_leak a
