# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
#
# What the cases about gateways share: d, behind one or more of them, which runs nothing of ours.
# shellcheck source=tests/netns/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# behind GATEWAY…: the host d, which runs nothing of ours, on a network of the gateways' eth1; d's way back is the first one
behind() {
	local h i=0 dev
	ip netns add "$P-d"
	HOSTS+=(d)
	ip -n "$P-d" link set lo up
	ip -n "$P-d" link add eth0 type bridge forward_delay 0 stp_state 0
	ADDR4[d]=10.9.0.200 ADDR6[d]=fd09::200
	addresses d eth0 10.9.0.200/24 fd09::200/64
	for h; do
		i=$((i + 1)) dev=to-$h
		ip -n "$P-d" link add "$dev" type veth peer name eth1 netns "$P-$h"
		ip -n "$P-d" link set dev "$dev" master eth0 up
		addresses "$h" eth1 "10.9.0.$i/24" "fd09::$i/64"
		on "$h" sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
	done
	ip -n "$P-d" route add default via 10.9.0.1
	ip -n "$P-d" route add default via fd09::1
	ip -n "$P-a" route add 10.9.0.0/24 via "${ADDR4[$1]}"
	ip -n "$P-a" route add fd09::/64 via "${ADDR6[$1]}"
}
# c, a second gateway beside b to d's network; it is d's way back, whichever a takes, and a's route hangs on neither, as in a network with a
# router
second_gateway() {
	host_start c
	enrol c
	attach c
	behind c b
	ip -n "$P-a" route replace 10.9.0.0/24 via "${ADDR4[server]}"
}
through() { ctlj a explain "${ADDR4[d]}" | jq -e --arg g "$1" '.peer == $g and (.gateways[]|select(.in_use).name) == $g' >/dev/null; } # GATEWAY
both_stand_by() { ctlj a explain "${ADDR4[d]}" | jq -e '.gateways|all(.session and .state == "well")' >/dev/null; }

# what d, behind a gateway, has for others: stream.py and a page with the canary
serve_behind() {
	spawn serve d "$STREAM" serve 8000
	wait_for 5 listener grep -q ready "$TMP/log/serve.log"
	mkdir "$TMP/web"
	canary_file "$TMP/web/page" 3000000
	spawn web d python3 -m http.server --bind :: --directory "$TMP/web" 80
	wait_for 5 "web server" listening d t 80
}

# how long a hears nothing of gap.py on d, from start to end: less than 3 s, and a connection made before has lost nothing
GAP=$ROOT/tests/netns/gap.py
gap_start() {
	: >"$TMP/log/gap.log"
	spawn gap a "$GAP" watch "${ADDR4[d]}" 9000
	wait_for 5 "datagrams" grep -q ready "$TMP/log/gap.log"
	sleep 0.2 # of well-being
}
gap_end() { # WHAT
	local ms connection
	stop gap
	read -r ms connection < <(tail -1 "$TMP/log/gap.log")
	echo "$1: $ms ms without an answer, connection $connection"
	((ms < 3000)) || fail "$1: $ms ms without an answer"
	[[ $connection == exact ]] || fail "$1: the connection: $connection"
}
