# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# What the policy sets for the whole network: `dscp copy` shows the inner DSCP in the outer header, which is 0 without it; `multicast drop`
# keeps multicast and broadcast off attached interfaces, with or without keyd, but lets pass what links need. And a line's own DSCP.
# wires: udp xdp
# waits
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/../lib.sh"

set_policy() {
	policy "$1"
	for h in a b; do
		wait_for 5 "new policy on $h" same_rev $h
	done
}
classes() { tcpdump -vnr "$TMP/wire.pcap" "udp port $DATA_PORT" 2>/dev/null | grep -o 'tos 0x[0-9a-f]*' | sort -u | wc -l; }
chatter() { # multicast and broadcast of a program on a
	on a "$EMIT" send udp "${ADDR4[a]}" 224.0.0.251 "$CANARY-4" eth0
	on a "$EMIT" send udp "${ADDR6[a]}" ff02::fb "$CANARY-6" eth0
	on a "$EMIT" send udp "${ADDR4[a]}" 10.77.0.255 "$CANARY-b" eth0
} >/dev/null

# the outer TOS or traffic class of large packets FROM a host, and of a packet of it
tos_of() { tcpdump -vnr "$TMP/$1.pcap" "udp port $DATA_PORT and src host $2 and udp[8] == 0x41 and greater 1000" 2>/dev/null | grep -oE 'tos 0x[0-9a-f]*' | sort -u; }
expect_tos() { [[ $(tos_of "$1" "$2") == "tos $3" ]] || fail "large packets from $2 have $(tos_of "$1" "$2"), not $3"; }

net_up
[[ $(status_of a '.options | .dscp + .multicast') == clearpass ]] || fail "not the defaults: $(status_of a .options)"
# a line's DSCP: both ways, whatever the programs say, each segment of a super-packet
ping4 a b -c 1
set_policy 'allow a -> b proto tcp port 20000-29999 dscp af21
allow a -> b dscp copy'
ping4 a b -c 1
capture_start line a
for family in 4 6; do
	copy a b tcp $family 300000
done
capture_stop line
expect_tos line "${ADDR4[a]}" 0x48
capture_start line a
on a ping -q -c 2 -i 0.1 -Q 0x20 -s 1200 "${ADDR4[b]}" >/dev/null
capture_stop line
expect_tos line "${ADDR4[a]}" 0x20
expect_tos line "${ADDR4[b]}" 0x20
set_policy 'allow a -> b
dscp copy'
ping4 a b -c 1
capture_start wire a
delivered a b 4 classes
chatter
capture_stop wire
(($(classes) == 256)) || fail "copy: $(classes) different outer TOS, not 256"
for what in 4 6 b; do
	assert_plaintext wire "$CANARY-$what"
done

set_policy 'allow a -> b
multicast drop
max-offline 5m'
[[ $(status_of b .options.max_offline_s) == 300 ]] || fail "max-offline on b: $(status_of b .options)"
[[ $(status_of b '.options | .dscp + .multicast') == cleardrop ]] || fail "options on b: $(status_of b .options)"
dropped=$(counter a shim drop_multicast)
capture_start wire a
delivered a b 4 classes
chatter
(($(counter a shim drop_multicast) == dropped + 3)) || fail "not all three were counted"
ip -n "$P-a" neigh flush dev eth0
ip -n "$P-c" neigh flush dev eth0
ping4 a c -c 1 || fail "no ARP"
ping6 a c -c 1 || fail "no neighbour discovery"
ping6 a b -c 1
capture_stop wire
assert_no_plaintext wire "$CANARY"
(($(classes) == 4)) || fail "clear: $(classes) different outer TOS, not those of ECN alone"

# it holds without keyd, and in the next one before the server has spoken
host_stop a KILL
capture_start wire a
chatter
capture_stop wire
assert_no_plaintext wire "$CANARY"
stop mvpn-server
host_start a
[[ $(status_of a '.options | .dscp + .multicast') == cleardrop ]] || fail "forgotten by the next keyd: $(status_of a .options)"
server_start
wait_for 35 "a online again" same_rev a

set_policy 'allow a -> b'
capture_start wire a
chatter
capture_stop wire
assert_plaintext wire "$CANARY-4"
assert_no_leak a b
