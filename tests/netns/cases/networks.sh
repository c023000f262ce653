# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# Two networks on one host, each with an authentication server, a keyd and a policy of its own. The second one's prefixes lie within
# the first one's: the narrower counts. Neither seals what the other has sealed, and what befalls one leaves the other alone: its server
# dies, its keyd dies, its configuration is broken, it is detached, it cuts a device off. On a one keyd runs both, on c each has a daemon of
# its own. At no time does anything leave in clear.
# wires: udp
# waits
# shellcheck source=tests/netns/gateway.sh
source "$(dirname "$0")/../gateway.sh"

export WATCHDOG_USEC=$((4000000 * ${MVPN_SLOW:-1})) # as systemd says it
topo_up server a b c
for h in a b c; do
	mkdir -p "$TMP/$h"
	printf '[keyd]\nshare_dir = %s\n' "$PIN/host-$h" >"$TMP/$h/keyd.conf"
done
echo 'networks = two' >>"$TMP/a/keyd.conf"
good='[data]\nudp_port = 7490\n'
# shellcheck disable=SC2059
printf "$good" >"$TMP/a/two.conf"
ln -s "$TMP/a/networks/two" "$TMP/a2"
members_up
behind b c
for h in b c; do
	on $h sysctl -qw net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.eth0.send_redirects=0
done

# the second network: a and c; its daemons are a2, a child of a's, and c2
net() { { ctlj a networks || true; } | jq -r ".networks[] | select(.name == $1) | $2"; } # NAME EXPRESSION
runs() { [[ $(net "$1" .state) == running ]]; }
srv2j() { "$BUILD/mvpnctl" --socket "$TMP/server2/server.sock" -o json-line server "$@"; }
server2_start() {
	spawn mvpn-server2 server "$BUILD/mvpn-server" run --state "$TMP/server2/state" --socket "$TMP/server2/server.sock" \
		--config "$TMP/server2/server.conf" --listen "[::]:7500"
	wait_for 30 "answer of the second server" srv2j status
}
second_start() { # HOST
	spawn "keyd-${1}2" "$1" "$BUILD/keyd" --state "$TMP/${1}2/state" --socket "$TMP/${1}2/keyd.sock" --pin "$PIN/${1}2" \
		--config "$TMP/${1}2/keyd.conf"
	wait_for 30 "answer of the second keyd on $1" ctl "${1}2" status
}
policy2() {
	printf '%s\n' "$1" >"$TMP/policy2"
	srv2j policy apply "$TMP/policy2" >"$TMP/log/policy2.log" || fail "policy apply: $(cat "$TMP/log/policy2.log")"
}
mkdir -p "$TMP/server2"
touch "$TMP/server2/server.conf"
"$BUILD/mvpn-server" init --state "$TMP/server2/state" --name second >"$TMP/log/init2.log"
server2_start
mkdir -p "$TMP/c/networks/two"
ln -s "$TMP/c/networks/two" "$TMP/c2"
printf '[keyd]\nshare_dir = %s\n[data]\ntap = mvpn-two\nudp_port = 7490\n' "$PIN/host-c" >"$TMP/c2/keyd.conf"
second_start c
wait_for 10 "the second network on a" runs '"two"'
listed() { ctlj "$1" networks | jq -r '.networks | map("\(.name) \(.supervised) \(.tap) \(.udp_port)") | join(", ")'; } # HOST
[[ $(listed a) == 'null true mvpn0 7469, two true mvpn-two 7490' ]] || fail "a is in: $(listed a)"
[[ $(listed b) == 'null false mvpn0 7469' ]] || fail "b is in: $(listed b)"
[[ $(listed c) == 'two false mvpn-two 7490' ]] || fail "c is in: $(listed c)"
for h in a c; do
	srv2j token create --address "${ADDR4[$h]}" --address "${ADDR6[$h]}" --server "${ADDR4[server]}:7500" | jq -er .token >"$TMP/token2"
	ctl ${h}2 enroll --token-file "$TMP/token2" --name $h >"$TMP/log/enrol-${h}2.log"
	ctl ${h}2 attach eth0 --wire udp >"$TMP/log/attach-${h}2.log"
done
for p in null/mvpn-keyd '"two"/keyd-two'; do
	grep -qx "${p#*/}" "/proc/$(net "${p%/*}" .pid)/comm" || fail "ps does not say whose process it is: ${p#*/}"
done
# neither has the other one's files in sight, whatever way it would take
sees() { # NAME PATH…: no more of these
	local root path
	root=/proc/$(net "$1" .pid)/root$TMP/a seen=
	for path in state/identity state/networks/two/identity networks/two/keyd.sock; do
		[[ ! -e $root/$path ]] || seen+="$path "
	done
	[[ $seen == "${*:2} " ]] || fail "$1 sees $seen"
	[[ $(net "$1" .isolated) == true ]] || fail "isolated: $(net "$1" .)"
}
sees null state/identity
sees '"two"' state/networks/two/identity networks/two/keyd.sock
ctlj a2 doctor | jq -e '.checks[] | select(.name == "isolation") | .result == "ok"' >/dev/null || fail "doctor: $(ctlj a2 doctor)"
# b is the first one's gateway to all that is around, c the second one's to a part of it; c itself is in the first one's prefix, too
policy 'allow a -> b
protect 10.77.0.0/28 via b
protect 10.9.0.0/16 via b'
policy2 'allow a -> c
protect 10.9.0.192/26 via c'
for h in a b; do
	wait_for 10 "the prefixes on $h" protects $h 6
done
for h in a c; do
	wait_for 10 "the prefixes on $h in the second network" protects ${h}2 5
done

sent() { { ctlj "$1" sessions || true; } 2>/dev/null | jq '[.sessions[]?.tx_packets] | add // 0'; } # DAEMON
dropped() { # HOST…: a has no answer from any of them
	local h pids=()
	for h; do
		(on a ping -4 -n -q -c 2 -i 0.1 -W 1 "${ADDR4[$h]}" >/dev/null || exit 1) &
		pids+=($!)
	done
	for h; do
		! wait "${pids[0]}" || fail "$h is reached"
		pids=("${pids[@]:1}")
	done
}
sealed_by() { # DAEMON COMMAND…: that one and no other has sealed it
	local other=a2 before mine
	[[ $1 != a2 ]] || other=a
	mine=$(sent "$1") before=$(sent $other)
	"${@:2}" || fail "${*:2} does not come through"
	(($(sent "$1") > mine)) || fail "${*:2}: not sealed by $1"
	(($(sent $other) - before < 3)) || fail "${*:2}: sealed by $other, too: $(sent $other), $before before"
}
says() { # VERDICT DAEMON HOST [FAMILY]: what that network's keyd says
	local -n of=ADDR${4:-4}
	[[ $(ctlj "$2" explain "${of[$3]}" | jq -r .verdict) == "$1" ]] || fail "explain is not $1: $(ctlj "$2" explain "${of[$3]}")"
}
capture_start wire a
for family in 4 6; do
	says clear a c $family
	says clear a2 b $family
	sealed_by a "ping$family" a b -c 5 -i 0.05
	sealed_by a2 "ping$family" a c -c 5 -i 0.05
	sealed_by a copy a b tcp $family 300000
	sealed_by a2 copy a c tcp $family 300000
	copy c a tcp $family 300000
	says sealed a b $family
	says sealed a2 c $family
done
sealed_by a2 ping4 a d -c 5 -i 0.05
ctlj a explain "${ADDR4[d]}" | jq -e '.verdict == "clear" and (.why | any(contains("another network"))) and (.todo|contains("--network"))' >/dev/null || fail "explain: $(ctlj a explain "${ADDR4[d]}")"
says sealed a2 d

# the second server dies, and a device is cut off by the first
stop mvpn-server2 KILL
sealed_by a2 ping4 a c -c 3 -i 0.05
sealed_by a ping4 a b -c 3 -i 0.05
server2_start
# the second keyd dies and cannot start again: its addresses are still its own, and dropped
printf '[data]\nudp_port = many\n' >"$TMP/a/two.conf"
parent=$(pid_of keyd-a) first=$(net null .pid)
kill -KILL "$(net '"two"' .pid)"
why() { net '"two"' .why | finds 'two.conf:2: .many. is no value'; }
wait_for 5 "the reason why it does not start" why
! ctl a networks >/dev/null || fail "mvpnctl networks is content"
ctlj a status | jq -e '.other_networks == [{name: "two", state: "failed"}]' >/dev/null || fail "status: $(ctlj a status | jq -c .other_networks)"
dropped c d
sealed_by a ping4 a b -c 3 -i 0.05
# it is mended, and a network comes that has the same port, and then another one
# shellcheck disable=SC2059
printf "$good" | tee "$TMP/a/three.conf" >"$TMP/a/two.conf"
sed -i 's/two$/two, three/' "$TMP/a/keyd.conf"
kill -HUP "$parent"
wait_for 10 "the second keyd online" ctl a2 wait --timeout 1
wait_for 10 "c again" ping4 a c -c 1
clash() { net '"three"' .why | finds 'two.conf and .*three.conf have the same udp_port'; }
wait_for 5 "the reason why the third one does not start" clash
# nor does it while it has a daemon of its own
mkdir -p "$TMP/a/state/networks/three"
spawn own a flock "$TMP/a/state/networks/three/lock" sleep 60
locked() { ! flock -n "$TMP/a/state/networks/three/lock" true; }
wait_for 5 "the lock" locked
sed -i 's/7490/7491/' "$TMP/a/three.conf"
kill -HUP "$parent"
twice() { net '"three"' .why | finds 'another keyd runs with the state directory .*mvpn-keyd@three'; }
wait_for 5 "the reason why the third one does not start" twice
kill "$(pgrep -P "$(pid_of own)")"
kill -HUP "$parent"
wait_for 10 "the third network" runs '"three"'
[[ ! -e /proc/$(net '"two"' .pid)/root$TMP/a/state/networks/three ]] || fail "the second sees the third, that came later"
# one hangs, and is ended by who supervises it; another one dies while the first one works, and is back by itself
third=$(net '"three"' .pid) second=$(net '"two"' .pid)
kill -STOP "$third"
spawn steady a ping -4 -n -i 0.05 "${ADDR4[b]}"
kill -KILL "$second"
back() { runs "\"$1\"" && [[ $(net "\"$1\"" .pid) != "$2" ]]; } # NAME PID-BEFORE
wait_for 10 "the second keyd by itself" back two "$second"
wait_for 10 "c again" ping4 a c -c 1
wait_for 10 "another third keyd" back three "$third"
stop steady INT
# the last one's answer may be under way
awk '/packets transmitted/ { ok = $1 > 20 && $1 - $4 <= 1 } END { exit !ok }' "$TMP/log/steady.log" || fail "the first network has felt it: $(tail -3 "$TMP/log/steady.log")"
third=$(net '"three"' .pid)
sed -i 's/, three$//' "$TMP/a/keyd.conf"
ctl a reload >/dev/null # the first one hands it on
wait_for 10 "end of the third network" gone "$third"
[[ $(net null .pid) == "$first" ]] || fail "the first keyd was started again, too"
# all of them end with who supervises them, and what is protected is dropped until they are back
second=$(net '"two"' .pid)
stop keyd-a KILL
wait_for 10 "end of the first keyd" gone "$first"
wait_for 10 "end of the second keyd" gone "$second"
dropped b c d
spawn systemd a socat -u "UNIX-RECV:$TMP/notify" STDOUT
wait_for 5 "who listens as systemd does" test -S "$TMP/notify"
NOTIFY_SOCKET=$TMP/notify host_start a
for word in 'READY=1' 'STATUS=2 of 2 networks run' 'WATCHDOG=1'; do
	wait_for 5 "$word" grep -qa "$word" "$TMP/log/systemd.log"
done
for h in a a2; do
	wait_for 10 "$h online" ctl $h wait --timeout 1
done
wait_for 10 "b again" ping4 a b -c 1
wait_for 10 "c again" ping4 a c -c 1
# it is detached: the wider prefix holds again
ctl a2 detach eth0 --force >/dev/null
on a ip neigh flush all
sealed_by a ping4 a d -c 3 -i 0.05
says sealed a d
ctl a2 attach eth0 --wire udp >"$TMP/log/attach-a2.log"
wait_for 10 "c again" ping4 a c -c 1
srv device revoke b >/dev/null
wait_for 2 "end of the session with b, which is revoked" no_session a
dropped b
before=$(sent a2)
ping4 a c -c 3 -i 0.05 || fail "a revocation in the first network was felt in the second"
(($(sent a2) > before)) || fail "not sealed by a2"
capture_stop wire
assert_no_plaintext wire "${CANARY:0:12}"
n=$(packets wire "net 10.9.0.0/16 or (icmp and not host ${ADDR4[server]})")
((n == 0)) || fail "$n packets in clear: $(tcpdump -nr "$TMP/wire.pcap" "net 10.9.0.0/16 or icmp" 2>/dev/null | head -5)"
assert_no_leak a b a2 c2

# the last one that is detached leaves nothing
for h in a a2; do
	ctl $h detach eth0 --force >/dev/null
done
host_stop a
! grep -qa 'STATUS=0 of 0' "$TMP/log/systemd.log" || fail "what has ended counts its networks"
[[ ! -e $PIN/host-a && ! -e $PIN/a && ! -e $PIN/a-two && ! -e $TMP/a/networks.sock ]] || fail "pins are left: $(find "$PIN" -maxdepth 2)"
