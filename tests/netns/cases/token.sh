# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# a's private key is on a PKCS#11 token (SoftHSM's), for X25519: enrolment makes it there, log-in and introductions of both roles use it there.
# Without the token the session that there is goes on and no new one is made, both with a reason; it is used again when it is back, and
# when it has crashed or hung. A wrong PIN is tried once.
# waits
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/../lib.sh"

softhsm_up
cat >"$TMP/a/keyd.conf" <<-CONF
	[identity]
	pkcs11 = pkcs11:token=mvpn;object=device?module-path=$MODULE
	pin_file = $TMP/pin
	token_key = ecdh
CONF
usable() { ctlj a identity show | jq -e '.token_problem == null'; }
problem() { ctl a status | finds "PROBLEM.*$1"; }

net_up
ctlj a identity show | jq -e '.private_key == "token"' >/dev/null || fail "$(ctlj a identity show)"
[[ $(head -c 7 "$TMP/a/state/identity") == MVPNIDT ]] || fail "the identity file says that it holds the key"
ping4 a b -c 2 -i 0.05
drop_sessions
ping4 b a -c 2 -i 0.05
capture_start wire a
copy a b tcp 4 100000
capture_stop wire
assert_only_sealed wire a b

# the peer changes its key: the token computes what checks its old key's word. The token's own key is not changed
vouched() { [[ $(counter a control pin_vouched) == 1 ]]; }
ctlj b rotate >/dev/null || fail "b cannot rotate"
wait_for 5 "b's new key on a" vouched
! ctl a rotate >"$TMP/log/rotate.log" 2>&1 || fail "the key on the token is changed"
grep -q 'is on a PKCS#11 token' "$TMP/log/rotate.log" || fail "rotate: $(cat "$TMP/log/rotate.log")"
drop_sessions
ping4 a b -c 1
ctlj a status | jq -e '.counters.control | .pin_changed == 0 and .bad_vouch == 0' >/dev/null || fail "the alarm: $(tail -n 3 "$TMP/log/keyd-a.log")"

# the helper has no capabilities
helper=$(pgrep -P "$(pid_of keyd-a)" -f token-helper) || fail "no helper process"
[[ $(awk '/^Cap(Eff|Prm)/ { print $2 }' "/proc/$helper/status" | sort -u) == 0000000000000000 ]] || fail "the helper has capabilities"

# taken out: told, the session lives, its rekey and new ones fail with a reason
mv "$TMP/tokens" "$TMP/pocket"
mkdir "$TMP/tokens"
wait_for 8 "problem with the token" problem "token"
ping4 a b -c 2 -i 0.05
ctl a doctor >"$TMP/log/doctor.log" && fail "doctor is content"
grep -q 'fail.*token' "$TMP/log/doctor.log" || fail "doctor: $(cat "$TMP/log/doctor.log")"
ctl a rekey b >"$TMP/log/rekey.log" 2>&1 && fail "a rekey without the token"
drop_sessions
! ping4 a b -c 1 -W 1 || fail "a new session without the token"
! ping4 b a -c 1 -W 1 || fail "a new session without the token, from b"
why() { ctl b peers | finds 'on a token'; }
wait_for 5 "the reason on b" why

# back; its helper may also crash
rmdir "$TMP/tokens"
mv "$TMP/pocket" "$TMP/tokens"
wait_for 15 "token" usable
drop_sessions
ping4 a b -c 2 -i 0.05
helper=$(pgrep -P "$(pid_of keyd-a)" -f token-helper)
kill -SEGV "$helper"
wait_for 5 "another helper" test ! -e "/proc/$helper/stat"
wait_for 10 "token" usable

# or hang: keyd does not, ends it when its time is over, and starts another one
helper=$(pgrep -P "$(pid_of keyd-a)" -f token-helper)
kill -STOP "$helper"
drop_sessions
! ping4 a b -c 1 -W 1 || fail "a new session from a token that does not answer"
ctl a status >/dev/null || fail "keyd hangs with the token"
wait_for 8 "problem with a token that hangs" problem "has not answered"
wait_for 5 "end of the helper that hangs" test ! -e "/proc/$helper/stat"
wait_for 10 "token" usable
ctlj a status | jq -e '.counters.control | .token_timeout == 1 and .token_failed >= 2' >/dev/null || fail "not counted: $(ctlj a status | jq -c .counters.control)"
drop_sessions
ping4 a b -c 2 -i 0.05

# a restart logs in by the token; with a wrong PIN it waits for a person
host_stop a
echo 9999 >"$TMP/pin"
host_start a
wait_for 5 "problem with the PIN" problem PIN
[[ $(grep -c 'does not take the PIN' "$TMP/log/keyd-a.log") == 1 ]] || fail "the wrong PIN was tried again"
echo 1234 >"$TMP/pin"
ctl a reload >/dev/null
ctl a wait --timeout 10 >/dev/null || fail "a is not online: $(ctlj a status)"
! grep -rq 1234 "$TMP"/log/keyd-a.log || fail "the PIN in the log"
assert_no_leak a
