# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# A token that is expired, used up, revoked, forged, mistyped, for another server or no token at all: refused with a
# reason, the device stays as it was, and a good one still works afterwards.
# sanitized
# waits
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/../lib.sh"

refused() { # WHAT FILE [PATTERN]: enrolment fails, and with the pattern in its message
	local status=0 out
	out=$(timeout 20 "$BUILD/mvpnctl" --socket "$TMP/a/keyd.sock" enroll --token-file "$2" --name a 2>&1) || status=$?
	((status >= 1 && status <= 5)) || fail "$1: enroll exits with $status: $out"
	[[ -z ${3:-} ]] || grep -qiE "$3" <<<"$out" || fail "$1: the message does not say $3: $out"
	[[ $(status_of a .state) == unenrolled ]] || fail "$1: the device is now $(status_of a .state)"
	say "$1: $out"
}

past() { (($(date +%s) > $1)); }

topo_up server a b c
server_start
host_start a
host_start b

short=$(token a --ttl 1)
made=$(date +%s)
used=$(token b)
ctl b enroll --token-file "$used" --name b >/dev/null
refused "used" "$used"
wait_for 5 "end of the short token" past $((made + 1))
refused "expired" "$short" "expired"

revoked=$(token a)
srvj token list | jq -e '[.tokens[] | select(.state == "used")] | length == 1' >/dev/null || fail "no used token in the list"
for id in $(srvj token list | jq -r '.tokens[] | select(.state == "valid" and .uses_left == 1) | .id'); do
	srv token revoke "$id" >/dev/null
done
refused "revoked" "$revoked"
good=$(token a)
for part in secret id server_key version flags mistyped; do
	"$POKE" forge "$good" $part >"$TMP/forged"
	refused "forged $part" "$TMP/forged"
done
head -c -9 "$good" >"$TMP/cut"
: >"$TMP/empty"
head -c 2000 /dev/urandom >"$TMP/noise"
for f in cut empty noise; do
	refused "$f" "$TMP/$f"
done
refused "missing file" "$TMP/no-such-file" "no-such-file"

# another server with the same address: the token pins the first one's key
stop mvpn-server
mv "$TMP/server/state" "$TMP/server/state.first"
server_start
refused "for another server" "$good"
other=$(token a)
stop mvpn-server
rm -rf "$TMP/server/state"
mv "$TMP/server/state.first" "$TMP/server/state"
server_start
refused "of another server" "$other"

ctl a enroll --token-file "$good" --name a >/dev/null || fail "the good token does not work after all that"
ctl a wait --timeout 10 >/dev/null
# nothing of a secret in the logs or the status
secret=$(<"$good")
! grep -rqF -- "${secret:6:40}" "$TMP/log" || fail "the token is in a log"
srv audit | finds -E 'enrolment-refused .*reason=token-(used|expired|revoked)' || fail "no refusal in the audit trail"
# who is enrolled says so, and stays who he is
! ctl a enroll --token-file "$(token a)" --name other >"$TMP/log/again" 2>&1 || fail "a enrolled twice"
grep -q 'already enrolled as a' "$TMP/log/again" || fail "enroll on an enrolled machine says: $(cat "$TMP/log/again")"
