# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# Sessions made anew, and lanes' keys changed, by the number of packets, under load both ways and with several workers: of paced
# datagrams none is lost or doubled, and at full load no packet meets a receiver that does not know its key.
# wires: udp xdp
# sanitized
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/../lib.sh"

HEADERS=$ROOT/tests/netns/headers.py
QUEUES=2
FLOWS=4
configure() { # REKEY_PACKETS RATCHET_PACKETS
	local h
	for h in a b; do
		mkdir -p "$TMP/$h"
		printf '[data]\nworkers = 2\nrekey_packets = %s\nratchet_packets = %s\n' "$1" "$2" >"$TMP/$h/keyd.conf"
	done
}
setup
configure 2000 67108864
net_up
ping4 a b -c 1
epoch() { ctlj a sessions | jq '[.sessions[] | select(.transmits)][0].epoch'; }
known_keys() { # every sealed packet that arrived was opened, and once
	local h c
	for h in a b; do
		for c in rx_auth_fail rx_unknown_spi rx_replay rx_relay_full; do
			(($(counter $h dp $c) == 0)) || fail "$1: $c on $h is $(counter $h dp $c)"
		done
	done
}

# a lane's 2000 packets take one to four seconds
flows_start a b $FLOWS 500 10
flows_start b a $FLOWS 500 10
flows_end a b $FLOWS
flows_end b a $FLOWS
first=$(epoch)
((first >= 4)) || fail "only $first sessions in 10 s"
known_keys "paced"

# flat out: by packets, once a second. Each way has an iperf3 of its own: with --bidir the two ends tell the ways apart by the order
# of their connections, and both send on one when the last word of a handshake is overtaken.
for h in a b; do
	spawn iperf-server-$h $h iperf3 -s -1
	wait_for 5 "iperf3 server on $h" listening $h t 5201
done
spawn iperf-back b iperf3 -c "${ADDR4[a]}" -t 6 -J
on a iperf3 -c "${ADDR4[b]}" -t 6 -J >"$TMP/log/iperf.log" || fail "iperf3: $(jq -r .error "$TMP/log/iperf.log")"
wait_for 5 "end of iperf3" gone "$(pid_of iperf-back)"
for f in "$TMP/log/iperf.log" "$TMP/log/iperf-back.log"; do
	jq -e '[.intervals[].sum.bytes] | min > 0' "$f" >/dev/null || fail "TCP stood still: $(jq -c '.error, [.intervals[]?.sum.bytes]' "$f")"
done
second=$(epoch)
((second >= first + 3)) || fail "only $((second - first)) sessions in 6 s of TCP"
known_keys "TCP both ways"

# within one session: each lane's key changes after 16384 packets
configure 0 16384
for h in a b; do
	ctl $h reload >/dev/null || fail "reload on $h"
done
ctl a rekey b >/dev/null || fail "rekey"
third=$(epoch)
flows_start a b 2 2500 8
flows_start b a 2 2500 8
flows_end a b 2
flows_end b a 2
known_keys "generations, paced"
on a "$PINGPONG" send "${ADDR4[b]}" 7100 100 3 0 >"$TMP/flat" &
on b "$PINGPONG" send "${ADDR4[a]}" 7100 100 3 0 >"$TMP/flat-back"
wait $! || fail "pingpong"
for f in "$TMP/flat" "$TMP/flat-back"; do
	read -r _ sent _ received _ duplicate _ <"$f" || fail "no figures"
	((received > 0 && duplicate == 0)) || fail "flat out: of $sent datagrams $received arrived, $duplicate twice"
done
known_keys "generations, flat out"
[[ $(epoch) == "$third" ]] || fail "the session was made anew: this was not about generations"
capture_start wire a
flows_start a b $FLOWS 50 1
flows_end a b $FLOWS
capture_stop wire
generation=$("$HEADERS" generation "$TMP/wire.pcap")
((generation >= 1)) || fail "no lane has changed its key"
echo "$((second - 1)) sessions by packets, then $generation generations in one"
assert_no_leak a b
