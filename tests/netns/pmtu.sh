# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
#
# What the cases about the path's MTU share: a and b have jumbo frames, and between two routers lies a link of which they cannot
# know. Each sends the other 16 MiB by TCP and by UDP, whose datagrams have DF one way and may be fragmented the other.
#
#   a --- br0 --- r ======= q --- b
#         9000      the link   9000
# shellcheck source=tests/netns/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

need nft socat python3
UDPFILE=$ROOT/tests/netns/udpfile.py
MIB16=$((16 << 20))
JUMBO=9000

topo_up server a b c
router_add r
router_add q
b_behind q eth0
ip -n "$P-r" link add eth1 type veth peer name eth1 netns "$P-q"
addresses r eth1 10.79.0.1/24 fd79::1/64
addresses q eth1 10.79.0.2/24 fd79::2/64
ip -n "$P-r" route add 10.78.0.0/24 via 10.79.0.2
ip -n "$P-r" route add fd78::/64 via fd79::2
ip -n "$P-q" route add default via 10.79.0.1
ip -n "$P-q" route add default via fd79::1
for h in a b c server r; do
	ip -n "$P-$h" link set dev eth0 mtu $JUMBO
	[[ $h == b ]] || ip -n "$P-sw" link set dev $h mtu $JUMBO
done
ip -n "$P-sw" link set dev br0 mtu $JUMBO
ip -n "$P-q" link set dev eth0 mtu $JUMBO
link_mtu() {
	# both ends at once: the smaller one decides in between, never a larger one
	ip -n "$P-r" link set dev eth1 mtu "$1"
	ip -n "$P-q" link set dev eth1 mtu "$1"
}
icmp() { # passes|dropped
	local h
	for h in r q; do
		on $h nft flush ruleset
		[[ $1 == dropped ]] || continue
		on $h nft -f - <<-'END'
			table inet quiet {
				chain out { type filter hook output priority 0; icmp type != { echo-reply, echo-request } drop
					icmpv6 type { packet-too-big, destination-unreachable, time-exceeded } drop; }
				chain forward { type filter hook forward priority 0; meta l4proto { icmp, icmpv6 } drop; }
			}
		END
	done
}
link_mtu $JUMBO
icmp "$ICMP"
daemons_up
head -c $MIB16 /dev/urandom >"$TMP/in"

tcp() { # FROM TO FAMILY
	local port=$((20000 + RANDOM % 9000)) dst=${ADDR4[$2]}
	[[ $3 == 4 ]] || dst=[${ADDR6[$2]}]
	rm -f "$TMP/out"
	spawn tcp "$2" socat -u "TCP$3-LISTEN:$port,reuseaddr" "OPEN:$TMP/out,creat,trunc"
	wait_for 5 listener listening "$2" t $port
	on "$1" timeout 60 socat -u "OPEN:$TMP/in" "TCP$3:$dst:$port,connect-timeout=10" || fail "TCP over IPv$3 $1 -> $2"
	wait_for 20 "end of the transfer" gone "$(pid_of tcp)"
	cmp "$TMP/in" "$TMP/out" || fail "TCP over IPv$3 $1 -> $2: contents differ"
}
udp() { # FROM TO FAMILY df|fragment
	local port=$((20000 + RANDOM % 9000)) dst=${ADDR4[$2]} size=3000
	[[ $3 == 4 ]] || dst=${ADDR6[$2]}
	[[ $4 == df ]] && size=8000
	rm -f "$TMP/out"
	spawn udp "$2" "$UDPFILE" receive $port "$TMP/out"
	wait_for 5 listener listening "$2" u $port
	on "$1" timeout 90 "$UDPFILE" send "$dst" $port "$TMP/in" $size "$4" >>"$TMP/log/udp.log" || fail "UDP over IPv$3 $1 -> $2 ($4)"
	wait_for 20 "end of the transfer" gone "$(pid_of udp)"
	cmp "$TMP/in" "$TMP/out" || fail "UDP over IPv$3 $1 -> $2 ($4): contents differ"
}
shown() { [[ $(ctlj "$1" sessions | jq -c '[.sessions[]|select(.transmits)|.mtu, .mtu_state]') == "[$2,\"found\"]" ]]; } # HOST MTU
# what finds out: something is sent, all the time
found_by() { # HOST MTU
	on a ping -q -i 0.2 -w 40 "${ADDR4[b]}" >/dev/null 2>&1 &
	local ping=$!
	wait_for 30 "MTU $2 on $1 (it says $(ctlj "$1" sessions | jq -c '[.sessions[]|.mtu, .mtu_state]'))" shown "$1" "$2"
	kill $ping
	wait $ping || true
}

families=(4 6 6 4)
hows=(df fragment fragment df)
n=0
at_mtu() { # MTU: it is found, and everything arrives
	local h
	link_mtu "$1"
	found_by a "$1"
	found_by b "$1"
	tcp a b "${families[n % 4]}"
	tcp b a "${families[(n + 1) % 4]}"
	udp a b "${families[n % 4]}" "${hows[n % 4]}"
	udp b a "${families[(n + 3) % 4]}" "${hows[(n + 2) % 4]}"
	for h in a b; do
		[[ $(ctlj $h sessions | jq '.sessions[]|select(.transmits)|.mtu') == "$1" ]] || fail "$h forgot the MTU $1"
	done
	say "MTU $1: done after $SECONDS s"
	n=$((n + 1))
}
