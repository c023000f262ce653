# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# Several workers: each flow keeps to a lane, each lane to a source port, and nothing of a flow is lost or overtaken, whether it is
# UDP or TCP.
# wires: udp xdp
# sanitized
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/../lib.sh"

WORKERS=4
FLOWS=8
HEADERS=$ROOT/tests/netns/headers.py
setup
[[ $WIRE == udp ]] || QUEUES=$WORKERS # of AF_XDP each has a worker
for h in a b; do
	mkdir -p "$TMP/$h"
	printf '[data]\nworkers = %s\n' "$WORKERS" >"$TMP/$h/keyd.conf"
done
net_up
[[ $(status_of a .workers) == "$WORKERS" && $(status_of a .tap.steering) == lane ]] ||
	fail "not $WORKERS workers: $(status_of a '[.workers, .tap] | tojson')"
ping4 a b -c 1
[[ $(ctlj a sessions | jq '.sessions[0].lanes') == "$WORKERS" ]] || fail "the session has not $WORKERS lanes"

flows_start a b $FLOWS 250 4
flows_start b a $FLOWS 250 4
flows_end a b $FLOWS
flows_end b a $FLOWS

# on the wire: a port a lane, always to the data port
capture_start wire a
flows_start a b $FLOWS 100 1
flows_end a b $FLOWS
capture_stop wire
"$HEADERS" lanes "$TMP/wire.pcap" | grep "^${ADDR4[a]} " >"$TMP/lanes" || fail "no data packets of a"
awk -v base="$DATA_PORT" '$3 != base + $2 { exit 1 }' "$TMP/lanes" || fail "a lane has not its port: $(cat "$TMP/lanes")"
(($(wc -l <"$TMP/lanes") >= 2)) || fail "$FLOWS flows went by one lane: $(cat "$TMP/lanes")"
(($(packets wire "src host ${ADDR4[a]} and udp and not dst port $DATA_PORT") == 0)) || fail "something went to another port"

# TCP that loses nothing has no reason to see a segment out of order
on b nstat -n
spawn iperf-server b iperf3 -s -1
wait_for 5 "iperf3 server" listening b t 5201
on a iperf3 -c "${ADDR4[b]}" -P 6 -b 20M -t 3 -J >"$TMP/iperf.json" || fail "iperf3: $(jq -r .error "$TMP/iperf.json")"
lost=$(jq .end.sum_sent.retransmits "$TMP/iperf.json")
out_of_order=$(on b nstat -z TcpExtTCPOFOQueue TcpExtTCPSACKReorder 2>/dev/null | awk '/TcpExt/ { n += $2 } END { print n + 0 }')
((lost > 0 || out_of_order == 0)) || fail "$out_of_order segments out of order and none was lost"
echo "TCP: $lost retransmissions, $out_of_order out of order"

# in the steady state each lane's packets come to the worker that opens them
before=$(counter b dp rx_relayed)
flows_start a b $FLOWS 200 1
flows_end a b $FLOWS
(($(counter b dp rx_relayed) == before)) || fail "packets were handed over in the steady state"
(($(counter b dp rx_relay_full) == 0)) || fail "packets were lost between workers"
assert_no_leak a b
