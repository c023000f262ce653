# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# The server changes its key under traffic, and is killed in the middle: no datagram, no session and no device is lost, and a device
# that dies before or after it has kept the new key follows. Who was away for all of it is told so, and one command lets it back.
# waits
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/../lib.sh"

key() { srvj key show | jq -r "$1"; }
pinned() { status_of "$1" .server.fingerprint; }
session() { ctlj "$1" sessions | jq -c '[.sessions[].id]'; }
heard() { [[ $(key .heard) == 2 ]]; }
has_next() { [[ $(status_of "$1" .server.next_key.fingerprint) == "$second" ]]; }
follows() { [[ $(pinned "$1") == "$second" ]]; }
online() { [[ $(status_of "$1" .state) == online ]]; }
by_new() { [[ $(key .channels_by_old) == 0 && $(srvj status | jq .channels) == 2 ]]; }
one_key() { [[ $(status_of a .server.old_key) == null ]]; }
told_why() { status_of b .server.error | finds 'mvpnctl pin'; }
says() { # PATTERN COMMAND…: it fails, and says so
	local pattern=$1 out
	shift
	! out=$("$@" 2>&1) || fail "$* succeeds"
	grep -q "$pattern" <<<"$out" || fail "$*: no '$pattern' in: $out"
}

net_up
serve b
ping4 a b -c 1
early=$(token c --ttl 0)
sessions=$(session a) first=$(pinned a)
[[ $(key .key.fingerprint) == "$first" && $(stat -c %a "$TMP/server/state/server.key") == 600 ]] || fail "the key: $(key .)"
spawn load a "$PINGPONG" send "${ADDR4[b]}" 7000 200 4 1000

srv key rotate --after 1h --comment yearly >"$TMP/rotate.txt" || fail "$(cat "$TMP/rotate.txt")"
second=$(key .next.fingerprint)
for h in a b; do
	wait_for 5 "next key on $h" has_next "$h"
done
wait_for 5 "word of both" heard
cp -a "$TMP/a/state/server_pins" "$TMP/announced"
ctl a status | finds "next key $second" || fail "status: $(ctl a status)"
srv key show | finds '2 of 2 know the new one' || fail "key show: $(srv key show)"
srv status | finds 'is being changed: announced' || fail "server status: $(srv status)"
says 'announced, and not in use' srv key rotate
says 'does not go with' srv key rotate --now --after 1h
[[ $(pinned a) == "$first" ]] || fail "it is in use already"

# killed between two steps, with the devices' channels
stop mvpn-server KILL
server_start
[[ $(key .next.fingerprint) == "$second" && $(stat -c %a "$TMP/server/state/server.key") == 600 ]] || fail "after a crash: $(key .)"
srv key rotate --now >/dev/null
for h in a b; do
	wait_for 20 "new key on $h" follows "$h"
done
ctl a status | finds "old key $first" || fail "status: $(ctl a status)"
says 'in use already' srv key cancel
wait_for 20 "channels of the new key" by_new
wait_for 20 "end of the load" gone "$(pid_of load)"
read -r _ sent _ received _ duplicate _ <"$TMP/log/load.log" || fail "no figures: $(cat "$TMP/log/load.log")"
((sent > 1000 && sent == received && duplicate == 0)) || fail "of $sent datagrams $received arrived, $duplicate twice"
[[ $(session a) == "$sessions" ]] || fail "the session was lost"

# a dies before it has written that there is a next key, and before it has written that it is in use
for state in none announced; do
	host_stop a KILL
	rm -f "$TMP/a/state/server_pins"
	[[ $state == none ]] || cp -a "$TMP/announced" "$TMP/a/state/server_pins"
	host_start a
	wait_for 20 "new key on a ($state)" follows a
	online a || fail "a is $(status_of a .state)"
done

# b hears nothing of it, and the old key goes
host_stop b
rm "$TMP/b/state/server_pins"
wait_for 10 "word of both" heard
srv key rotate --now >/dev/null || fail "the old key stays: $(key .)"
wait_for 15 "end of the old key on a" one_key # once its channel is of the new one
host_start b
wait_for 10 "reason on b" told_why
says '64 hexadecimal digits' ctl b pin "$second"
ctl b pin "$(key .key.public_key)" >/dev/null || fail "b cannot pin"
wait_for 10 "b back" online b
says 'answers by the key that is pinned' ctl b pin "$(key .key.public_key)"
attach a
attach b
for h in a b; do
	wait_for 10 "addresses on $h" protects "$h" 4
done
ping4 a b -c 1

# a token of before
host_start c
says 'pins a key that the server has given up' ctl c enroll --token-file "$early" --name c
srv token list | finds 'server-key' || fail "tokens: $(srv token list)"
enrol c
[[ $(pinned c) == "$second" ]] || fail "c has pinned $(pinned c)"
srvj audit --verify >/dev/null
srvj audit --limit 1000 | jq -e '[.events[] | select(.event | startswith("server-key")) | .event]
	== ["server-key-rotate", "server-key-switch", "server-key-give-up"]' >/dev/null || fail "the audit trail: $(srvj audit --limit 1000)"
