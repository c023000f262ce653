# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
#
# What the cases about NAT share. A host leaves the switch for a private network behind a router of its own:
#
#   a --- na ---+                        +--- nb --- b
#   192.168.1.2 |                        |  192.168.2.2
#        10.77.0.101 ------ br0 ------ 10.77.0.102
#                            |
#                          server, c
#
# The routers let in what belongs to a flow that went out, and nothing else.
# shellcheck source=tests/netns/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

need nft python3 socat

# behind_nat HOST NUMBER [HOW]: how the router masquerades; see nat_rules
behind_nat() {
	local h=$1 r=n$1 net=192.168.$2
	router_add "$r"
	ip -n "$P-$h" link del eth0
	ip -n "$P-$h" link add eth0 type veth peer name lan netns "$P-$r"
	ADDR4[$h]=$net.2
	ADDR4[$r]=10.77.0.10$2
	addresses "$r" lan "$net.1/24"
	addresses "$h" eth0 "$net.2/24"
	ip -n "$P-$h" route add default via "$net.1"
	ip -n "$P-$r" link add eth0 type veth peer name "$r" netns "$P-sw"
	ip -n "$P-sw" link set dev "$r" master br0 up
	addresses "$r" eth0 "${ADDR4[$r]}/24"
	nat_rules "$r" "${3:-}"
}
# nat_rules ROUTER HOW: masquerade HOW, for example "" (the port stays if it is free: one mapping for all), "to :20000-20999",
# "random" (another port for each destination)
nat_rules() {
	on "$1" nft -f - <<-RULES || skip "kernel: no masquerade by nftables"
		flush ruleset
		table ip nat {
			chain out { type nat hook postrouting priority 100; oifname "eth0" meta l4proto { tcp, udp } masquerade $2; }
		}
		table ip filter {
			chain in { type filter hook input priority 0; iifname "eth0" ct state { new, invalid } drop; }
			chain through { type filter hook forward priority 0; iifname "eth0" ct state { new, invalid } drop; }
		}
	RULES
}
nat_forget() { on "$1" "$POKE" forget; } # ROUTER: its mappings
nat_daemons_up() { # server, a and b; everybody may talk
	local h
	members_up
	policy 'allow * -> *'
	for h in a b; do
		wait_for 10 "new policy on $h" same_rev "$h"
		wait_for 10 "$h's view of itself" seen "$h"
	done
}
seen() { [[ $(status_of "$1" .seen) != null ]]; }
sees() { [[ $(ctlj "$1" sessions | jq -r '[.sessions[] | select(.transmits)][0].endpoint') == "$2" ]]; } # HOST END_POINT
path_is() { [[ $(ctlj "$1" sessions | jq -r '[.sessions[] | select(.transmits)][0].path') == "$2" ]]; } # HOST PATH
