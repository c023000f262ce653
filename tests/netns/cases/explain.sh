# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# What `explain` says is what happens, in both families: at every level, of this host's programs and of a container, by process, while a
# session is being made, without the server, for a peer that is off-line, suspended or revoked, where nobody owns the address, and where
# the host's own routes lead elsewhere or nowhere. It names each hook, and what to do. (Gateways: explain_gateway.sh; networks.sh.)
# wires: udp
# waits
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/netns/explain.sh
source "$(dirname "$0")/../explain.sh"

need nft
level_is() { ctlj a explain "${ADDR4[b]}" | jq -e ".level == \"$1\"" && ctlj b explain "${ADDR4[a]}" | jq -e ".level == \"$1\""; }

net_up
serve b
serve c
row clear a c tcp udp icmp
asked a '.prefix == null and .peer == null and (.hooks[-1].does | contains("pass_unprotected"))' "${ADDR4[c]}"

# a container: a network namespace behind a, with a's addresses outside
router_add pod
ip -n "$P-a" link add pod type veth peer name eth0 netns "$P-pod"
addresses a pod 172.17.0.1/24 fd17::1/64
addresses pod eth0 172.17.0.2/24 fd17::2/64
ip -n "$P-pod" route add default via 172.17.0.1
ip -n "$P-pod" route add default via fd17::1
on a sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
on a nft -f - <<-RULES
	table inet pods {
		chain out { type nat hook postrouting priority 100; ip saddr 172.17.0.0/24 masquerade; ip6 saddr fd17::/64 masquerade; }
	}
RULES
spawn inside pod sleep 1000

for level in network socket 'socket|network' socket+network; do
	alone=
	if [[ $level == network || $level == socket ]]; then
		in_force "level $level a -> b"
		wait_for 5 "end of the sessions" no_session a
		alone=1
	fi
	in_force "allow a -> b"$'\n'"level $level a -> b"
	wait_for 5 "level $level" level_is "$level"
	if [[ -n $alone ]]; then
		# while b cannot answer: what is sent waits, and arrives
		kill -STOP "$(pid_of keyd-b)"
		spawn first a timeout 10 "$PINGPONG" first "${ADDR4[b]}" 7000
		under_way() { ctlj a explain "${ADDR4[b]}:7000" | jq -e '.verdict == "held" and (.why|any(contains("doing that now"))) and .hooks[-1].hook == "keyd"'; }
		wait_for 5 "an introduction under way" under_way
		kill -CONT "$(pid_of keyd-b)"
		wait "$(pid_of first)" || fail "what explain says is held does not arrive"
		row 'held|sealed' a b udp icmp
	fi
	row 'held|sealed' a b tcp
	row sealed a b tcp udp icmp
	case $level in
	network) want='socket transport route egress keyd wire peer' udp='socket route egress keyd wire peer' ;;
	socket | 'socket|network') want='socket keyd route egress wire peer' udp=$want ;;
	*) want='socket keyd transport route egress keyd wire peer' udp='socket keyd route egress keyd wire peer' ;;
	esac
	if [[ $(status_of a .socket.cgroup) != null ]]; then
		[[ $(hooks "[${ADDR6[b]}]:7000") == "$want" ]] || fail "hooks at level $level: $(hooks "[${ADDR6[b]}]:7000")"
		[[ $(hooks "${ADDR4[b]}:7000/udp") == "$udp" ]] || fail "hooks of UDP at level $level: $(hooks "${ADDR4[b]}:7000/udp")"
	fi
	[[ $(hooks "${ADDR4[b]}/icmp") == 'route egress keyd wire peer' ]] || fail "hooks of ICMP at level $level: $(hooks "${ADDR4[b]}/icmp")"
	# a process of a container does not pass the socket that keyd looks at
	as=(--pid "$(pid_of inside)")
	if [[ $level == socket || $level == socket+network ]]; then
		row dropped pod b tcp udp
		row sealed pod b icmp
		asked a '.process.elsewhere and (.todo|contains("socket|network"))' "${ADDR4[b]}:7000" "${as[@]}"
	else
		row sealed pod b tcp udp icmp
		asked a '.process.elsewhere and (.hooks|map(select(.hook == "socket" or .hook == "transport").does)|all(contains("another network namespace")))' \
			"${ADDR4[b]}:7000" "${as[@]}"
	fi
	as=()
done
# by number it is known where it is; with the container's own address it would not pass
asked a '.verdict == "sealed" and .process.uid == "0" and (.process|has("elsewhere")|not)' b:7000 --pid "$(pid_of keyd-a)"
in_force 'allow a -> b'
on a nft flush chain inet pods out
as=(--from 172.17.0.2 --pid "$(pid_of inside)")
asked a '.verdict == "dropped" and (.hooks[-1].does|contains("drop_bad_src")) and (.todo|contains("device address add"))' "${ADDR4[b]}:7000" "${as[@]}"
! ping4 pod b -c 1 -W 0.5 || fail "a container's own address passes"

# services, and processes by what they are or by number
in_force 'allow only a -> b proto tcp port 7000 by uid 0'
as=()
row 'held|sealed' a b tcp
row dropped a b udp icmp
asked a '.rule.line == 1 and (.policy.ask|endswith("policy test a b 7000/tcp")) and .policy.rev > 0' "${ADDR4[b]}:7000" --pid "$(pid_of keyd-a)"
asked a '.verdict == "dropped" and .rule.line == 1 and .hooks[-1].hook == "socket" and (.hooks[-1].does|contains("EPERM"))' b:7000 --uid nobody
! on a setpriv --reuid 65534 --clear-groups bash -c "exec 3<>/dev/tcp/${ADDR4[b]}/7000" 2>/dev/null || fail "nobody connects, and explain says that it is refused"
in_force 'allow only a -> b by uid 65534'
as=(--uid 0)
row dropped a b tcp udp icmp
asked a '.rule.line == 1 and .hooks[-1].hook == "socket" and (.hooks[-1].does|contains("refuse_process"))' "${ADDR4[b]}:7000/udp" "${as[@]}"
asked a '.rule.line == 1 and .hooks[-1].hook == "egress" and (.hooks[-1].does|contains("drop_process"))' "${ADDR4[b]}/icmp" "${as[@]}"
asked a '.verdict != "dropped" and .rule.line == 1' "${ADDR4[b]}/icmp" --uid nobody

# the host's own way: an interface that is not attached, none at all, and an address that nobody has
as=()
ip -n "$P-a" link add eth1 type veth peer name eth1-wire netns "$P-sw"
ip -n "$P-sw" link set eth1-wire master br0 up
addresses a eth1 10.68.0.1/24 fd68::1/64
for away in 10.68.0.9 fd68::9; do
	ip -n "$P-a" neigh add "$away" lladdr 02:00:00:00:00:09 dev eth1
done
in_force $'allow a -> b\nprotect 10.68.0.0/24 via b\nprotect 10.69.0.0/16\nprotect 10.66.0.0/24
protect fd68::/64 via b\nprotect fd69::/64\nprotect fd66::/64'
ip -n "$P-a" route add 10.66.0.0/24 dev eth0
ip -n "$P-a" route add fd66::/64 dev eth0
speak() { # CAPTURE: the canary to both
	capture_start "$1" eth1-wire
	on a bash -c "echo $CANARY-4 >/dev/udp/10.68.0.9/9; echo $CANARY-6 >/dev/udp/fd68::9/9"
	capture_stop "$1"
}
for away in 10.68.0.9 fd68::9; do
	asked a '.verdict == "clear" and .todo == "mvpnctl attach eth1" and (.prefix|test("^(10.68.0.0/24|fd68::/64)$")) and (.why|any(contains("CLEAR")))' $away
done
speak open
assert_plaintext open "$CANARY-4"
assert_plaintext open "$CANARY-6"
attach a udp eth1
for away in 10.68.0.9 fd68::9; do
	asked a '.verdict != "clear" and (.hooks|any(.hook == "egress" and .where == "eth1"))' $away
done
speak way
assert_no_plaintext way "$CANARY"
for away in 10.69.0.1 fd69::1; do
	asked a '.verdict == "dropped" and (.hooks[-1] | .hook == "route" and (.does|contains("unreachable")))' $away
done
for away in 10.66.0.1 fd66::1; do
	asked a '.verdict == "dropped" and (.hooks[-1].does|contains("drop_no_owner")) and (.todo|contains("device address add"))' $away
done

# a peer that is off-line, suspended, revoked
host_start c
enrol c
attach c
in_force $'allow a -> b\nallow a -> c'
wait_for 5 "c on a" protects a 6
said() { ctlj "$1" explain "$2" | jq -e ".verdict == \"dropped\" and (.why|any(contains(\"$3\")))"; } # HOST DST TEXT
srv device suspend c >/dev/null
wait_for 5 "c is suspended, on a" said a c "is suspended"
wait_for 5 "c knows it" said c a "this device is suspended"
row dropped a c tcp udp icmp
host_stop c
srv device approve c >/dev/null
in_force $'allow a -> c\nallow a -> b'
arrives a c icmp 4 0.5 && fail "c is away, and answers"
failed() { ctlj a explain c | jq -e '.verdict == "held" and (.why|any(contains("failed"))) and (.todo|contains("c"))'; }
wait_for 5 "word that no session can be made" failed
srv device revoke c >/dev/null
wait_for 5 "c is revoked, on a" said a c "was revoked"
row dropped a c tcp icmp

# without the server: a session lives on, a new one is not made
row 'held|sealed' a b tcp
stop mvpn-server
offline() { [[ $(status_of "$1" .state) == offline ]]; }
wait_for 10 "a off-line" offline a
row sealed a b tcp udp icmp
asked a '.why|any(test("sessions that there are go on for [0-9]+ s"))' b:7000
host_stop b
host_start b
asker=b
row dropped b a tcp udp icmp
asked b '(.hooks[-1].does|contains("held_drop_timeout")) and (.todo|contains("on-line"))' "${ADDR6[a]}"
assert_no_leak a b
ctl a explain b | finds '^HOOK ' || fail "no table of hooks"
