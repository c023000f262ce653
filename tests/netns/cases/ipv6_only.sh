# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# A network that has IPv6 only: channel, sealed packets and what is in them, IPv4 of networks behind both ends as well.
# wires: udp xdp
# waits
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/../lib.sh"

topo_up server a b c
for h in server a b c; do
	ip -n "$P-$h" addr del "${ADDR4[$h]}/24" dev eth0
done
server_start
for h in a b; do
	host_start $h
	srvj token create --address "${ADDR6[$h]}" --server "[${ADDR6[server]}]:$CHAN_PORT" | jq -r .token >"$TMP/token"
	ctl $h enroll --token-file "$TMP/token" --name $h >/dev/null || fail "enrolment of $h over IPv6"
	attach $h
done
policy 'allow a -> b dscp ef'
for h in a b; do
	wait_for 10 "both addresses on $h" protects $h 2
	wait_for 10 "new policy on $h" same_rev $h
done
capture_start wire a
ping6 a b -c 2 -i 0.1
copy a b tcp 6 2000000
copy b a tcp 6 2000000
copy a b udp 6 60000
# the first ones tell each end what fits
ping6 a b -c 4 -i 0.1 -s 4000
ping6 a c -c 1
for h in a b; do
	on $h sysctl -qw net.ipv4.tcp_ecn=1
done
congested 4
copy a b tcp 6 2000000
assert_counter_over b dp rx_ecn_ce 0
congested 0

# IPv4 in IPv6: each is the gateway of a network that the other reaches by it
ip -n "$P-a" addr add 10.9.1.1/32 dev lo
ip -n "$P-b" addr add 10.9.2.1/32 dev lo
ip -n "$P-a" route add 10.9.2.0/24 via inet6 "${ADDR6[b]}" src 10.9.1.1
ip -n "$P-b" route add 10.9.1.0/24 via inet6 "${ADDR6[a]}" src 10.9.2.1
ADDR4[a]=10.9.1.1 ADDR4[b]=10.9.2.1
policy 'allow a -> b dscp ef
protect 10.9.1.0/24 via a
protect 10.9.2.0/24 via b'
for h in a b; do
	wait_for 10 "all prefixes on $h" protects $h 4
	wait_for 10 "new policy on $h" same_rev $h
done
capture_start wire4 a
ping4 a b -c 2 -i 0.1
for proto in tcp udp; do
	copy a b $proto 4 60000
	copy b a $proto 4 60000
done
delivered a b 4 classes,protocols,options,fragments
# the least MTU that IPv6 has: what it lets an inner packet be no longer fits, and is cut
for h in a b; do
	ip -n "$P-$h" link set dev eth0 mtu 1280
	ip -n "$P-sw" link set dev $h mtu 1280
done
ping6 a b -c 4 -i 0.1 -s 1232
copy a b tcp 6 1000000
copy b a tcp 6 1000000
copy a b udp 6 60000
copy b a udp 6 60000
capture_stop wire4
assert_no_plaintext wire4 "${CANARY:0:12}"
(($(packets wire4 "ip") == 0)) || fail "IPv4 on the wire"
capture_stop wire
assert_no_plaintext wire "${CANARY:0:12}"
(($(packets wire "ip6 and udp port $DATA_PORT") > 50)) || fail "nothing sealed over IPv6"
# the line's DSCP, and ECN's bits beside it; 0 on what is keyd's own
tos=$(tcpdump -vnr "$TMP/wire.pcap" "ip6 and udp port $DATA_PORT and ip6[48] == 0x41" 2>/dev/null | grep -o 'class 0x[0-9a-f]*' | sort -u | tr '\n' ' ')
[[ $tos == 'class 0xb8 class 0xb9 class 0xba class 0xbb ' ]] || fail "outer traffic classes: $tos"
# one flow label for all that a sends to b, whatever is inside
labels=$(tcpdump -vnr "$TMP/wire.pcap" "src ${ADDR6[a]} and udp dst port $DATA_PORT" 2>/dev/null | grep -o 'flowlabel 0x[0-9a-f]*' | sort | uniq -c)
[[ $(wc -l <<<"$labels") == 1 ]] || fail "outer flow labels: $labels"
assert_no_leak a b
