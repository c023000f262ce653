# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
#
# A network of namespaces and the tools to watch it; sourced by the cases, the demo and the benchmark.
#
#                    namespace P-sw: one switch
#    +---------------------------- br0 -----------------------------+
#    |  server           a               b               c          |   ports of the switch
#    +----|--------------|---------------|---------------|----------+
#       eth0           eth0            eth0            eth0
#     P-server          P-a             P-b             P-c
#   10.77.0.254      10.77.0.1       10.77.0.2       10.77.0.3
#   fd77::254        fd77::1         fd77::2         fd77::3
#   mvpn-server        keyd            keyd        never heard of mvpn
#
# P is mvpn<pid>: unique a run. Every daemon has its own state, socket and pin directory; all of them, the namespaces and
# the files go when the script ends, however it ends. A capture on a port of the switch sees the wire, not the host.
#
# Environment: MVPN_BUILD (directory with keyd, mvpn-server, mvpnctl), MVPN_KEEP=1 (keep the logs), V=1 (say what happens),
# OFFLOADS=off (no super-packets on the virtual Ethernet, as on a physical wire), MVPN_SLOW=10 (wait so many times longer).

set -Eeuo pipefail
shopt -s inherit_errexit

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
BUILD=${MVPN_BUILD:-$ROOT/build}
[[ $BUILD == /* ]] || BUILD=$ROOT/$BUILD
HELPERS=${MVPN_HELPERS:-$BUILD}
[[ $HELPERS == /* ]] || HELPERS=$ROOT/$HELPERS
PINGPONG=$HELPERS/tests/bench/pingpong
POKE=$ROOT/tests/netns/poke.py
EMIT=$ROOT/tests/netns/emit.py
HOOKS=$ROOT/tests/netns/hooks.py
P=${MVPN_PREFIX:-mvpn$$}
TMP=
PIN=/sys/fs/bpf/$P
CHAN_PORT=7468
DATA_PORT=7469
QUEUES=1 # of each eth0
WIRE=${1:-udp} # the runner's argument: which wire a case is about
export PATH=$PATH:/usr/sbin:/sbin LC_ALL=C
# Leak checking needs ptrace, which a process without core dumps refuses: the unit tests do that part.
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=0} UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}

declare -A ADDR4=([server]=10.77.0.254) ADDR6=([server]=fd77::254)
for h in a b c d e f g h i j k; do # a to d for the cases, more for who counts peers
	ADDR4[$h]=10.77.0.${#ADDR4[@]}
	ADDR6[$h]=fd77::$(printf %x ${#ADDR6[@]})
done
unset h
HOSTS=()

say() { [[ ${V:-0} != 1 ]] || echo "# $*" >&2; }
fail() {
	echo "FAIL: $*" >&2
	exit 1
}
# The reason goes to the runner; "make deps" in it makes the skip a failure with CI=true.
skip() {
	echo "$*"
	exit 77
}
need() {
	local c
	for c; do
		command -v "$c" >/dev/null || skip "command $c is missing (make deps)"
	done
}
# grep -q of what a command writes. It reads to the end: grep -q goes at the first match, whoever still writes then dies by SIGPIPE, and
# with pipefail what was found is not.
finds() { [[ $(grep -c "$@") != 0 ]]; }

# ---- life and death ----

case_failed() { # status, line, command
	echo "FAIL: ${0##*/} line $2: status $1: $3" >&2
}
trap 'case_failed $? "$LINENO" "$BASH_COMMAND"' ERR

setup() {
	[[ $(id -u) == 0 ]] || skip "needs root (network namespaces, BPF)"
	TMP=$(mktemp -d "${TMPDIR:-/tmp}/$P.XXXXXX")
	mkdir -p "$TMP/log" "$TMP/pid"
	# keyd mounts it for its own default path; ours is made before any keyd runs
	mountpoint -q /sys/fs/bpf || mount -t bpf bpf /sys/fs/bpf
	trap 'teardown $?' EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
	trap 'exit 141' PIPE
}

# end the processes with these ids: asked first, then made to
end_pids() {
	local deadline=$((SECONDS + 3)) pid
	(($#)) || return 0
	kill "$@" 2>/dev/null || true
	for pid; do
		while kill -0 "$pid" 2>/dev/null && ((SECONDS < deadline)); do
			wait_tick
		done
		kill -KILL "$pid" 2>/dev/null || true
	done
}

teardown() {
	local status=$1 h pids=()
	trap - ERR EXIT
	trap '' INT TERM HUP PIPE
	set +e
	((status == 0 || status == 77 || status >= 128)) || show_logs
	if ((status == 0)) && compgen -G "$TMP/log/*" >/dev/null &&
		grep -lE 'ERROR: (Address|Undefined)|runtime error:' "$TMP"/log/* >"$TMP/san" 2>/dev/null; then
		echo "FAIL: a sanitizer spoke up in $(tr '\n' ' ' <"$TMP/san")"
		show_logs
		status=1
	fi
	for h in "${HOSTS[@]}" sw; do
		[[ -e /run/netns/$P-$h ]] || continue
		mapfile -t -O "${#pids[@]}" pids < <(ip netns pids "$P-$h" 2>/dev/null)
	done
	exec 3>&2 2>/dev/null # bash would report each child that it sees end
	end_pids "${pids[@]}"
	wait
	exec 2>&3 3>&-
	for h in "${HOSTS[@]}" sw; do
		[[ ! -e /run/netns/$P-$h ]] || ip netns del "$P-$h"
	done
	[[ ! -d $PIN ]] || find "$PIN" -depth -delete 2>/dev/null
	find /sys/fs/cgroup/{,unified/}"$P"-* -depth -type d -exec rmdir {} + 2>/dev/null # of the cases that need some
	if [[ ${MVPN_KEEP:-} == 1 ]]; then
		echo "# kept: $TMP" >&2
	else
		[[ -z $TMP ]] || rm -rf "$TMP"
	fi
	exit "$status"
}

show_logs() {
	local f h
	for h in a b; do
		[[ -S $TMP/$h/keyd.sock ]] || continue
		echo "---- status of $h"
		timeout 3 "$BUILD/mvpnctl" --socket "$TMP/$h/keyd.sock" -o json-line status 2>&1 |
			jq -c 'del(.counters) , (.counters|map_values(with_entries(select(.value!=0))))' 2>&1
		timeout 3 "$BUILD/mvpnctl" --socket "$TMP/$h/keyd.sock" -o json-line sessions 2>&1 | jq -c '.sessions[]?'
		timeout 3 "$BUILD/mvpnctl" --socket "$TMP/$h/keyd.sock" -o json-line peers 2>&1 | jq -c '.peers[]?'
	done
	for f in "$TMP"/log/*.log; do
		[[ -s $f ]] || continue
		echo "---- ${f##*/}"
		tail -n "${MVPN_LOG_LINES:-25}" "$f"
	done
} >&2

wait_tick() { sleep 0.02; }

# wait_for SECONDS WHAT COMMAND…: until the command succeeds; the last try begins when the time is over, however long the others took
wait_for() {
	local secs=$(($1 * ${MVPN_SLOW:-1})) what=$2 deadline began
	shift 2
	deadline=$((${EPOCHREALTIME/./} + secs * 1000000)) began=0
	until "$@" >/dev/null 2>&1; do
		((began < deadline)) || fail "no $what within $secs s"
		wait_tick
		began=${EPOCHREALTIME/./}
	done
}

# ---- namespaces ----

# nsenter, not `ip netns exec`, which would hide bpffs
on() {
	local host=$1
	shift
	nsenter --net="/run/netns/$P-$host" "$@"
}

# spawn NAME HOST COMMAND…: in the background, log in $TMP/log/NAME.log
spawn() {
	local name=$1 host=$2
	shift 2
	say "start $name on $host: $*"
	nsenter --net="/run/netns/$P-$host" "$@" >>"$TMP/log/$name.log" 2>&1 </dev/null &
	echo $! >"$TMP/pid/$name"
}
pid_of() { cat "$TMP/pid/$1"; }
gone() { ! kill -0 "$1" 2>/dev/null; }
# stop NAME [SIGNAL]: and wait until it has gone
stop() {
	local pid
	pid=$(pid_of "$1")
	say "stop $1 (${2:-TERM})"
	kill -"${2:-TERM}" "$pid" 2>/dev/null || true
	wait_for 10 "end of $1" gone "$pid"
	{ wait "$pid" || true; } 2>/dev/null
	rm -f "$TMP/pid/$1"
}

host_add() {
	local h=$1 ns=$P-$1
	ip netns add "$ns"
	HOSTS+=("$h")
	on "$h" sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0 \
		net.ipv6.conf.all.accept_ra=0 net.ipv6.conf.default.accept_ra=0
	ip -n "$ns" link set lo up
	ip -n "$ns" link add eth0 numrxqueues "$QUEUES" numtxqueues "$QUEUES" type veth \
		peer name "$h" numrxqueues "$QUEUES" numtxqueues "$QUEUES" netns "$P-sw"
	ip -n "$P-sw" link set dev "$h" master br0 up
	if [[ ${OFFLOADS:-on} == off ]]; then # checksums stay offloaded, as a network card does
		on "$h" ethtool -K eth0 tso off gso off gro off tx-udp-segmentation off >/dev/null
		on sw ethtool -K "$h" tso off gso off gro off tx-udp-segmentation off >/dev/null
	fi
	ip -n "$ns" addr add "${ADDR4[$h]}/24" dev eth0
	ip -n "$ns" addr add "${ADDR6[$h]}/64" dev eth0 nodad
	ip -n "$ns" link set eth0 up
}

# topo_up [HOST…]
topo_up() {
	local h
	[[ -n $TMP ]] || setup
	need ip nsenter jq tcpdump
	ip netns add "$P-sw"
	on sw sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1
	ip -n "$P-sw" link add br0 type bridge forward_delay 0 stp_state 0 mcast_snooping 0
	ip -n "$P-sw" link set br0 up
	(($#)) || set -- server a b c
	for h; do
		host_add "$h"
	done
}

# router_add NAME: forwards; its links are the case's to make
router_add() {
	ip netns add "$P-$1"
	HOSTS+=("$1")
	ip -n "$P-$1" link set lo up
	on "$1" sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv6.conf.default.accept_dad=0
}
# container_add NAME HOST: a network namespace of its own, 10.78.0.2, that HOST forwards for by its device `pod`
container_add() {
	router_add "$1"
	ip -n "$P-$2" link add pod type veth peer name eth0 netns "$P-$1"
	addresses "$2" pod 10.78.0.1/24
	addresses "$1" eth0 10.78.0.2/24
	ip -n "$P-$1" route add default via 10.78.0.1
	on "$2" sysctl -qw net.ipv4.ip_forward=1
}
# addresses HOST DEV ADDRESS…: gives them to the device and sets it up
addresses() {
	local h=$1 dev=$2 addr
	shift 2
	for addr; do
		if [[ $addr == *:* ]]; then
			ip -n "$P-$h" addr add "$addr" dev "$dev" nodad
		else
			ip -n "$P-$h" addr add "$addr" dev "$dev"
		fi
	done
	ip -n "$P-$h" link set "$dev" up
}
# b leaves the switch for a network behind the router r: b's eth0 is on r's `$1`
b_behind() { # ROUTER DEV
	ip -n "$P-b" link del eth0
	ip -n "$P-b" link add eth0 type veth peer name "$2" netns "$P-$1"
	ADDR4[b]=10.78.0.2 ADDR6[b]=fd78::2
	addresses "$1" "$2" 10.78.0.1/24 fd78::1/64
	addresses b eth0 10.78.0.2/24 fd78::2/64
	ip -n "$P-b" route add default via 10.78.0.1
	ip -n "$P-b" route add default via fd78::1
	for h in server a c; do
		ip -n "$P-$h" route add 10.78.0.0/24 via 10.77.0.100
		ip -n "$P-$h" route add fd78::/64 via fd77::100
	done
	ip -n "$P-r" link add eth0 type veth peer name r netns "$P-sw"
	ip -n "$P-sw" link set dev r master br0 up
	addresses r eth0 10.77.0.100/24 fd77::100/64
}

# ---- daemons ----

ctl() { # HOST VERB…
	local h=$1
	shift
	"$BUILD/mvpnctl" --socket "$TMP/$h/keyd.sock" "$@"
}
ctlj() { # the same, one line of JSON
	local h=$1
	shift
	"$BUILD/mvpnctl" --socket "$TMP/$h/keyd.sock" -o json-line "$@"
}
srv() { "$BUILD/mvpnctl" --socket "$TMP/server/server.sock" server "$@"; }
srvj() { "$BUILD/mvpnctl" --socket "$TMP/server/server.sock" -o json-line server "$@"; }

server_start() {
	local state=$TMP/server/state
	mkdir -p "$TMP/server"
	touch "$TMP/server/server.conf" # not the one in /etc
	[[ -d $state ]] || "$BUILD/mvpn-server" init --state "$state" --name testnet >"$TMP/log/init.log" 2>&1 ||
		fail "mvpn-server init: $(cat "$TMP/log/init.log")"
	spawn mvpn-server server "$BUILD/mvpn-server" run --state "$state" --socket "$TMP/server/server.sock" \
		--config "$TMP/server/server.conf" --listen "[::]:$CHAN_PORT"
	wait_for 30 "answer of mvpn-server" srv status
}

KEYD_BY=() # a program that starts it, and its arguments
host_start() {
	local h=$1
	mkdir -p "$TMP/$h" "$PIN"
	touch "$TMP/$h/keyd.conf"
	spawn "keyd-$h" "$h" "${KEYD_BY[@]}" "$BUILD/keyd" --state "$TMP/$h/state" --socket "$TMP/$h/keyd.sock" --pin "$PIN/$h" \
		--config "$TMP/$h/keyd.conf"
	wait_for 30 "answer of keyd on $h" ctl "$h" status
}
host_stop() { stop "keyd-$1" "${2:-TERM}"; }

# a's PKCS#11 token, of software, with the PIN in a file; instead of setup
MODULE=/usr/lib/softhsm/libsofthsm2.so
softhsm_up() {
	[[ -e $MODULE ]] || skip "$MODULE is missing (make deps)"
	setup
	mkdir -p "$TMP/tokens" "$TMP/a"
	printf 'directories.tokendir = %s\nobjectstore.backend = file\nlog.level = ERROR\n' "$TMP/tokens" >"$TMP/softhsm.conf"
	export SOFTHSM2_CONF=$TMP/softhsm.conf
	softhsm2-util --init-token --free --label mvpn --pin 1234 --so-pin 5678 >/dev/null
	(umask 077 && echo 1234 >"$TMP/pin")
}

# token HOST [OPTION…] -> path of a file with a token for that host's two addresses
token() {
	local h=$1 f
	shift
	f=$(mktemp "$TMP/token.XXXXXX")
	srvj token create --address "${ADDR4[$h]}" --address "${ADDR6[$h]}" --server "${ADDR4[server]}:$CHAN_PORT" "$@" |
		jq -er .token >"$f"
	echo "$f"
}
enrol() {
	local h=$1 f
	f=$(token "$h")
	ctl "$h" enroll --token-file "$f" --name "$h" >"$TMP/log/enrol-$h.log" 2>&1 ||
		fail "enrolment of $h: $(cat "$TMP/log/enrol-$h.log")"
	ctl "$h" wait --timeout $((10 * ${MVPN_SLOW:-1})) >/dev/null || fail "$h is not online: $(ctlj "$h" status)"
}
attach() { # HOST [WIRE] [IFACE]
	ctl "$1" attach "${3:-eth0}" --wire "${2:-$WIRE}" >"$TMP/log/attach-$1.log" 2>&1 ||
		fail "attach on $1: $(cat "$TMP/log/attach-$1.log")"
}
policy() {
	printf '%s\n' "$1" >"$TMP/policy"
	srv policy apply "$TMP/policy" >"$TMP/log/policy.log" 2>&1 || fail "policy apply: $(cat "$TMP/log/policy.log")"
}
# everything up to the point where a and b may talk
net_up() {
	topo_up server a b c
	daemons_up
}
members_up() { # the server, and a and b enrolled and attached
	local h
	server_start
	for h in a b; do
		host_start "$h"
		enrol "$h"
		attach "$h"
	done
}
daemons_up() {
	local h
	members_up
	policy 'allow a -> b'
	for h in a b; do
		wait_for 10 "both addresses of both hosts on $h" protects "$h" 4
		wait_for 10 "new policy on $h" same_rev "$h"
	done
}
# addresses are protected once their device has registered them: the first by enrolling, the others by attaching
protects() { [[ $(ctlj "$1" status | jq .protected) == "$2" ]]; } # HOST COUNT
has_peer() { ctlj "$1" peers | jq -e '.peers | length > 0'; }
# the pair's sessions are ended and what was refused forgotten: the next packet meets none
drop_sessions() {
	policy '# nobody may talk'
	wait_for 5 "end of the sessions" no_session a
	wait_for 5 "end of the sessions" no_session b
	policy "allow a -> b"
	wait_for 5 "new policy on a" same_rev a
	wait_for 5 "new policy on b" same_rev b
}
no_session() { ctlj "$1" sessions | jq -e '.sessions | length == 0'; }
same_rev() { [[ $(ctlj "$1" status | jq .policy_rev) == $(srvj status | jq .policy_rev) ]]; }

# a JSON expression over a host's status
status_of() { ctlj "$1" status | jq -r "$2"; }
# counter HOST shim|dp|control NAME
counter() { ctlj "$1" status | jq -e ".counters.$2.$3" || fail "no counter $2.$3 on $1"; }
assert_counter_over() { # HOST SECTION NAME VALUE
	local v
	v=$(counter "$1" "$2" "$3")
	((v > $4)) || fail "counter $2.$3 on $1 is $v, not over $4"
}
assert_no_leak() {
	local h
	for h in "${@:-a}"; do
		ctl "$h" leaks >"$TMP/log/leaks-$h.log" 2>&1 || fail "leaks on $h: $(cat "$TMP/log/leaks-$h.log")"
	done
}

# ---- wire ----

# capture_start NAME PORT: what passes that port of the switch; room for a burst, each packet taking as much as the longest
capture_start() {
	spawn "capture-$1" sw tcpdump -Z root -i "$2" --immediate-mode -U -s 70000 -B 32768 -w "$TMP/$1.pcap"
	wait_for 10 "capture on $2" grep -q 'listening on' "$TMP/log/capture-$1.log"
	echo "$2" >"$TMP/$1.port"
}
# ends after a marker sent now has been seen, so that everything before it is in the file
capture_stop() {
	local mark=END-OF-CAPTURE-$RANDOM$RANDOM
	wait_for 10 "end of the capture" marked "$1" "$mark"
	stop "capture-$1"
	: >"$TMP/log/capture-$1.log"
}
marked() { # NAME MARK: sent until it is there, for behind a burst there may have been no room for it
	grep -aq "$2" "$TMP/$1.pcap" && return
	on sw "$POKE" mark br0 "$2"
	return 1
}
found() { grep -ac -- "$2" "$TMP/$1.pcap" || true; }
assert_no_plaintext() { # NAME PATTERN
	(($(found "$1" "$2") == 0)) || fail "plaintext '$2' on the wire"
}
assert_plaintext() {
	(($(found "$1" "$2") > 0)) || fail "'$2' is not in the capture: it would not have seen a leak either"
}
packets() { tcpdump -nr "$TMP/$1.pcap" "$2" 2>/dev/null | wc -l; } # NAME FILTER
assert_sealed() { # NAME [AT_LEAST]
	local n
	n=$(packets "$1" "udp port $DATA_PORT")
	((n >= ${2:-1})) || fail "$n sealed packets in the capture, expected ${2:-1}"
}
# nothing but sealed packets between these two hosts
assert_only_sealed() { # NAME HOST HOST
	local n
	n=$(packets "$1" "((host ${ADDR4[$2]} and host ${ADDR4[$3]}) or (host ${ADDR6[$2]} and host ${ADDR6[$3]})) \
		and not udp port $DATA_PORT and not arp and not (icmp6 and ip6[40] >= 133 and ip6[40] <= 136)")
	if ((n)); then
		tcpdump -nr "$TMP/$1.pcap" "((host ${ADDR4[$2]} and host ${ADDR4[$3]}) or (host ${ADDR6[$2]} and host ${ADDR6[$3]})) \
			and not udp port $DATA_PORT and not arp" 2>/dev/null | head -5 >&2
		fail "$n packets between $2 and $3 in clear"
	fi
}

# congested EVERY: the switch marks every EVERYth ECN-capable sealed packet as a congested router would (RFC 3168); 0: no more
congested() {
	local family rules='' rule="add rule bridge congested way udp dport $DATA_PORT"
	for family in ip ip6; do
		(($1 == 0)) || rules+="$rule $family ecn { ect0, ect1 } numgen inc mod $1 == 0 $family ecn set ce"$'\n'
	done
	on sw nft -f - <<-RULES || skip "kernel: no nftables for bridges"
		add table bridge congested
		add chain bridge congested way { type filter hook forward priority 0; }
		flush chain bridge congested way
		$rules
	RULES
}

tap_start() { # HOST: what the tunnel's device hands over to be sealed, and gets back
	: >"$TMP/log/tap-$1.log"
	spawn "tap-$1" "$1" tcpdump -Z root -i mvpn0 --immediate-mode -U -s 70000 -w "$TMP/tap-$1.pcap"
	wait_for 10 "capture on mvpn0 of $1" grep -q 'listening on' "$TMP/log/tap-$1.log"
}

# ---- traffic ----

CANARY=MVPN-CANARY-this-must-never-be-read-on-the-wire
canary_file() { # FILE BYTES: the canary over and over, with line numbers so that a mix-up shows
	# shellcheck disable=SC2016
	awk -v n="$2" -v s="$CANARY" 'BEGIN { while (b < n) { l = s "-" ++i; b += length(l) + 1; print l } }' | head -c "$2" >"$1" || true
}
listening() { on "$1" ss -Hln"$2" "sport = :$3" | grep -q .; } # HOST t|u PORT

# copy FROM TO tcp|udp 4|6 BYTES: over the network, byte-exact
copy() {
	local from=$1 to=$2 proto=$3 fam=$4 bytes=$5 port=$((20000 + RANDOM % 9000)) dst # keyd takes its own from 29999 down
	local in=$TMP/copy.in out=$TMP/copy.out
	canary_file "$in" "$bytes"
	rm -f "$out"
	dst=${ADDR4[$to]}
	[[ $fam == 4 ]] || dst=[${ADDR6[$to]}]
	if [[ $proto == tcp ]]; then
		spawn copy "$to" socat -u "TCP$fam-LISTEN:$port,reuseaddr" "OPEN:$out,creat,trunc"
		wait_for 5 listener listening "$to" t "$port"
		on "$from" timeout 60 socat -u "OPEN:$in" "TCP$fam:$dst:$port,connect-timeout=10" || fail "TCP/IPv$fam $from -> $to"
		wait_for 20 "end of the transfer" gone "$(pid_of copy)"
	else
		# room for all of it at once: what a busy reader's socket drops is not the tunnel's loss (the kernel doubles the number)
		spawn copy "$to" socat -u -b 1200 "UDP$fam-RECV:$port,rcvbuf=212992" "OPEN:$out,creat,trunc"
		wait_for 5 listener listening "$to" u "$port"
		on "$from" socat -u -b 1200 "OPEN:$in" "UDP$fam-SENDTO:$dst:$port"
		wait_for 10 "all datagrams" cmp "$in" "$out"
		stop copy
	fi
	cmp "$in" "$out" || fail "$proto over IPv$fam $from -> $to: contents differ"
}
ping4() { on "$1" ping -4 -n -q -W 3 "${@:3}" "${ADDR4[$2]}" >/dev/null; } # FROM TO OPTION…
ping6() { on "$1" ping -6 -n -q -W 3 "${@:3}" "${ADDR6[$2]}" >/dev/null; }

# delivered FROM TO 4|6 KINDS [ADDRESS ADDRESS]: what emit.py sends comes out of the other end's tunnel byte for byte
delivered() {
	local from=$1 to=$2 family=$3 kind=$4 src dst text=EMITTED-$RANDOM-$CANARY
	local -n addr=ADDR$family
	src=${5:-${addr[$from]}} dst=${6:-${addr[$to]}}
	rm -f "$TMP/log/hear.log"
	spawn hear "$to" "$EMIT" hear mvpn0 "$text"
	wait_for 5 "ear on $to" grep -q listening "$TMP/log/hear.log"
	on "$from" "$EMIT" send "$kind" "$src" "$dst" "$text" | sort >"$TMP/sent"
	wait_for 5 "$(wc -l <"$TMP/sent") packets ($kind, IPv$family $from -> $to)" heard_all
	stop hear
	heard | diff "$TMP/sent" - >&2 || fail "$kind, IPv$family $from -> $to: not what was sent"
}
heard() { sed '/listening/d' "$TMP/log/hear.log" | sort; }
heard_all() { (($(heard | wc -l) >= $(wc -l <"$TMP/sent"))); }

# www_start HOST: nginx with a page of 200 kB that has the canary all over
www_start() {
	local d=$TMP/www-$1
	mkdir -p "$d/tmp" "$d/html"
	chmod 755 "$TMP" "$d" "$d/html" # nginx's workers are not root
	{
		echo "<html><title>Quarterly figures</title><pre>"
		canary_file "$d/html/page" 200000
		cat "$d/html/page"
		echo "</pre>"
	} >"$d/html/index.html"
	cat >"$d/nginx.conf" <<-END
		daemon off;
		worker_processes 1;
		pid $d/pid;
		error_log $d/error.log;
		events { worker_connections 64; }
		http {
			access_log off;
			client_body_temp_path $d/tmp; proxy_temp_path $d/tmp; fastcgi_temp_path $d/tmp;
			uwsgi_temp_path $d/tmp; scgi_temp_path $d/tmp;
			server { listen 80; listen [::]:80; root $d/html; }
		}
	END
	spawn "nginx-$1" "$1" nginx -q -c "$d/nginx.conf" -e "$d/error.log"
	wait_for 5 "nginx on $1" listening "$1" t 80
}

serve() { # HOST [PORT]: the pingpong server
	spawn "serve-$1" "$1" "$PINGPONG" serve "${2:-7000}"
	wait_for 5 "pingpong server" listening "$1" t "${2:-7000}"
}
# numbered FROM TO PPS SECS: "sent received duplicate reordered" of numbered datagrams
numbered() {
	local out
	out=$(on "$1" "$PINGPONG" send "${ADDR4[$2]}" 7000 200 "$4" "$3")
	say "$out"
	awk '{ print $2, $4, $6, $8 }' <<<"$out"
}

# flows_start FROM TO COUNT PPS SECS [SIZE]: numbered datagrams in so many flows at once, each to a server of its own
flows_start() {
	local i
	for ((i = 0; i < $3; i++)); do
		[[ -e $TMP/pid/count-$2-$i ]] || spawn "count-$2-$i" "$2" "$PINGPONG" serve $((7100 + i))
		wait_for 5 "server of flow $i" listening "$2" u $((7100 + i))
	done
	for ((i = 0; i < $3; i++)); do
		: >"$TMP/log/flow-$1-$2-$i.log"
		spawn "flow-$1-$2-$i" "$1" "$PINGPONG" send "${ADDR4[$2]}" $((7100 + i)) "${6:-200}" "$5" "$4"
	done
}
# flows_end FROM TO COUNT [reorder]: waits for them; nothing is lost, doubled or, without "reorder", overtaken
flows_end() {
	local i sent received duplicate reordered all=0
	for ((i = 0; i < $3; i++)); do
		wait_for 30 "end of flow $i" gone "$(pid_of "flow-$1-$2-$i")"
		read -r _ sent _ received _ duplicate _ reordered _ <"$TMP/log/flow-$1-$2-$i.log" ||
			fail "no figures of flow $i: $(cat "$TMP/log/flow-$1-$2-$i.log")"
		((sent > 0 && sent == received && duplicate == 0)) ||
			fail "flow $i from $1 to $2: of $sent datagrams $received arrived, $duplicate twice; $(drops "$1") $(drops "$2")"
		((reordered == 0)) || [[ ${4:-} == reorder ]] || fail "flow $i from $1 to $2: $reordered of $sent out of order"
		all=$((all + sent))
	done
	echo "$1 to $2: $all datagrams in $3 flows"
}
# what the fast path of a host has counted, but for what is no loss
drops() { status_of "$1" '.counters.dp | with_entries(select(.value > 0)) | tojson'; }

# everything that an administrator could have set on a host, in files below DIR; counters left out
snapshot() { # HOST DIR
	local h=$1 d=$2
	mkdir -p "$d"
	on "$h" ip -d link show | sed -E 's/ (promiscuity|allmulti|state) [^ ]+//g' >"$d/link"
	on "$h" ip addr show >"$d/addr"
	on "$h" ip -4 route show table all >"$d/route4"
	on "$h" ip -6 route show table all | sort >"$d/route6"
	{ on "$h" ip -4 rule show && on "$h" ip -6 rule show; } >"$d/rule"
	on "$h" tc qdisc show >"$d/qdisc"
	{ on "$h" tc filter show dev eth0 ingress && on "$h" tc filter show dev eth0 egress; } >"$d/filter" 2>/dev/null || true
	{ on "$h" "$HOOKS" eth0 && on "$h" bpftool net show; } >"$d/bpf"
	on "$h" sysctl -a -r '^net\.' 2>/dev/null | grep -vE 'nf_conntrack_count|\.mvpn0\.' | sort >"$d/sysctl"
	on "$h" nft list ruleset >"$d/nft"
	on "$h" ethtool -k eth0 >"$d/offloads"
	on "$h" ethtool -l eth0 >"$d/channels" 2>/dev/null || true
}
assert_same() { # DIR DIR WHAT
	diff -ru "$1" "$2" >&2 || fail "$3"
}
