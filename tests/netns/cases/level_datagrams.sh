# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# `level socket` for UDP: datagrams go to keyd, sealed, and to the other program, and each sees the other's true address, however it sends:
# connected or not, IPv4, IPv6 or IPv4 by an IPv6 socket. Sizes up to the largest come through exactly; nothing of it is on the wire.
# What does not fit is lost and counted; what no rule names, and what has gone round the socket, is refused.
# wires: udp
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/../lib.sh"

need python3
UDP=$ROOT/tests/netns/datagram.py
net_up
at_level() { ctlj "$1" explain "${ADDR4[$2]}" | jq -e --arg l "$3" '.level == $l'; }
level() { # LEVEL ALLOW
	policy "$2"$'\nlevel '"$1 a -> b"
	wait_for 5 "level on a" at_level a b "$1"
	wait_for 5 "level on b" at_level b a "$1"
	wait_for 5 "new policy on a" same_rev a
	wait_for 5 "new policy on b" same_rev b
}
ask() { # FROM TO FAMILY HOW [N [SIZE]]
	local to=${ADDR4[$2]}
	[[ $3 == 4 ]] || to=${ADDR6[$2]}
	on "$1" "$UDP" ask "$to" 9000 "${@:4}" || true
}
level socket 'allow a -> b'
for h in a b; do
	spawn "serve-$h" "$h" "$UDP" serve 9000
	wait_for 5 listener grep -q ready "$TMP/log/serve-$h.log"
done

capture_start wire b
for family in 4 6; do
	[[ $family == 4 ]] && addr_a=${ADDR4[a]} addr_b=${ADDR4[b]} || addr_a=${ADDR6[a]} addr_b=${ADDR6[b]}
	for how in plain connected mapped connected-mapped; do
		[[ $how$family != *mapped6 ]] || continue
		read -r seen sport dport source port peer pport own oport < <(ask a b "$family" "$how")
		[[ "$seen $dport $source $port" == "$addr_a 9000 $addr_b 9000" ]] ||
			fail "IPv$family $how: b sees $seen, a hears from $source $port"
		[[ $how != connected* || "$peer $pport $own $oport" == "$addr_b 9000 $addr_a $sport" ]] ||
			fail "IPv$family connected: $own $oport to $peer $pport, as b sees it $sport"
	done
done
for size in 0 1 1400 9000 60000; do
	[[ $(ask a b 4 connected 10 $size | tail -1) == 10 ]] || fail "$size bytes over IPv4"
	[[ $(ask b a 6 plain 10 $size | tail -1) == 10 ]] || fail "$size bytes over IPv6"
done
got=$(on a "$UDP" many 9000 "${ADDR4[b]}" "${ADDR6[b]}" "${ADDR4[b]}" | sort)
[[ $got == "${ADDR4[b]} ${ADDR4[b]} 9000
${ADDR4[b]} ${ADDR4[b]} 9000
${ADDR6[b]} ${ADDR6[b]} 9000" ]] || fail "one socket for several ends: $got"
printf IN-THE-CLEAR-IN-THE-CLEAR | on a socat -t1 - "UDP:${ADDR4[b]}:9000" | finds IN-THE-CLEAR || fail "no echo"
capture_stop wire
assert_no_plaintext wire IN-THE-CLEAR
(($(packets wire "udp and not port $DATA_PORT") == 0)) || fail "the application's datagrams are on the wire"
(($(packets wire "tcp port $DATA_PORT") > 20)) || fail "no stream on the wire"
[[ $(ctlj a sessions | jq -c '[.sessions[].layer]') == '["socket"]' ]] || fail "a session for packets that nobody has sent"
assert_counter_over a control datagrams_sent 50
assert_counter_over b control datagrams_received 50

# nobody listens there: whoever is connected hears of it, and what follows is not lost by it
for to in "${ADDR4[b]}" "${ADDR6[b]}"; do
	[[ $(on a "$UDP" ask "$to" 9009 connected) == refused ]] || fail "port 9009 of $to, where nobody listens"
	[[ $(PATIENCE=0.3 on a "$UDP" ask "$to" 9009 plain) == silent ]] || fail "a socket that is not connected hears of port 9009"
done
[[ $(ask a b 4 connected 10 1400 | tail -1) == 10 ]] || fail "after port 9009: $(ask a b 4 connected 10 1400)"

spawn held a bash -c "exec 3<>/dev/udp/${ADDR4[b]}/9000; echo who >&3; exec sleep 30"
held() { ctlj a flows | jq -e --argjson pid "$(pid_of held)" --arg dst "${ADDR4[b]}" \
	'.flows[] | select(.level == "socket" and .proto == 17 and .dst == $dst and .dport == 9000 and .process.pid == $pid)'; }
wait_for 3 "its flow" held
stop held

# those that come together go together: each has its record, TCP's packets are few
before=$(counter b control datagrams_received)
capture_start burst b
kill -STOP "$(pid_of keyd-a)"
on a "$UDP" flood "${ADDR4[b]}" 9000 40 100 >/dev/null
kill -CONT "$(pid_of keyd-a)"
arrived() { (($(counter b control datagrams_received) == before + 40)); }
wait_for 5 "40 datagrams at b" arrived
capture_stop burst
(($(packets burst "src host ${ADDR4[a]} and tcp dst port $DATA_PORT and greater 160") < 10)) ||
	fail "40 datagrams in $(packets burst "src host ${ADDR4[a]} and tcp dst port $DATA_PORT and greater 160") packets"

# more than fits is lost and counted, and keyd goes on; as long as it is busy with the rest, others are lost as well
on a "$UDP" flood "${ADDR4[b]}" 9000 3000 60000 >/dev/null
goes_on() { [[ $(PATIENCE=1 ask a b 4 plain 5 1000 | tail -1) == 5 ]]; }
wait_for 10 "answers after a flood" goes_on

# round the socket: a packet socket's
on a "$EMIT" send udp "${ADDR4[a]}" "${ADDR4[b]}" ROUND-THE-SOCKET eth0 >/dev/null
assert_counter_over a control datagrams_dropped 1000
refused_level() { (($(counter a dp drop_level) > 0)); }
wait_for 3 "the packet refused" refused_level
# rules with ports hold for datagrams, at once where they are sent
level socket 'allow only a -> b proto udp port 9001'
[[ $(PATIENCE=1 ask a b 4 plain) == silent ]] || fail "port 9000 is not named, and answers"
assert_counter_over a control datagrams_refused 0
level socket+network 'allow a -> b'
[[ $(ask a b 6 connected 3 1400 | tail -1) == 3 ]] || fail "datagrams at both levels"
# in the name of a program that may, without its socket: by packets made by hand on lo, by another address of this host's, and by IPv6 from a
# container; and to a program in the name of the other end, also by a host behind that has the port of keyd's for its own
container_add d a
addresses a pod fd78::1/64
addresses d eth0 fd78::2/64
mac=$(ip -n "$P-a" -j link show pod | jq -r '.[0].address')
level socket $'allow a -> b by uid nobody\nprotect 10.78.0.0/24 via a'
spawn told b socat -u UDP6-RECV:9010,ipv6only=0 "OPEN:$TMP/told,creat"
spawn here a socat -u UDP6-RECV:9011,ipv6only=0 "OPEN:$TMP/here,creat"
wait_for 5 "listener" listening b u 9010
wait_for 5 "listener" listening a u 9011
chmod 711 "$TMP"
for address in "${ADDR4[b]}" "${ADDR6[b]}"; do
	spawn "may-$address" a setpriv --reuid nobody --clear-groups bash -c "exec 3<>/dev/udp/$address/9010; echo may >&3
		until [[ -e $TMP/last ]]; do sleep 0.05; done; echo last >&3; exec sleep 30"
done
words() { (($(grep -c "$1" "$TMP/told") == 2)); }
wait_for 5 "datagrams of who may" words may
for port in $(on a ss -Hun state established | awk '{n = split($4, to, ":"); print to[n]}' | sort -u); do
	for own in "${ADDR4[a]}" "${ADDR6[a]}"; do
		[[ $own == *:* ]] && others=(::1 fd78::1 ::) || others=(127.0.0.1 10.78.0.1 0.0.0.0)
		for to in "$own" "${others[@]}"; do
			# shellcheck disable=SC2024
			on a setpriv --reuid 1234 --clear-groups --inh-caps -all /usr/bin/python3 - speak udp - "$own" 0 "$to" "$port" FORGED <"$POKE"
			[[ $to == "${others[2]}" ]] || on a "$POKE" speak lo 00:00:00:00:00:00 "$own" 4001 "$to" "$port" FORGED
			[[ $to == "${others[2]}" ]] || on a "$POKE" speak raw - "$own" 4001 "$to" "$port" FORGED
		done
		for to in "$own" "${others[1]}"; do
			on d "$POKE" speak eth0 "$mac" "$own" 4001 "$to" "$port" FORGED
			on d "$POKE" speak eth0 "$mac" "$own" "$port" "$to" 9011 FORGED
		done
		on a "$POKE" speak lo 00:00:00:00:00:00 "$own" "$port" "$own" 9011 FORGED
		on a "$POKE" speak raw - "$own" "$port" "$own" 9011 FORGED
	done
	on d "$POKE" speak udp - 10.78.0.2 4001 10.78.0.1 "$port" FORGED
	seen=$(on d python3 -c 'import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("", int(sys.argv[1]))); s.settimeout(5)
s.sendto(b"who", ("10.78.0.1", 9000)); print(s.recv(100).decode())' "$port")
	[[ $seen == "10.78.0.2 $port 9000" ]] || fail "a host behind with port $port is taken for $seen"
done
touch "$TMP/last"
wait_for 5 "what was sent last" words last
on a bash -c 'echo last >/dev/udp/127.0.0.1/9011'
wait_for 5 "what was sent last" grep -q last "$TMP/here"
! grep -q FORGED "$TMP/told" "$TMP/here" || fail "datagrams in the name of others: $(cat "$TMP/told" "$TMP/here")"
assert_counter_over a shim drop_process 9
assert_counter_over a shim ingress_clear 3
for address in "${ADDR4[b]}" "${ADDR6[b]}"; do
	stop "may-$address"
done
# keyd has died: the port of its that an application is connected to is nobody else's
level socket 'allow a -> b'
spawn late4 a "$UDP" late "${ADDR4[b]}" 9000 "$TMP/now"
spawn late6 a "$UDP" late "${ADDR6[b]}" 9000 "$TMP/now"
for n in 4 6; do
	wait_for 5 "the answer to late$n" grep -q connected "$TMP/log/late$n.log"
done
ports=$(on a ss -Hun state established | awk '{n = split($4, to, ":"); print to[n]}' | sort -u)
(($(wc -l <<<"$ports") == 2)) || fail "ports that two applications are connected to: $ports"
host_stop a KILL
for port in $ports; do
	! timeout 10 nsenter --net="/run/netns/$P-a" "$UDP" serve "$port" >"$TMP/log/other.log" 2>&1 || fail "another program binds port $port"
	grep -q 'Operation not permitted' "$TMP/log/other.log" || fail "binding port $port: $(tail -1 "$TMP/log/other.log")"
done
touch "$TMP/now"
for n in 4 6; do
	wait_for 5 "the end of late$n" grep -q refused "$TMP/log/late$n.log"
done
host_start a
wait_for 10 "level on a" at_level a b socket
[[ $(ask a b 4 connected 3 1400 | tail -1) == 3 ]] || fail "datagrams after keyd's restart"

# nobody may: refused at once
policy 'level socket a -> b'
wait_for 5 "end of the sessions" no_session a
refused() { [[ $(PATIENCE=0.2 ask a b 4 plain) == refused ]]; }
wait_for 5 "a refusal without the policy" refused
assert_no_leak a
assert_no_leak b
