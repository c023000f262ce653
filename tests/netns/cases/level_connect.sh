# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# connect() at `level socket` says what the other end says: success once the program there has the connection, and not before; refused,
# unreachable, prohibited or nothing at all, as it is there; and whoever tries the next address then gets on. In between keyd's death is
# an error, and nothing goes in clear.
# wires: udp
# waits
# shellcheck source=tests/netns/gateway.sh
source "$(dirname "$0")/../gateway.sh"

need python3 curl socat nft
STREAM=$ROOT/tests/netns/stream.py
net_up
behind b
level=$'\nlevel socket a -> b\nprotect 10.9.0.0/24 via b\nprotect fd09::/64 via b'
policy "allow a -> b$level"
diverts() { ctlj a explain "$1" | jq -e '.why|any(contains("at the socket"))'; }
for to in "${ADDR4[b]}" "${ADDR6[b]}" "${ADDR4[d]}" "${ADDR6[d]}"; do
	wait_for 10 "$to at the socket" diverts "$to"
done
wait_for 10 "the prefixes on b" protects b 6
for h in b d; do
	spawn "serve-$h" $h "$STREAM" serve 8000
	wait_for 5 listener grep -q ready "$TMP/log/serve-$h.log"
done
says() { # EXPECTED WHAT HOST PORT HOW [SECONDS]: and how long it took, into $took
	local said
	said=$(on a "$STREAM" connect "${@:3}")
	took=${said#* }
	[[ ${said% *} == "$1" ]] || fail "$2: connect() to $3 port $4, $5, says $said, not $1"
}
capture_start wire b

# there are slower answers than the others: a host that is not there, and a firewall that says nothing
on d nft -f - <<-RULES
	table inet firewall {
		chain in {
			type filter hook input priority 0
			tcp dport 8002 drop
		}
	}
RULES
spawn nobody a "$STREAM" connect 10.9.0.99 8000 poll 9
spawn dropped a "$STREAM" connect "${ADDR4[d]}" 8002 poll 3

for family in 4 6; do
	declare -n addr=ADDR$family
	for to in "${addr[b]}" "${addr[d]}"; do
		for how in block poll fast mptcp; do
			says ok "a listener" "$to" 8000 $how
			((took < 900)) || fail "connect() to $to, $how, took $took ms: a SYN was lost"
			says ECONNREFUSED "nobody listens" "$to" 8001 $how
			((took < 900)) || fail "$to refused after $took ms, $how"
		done
	done
done
has_none() { [[ $(ctlj "$1" status | jq '.streams.open') == 0 ]]; }
wait_for 5 "end of the streams" has_none a
# programs that try the next one
spawn web b python3 -m http.server --bind "${ADDR4[b]}" --directory "$ROOT/docs" 8088
wait_for 5 "web server" listening b t 8088
on a curl -sS -m 5 -o "$TMP/got" --resolve "web.test:8088:[${ADDR6[b]}],${ADDR4[b]}" http://web.test:8088/control.md ||
	fail "curl does not come to the address that answers"
cmp "$ROOT/docs/control.md" "$TMP/got" || fail "the page is another one"
! on a socat -u /dev/null "TCP:${ADDR4[b]}:8001" 2>/dev/null || fail "port 8001 looks open"
on a socat -u /dev/null "TCP:${ADDR4[b]}:8000" || fail "port 8000 looks closed"

# what was slower: as long as the network itself takes to find nobody there, and until the program has enough
ended() { # NAME TEXT
	local said
	wait_for 10 "the end of $1" grep -q . "$TMP/log/$1.log"
	said=$(<"$TMP/log/$1.log")
	[[ ${said% *} == "$2" ]] || fail "$1: connect() says $said, not $2"
}
ended dropped silent
ended nobody EHOSTUNREACH

# no success before the other end has it: its keyd says nothing for a second
kill -STOP "$(pid_of keyd-b)"
spawn patient a "$STREAM" connect "${ADDR4[b]}" 8000 poll 8
sleep 1.2
[[ ! -s $TMP/log/patient.log ]] || fail "connect() says $(<"$TMP/log/patient.log") while the other keyd is stopped"
kill -CONT "$(pid_of keyd-b)"
ended patient ok

# policy, before the stream is opened
policy "allow only a -> b proto tcp port 8000$level"
prohibited() { [[ $(on a "$STREAM" connect "${ADDR4[b]}" 8001 poll) == "EHOSTUNREACH "* ]]; }
wait_for 10 "a port that no rule names, prohibited" prohibited
says EACCES "a port that no rule names" "${ADDR6[b]}" 8001 block
policy "allow a -> b$level"
open_again() { [[ $(on a "$STREAM" connect "${ADDR4[b]}" 8001 poll) == "ECONNREFUSED "* ]]; }
wait_for 10 "the policy" open_again

# the other host has no keyd any more: no way leads there
host_stop b KILL
spawn gone4 a "$STREAM" connect "${ADDR4[b]}" 8000 poll 9
spawn gone6 a "$STREAM" connect "${ADDR6[b]}" 8000 block 9
ended gone4 EHOSTUNREACH
ended gone6 EHOSTUNREACH

# keyd dies while they wait: refused when TCP asks again
for n in 1 2 3; do
	spawn "orphan$n" a "$STREAM" connect "${ADDR4[b]}" 8000 poll 9
done
waiting() { (($(on a ss -Htn state syn-sent dst "${ADDR4[a]}" | wc -l) == $1)); }
wait_for 5 "three that wait" waiting 3
port=$(on a ss -Htn state syn-sent dst "${ADDR4[a]}" | awk '{n = split($4, to, ":"); print to[n]}' | sort -u)
host_stop a KILL
! timeout 10 nsenter --net="/run/netns/$P-a" "$STREAM" serve "$port" 2>"$TMP/log/other.log" || fail "another program listens on port $port"
grep -q 'Operation not permitted' "$TMP/log/other.log" || fail "listening on port $port: $(tail -1 "$TMP/log/other.log")"
for n in 1 2 3; do
	ended "orphan$n" ECONNREFUSED
done

capture_stop wire
(($(packets wire "tcp and port 8000 and host ${ADDR4[a]}") == 0)) || fail "the application's own connection is on the wire"
(($(packets wire "tcp port $DATA_PORT") > 20)) || fail "no streams on the wire"
