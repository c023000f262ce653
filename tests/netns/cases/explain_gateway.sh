# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# What `explain` says of a host behind a gateway that translates sources is what happens, as packets and at the socket, in both families: it
# is reached, but not by a protocol that cannot be translated; nor when the gateway does not reach it, until it does again.
# wires: udp
# waits
# shellcheck source=tests/netns/gateway.sh
source "$(dirname "$0")/../gateway.sh"
# shellcheck source=tests/netns/explain.sh
source "$(dirname "$0")/../explain.sh"

need python3
net_up
behind b
# d knows its own network only
ip -n "$P-d" route del default
ip -n "$P-d" -6 route del default
serve d
PROTECT='protect 10.9.0.0/24 via b source translated
protect fd09::/64 via b source translated'
in_force $'allow a -> b\n'"$PROTECT"
wait_for 5 "the prefixes on a" protects a 6
at_end() { # TEXT ADDRESS…: what explain says happens at the other end
	local text=$1 addr
	shift
	for addr; do
		asked a ".hooks[-1] | .hook == \"peer\" and .where == \"b\" and (.does|contains(\"$text\"))" "$addr"
	done
}

row 'held|sealed' a d icmp
row sealed a d tcp udp icmp
at_end "from an address of the gateway's" "${ADDR4[d]}" "${ADDR6[d]}/icmp" "[${ADDR6[d]}]:7000"
before=$(counter b control untranslatable)
on a python3 -c 'import socket, sys
for family, to in ((socket.AF_INET, sys.argv[1]), (socket.AF_INET6, sys.argv[2])):
    socket.socket(family, socket.SOCK_RAW, 47).sendto(b"\0" * 8, (to, 0))' "${ADDR4[d]}" "${ADDR6[d]}"
untranslatable() { (($(counter b control untranslatable) >= before + 2)); }
wait_for 3 "packets that are not translated" untranslatable
at_end untranslatable "${ADDR4[d]}/47" "${ADDR6[d]}/47"

in_force $'allow a -> b\nlevel socket a -> b\n'"$PROTECT"
diverted() { ctlj a explain "${ADDR4[d]}:7000" | jq -e '.level == "socket" and (.hooks|any(.hook == "socket" and (.does|contains("stands for the other end"))))'; }
wait_for 5 "the level" diverted
row 'held|sealed' a d tcp
row sealed a d tcp udp icmp
[[ $(hooks "${ADDR4[d]}:7000/udp") == 'socket keyd route egress wire peer' ]] || fail "hooks: $(hooks "${ADDR4[d]}:7000/udp")"

# the far side is dead: sealed all the same, and it says where it ends
in_force $'allow a -> b\n'"$PROTECT"
row 'held|sealed' a d icmp
ip -n "$P-d" link set to-b down
away() { ctlj a explain "$1" | jq -e '.gateways[0].state == "away" and .verdict == "sealed" and (.hooks[-1].does|contains("gets no further")) and (.todo|contains("doctor on b"))'; }
for addr in "${ADDR4[d]}" "${ADDR6[d]}"; do
	wait_for 5 "word of the gateway about $addr" away "$addr"
done
! arrives a d icmp 4 0.5 >/dev/null || fail "IPv4 arrives"
! arrives a d icmp 6 0.5 >/dev/null || fail "IPv6 arrives"
ip -n "$P-d" link set to-b up
near() { ctlj a explain "$1" | jq -e '.gateways[0].state == "well" and .todo == null'; }
for addr in "${ADDR4[d]}" "${ADDR6[d]}"; do
	wait_for 5 "word of the gateway about $addr" near "$addr"
done
row sealed a d tcp udp icmp
assert_no_leak a b
