# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# An identity that is sealed with a passphrase: set and removed while keyd runs; read from where keyd.conf says or typed by a person
# after the start; with a wrong one keyd is locked and says so. As a systemd credential it is read and never written.
# waits
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/../lib.sh"
MVPN_SLOW=${MVPN_SLOW:-4} # each opening takes a second of CPU time

topo_up server a
STATE=$TMP/a/state
server_start
phrase() { (umask 077 && echo "$2" >"$TMP/$1"); }
magic() { head -c 7 "$STATE/identity"; }
is_online() { ctl a wait --timeout 10 >/dev/null || fail "a is not online: $(ctlj a status)"; }
refused() { # CODE VERB…
	local out
	out=$(ctlj a "${@:2}") && fail "'${*:2}' succeeded"
	[[ $(jq -r .error.code <<<"$out") == "$1" ]] || fail "'${*:2}' says $out"
}
phrase good "correct horse battery"
phrase bad "incorrect horse"
printf '[identity]\npassphrase_file = %s\n' "$TMP/good" >"$TMP/keyd.conf"

# one that cannot be read is not as good as none
mkdir -p "$TMP/a"
cp "$TMP/keyd.conf" "$TMP/a/keyd.conf"
chmod 644 "$TMP/good"
host_start a
[[ $(status_of a .state) == locked ]] || fail "an unreadable passphrase leaves $(status_of a .state)"
refused locked enroll --token-file "$(token a)"
chmod 600 "$TMP/good"
host_stop a

# enrolment seals what it gets, if there is a passphrase
host_start a
enrol a
[[ $(magic) == MVPNID2 ]] || fail "enrolment did not seal the identity"
ctlj a identity show | jq -e '.kept == "file" and .sealed and (.locked | not)' >/dev/null || fail "$(ctlj a identity show)"
ctl a identity show | finds 'sealed with a passphrase' || fail "the table: $(ctl a identity show)"
refused not-locked identity unlock --passphrase-file "$TMP/good"

# locked with a wrong passphrase, until a person knows better
phrase old "correct horse battery"
phrase good "another horse"
host_stop a
host_start a
[[ $(status_of a .state) == locked ]] || fail "a wrong passphrase leaves $(status_of a .state)"
ctl a status | finds 'does not open the identity' || fail "status does not say why: $(ctl a status)"
refused locked enroll --token-file "$(token a)"
refused locked identity passphrase set --passphrase-file "$TMP/good"
refused wrong-passphrase identity unlock --passphrase-file "$TMP/bad"
[[ $(status_of a .state) == locked ]] || fail "a wrong passphrase unlocked"
ctl a identity unlock --passphrase-file - <"$TMP/old" >"$TMP/log/unlock.log" || fail "unlock: $(cat "$TMP/log/unlock.log")"
is_online

# removed: plain again; set: what the next start would miss is told
ctl a identity passphrase remove | finds 'without a passphrase' || fail "remove"
[[ $(magic) == MVPNID1 ]] || fail "the identity is still sealed"
[[ $(stat -c %a "$STATE/identity") == 600 ]] || fail "mode $(stat -c %a "$STATE/identity")"
phrase third "third"
ctlj a identity passphrase set --passphrase-file "$TMP/third" | jq -e '.sealed and (.warning | test("another passphrase"))' >/dev/null ||
	fail "no warning"

# as systemd would give it: identity and passphrase are credentials, and the file is gone
host_stop a
mkdir -m 700 "$TMP/cred"
mv "$STATE/identity" "$TMP/cred/mvpn.identity"
cp "$TMP/third" "$TMP/cred/mvpn.passphrase"
: >"$TMP/a/keyd.conf"
export CREDENTIALS_DIRECTORY=$TMP/cred
host_start a
is_online
ctlj a identity show | jq -e '.kept == "credential" and .sealed' >/dev/null || fail "$(ctlj a identity show)"
refused read-only identity passphrase remove
refused read-only identity passphrase set --passphrase-file "$TMP/good"
refused read-only rotate
# the server's key may change nevertheless: what is pinned is a file of its own
follows() { [[ $(status_of a .server.old_key.fingerprint) != null ]]; }
srv key rotate --now >/dev/null
wait_for 5 "new key of the server" follows
host_stop a
host_start a
is_online
follows || fail "the new key is forgotten"
! grep -aq horse "$TMP"/log/*.log || fail "a passphrase in a log"
