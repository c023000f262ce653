# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# What the policy sets for the whole network: `dscp clear` keeps the inner DSCP out of the outer header, `multicast drop` keeps
# multicast and broadcast off attached interfaces, with or without keyd, but lets pass what links need.
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

net_up
[[ $(status_of a '.options | .dscp + .multicast') == copypass ]] || fail "not the defaults: $(status_of a .options)"
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
dscp clear
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
