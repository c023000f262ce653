# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# Which kinds of NAT, at either end, leave a direct way, and which do not: then the pair is relayed, and says so.
#
#   a, b   masquerade and no firewall at all: it keeps a record of what comes unasked, and so must be asked in the right order
#   c      full cone: the port is c's, whoever sends
#   d      another port for each destination
#   e, f   each behind a router of its own, and both of those behind a carrier's (CGN), without and with hairpin
#   g, h   as d, but IPv6 passes without NAT, through firewalls that let in only answers
#   i, j   none, and firewalls that let in only answers
#
# Mappings that end sooner than a session is used again are kept, by the end that is behind NAT and by no other.
# wires: udp
# waits
# shellcheck source=tests/netns/nat.sh
source "$(dirname "$0")/../nat.sh"

MAPPED_S=23    # as long as a's router remembers
KEEPALIVE_S=20 # MVPN_KEEPALIVE_S

no_firewall() { on "$1" nft delete table ip filter; }
full_cone() { # ROUTER HOST
	no_firewall "$1"
	on "$1" nft -f - <<-RULES
		add chain ip nat in { type nat hook prerouting priority -100; }
		add rule ip nat in iifname eth0 udp dport $DATA_PORT dnat to ${ADDR4[$2]}
	RULES
}
# its IPv6 without NAT, but nothing comes in that is not an answer
firewalled6() { # HOST NUMBER
	local r=n$1
	ADDR6[$1]=fd0$2::2 ADDR6[$r]=fd77::10$2
	addresses "$r" lan "fd0$2::1/64"
	addresses "$1" eth0 "fd0$2::2/64"
	addresses "$r" eth0 "${ADDR6[$r]}/64"
	ip -n "$P-$1" route add default via "fd0$2::1"
	on "$r" nft -f - <<-RULES
		table ip6 filter {
			chain through { type filter hook forward priority 0; iifname "eth0" ct state { new, invalid } drop; }
		}
	RULES
}
carrier() { # HOST…: their routers leave the switch, for a network behind cg, which has their address there
	local h n=0
	router_add cg
	ADDR4[cg]=10.77.0.105
	ip -n "$P-cg" link add eth0 type veth peer name cg netns "$P-sw"
	ip -n "$P-sw" link set dev cg master br0 up
	addresses cg eth0 "${ADDR4[cg]}/24"
	for h; do
		ip -n "$P-n$h" link del eth0
		ip -n "$P-n$h" link add eth0 type veth peer name "to-$h" netns "$P-cg"
		addresses cg "to-$h" "100.64.$n.1/24"
		addresses "n$h" eth0 "100.64.$n.2/24"
		ip -n "$P-n$h" route add default via "100.64.$n.1"
		nat_rules "n$h" "to :2000$n"
		n=$((n + 1))
	done
	nat_rules cg ""
	on cg nft add rule ip filter in iifname "to-*" ip daddr "${ADDR4[cg]}" drop
}
hairpin() { # of cg: what one of the two sends to the other's outer end point, comes there from its own (RFC 4787 REQ-9)
	no_firewall cg
	on cg nft -f - <<-RULES
		add chain ip nat in { type nat hook prerouting priority -100; }
		add rule ip nat in ip daddr ${ADDR4[cg]} udp dport 20000 dnat to 100.64.0.2
		add rule ip nat in ip daddr ${ADDR4[cg]} udp dport 20001 dnat to 100.64.1.2
		add rule ip nat out oifname "to-*" ip saddr 100.64.0.0/16 udp dport 20000-20001 snat to ${ADDR4[cg]}
	RULES
}
# reached FROM TO PATH [ADDRESS]: and both say by which; the peer seen there
reached() {
	local got
	got=$(ctlj "$1" ping "$2" --count 1 --timeout 8000) || true
	jq -e --arg p "$3" '.received == 1 and .path == $p' <<<"$got" >/dev/null || fail "ping $1 $2: not $3: $got"
	got=$(ctlj "$1" sessions | jq -c --arg b "$2" '[.sessions[] | select(.peer == $b and .transmits)][0] | [.path, .endpoint]')
	[[ $got == "[\"$3\",\"${4:-}"* ]] || fail "sessions of $1: $2 is reached by $got, not $3 ${4:-}"
}
by_hairpin() {
	ctlj e rekey f && ctlj e sessions |
		jq -e --arg at "${ADDR4[cg]}:20001" '.sessions[] | select(.peer == "f" and .transmits and .path == "direct" and .endpoint == $at)'
}
path_to() { # FROM TO PATH
	[[ $(ctlj "$1" sessions | jq -r --arg b "$2" '[.sessions[] | select(.peer == $b and .transmits)][0].path') == "$3" ]]
}
pairs() { # FROM TO PATH [ADDRESS] a line: all at once
	local pids=() line pid
	while read -r line; do
		# shellcheck disable=SC2086
		reached $line &
		pids+=($!)
	done
	for pid in "${pids[@]}"; do
		wait "$pid" || exit 1
	done
}

topo_up server a b c d e f g h i j
behind_nat a 1
behind_nat b 2
behind_nat c 3
behind_nat d 4 random
behind_nat e 5
behind_nat f 6
behind_nat g 7 random
behind_nat h 8 fully-random
no_firewall na
no_firewall nb
full_cone nc c
carrier e f
firewalled6 g 7
firewalled6 h 8
for r in g:8 h:7; do
	ip -n "$P-n${r%:*}" route add "fd0${r#*:}::/64" via "fd77::10${r#*:}"
done
on na sysctl -qw net.netfilter.nf_conntrack_udp_timeout=$MAPPED_S net.netfilter.nf_conntrack_udp_timeout_stream=$MAPPED_S
ip -n "$P-i" route add 192.168.0.0/16 via "${ADDR4[server]}" # as any default route
for h in i j; do
	on $h nft -f - <<-RULES
		table ip filter {
			chain in { type filter hook input priority 0; iifname "eth0" meta l4proto udp ct state { new, invalid } drop; }
		}
	RULES
done
server_start
for h in a b c d e f g h i j; do
	host_start $h
	enrol $h
	attach $h
done
policy 'allow * -> *'
for h in a b c d e f g h i j; do
	wait_for 10 "new policy on $h" same_rev $h
	wait_for 10 "$h's view of itself" seen $h
done

capture_start between na
pairs <<-PAIRS
	a b direct ${ADDR4[nb]}:$DATA_PORT
	i a direct ${ADDR4[na]}:$DATA_PORT
PAIRS
idle=${EPOCHREALTIME/./}
capture_stop between
first=$(packets between "udp and host ${ADDR4[na]} and host ${ADDR4[nb]}")
((first > 0)) || fail "nothing between the NATs of a and b: the capture shows nothing"
# what is kept alive from now on, and by whom
capture_start kept na
capture_start none i
pairs <<-PAIRS
	d c direct ${ADDR4[nc]}:$DATA_PORT
	d b relayed ${ADDR4[server]}:$CHAN_PORT
	e b direct ${ADDR4[nb]}:$DATA_PORT
	c f direct ${ADDR4[cg]}:20001
	e f relayed ${ADDR4[server]}:$CHAN_PORT
	d g relayed ${ADDR4[server]}:$CHAN_PORT
	i j direct ${ADDR4[j]}:$DATA_PORT
	g h direct [fd08::2]:$DATA_PORT
PAIRS
[[ $(status_of i .behind_nat) == false && $(status_of g .behind_nat) == true ]] || fail "i or g does not know how it is seen"
hairpin
wait_for 10 "a direct way by hairpin" by_hairpin

# UDP from i to j is lost, what goes the other way arrives: who has something to send goes by the relay, and comes back
on sw nft -f - <<-RULES
	add table bridge blocked
	add chain bridge blocked way { type filter hook forward priority 0; }
	add rule bridge blocked way iifname i oifname j meta l4proto udp drop
RULES
i_to_j() { ping4 i j -c 1 -W 1 && path_to i j "$1"; }
wait_for 15 "a way round" i_to_j relayed
on sw nft delete table bridge blocked
wait_for 25 "the direct way back" i_to_j direct

over() { ((${EPOCHREALTIME/./} - idle > (MAPPED_S + 2) * 1000000)); }
wait_for $((MAPPED_S + 2)) "the time that mappings live" over
capture_stop kept
capture_stop none
most=$(((${EPOCHREALTIME/./} - idle) / (KEEPALIVE_S * 1000000) + 1))
for to in nb i; do
	kept=$(packets kept "udp and src host ${ADDR4[na]} and dst host ${ADDR4[$to]}")
	((kept >= 1 && kept <= most)) || fail "a has sent $kept packets to keep its mapping for $to, not 1 to $most"
done
(($(packets kept "udp and dst host ${ADDR4[na]} and src host ${ADDR4[i]}") == 0)) || fail "i, without NAT, keeps one alive"
# inwards through the mapping: nothing has gone out first
for h in b i; do
	ping4 $h a -c 1 -W 1 || fail "$h does not reach a through what was kept"
done
