# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
#
# What the benchmark's peers have in common; sourced by them. Each joins hosts a and b by a tunnel device of its own, with
# addresses that only the tunnel reaches. All but OpenVPN (openvpn.sh says why) have the same MTU: what fits through a wire of
# 1500 with the largest of their overheads, so that none of them fragments and all carry packets of the same size.

# shellcheck source=tests/netns/lib.sh

declare -A INNER4=([a]=10.78.0.1 [b]=10.78.0.2)
INNER_MTU=1420
TARGET=${INNER4[b]} # for the benchmark

# the command is there, or the system is left out
peer_needs() {
	local c
	for c; do
		command -v "$c" >/dev/null || skip "command $c is missing (make bench-deps PEERS=$SYSTEM)"
	done
	[[ -c /dev/net/tun ]] || skip "/dev/net/tun is missing"
}

# tunnel_set HOST DEVICE: when the daemon has made its device, give it address and MTU
tunnel_set() {
	wait_for 10 "device $2 of $SYSTEM on $1" on "$1" ip link show "$2"
	on "$1" ip link set "$2" mtu "$INNER_MTU" up
	on "$1" ip addr replace "${INNER4[$1]}/24" dev "$2"
}

# until b answers a through the tunnel
tunnel_ready() { wait_for 20 "answer of b through $SYSTEM" on a ping -4 -n -q -c 1 -W 1 "$TARGET"; }

other() { [[ $1 == a ]] && echo b || echo a; }
