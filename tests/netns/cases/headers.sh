# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# Whatever stands in an inner packet's headers arrives as it was sent: every traffic class, TTLs, flow labels, any protocol,
# IPv4 options, IPv6 extension headers, fragments; and of all that the outer header shows ECN alone.
# wires: udp xdp
# sanitized
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/../lib.sh"

net_up
ping4 a b -c 1
ping6 b a -c 1
capture_start wire a
for family in 4 6; do
	delivered a b $family classes,ttl,labels,protocols,options,fragments
	delivered b a $family classes,ttl,labels,protocols,options,fragments
done
# super-packets behind extension headers
canary_file "$TMP/stream" 1000000
for options in dst hbh,dst; do
	rm -f "$TMP/streamed"
	spawn stream b socat -u TCP6-LISTEN:7001,reuseaddr "OPEN:$TMP/streamed,creat,trunc"
	wait_for 5 listener listening b t 7001
	on a "$EMIT" stream "${ADDR6[b]}" 7001 $options "$TMP/stream" || fail "TCP with options $options"
	wait_for 20 "end of the transfer" gone "$(pid_of stream)"
	cmp "$TMP/stream" "$TMP/streamed" || fail "TCP with options $options: contents differ"
done
capture_stop wire
assert_no_plaintext wire "${CANARY:0:12}"
assert_only_sealed wire a b
(($(packets wire "udp port $DATA_PORT and ip[8] != 64") == 0)) || fail "the outer TTL is not always 64"
seen=$(tcpdump -vnr "$TMP/wire.pcap" "udp port $DATA_PORT" 2>/dev/null | grep -o 'tos 0x[0-9a-f]*' | sort -u | wc -l)
((seen == 4)) || fail "$seen different outer TOS, not those of ECN alone"
for name in rx_bad_inner drop_malformed_tap rx_ecn_odd rx_ecn_drop; do
	(($(counter b dp $name) + $(counter a dp $name) == 0)) || fail "something was counted as $name"
done
assert_no_leak a b
