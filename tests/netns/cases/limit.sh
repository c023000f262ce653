# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# A line's limit: TCP gets nearly all of it, others do not wait behind it, a change is in force at once, and at the socket level it holds
# as well. What a peer sends beyond it is tests/unit/limit.c's matter.
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/../lib.sh"

set_policy() {
	policy "$1"
	for h in a b; do
		wait_for 5 "new policy on $h" same_rev $h
	done
}
of_class() { ctlj "$1" sessions | jq "[.sessions[] | select(.transmits) | .classes[] | .$2] | add"; }
# rate PORT SECONDS: kbit/s of TCP's payload, as the receiver counts it
rate() {
	iperf3_on a -c "${ADDR4[b]}" -p "$1" -t "$2" -J >"$TMP/iperf.json" || fail "iperf3 to $1: $(jq -r .error "$TMP/iperf.json")"
	jq '.end.sum_received.bits_per_second / 1000 | floor' "$TMP/iperf.json"
}
iperf3_on() {
	local h=$1
	shift
	on "$h" iperf3 "$@"
}
received() { ctlj b sessions | jq '[.sessions[] | select(.transmits) | .rx_bytes] | add'; }
udp_rate() { # SECONDS: kbit/s that b receives of whatever it is
	local start=${EPOCHREALTIME/./} bytes
	bytes=$(received)
	sleep "$1"
	echo $((($(received) - bytes) * 8000 / (${EPOCHREALTIME/./} - start)))
}
# one of three: the machine may be busy with others, and so may who looks at the clock
between() { # WHAT LOW HIGH COMMAND…
	local got try
	for try in 1 2 3; do
		got=$("${@:4}")
		echo "$1: $got kbit/s"
		((got < $2 || got > $3)) || return 0
	done
	fail "$1: $got kbit/s, not $2 to $3 the $try times that it was measured"
}

need iperf3
net_up
for port in 5201 5202; do
	spawn iperf-$port b iperf3 -s -p $port
	wait_for 5 "iperf3 on $port" listening b t $port
done
set_policy 'allow a -> b proto tcp port 5201 dscp af11 limit 20mbit
allow a -> b'
ping4 a b -c 1
between "TCP of 20 Mbit/s" 17000 20500 rate 5201 2
assert_counter_over a dp shaped 0
(($(of_class b rx_dropped) == 0)) || fail "b drops $(of_class b rx_dropped) packets of a sender that obeys"
[[ $(ctlj a sessions | jq -c '.sessions[0].classes[0] | [.class, .dscp, .limit_kbit, .remote, .rest]') == \
	'["dscp af11 limit 20mbit","af11",20000,["tcp 5201"],false]' ]] || fail "sessions: $(ctlj a sessions | jq -c '.sessions[0].classes')"
ctl a sessions | finds 'dscp af11 limit 20mbit: tcp 5201 at both' || fail "the table does not say it: $(ctl a sessions)"
ctl a explain "${ADDR4[b]}:5201/tcp" | finds '"dscp af11 limit 20mbit"' || fail "explain does not say it"
srv policy test a b 5201/tcp | finds 'dscp af11 limit 20mbit: tcp 5201 at both' || fail "policy test does not say it"

# what another line allows goes as ever while the limit is used up
spawn busy a iperf3 -c "${ADDR4[b]}" -p 5201 -t 30
shaped=$(counter a dp shaped)
used_up() { (($(counter a dp shaped) > shaped + 50)); }
wait_for 5 "the limit to be used up" used_up
between "TCP beside it" 100000 1000000000 rate 5202 1
ping4 a b -c 5 -i 0.05 >"$TMP/log/ping.log"
stop busy

# another rate is in force at once, whatever is sent: UDP that does not slow down
echo 'allow a -> b proto tcp port 5201 proto udp port 5201 limit 4mbit
allow a -> b' >"$TMP/slower"
srv policy diff "$TMP/slower" >"$TMP/out" || true
grep -q 'dscp af11 limit 20mbit: tcp 5201 at both *both, limit 4mbit: tcp 5201, udp 5201 at both' "$TMP/out" || fail "diff says $(cat "$TMP/out")"
set_policy "$(cat "$TMP/slower")"
ping4 a b -c 1
spawn flood a iperf3 -u -c "${ADDR4[b]}" -p 5201 -b 40M -t 30
shaped=$(counter a dp shaped)
wait_for 5 "the flood" used_up
between "UDP of 4 Mbit/s" 3600 4400 udp_rate 1
assert_counter_over a dp drop_limit 0
stop flood


# at the socket level: the connection between the two keyds has the DSCP, and the program is read no faster
set_policy 'allow a -> b proto tcp port 5202 dscp af11 limit 20mbit
allow a -> b
level socket a -> b'
capture_start stream a
between "TCP of 20 Mbit/s at the socket" 15000 20500 rate 5202 2
capture_stop stream
tos=$(tcpdump -vnr "$TMP/stream.pcap" "tcp port $DATA_PORT and src host ${ADDR4[a]} and greater 1000" 2>/dev/null | grep -o 'tos 0x[0-9a-f]*' | sort -u)
[[ $tos == 'tos 0x28' ]] || fail "outer TOS of streams: $tos"
ctlj a sessions | jq -e '.sessions[] | select(.layer == "socket") | .classes[0].class == "dscp af11 limit 20mbit"' >/dev/null ||
	fail "the session at the socket level: $(ctlj a sessions)"
assert_no_leak a b
