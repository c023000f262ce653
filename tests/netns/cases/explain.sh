# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# What `explain` says is what happens: for every level and protocol, by process, for a peer that is suspended, off-line or revoked, where nobody
# owns the address, and where the host's own routes lead elsewhere or nowhere. It names each hook, and what to do.
# wires: udp
# waits
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/../lib.sh"

asked() { # FROM JQ DST [OPTION…]
	local from=$1 want=$2 out
	shift 2
	out=$(ctlj "$from" explain "$@")
	jq -e "$want" <<<"$out" >/dev/null || fail "explain $* on $from is not $want: $out"
}
arrives() { # FROM TO PROTO
	case $3 in
	tcp) on "$1" timeout 2 "$PINGPONG" first "${ADDR4[$2]}" 7000 ;;
	udp) on "$1" timeout 1 "$PINGPONG" ask udp "${ADDR4[$2]}" 7000 1 100 | grep -q ' 0$' ;;
	icmp) ping4 "$1" "$2" -c 1 -W 1 ;;
	esac >/dev/null 2>&1
}
agrees() { # FROM TO PROTO VERDICT[|VERDICT]
	local port=:7000
	[[ $3 != icmp ]] || port=
	asked "$1" ".verdict | test(\"^($4)$\")" "${ADDR4[$2]}$port/$3"
	if [[ $4 == dropped ]]; then
		! arrives "$1" "$2" "$3" || fail "$3 from $1 to $2 arrives, and explain says that it is dropped"
	else
		arrives "$1" "$2" "$3" || fail "$3 from $1 to $2 does not arrive, and explain says $4: $(ctl "$1" explain "${ADDR4[$2]}$port/$3")"
	fi
}
in_force() { # POLICY
	policy "$1"
	for h in a b; do
		wait_for 5 "new policy on $h" same_rev $h
	done
}
level_is() { ctlj a explain "${ADDR4[b]}" | jq -e ".level == \"$1\"" && ctlj b explain "${ADDR4[a]}" | jq -e ".level == \"$1\""; }
hooks() { ctlj a explain "$1" | jq -r '[.hooks[].hook] | join(" ")'; } # DST

net_up
serve b
serve c
agrees a c tcp clear
asked a '.prefix == null and .peer == null and (.hooks[-1].does | contains("pass_unprotected"))' "${ADDR4[c]}"

for level in network socket 'socket|network' socket+network; do
	in_force "level $level a -> b"
	wait_for 5 "end of the sessions" no_session a
	in_force "allow a -> b"$'\n'"level $level a -> b"
	wait_for 5 "level $level" level_is "$level"
	for proto in tcp udp icmp; do
		agrees a b $proto 'held|sealed'
		agrees a b $proto sealed
	done
	case $level in
	network) want='socket transport route egress keyd wire peer' ;;
	socket | 'socket|network') want='socket keyd route egress wire peer' ;;
	*) want='socket keyd transport route egress keyd wire peer' ;;
	esac
	[[ $(hooks "${ADDR4[b]}:7000") == "$want" ]] || [[ $(status_of a .socket.cgroup) == null ]] || fail "hooks at level $level: $(hooks "${ADDR4[b]}:7000")"
done
# a process of a container does not pass the socket that keyd looks at; by number it is known where it is
asked a '.verdict == "dropped" and .process.elsewhere and (.todo|contains("socket|network"))' "${ADDR4[b]}:7000" --pid $$
asked a '.verdict == "sealed" and .process.uid == "0" and (.process|has("elsewhere")|not)' b:7000 --pid "$(pid_of keyd-a)"

# services, and processes by what they are or by number
in_force 'allow only a -> b proto tcp port 7000 by uid 0'
agrees a b tcp 'held|sealed'
agrees a b udp dropped
agrees a b icmp dropped
asked a '.rule.line == 1 and (.policy.ask|endswith("policy test a b 7000/tcp")) and .policy.rev > 0' "${ADDR4[b]}:7000" --pid "$(pid_of keyd-a)"
asked a '.verdict == "dropped" and .rule.line == 1 and .hooks[-1].hook == "socket" and (.hooks[-1].does|contains("EPERM"))' b:7000 --uid nobody
! on a setpriv --reuid 65534 --clear-groups bash -c "exec 3<>/dev/tcp/${ADDR4[b]}/7000" 2>/dev/null || fail "nobody connects, and explain says that it is refused"

# the host's own way: an interface that is not attached, none at all, and an address that nobody has
ip -n "$P-a" link add eth1 type veth peer name eth1-wire netns "$P-sw"
ip -n "$P-sw" link set eth1-wire master br0 up
addresses a eth1 10.68.0.1/24
ip -n "$P-a" neigh add 10.68.0.9 lladdr 02:00:00:00:00:09 dev eth1
in_force $'allow a -> b\nprotect 10.68.0.0/24 via b\nprotect 10.69.0.0/16\nprotect 10.66.0.0/24'
ip -n "$P-a" route add 10.66.0.0/24 dev eth0
asked a '.verdict == "clear" and .todo == "mvpnctl attach eth1" and .prefix == "10.68.0.0/24" and (.why|any(contains("CLEAR")))' 10.68.0.9
capture_start way eth1-wire
on a bash -c "echo $CANARY >/dev/udp/10.68.0.9/9"
capture_stop way
assert_plaintext way "$CANARY"
attach a udp eth1
asked a '.verdict != "clear" and (.hooks|any(.hook == "egress" and .where == "eth1"))' 10.68.0.9
capture_start way eth1-wire
on a bash -c "echo $CANARY >/dev/udp/10.68.0.9/9"
capture_stop way
assert_no_plaintext way "$CANARY"
asked a '.verdict == "dropped" and (.hooks[-1] | .hook == "route" and (.does|contains("unreachable")))' 10.69.0.1
asked a '.verdict == "dropped" and (.hooks[-1].does|contains("drop_no_owner")) and (.todo|contains("device address add"))' 10.66.0.1

# the peer: off-line, suspended, revoked; and this device itself
in_force '# nobody may talk'
in_force 'allow a -> b'
host_stop b
arrives a b icmp && fail "b is away, and answers"
asked a '.verdict == "held" and (.why|any(contains("failed"))) and (.todo|contains("b"))' b
host_start b
wait_for 10 "b on-line" ctl b wait --timeout 10
srv device suspend b >/dev/null
said() { ctlj "$1" explain "$2" | jq -e ".verdict == \"dropped\" and (.why|any(contains(\"$3\")))"; } # HOST DST TEXT
wait_for 5 "b is suspended, on a" said a b "is suspended"
wait_for 5 "b knows it" said b a "this device is suspended"
agrees a b icmp dropped
srv device revoke b >/dev/null
wait_for 5 "b is revoked, on a" said a b "was revoked"
assert_no_leak a
ctl a explain b | grep -q '^HOOK ' || fail "no table of hooks"
