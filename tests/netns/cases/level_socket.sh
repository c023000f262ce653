# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# `level socket`: TCP connections are sealed above TCP and carried by keyd. Both ends see each other's true addresses, bytes come
# through exactly, half-closes and resets too, and nothing of it is to be read on the wire. What the policy or the other end
# refuses is refused, and without keyd nothing passes.
# wires: udp
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/../lib.sh"

need python3 setpriv
STREAM=$ROOT/tests/netns/stream.py
soft=$(ulimit -Sn)
ulimit -Sn 256 # keyd allows itself what it needs
net_up
ulimit -Sn "$soft"
policy $'allow a -> b\nlevel socket a -> b'
diverts() { ctlj "$1" explain "$2" | jq -e '.why|any(contains("at the socket"))'; }
wait_for 5 "level on a" diverts a "${ADDR4[b]}"
wait_for 5 "level on b" diverts b "${ADDR4[a]}"
spawn serve b "$STREAM" serve 8000
wait_for 5 listener grep -q ready "$TMP/log/serve.log"

ask() { # FROM TO FAMILY WHAT [N]
	local to=${ADDR4[$2]}
	[[ $3 == 4 ]] || to=${ADDR6[$2]}
	on "$1" "$STREAM" ask "$to" 8000 "${@:4}" || true
}
streams() { ctlj "$1" status | jq '.streams.open // 0'; }
has_streams() { # COUNT HOST…
	local h
	for h in "${@:2}"; do
		[[ $(streams "$h") == "$1" ]] || return 1
	done
}
carried() { [[ $(ask a b 4 who) == "${ADDR4[a]} "* ]]; }
strangers() { (($(ctlj b status | jq .counters.control.streams_stranger) == $1)); }

# true addresses at both ends, in both families: as accept(), getpeername() and getsockname() tell them
capture_start wire b
for family in 4 6; do
	read -r by_accept aport by_name nport at atport src sport dst dport < <(ask a b "$family" who)
	[[ $family == 4 ]] && addr_a=${ADDR4[a]} addr_b=${ADDR4[b]} || addr_a=${ADDR6[a]} addr_b=${ADDR6[b]}
	[[ "$by_accept $by_name $at $src $dst" == "$addr_a $addr_a $addr_b $addr_a $addr_b" ]] ||
		fail "IPv$family addresses: b sees $by_accept $by_name at $at, a sees $src to $dst"
	[[ "$aport $nport $atport $dport" == "$sport $sport 8000 8000" ]] ||
		fail "IPv$family ports: $aport $nport $atport, at a $sport $dport"
done

# exact in both directions, each after the other's half-close
[[ $(ask a b 4 sum 20000000) == exact ]] || fail "20 MB to b"
[[ $(ask a b 6 send 20000000) == exact ]] || fail "20 MB to a"
wait_for 5 "the other direction" grep -q '^20000000 ' "$TMP/log/serve.log"
printf 'sum\nIN-THE-CLEAR-IN-THE-CLEAR' | on a timeout 5 socat -t5 - "TCP:${ADDR4[b]}:8000" >/dev/null
capture_stop wire
for h in a b; do
	[[ $(counter "$h" shim ingress_clear) == 0 ]] || fail "$(counter "$h" shim ingress_clear) packets of streams taken for clear ones on $h"
done
assert_no_plaintext wire IN-THE-CLEAR
(($(packets wire "tcp port $DATA_PORT") > 20)) || fail "no streams on the wire"
(($(packets wire "tcp port 8000") == 0)) || fail "the application's own connection is on the wire"

# more streams than descriptors that keyd was started with
crowd() { on a "$STREAM" crowd "${ADDR4[b]}" 8000 "$@" | cut -d' ' -f1; }
[[ $(crowd 150) == 150 ]] || fail "not 150 streams at once"
wait_for 5 "end of the crowd" has_streams 0 a b

# keys of the session change under a stream, which goes on
epoch() { ctlj a sessions | jq '[.sessions[] | select(.layer == "socket" and .transmits).epoch] | max'; }
before=$(epoch)
ticks() { # HOST NAME: of the threads whose names begin so
	local t
	for t in /proc/"$(pid_of "keyd-$1")"/task/*; do
		[[ $(<"$t/comm") != "$2"* ]] || awk '{ print $14 + $15 }' "$t/stat"
	done | awk '{ n += $1 } END { print n + 0 }'
}
declare -A before_h
for h in a b; do before_h[$h]="$(ticks "$h" mvpn-p) $(ticks "$h" keyd)"; done
ask a b 4 sum 150000000 >"$TMP/long" &
wait_for 5 "the long stream" has_streams 1 a
for ((i = 0; i < 2; i++)); do
	ctl a rekey b >/dev/null || fail "no rekey of streams"
done
has_streams 1 a || fail "the stream was over before its session's keys had changed"
(($(epoch) >= before + 2)) || fail "epoch $(epoch) after $before"
wait $!
[[ $(<"$TMP/long") == exact ]] || fail "150 MB over two changes of keys: $(<"$TMP/long")"
wait_for 5 "its end" has_streams 0 a b
# moved by other threads than keyd's main one
for h in a b; do
	read -r pumps main <<<"${before_h[$h]}"
	pumps=$(($(ticks "$h" mvpn-p) - pumps)) main=$(($(ticks "$h" keyd) - main))
	((pumps > 2 * main)) || fail "$pumps ticks of the threads that move streams on $h, $main of the main one"
done

# a reset is one at the other end, either way; a reader that takes nothing stops the writer
[[ $(ask a b 4 reset) == reset ]] || fail "a reset at b"
[[ $(ask a b 4 wait) == bounded ]] || fail "no backpressure"
wait_for 5 "reset from a" grep -q '^reset' "$TMP/log/serve.log"
wait_for 5 "end of all streams" has_streams 0 a b

# nobody listens there; the policy goes, and streams with it; keyd goes
[[ $(on a "$STREAM" ask "${ADDR4[b]}" 8001 who || true) == "refused 111" ]] || fail "port 8001 answers"
spawn held a "$STREAM" ask "${ADDR4[b]}" 8000 stay
wait_for 5 "a stream" has_streams 1 a
whose() { # HOST: the streams to or from port 8000, and whether the process is known
	ctlj "$1" flows | jq -c '[.flows[] | select(.level == "socket" and .verdict == "stream") | [.src, .dst, .dport, .sport == 8000, .process.pid]]'
}
[[ $(whose a) == "[[\"${ADDR4[a]}\",\"${ADDR4[b]}\",8000,false,$(pid_of held)]]" ]] || fail "flows on a: $(whose a)"
[[ $(whose b) == "[[\"${ADDR4[b]}\",\"${ADDR4[a]}\","*",true,$(pid_of serve)]]" ]] || fail "flows on b: $(whose b)"
ctlj b flows | jq -e '[.flows[] | select(.verdict == "stream")][0].process.inode > 0' >/dev/null || fail "flows on b name no process"
ctlj a doctor | jq -e '.checks[] | select(.name == "socket level") | .result == "ok"' >/dev/null || fail "doctor: $(ctlj a doctor)"
ctlj a sessions | jq -e 'any(.sessions[]; .transmits and .level == "socket" and .streams == 1)' >/dev/null || fail "sessions do not say the level, or the stream"
policy 'level socket a -> b'
wait_for 5 "end of the stream" has_streams 0 a b
[[ $(ask a b 4 who) =~ ^"refused "(113|1)$ ]] || fail "without the policy: $(ask a b 4 who)"
[[ $(ask a b 4 who) == "refused 1" ]] || fail "refused before: $(ask a b 4 who)"
strangers 0 || fail "strangers at b"
policy $'allow a -> b\nlevel socket a -> b'
wait_for 5 "level on a" diverts a "${ADDR4[b]}"
wait_for 10 "streams again" carried
# without a descriptor left a connection waits, on which keyd does not spin, and is taken up once there is one
before=$(counter a control streams_refused)
limit=$(prlimit --pid "$(pid_of keyd-a)" --nofile --noheadings --output SOFT,HARD | awk '{print $1 ":" $2}')
free=$(find "/proc/$(pid_of keyd-a)/fd" -mindepth 1 -printf '%f\n' | sort -n | awk '$1 != n {exit} {n++} END {print n}')
prlimit --pid "$(pid_of keyd-a)" --nofile="$free:${limit#*:}"
spawn queue a "$STREAM" crowd "${ADDR4[b]}" 8000 300
sleep 1
prlimit --pid "$(pid_of keyd-a)" --nofile="$limit"
wait_for 10 "streams once there is room" carried
tries=$(($(counter a control streams_refused) - before))
((tries > 0 && tries < 100)) || fail "$tries tries to take a connection up in a second without a descriptor"
stop queue
# a rule with ports is for streams, too
spawn serve2 b "$STREAM" serve 8001
wait_for 5 listener grep -q ready "$TMP/log/serve2.log"
[[ $(on a "$STREAM" ask "${ADDR4[b]}" 8001 who || true) == "${ADDR4[a]} "* ]] || fail "port 8001 before the rule"
policy $'allow only a -> b proto tcp port 8000\nlevel socket a -> b'
wait_for 10 "streams to the port that is named" carried
[[ $(on a "$STREAM" ask "${ADDR4[b]}" 8001 who || true) == "refused 113" ]] || fail "a stream to a port that no rule names"
(($(counter a control streams_refused) > 0)) || fail "not refused by a itself"
policy $'allow a -> b\nlevel socket a -> b'
wait_for 10 "streams again" carried
# a change of services: what it still allows goes on, the rest is reset within a second, by either end for itself, though the other one's keyd
# does nothing; and each end says by which line it was open
policy $'allow only a -> b proto tcp port 8000-8002\nlevel socket a -> b'
wait_for 5 "end of what was asked" has_streams 0 a b
spawn slow a "$STREAM" ask "${ADDR4[b]}" 8000 slow
spawn stays a "$STREAM" ask "${ADDR4[b]}" 8001 stay
wait_for 5 "both streams" has_streams 2 a b
kill -STOP "$(pid_of keyd-a)"
policy $'allow only a -> b proto tcp port 8000\nlevel socket a -> b'
start=${EPOCHREALTIME/./}
wait_for 5 "the end of one of them at b" has_streams 1 b
((${EPOCHREALTIME/./} - start < 1000000)) || fail "a stream to 8001 is open a second after the policy has gone"
wait_for 3 "a reset at b" grep -q '^reset' "$TMP/log/serve2.log"
kill -CONT "$(pid_of keyd-a)"
wait_for 1 "the end of it at a" has_streams 1 a
[[ $(counter a control streams_forbidden) == 1 && $(counter b control streams_forbidden) == 1 ]] || fail "not counted as forbidden"
audited() {
	srvj audit --limit 50 | jq -e --arg d "$1" --argjson pid "$(pid_of "$2")" '[.events[] | select(.event == "process-refused") | .detail | select(.device == $d and .refused == "service" and .port == 8001 and .line == 1) |
		select(.pid == $pid and .uid == 0 and .process == "stream.py" and (.exe | contains("/python3")) and (.rule | endswith("8000-8002")) and has("unit"))] | length == 1' >/dev/null
}
wait_for 3 "the audit of a's end" audited a stays
wait_for 3 "the audit of b's end" audited b serve2
renewed() { [[ $(ctlj a sessions | jq -c '[.sessions[] | select(.layer == "socket" and .transmits) | .services.remote]') == '[["tcp 8000"]]' ]]; }
wait_for 5 "a session for the new services" renewed
has_streams 1 a b || fail "the stream to 8000 did not outlive it"
kill -USR1 "$(pid_of slow)"
wait_for 10 "the end of the stream that is still allowed" gone "$(pid_of slow)"
[[ $(<"$TMP/log/slow.log") == exact ]] || fail "the stream that is still allowed: $(<"$TMP/log/slow.log")"
policy $'allow a -> b\nlevel socket a -> b'
wait_for 10 "streams again" carried
# what is no stream of a peer's costs a close
on c "$POKE" tcp "${ADDR4[b]}" "$DATA_PORT" 2>/dev/null || printf '%0100d' 0 | on c timeout 3 socat -t1 - "TCP:${ADDR4[b]}:$DATA_PORT" >/dev/null || true
wait_for 3 "a stranger counted" strangers 1
# the port is taken: doctor says so, nothing passes, and it is tried again
policy 'allow a -> b'
stays() { ! diverts a "${ADDR4[b]}"; }
wait_for 5 "level network" stays
spawn taken a socat TCP6-LISTEN:"$DATA_PORT",ipv6only=0,reuseaddr,fork -
wait_for 5 "the port's new owner" listening a t "$DATA_PORT"
policy $'allow a -> b\nlevel socket a -> b'
fails() { { ctlj a doctor || true; } | jq -e '.checks[] | select(.name == "socket level") | .result == "fail" and (.detail | contains("7469"))'; }
wait_for 5 "doctor's word" fails
[[ $(ask a b 4 who) == refused* ]] || fail "past the socket: $(ask a b 4 who)"
assert_counter_over a dp drop_level 0
stop taken
wait_for 10 "streams once the port is free" carried
capture_start dead b
host_stop a KILL
! on a timeout 2 socat - "TCP:${ADDR4[b]}:8000,connect-timeout=1" </dev/null 2>/dev/null || fail "connected without keyd"
capture_stop dead
(($(packets dead "tcp port 8000") == 0)) || fail "in clear without keyd"
assert_no_leak b
# with few descriptors, and no right to more, streams leave some to the rest of keyd: beyond that connections wait, and the journal says why
(
	ulimit -n 400
	KEYD_BY=(setpriv --bounding-set -sys_resource)
	host_start a
)
wait_for 10 "streams with few descriptors" carried
wait_for 5 "end of that stream" has_streams 0 a b
held=$(crowd 74 1)
((held >= 60 && held <= 72)) || fail "$held streams with 400 descriptors, of which 256 are not for streams"
ctl a status >/dev/null || fail "keyd does not answer"
grep -q '72 streams at once.*LimitNOFILE' "$TMP/log/keyd-a.log" || fail "nothing said about the descriptors"
