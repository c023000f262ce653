# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# `flows` says of each kind of socket whose it is: process, program, user, peer, level, line, bytes and since when, at both ends, also of a
# process that was there before; and of what has no process here why none is named.
# wires: udp
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/../lib.sh"

need python3
WHOAMI=$ROOT/tests/netns/whoami.py
net_up
policy 'allow a -> b'
spawn serve b "$WHOAMI" serve 8000
wait_for 5 listener grep -q ready "$TMP/log/serve.log"
exe=$(readlink "/proc/$(pid_of serve)/exe")
to() { [[ $1 == 4 ]] && echo "${ADDR4[$2]}" || echo "${ADDR6[$2]}"; }

# the flow of a process: HOST NAME JQ-CONDITION
flow() { ctlj "$1" flows | jq -c --argjson pid "$(pid_of "$2")" "[.flows[] | select(.process.pid == \$pid and ($3))] | first // empty"; }
whole() {
	flow "$@" | jq -e --arg exe "$exe" --arg peer "${4:-b}" '.owner == "process" and .process.exe == $exe and .process.uid == 0 and .process.cgroup != null and
		.peer == $peer and .bytes > 0 and .first_s >= .last_s and .rule.line == 1 and .level != null' >/dev/null
}
check() {
	wait_for 5 "the flow of $2 on $1" whole "$@"
}

# what a program has sent and received, to the byte: FAMILY BYTES-OF-HEADERS
moved() {
	spawn "ask$1" a "$WHOAMI" ask "$(to "$1" b)" 8000
	check a "ask$1" ".proto == 17 and .packets == 10 and .bytes == 10 * ($2 + 5) and .bytes_in == 10 * ($2 + 700)"
}

# it was there, and its socket, before anything of ours was
ctl a detach eth0 --force >/dev/null
spawn before a "$WHOAMI" udp "${ADDR4[b]}" 8001
attach a
check a before ".proto == 17 and .dport == 8001 and .level == \"network\""
for family in 4 6; do
	for kind in tcp udp; do
		spawn "$kind$family" a "$WHOAMI" $kind "$(to $family b)" 8000
	done
	spawn "raw$family" a "$WHOAMI" raw "$(to $family b)" 253
	spawn "packet$family" a "$WHOAMI" packet eth0 "$(to $family a)" "$(to $family b)" 8002
	check a "tcp$family" ".proto == 6 and .dport == 8000 and .dst == \"$(to $family b)\""
	check a "udp$family" ".proto == 17 and .dport == 8000 and .dst == \"$(to $family b)\""
	check a "raw$family" ".proto == 253 and .dst == \"$(to $family b)\""
	check a "packet$family" ".proto == 17 and .dport == 8002 and .dst == \"$(to $family b)\""
	# who accepts is known as well
	check b serve ".proto == 6 and .sport == 8000 and .dst == \"$(to $family a)\" and .process.accepted" a
	moved $family $((family == 4 ? 28 : 48))
	# who answers is asked before it sends: the first question is not in its flow yet
	check b serve ".proto == 17 and .sport == 8000 and .dst == \"$(to $family a)\" and .bytes == 10 * ($((family == 4 ? 28 : 48)) + 700) and .bytes_in == 9 * ($((family == 4 ? 28 : 48)) + 5)" a
	stop "ask$family"
	spawn "ping$family" a ping -i 0.2 "$(to $family b)"
	wait_for 5 "the flow of a ping" eval "[[ -n \$(flow a ping$family '.owner == \"process\" and (.process.exe | endswith(\"ping\"))') ]]"
	stop "ping$family" INT
	for kind in tcp udp raw packet; do stop "$kind$family"; done
done
stop before

# forwarded by a, for a container that keyd does not look into
container_add d a
spawn pod d "$WHOAMI" udp "${ADDR4[b]}" 8003
nobodys() { ctlj "$1" flows | jq -e "[.flows[] | select($2)] | length > 0 and all(.process == null and .owner == \"$3\")" >/dev/null; }
wait_for 5 "a forwarded flow" nobodys a ".proto == 17 and .dport == 8003" forwarded
stop pod

# in a tunnel of the kernel's own, whoever's packets go through it; where that program alone may send, the tunnel may not
for family in 4 6; do
	ip -n "$P-a" link add "vx$family" type vxlan id $family dstport 4789 local "$(to $family a)" remote "$(to $family b)"
	on a sysctl -qw "net.ipv6.conf.vx$family.disable_ipv6=1"
	ip -n "$P-a" address add 192.0.2.$((family * 16 + 1))/30 dev "vx$family"
	ip -n "$P-a" link set "vx$family" up
	ip -n "$P-a" neigh add 192.0.2.$((family * 16 + 2)) lladdr 02:00:00:00:00:09 dev "vx$family"
done
for verdict in to_tap drop_process; do
	[[ $verdict == to_tap ]] || policy "allow a -> b by exe $exe"
	spawn inner4 a "$WHOAMI" udp 192.0.2.66 8004
	spawn inner6 a "$WHOAMI" tcp 192.0.2.98 8004
	for family in 4 6; do
		wait_for 5 "a tunnel over IPv$family: $verdict" nobodys a ".verdict == \"$verdict\" and .dport == 4789 and .dst == \"$(to $family b)\"" kernel
	done
	stop inner4
	stop inner6
done
# the same program's own, a raw socket's too
for kind in udp raw; do
	spawn "own-$kind" a "$WHOAMI" $kind "${ADDR4[b]}" 254
	check a "own-$kind" ".verdict == \"to_tap\""
	stop "own-$kind"
done

# at the socket level, at both ends
policy $'allow a -> b\nlevel socket a -> b'
diverts() { ctlj a explain "${ADDR4[b]}" | jq -e '.why|any(contains("at the socket"))' >/dev/null; }
wait_for 5 "level on a" diverts
for family in 4 6; do
	spawn "tcp$family" a "$WHOAMI" tcp "$(to $family b)" 8000
	spawn "udp$family" a "$WHOAMI" udp "$(to $family b)" 8000
	check a "tcp$family" ".verdict == \"stream\" and .proto == 6 and .level == \"socket\" and .dst == \"$(to $family b)\""
	check a "udp$family" ".verdict == \"stream\" and .proto == 17 and .level == \"socket\" and .dst == \"$(to $family b)\""
	moved $family 0
	wait_for 5 "who accepts it at b" eval "[[ -n \$(flow b serve '.verdict == \"stream\" and .proto == 6 and .owner == \"process\" and .process.exe == \"$exe\" and .dst == \"$(to $family a)\"') ]]"
done
assert_no_leak a b
