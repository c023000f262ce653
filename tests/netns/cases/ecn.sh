# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# Congestion on the way between two hosts reaches the ends of a TCP connection through the tunnel (RFC 6040): the outer header
# has the inner one's ECN field, a mark that the network sets there becomes the inner one's, and the sender slows down by it.
# wires: udp xdp
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/../lib.sh"

need nft nstat
net_up
for h in a b; do
	on $h sysctl -qw net.ipv4.tcp_ecn=1
done
# absolute, and without the file in which nstat keeps what it said last
heard() { on "$1" nstat -asz "$2" | awk -v n="$2" '$1 == n { print $2 }'; }

congested 4
for family in 4 6; do
	marks=$(counter b dp rx_ecn_ce)
	told=$(heard a TcpExtTCPDeliveredCE)
	capture_start wire a
	copy a b tcp $family 2000000
	capture_stop wire
	assert_counter_over b dp rx_ecn_ce "$marks"
	(($(heard a TcpExtTCPDeliveredCE) > told)) || fail "IPv$family: the sender was not told"
	(($(packets wire "ip and udp port $DATA_PORT and ip[1] & 3 == 2") > 0)) || fail "IPv$family: the outer header is not ECT(0)"
done
congested 0
# the ends do not know ECN, the mark is obeyed all the same: the packet is lost
on sw nft add rule bridge congested way udp dport "$DATA_PORT" ip ecn set ce
lost=$(counter b dp rx_ecn_drop)
! ping4 a b -c 3 -i 0.05 -W 1 || fail "marked packets without ECN came through"
dropped() { (($(counter b dp rx_ecn_drop) >= lost + 3)); }
wait_for 5 "counted losses" dropped
congested 0
ping4 a b -c 1
assert_no_leak a b
