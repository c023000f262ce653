#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# make demo: two hosts that were strangers talk privately through unchanged programs, over both wires, while somebody
# listens on the switch; and a host that has never heard of mvpn is reached as before. Leaves the machine as it found it.

# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/../netns/lib.sh"

BOLD='' DIM='' GREEN='' RED='' PLAIN=''
if [[ -t 1 ]]; then
	BOLD=$'\e[1m' DIM=$'\e[2m' GREEN=$'\e[32m' RED=$'\e[31m' PLAIN=$'\e[0m'
fi
STARTED=$SECONDS
declare -A R # what was measured: R[wire,what]

title() { printf '\n%s%s%s\n' "$BOLD" "$*" "$PLAIN"; }
step() { printf '  %s%-52s%s' "$PLAIN" "$*" "$DIM"; }
done_() { printf '%s%s%s%s\n' "$PLAIN" "$GREEN" "${*:-ok}" "$PLAIN"; }
note() { printf '  %s%s%s\n' "$DIM" "$*" "$PLAIN"; }
fail() {
	printf '%s%sfailed%s: %s\n' "$PLAIN" "$RED" "$PLAIN" "$*" >&2
	exit 1
}

# ---- the programs: as they come with Debian, configured for nothing but their port ----

programs_start() { # HOST
	www_start "$1"
	spawn "iperf-$1" "$1" iperf3 -s
	serve "$1"
	wait_for 5 "iperf3 on $1" listening "$1" t 5201
}

# exchange TO LABEL: everything that a does with a host; results in R[LABEL,…]
exchange() {
	local to=$1 label=$2 out bytes
	step "first connection with no session, five times"
	for _ in 1 2 3 4 5; do
		[[ $to == c ]] || drop_sessions
		on a "$PINGPONG" first "${ADDR4[$to]}" 7000 || fail "no connection to $to"
	done >"$TMP/first"
	R[$label,first]=$(sort -g "$TMP/first" | sed -n 3p)
	done_ "$(ms "${R[$label,first]}") ms to the first byte"

	step "web page: curl http://${ADDR4[$to]}/"
	bytes=$(on a curl -sS -m 10 "http://${ADDR4[$to]}/" | tee "$TMP/page" | wc -c)
	cmp -s "$TMP/page" "$TMP/www-$to/html/index.html" || fail "the page is not the one nginx has"
	done_ "$bytes bytes, identical"

	step "the same over IPv6: curl http://[${ADDR6[$to]}]/"
	on a curl -sS -m 10 -g "http://[${ADDR6[$to]}]/" | cmp -s - "$TMP/www-$to/html/index.html" || fail "the page differs"
	done_ identical

	step "ping: 20 packets"
	out=$(on a ping -n -q -c 20 -i 0.02 -p 4d56504e2d43414e "${ADDR4[$to]}") || fail "$out"
	R[$label,ping]=$(awk -F/ '/^rtt/ { print $5 }' <<<"$out")
	done_ "0 lost, ${R[$label,ping]} ms"

	step "UDP: 2000 questions, one after the other"
	read -r p50 p99 lost <<<"$(on a "$PINGPONG" ask udp "${ADDR4[$to]}" 7000 2000 200)"
	((lost == 0)) || fail "$lost answers lost"
	R[$label,p50]=$p50 R[$label,p99]=$p99
	done_ "0 lost, median $(ms "$p50") ms, p99 $(ms "$p99") ms"
	step "UDP: a text of 60 kB"
	copy a "$to" udp 4 60000
	done_ identical
}
throughput() { # TO LABEL
	step "iperf3: TCP for 3 seconds"
	on a iperf3 -c "${ADDR4[$1]}" -t 3 -J >"$TMP/iperf.json" || fail "$(jq -r .error "$TMP/iperf.json")"
	R[$2,gbit]=$(jq '.end.sum_received.bits_per_second / 1e9' "$TMP/iperf.json")
	done_ "$(printf '%.2f Gbit/s' "${R[$2,gbit]}")"
}
ms() { printf '%.2f' "$(awk -v us="$1" 'BEGIN { print us / 1000 }')"; }

verdict() { # CAPTURE TO: what the listener on the switch has
	local clear sealed
	clear=$(found "$1" "$CANARY")
	sealed=$(packets "$1" "udp port $DATA_PORT and not udp port $CHAN_PORT") # the latter: where the server sees us
	step "what the listener on the switch can read of it"
	if [[ $2 == c ]]; then
		((clear > 0)) || fail "the capture did not see the clear text to c: it proves nothing"
		((sealed == 0)) || fail "packets to c were sealed"
		done_ "everything, as before"
	else
		((clear == 0)) || fail "the text is in the capture"
		assert_only_sealed "$1" a "$2"
		((sealed > 50)) || fail "only $sealed sealed packets in the capture"
		done_ "nothing: $sealed sealed packets"
	fi
	R[$2,$1]=$sealed
}

over_wire() { # WIRE NUMBER NAME
	title "$2  a and b, over the $3 wire"
	for h in a b; do
		step "$h: mvpnctl attach eth0 --wire $1"
		attach $h "$1"
		done_ "$(status_of $h '.interfaces[0] | "\(.hook), \(.rung)"')"
	done
	capture_start "$1" a
	exchange b "$1"
	capture_stop "$1"
	verdict "$1" b
	throughput b "$1"
	for h in a b; do
		ctl $h leaks >/dev/null || fail "the leak counter of $h says $(ctlj $h leaks | jq .leak)"
		R[leak,$h]=$(ctlj $h leaks | jq .leak)
		ctl $h detach eth0 --force >/dev/null
	done
}

row() { # LABEL DIGITS KEY SCALE
	local label=$1 digits=$2 key=$3 scale=$4 w
	printf '   %-34s' "$label"
	for w in xdp udp clear; do
		printf '%11.*f' "$digits" "$(awk -v v="${R[$w,$key]:-0}" -v s="$scale" 'BEGIN { print v / s }')"
	done
	echo
}

main() {
	printf '%smvpn%s: two hosts that were strangers talk privately, through programs that do not know of it.\n' "$BOLD" "$PLAIN"
	note "server, a, b and c are network namespaces on one switch; c has never heard of mvpn."

	title "1  A network"
	setup
	exec {SCREEN}>&1
	trap 'printf "%s\n  interrupted: cleaning up\n" "$PLAIN" >&"$SCREEN"; exit 130' INT
	step "switch and four hosts"
	topo_up server a b c
	done_
	step "nginx, iperf3, a UDP service on b and on c"
	programs_start b
	programs_start c
	done_
	step "authentication server: mvpn-server run"
	server_start
	done_ "$(srvj status | jq -r .fingerprint)"

	title "2  On-line registration: one token each, used up by its use"
	for h in a b; do
		step "$h: mvpnctl enroll --token-file ..."
		host_start $h
		enrol $h
		done_ "$(ctlj $h status | jq -r .device.fingerprint)"
	done
	step "policy: allow a -> b"
	policy 'allow a -> b'
	done_ "in force"

	over_wire xdp 3 AF_XDP
	over_wire udp 4 "UDP socket"

	title "5  a and c: not protected, so not touched"
	for h in a b; do attach $h udp; done
	capture_start clear a
	exchange c clear
	capture_stop clear
	verdict clear c
	throughput c clear
	R[leak,a]=$(ctlj a leaks | jq .leak)
	R[leak,b]=$(ctlj b leaks | jq .leak)
	summary
}

summary() {
	title "Summary                                   AF_XDP        UDP     clear (c)"
	row "TCP throughput, Gbit/s" 2 gbit 1
	row "UDP question and answer, median ms" 3 p50 1000
	row "                         99 %, ms" 3 p99 1000
	row "ping, ms" 3 ping 1
	row "connect() to first data, ms" 2 first 1000
	printf '   %-34s%11s%11s%11s\n' "text readable on the wire" no no yes
	printf '   %-34s%11s\n' "leak counter (a, b)" "${R[leak,a]}, ${R[leak,b]}"
	note "connect() over a wire had no session: it waited for the introduction by the server and then went"
	note "on its way, no packet lost. Figures are of this machine's virtual Ethernet, where AF_XDP has no"
	note "driver to help it and costs the plain traffic its offloads: \`mvpnctl attach eth0\` alone would choose"
	note "the UDP wire here. AF_XDP is for network cards whose driver has zero-copy support."
	printf '\n%s%sDone in %d s.%s The namespaces and everything in them are gone again.\n' \
		"$GREEN" "$BOLD" $((SECONDS - STARTED)) "$PLAIN"
	printf 'Next: README.md, "A first network on two machines".\n'
}

[[ $(id -u) == 0 ]] || {
	echo "make demo needs root: it makes network namespaces and loads BPF programs (try: sudo make demo)" >&2
	exit 1
}
main
