# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# "Only this unit, that user, this program may": connect() and sendto() of others fail with EPERM, static programs, containers and what ran
# before too, and what does not pass these calls is stopped as a packet. It is on record who it was. What may goes on undisturbed.
# wires: udp
# waits
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/../lib.sh"

need socat cc python3 setpriv nft
net_up
cgroup=$(status_of a .socket.cgroup)
[[ -d $cgroup ]] || skip "no socket shim: $(status_of a .socket.error)"
cc -static -D_GNU_SOURCE -o "$TMP/dial" "$ROOT/tests/netns/dial.c" || skip "no static C library"
cp "$TMP/dial" "$TMP/psql"
chmod 711 "$TMP"
slice=$P-all.slice good=$P-all.slice/$P-good.service bad=$P-all.slice/$P-bad.service
# systemd's own units are in slices; this one somebody has made within what is theirs
fake=$P-user.scope/$P-good.service
mkdir -p "$cgroup/$good/child" "$cgroup/$bad" "$cgroup/$fake"

as() { # CGROUP COMMAND…
	local group=$1
	shift
	# shellcheck disable=SC2016
	on a bash -c 'echo $$ >"$0/cgroup.procs" && exec "$@"' "$cgroup/$group" "$@"
}
says() { # WANTED WHAT COMMAND…
	local want=$1 what=$2 got
	shift 2
	got=$("$@" || true)
	[[ $got == "$want" ]] || fail "$what: $got instead of $want"
}
counts() { (($(wc -l <"$TMP/log/$1.log") > $2)); }
talk() { # NAME CGROUP [PORT]: a line and its echo each 50 ms, until an error
	spawn "$1" a bash -c "echo \$\$ >'$cgroup/$2/cgroup.procs'; exec 3<>/dev/tcp/${ADDR4[b]}/${3:-5432}
		for ((i = 0; ; i++)); do echo \$i >&3 && read -r x <&3 && echo \$x || exit; sleep 0.05; done"
	wait_for 5 "the first lines of $1" counts "$1" 2
}
for port in 5432 5433 5434 5435; do
	spawn "listen-$port" b socat "TCP6-LISTEN:$port,ipv6only=0,fork,reuseaddr" PIPE
	wait_for 5 "listener $port" listening b t "$port"
done
spawn datagrams b socat -u UDP6-RECV:5432,ipv6only=0 "OPEN:$TMP/datagrams,creat"
wait_for 5 "datagrams" listening b u 5432
# shellcheck disable=SC2317,SC2120
dialled() { (($(grep -ao dialled "$TMP/datagrams" | wc -l) == $1)); }

# open before the policy tells processes apart
talk good-talk "$good"
talk bad-talk "$bad"
printf '%s\n' "allow a -> b proto tcp port 5432 proto udp port 5432 by unit $P-good.service" \
	"allow a -> b proto tcp port 5433 by uid nobody exe $TMP/psql" \
	"allow a -> b proto tcp port 5434 by cgroup /$bad" \
	"allow a -> b proto tcp port 5435 proto icmp" \
	"test allow a -> b tcp 5432 by unit $P-good.service" \
	"test deny a -> b tcp 5432 by unit $P-bad.service uid 0" \
	"test allow a -> b tcp 5435 by uid 0" >"$TMP/by"
policy "$(cat "$TMP/by")"
for h in a b; do
	wait_for 5 "new policy on $h" same_rev $h
done
ctlj a doctor | jq -e '.checks[]|select(.name == "processes").result == "ok"' >/dev/null || fail "doctor: $(ctlj a doctor)"

# the same socket goes on, or is stopped: neither calls connect() again
n=$(wc -l <"$TMP/log/good-talk.log")
wait_for 5 "an open connection that may go on" counts good-talk $((n + 10))
n=$(wc -l <"$TMP/log/bad-talk.log")
wait_for 5 "lines of the unit that may" counts good-talk $(($(wc -l <"$TMP/log/good-talk.log") + 10))
(($(wc -l <"$TMP/log/bad-talk.log") <= n + 1)) || fail "an open connection that may not go on does"
assert_counter_over a shim drop_process 0

sent=0
for address in "${ADDR4[b]}" "${ADDR6[b]}"; do
	for proto in tcp udp; do
		says ok "$proto of the unit" as "$good" "$TMP/dial" $proto "$address" 5432
		says ok "$proto of a group in the unit" as "$good/child" "$TMP/dial" $proto "$address" 5432
		says EPERM "$proto of another unit" as "$bad" "$TMP/dial" $proto "$address" 5432
		says EPERM "$proto of a unit of that name within a scope" as "$fake" "$TMP/dial" $proto "$address" 5432
	done
	sent=$((sent + 2))
	says ok "user and program" as "$bad" setpriv --reuid nobody --clear-groups "$TMP/psql" tcp "$address" 5433
	says EPERM "the user with another program" as "$bad" setpriv --reuid nobody --clear-groups "$TMP/dial" tcp "$address" 5433
	says EPERM "the program by another user" as "$bad" "$TMP/psql" tcp "$address" 5433
	says ok "the control group" as "$bad" "$TMP/dial" tcp "$address" 5434
	says EPERM "another control group" as "$good" "$TMP/dial" tcp "$address" 5434
	says ok "everybody" as "$fake" "$TMP/dial" tcp "$address" 5435
done
wait_for 5 "$sent datagrams" dialled $sent
ping4 a b -c 1 || fail "no ping"
assert_counter_over a shim refuse_process 11

# neither connect() nor sendmsg() of UDP
n=$(counter a shim drop_process)
says ok "a raw socket" as "$bad" "$TMP/dial" raw "${ADDR4[b]}" 5432
for dev in eth0 mvpn0; do # who names the tap does not get round it
	on a python3 - "$ROOT/tests/netns" "${ADDR4[a]}" "${ADDR4[b]}" $dev <<-'PY'
		import sys, socket
		sys.path.insert(0, sys.argv[1])
		from emit import header
		import ipaddress, struct
		src, dst = (ipaddress.ip_address(a) for a in sys.argv[2:4])
		s = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM)
		s.bind((sys.argv[4], 0x0800))
		try:
		    s.sendto(header(src, dst, 17, struct.pack("!HHHH", 5432, 5432, 15, 0) + b"dialled"), (sys.argv[4], 0x0800, 0, 0, b"\xff" * 6))
		except OSError:
		    pass  # a program on the interface has dropped it
	PY
done
stopped() { (($(counter a shim drop_process) >= $1)); }
wait_for 5 "three packets that were stopped" stopped $((n + 3))
# in fragments, which the flow table has without ports: of one that may all pass, of one that may not none
fragments() { # DESTINATION VERDICT: the stack sends no more of a datagram of which one was dropped
	ctlj a flows | jq -e --arg d "$1" "[.flows[] | select((.proto == 17 or .proto == 44) and .dport == 0 and .dst == \$d)][0] |
		.verdict == \"$2\""
}
ping6 a b -c 2 -i 0.05 -s 1400 || true # the first one tells how large a fragment may be
for address in "${ADDR4[b]}" "${ADDR6[b]}"; do
	sent=$((sent + 1))
	as "$bad" "$TMP/dial" raw "$address" 5432 4000 || true # of IPv6 it is told
	wait_for 5 "a fragment that was stopped" fragments "$address" drop_process
	says ok "a datagram of the unit, in fragments" as "$good" "$TMP/dial" udp "$address" 5432 4000
	wait_for 5 "$sent datagrams" dialled $sent
	fragments "$address" to_tap >/dev/null || fail "fragments that may pass: $(ctlj a flows)"
done
says ok "a raw socket of the unit" as "$good" "$TMP/dial" raw "${ADDR4[b]}" 5432
wait_for 5 "its datagram" dialled $((sent + 1))

# which line it is
of_flow() { ctlj a flows | jq -e --argjson line "$2" "[.flows[] | select(.dport == $1 and .proto == 6 and .rule.line == \$line) | .rule.text | startswith(\"allow\")] | any"; }
of_flow 5432 1 >/dev/null || fail "flows: $(ctlj a flows)"
of_flow 5434 3 >/dev/null || fail "flows: $(ctlj a flows)"
explained() { # VERDICT LINE OPTION… DST
	local verdict=$1 line=$2
	shift 2
	ctlj a explain "$@" | jq -e ".verdict == \"$verdict\" and .rule.line == $line" >/dev/null || fail "explain $*: $(ctlj a explain "$@")"
}
explained sealed 1 --unit "$P-good.service" "${ADDR4[b]}:5432/tcp"
explained dropped 1 --unit "$P-bad.service" --uid 0 "${ADDR4[b]}:5432/tcp"
explained sealed 2 --uid nobody --exe "$TMP/psql" "${ADDR4[b]}:5433/tcp"
explained dropped 2 --uid 65534 --exe "$TMP/dial" "${ADDR4[b]}:5433/tcp"
explained sealed 4 --uid 0 "${ADDR4[b]}:5435/tcp"
ctl a explain --unit "$P-bad.service" "${ADDR4[b]}:5432/tcp" | finds "such a process may not, by policy line 1: allow" || fail "explain does not name the line"

srv policy test --unit "$P-good.service" a b 5432/tcp | finds 'line 1' || fail "policy test: $(srv policy test --unit "$P-good.service" a b 5432/tcp)"
status=0
srv policy test --unit "$P-bad.service" --uid 0 a b 5432/tcp >"$TMP/out" || status=$?
((status == 5)) || fail "policy test of another unit exits with $status: $(cat "$TMP/out")"

# who it was
record() { srvj audit --limit 200 | jq -e "[.events[] | select(.event == \"process-refused\") | .detail | select($1)] | length > 0"; }
line=1
wait_for 5 "record of the call" record ".refused == \"call\" and .device == \"a\" and .peer == \"b\" and .process == \"dial\" and
	.unit == \"$P-bad.service\" and .uid == 0 and .pid > 0 and .line == $line and .port == 5432 and .proto == \"tcp\" and (.exe | endswith(\"dial\"))"
grep -q "refused: dial (pid [0-9]*, uid 0, .*dial, unit $P-bad.service) to ${ADDR4[b]}, tcp port 5432 of b; policy line 1: allow" "$TMP/log/keyd-a.log" ||
	fail "the log does not say who it was: $(grep refused "$TMP/log/keyd-a.log")"
assert_counter_over a control process_refused 11

# at the socket level keyd takes the connection, from those who may; and those that are open are judged anew
policy "$(sed "1s/\$/, $P-bad.service/; /^test/d" "$TMP/by")"$'\nlevel socket a -> b'
for h in a b; do
	wait_for 5 "new policy on $h" same_rev $h
done
talk good-stream "$good"
talk bad-stream "$bad"
talk all-stream "$bad" 5435
send() { # NAME CGROUP: a datagram each 50 ms by a socket that is connect()ed, until an error
	spawn "$1" a bash -c "echo \$\$ >'$cgroup/$2/cgroup.procs'; exec 3<>/dev/udp/${ADDR4[b]}/5432
		for ((i = 0; ; i++)); do echo $1 >&3 && echo \$i || exit; sleep 0.05; done"
	wait_for 5 "the first datagrams of $1" counts "$1" 2
}
send good-datagrams "$good"
send bad-datagrams "$bad"
goes_on() { # NAME
	n=$(wc -l <"$TMP/log/$1.log")
	wait_for 5 "$1 that may go on" counts "$1" $((n + 10))
}
policy "$(cat "$TMP/by")"$'\nlevel socket a -> b'
wait_for 5 "end of the stream of another unit" gone "$(pid_of bad-stream)"
grep -q 'Connection reset by peer' "$TMP/log/bad-stream.log" || fail "bad-stream: $(tail -2 "$TMP/log/bad-stream.log")"
goes_on good-stream
wait_for 5 "end of another unit's datagrams" gone "$(pid_of bad-datagrams)"
grep -q 'Operation not permitted' "$TMP/log/bad-datagrams.log" || fail "bad-datagrams: $(tail -2 "$TMP/log/bad-datagrams.log")"
goes_on good-datagrams
goes_on all-stream
(($(counter a control streams_forbidden) == 1)) || fail "$(counter a control streams_forbidden) streams forbidden"
wait_for 5 "record of the stream" record ".refused == \"stream\" and .process == \"bash\" and .unit == \"$P-bad.service\" and
	.pid > 0 and .line == $line and .port == 5432"
# or all of it is taken back
policy "$(sed '1d; /^test/d' "$TMP/by")"$'\nlevel socket a -> b'
wait_for 5 "end of the stream that nobody may have any more" gone "$(pid_of good-stream)"
policy "$(cat "$TMP/by")"$'\nlevel socket a -> b'
for h in a b; do
	wait_for 5 "new policy on $h" same_rev $h
done
n=$(counter a control streams_opened)
streams() { (($(counter a control streams_opened) > n)); }
says ok "the unit, by a stream" as "$good" "$TMP/dial" tcp "${ADDR4[b]}" 5432
wait_for 5 "a stream" streams
says EPERM "another unit, by a stream" as "$bad" "$TMP/dial" tcp "${ADDR4[b]}" 5432
says EPERM "another unit, by a stream of datagrams" as "$bad" "$TMP/dial" udp "${ADDR4[b]}" 5432
says ok "everybody, by a stream" as "$fake" "$TMP/dial" tcp "${ADDR4[b]}" 5435

# the next life of keyd, without the server, and looking into containers: here a namespace behind a
stop mvpn-server
host_stop a KILL
printf '[shim]\nnamespaces = all\ncgroup = %s\n' "$cgroup/$slice" >>"$TMP/a/keyd.conf"
container_add d a
host_start a
says EPERM "another unit after a restart" as "$bad" "$TMP/dial" udp "${ADDR4[b]}" 5432
inside() { # CGROUP ARGUMENT…: dial in the container
	# shellcheck disable=SC2016
	on d bash -c 'echo $$ >"$0/cgroup.procs" && exec "$@"' "$cgroup/$1" "$TMP/dial" "${@:2}"
}
newest() { # SOURCE VERDICT: of the UDP flows from there to b's port
	ctlj a flows | jq -e "[.flows[] | select(.proto == 17 and .dport == 5432 and .src == \"$1\")][0] | .verdict == \"$2\" and .rule.line == 1"
}
more_held() { (($(counter a shim to_tap_held) >= $1)); }
says EPERM "another unit in a container" inside "$bad" tcp "${ADDR4[b]}" 5432
for source in 10.78.0.2 "${ADDR4[a]}"; do
	[[ $source == 10.78.0.2 ]] || on a nft -f - <<-RULES
		table ip pod {
			chain out { type nat hook postrouting priority 100; ip saddr 10.78.0.0/24 masquerade; }
		}
	RULES
	# there is no session: what passes is held
	says ok "the unit in a container" inside "$good" udp "${ADDR4[b]}" 5432
	wait_for 5 "its packet from $source" newest "$source" to_tap_held
	held=$(counter a shim to_tap_held)
	says ok "the unit in a container, in fragments" inside "$good" udp "${ADDR4[b]}" 5432 4000
	wait_for 5 "its fragments from $source" more_held $((held + 3))
	says ok "a raw socket in a container" inside "$bad" raw "${ADDR4[b]}" 5432
	wait_for 5 "end of its packet from $source" newest "$source" drop_process
	says ok "a raw socket in a container, in fragments" inside "$bad" raw "${ADDR4[b]}" 5432 4000
	wait_for 5 "end of its datagram from $source" fragments "${ADDR4[b]}" drop_process
done
# what keyd cannot read it does not guess
host_stop a
printf 'nonsense' >"$TMP/a/state/processes"
host_start a
says EPERM "everybody, the kept lines being damaged" as "$good" "$TMP/dial" tcp "${ADDR4[b]}" 5435
(ctlj a doctor || true) | jq -e '.checks[]|select(.name == "processes").result == "fail"' >/dev/null || fail "doctor: $(ctlj a doctor)"
server_start
host_stop a # it would wait before it tries again
host_start a
allowed() { [[ $(as "$good" "$TMP/dial" udp "${ADDR4[b]}" 5432) == ok ]]; }
wait_for 10 "the lines from the server" allowed
says EPERM "another unit then" as "$bad" "$TMP/dial" udp "${ADDR4[b]}" 5432

# a ping socket, for which nobody needs a privilege, names the tap as its way out
policy 'allow a -> b by uid nobody'
wait_for 5 "new policy on a" same_rev a
on a sysctl -qw net.ipv4.ping_group_range='0 2147483647'
by_the_tap() { # UID
	as "$good" setpriv --reuid "$1" --clear-groups /usr/bin/python3 - "${ADDR4[a]}" "${ADDR4[b]}" <<-'PY'
		import socket, struct, sys
		s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP)
		s.settimeout(0.5)
		s.bind((sys.argv[1], 0))
		index = socket.if_nametoindex("mvpn0")
		for i in range(6):
		    try:
		        s.sendmsg([struct.pack("!BBHHH", 8, 0, 0, 0, i)], [(socket.IPPROTO_IP, 8, struct.pack("=III", index, 0, 0))], 0, (sys.argv[2], 0))
		        s.recv(100)
		        print("answered")
		        break
		    except OSError:
		        pass  # refused, or held before there is a session
	PY
}
says answered "a ping of nobody by the tap" by_the_tap nobody
n=$(counter a shim drop_process)
says "" "a ping of somebody else by the tap" by_the_tap 1234
(($(counter a shim drop_process) >= n + 6)) || fail "$(($(counter a shim drop_process) - n)) of 6 pings by the tap were dropped"
wait_for 5 "record of them" record '.refused == "packet" and .uid == 1234 and .proto == "icmp"'

# nobody is told apart any more
policy 'allow a -> b'
wait_for 5 "new policy on a" same_rev a
says ok "everybody" as "$bad" "$TMP/dial" udp "${ADDR4[b]}" 5432
assert_no_leak a b
