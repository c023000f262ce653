# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# What a `level` line demands is what passes. `socket+network`: TCP is sealed at the socket, and what carries it is sealed again as
# packets, with a session of its own; on the wire are sealed packets alone, and in them, at the tunnel's own device, sealed streams
# alone. TCP that has gone round the socket (a raw socket's) is refused, as at `socket`; `socket|network` takes it as packets.
# wires: udp
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/../lib.sh"

need python3
STREAM=$ROOT/tests/netns/stream.py
net_up
at_level() { ctlj "$1" explain "${ADDR4[$2]}" | jq -e --arg l "$3" '.level == $l'; }
level() { # LEVEL: and no session from before it
	policy "level $1 a -> b"
	wait_for 5 "end of the sessions" no_session a
	wait_for 5 "end of the sessions" no_session b
	policy $'allow a -> b\nlevel '"$1 a -> b"
	wait_for 5 "level on a" at_level a b "$1"
	wait_for 5 "level on b" at_level b a "$1"
	wait_for 5 "new policy on a" same_rev a
	wait_for 5 "new policy on b" same_rev b
}
ask() { # FROM TO FAMILY WHAT [N]
	local to=${ADDR4[$2]}
	[[ $3 == 4 ]] || to=${ADDR6[$2]}
	on "$1" "$STREAM" ask "$to" 8000 "${@:4}" || true
}
layers() { ctlj "$1" sessions | jq -c '[.sessions[] | select(.transmits) | .layer] | sort'; }
has_layers() { [[ $(layers "$1") == "$2" ]]; }
dropped() { [[ $(counter a dp drop_level) == "$1" ]]; }

spawn serve b "$STREAM" serve 8000
wait_for 5 listener grep -q ready "$TMP/log/serve.log"

# both: an observer sees packets, and in the packets are streams
level socket+network
capture_start wire b
tap_start a
tap_start b
for family in 4 6; do
	[[ $family == 4 ]] && addr_a=${ADDR4[a]} || addr_a=${ADDR6[a]}
	[[ $(ask a b $family who) == "$addr_a "* ]] || fail "b does not see a's address over IPv$family: $(ask a b $family who)"
done
[[ $(ask a b 4 sum 5000000) == exact ]] || fail "5 MB to b"
[[ $(ask a b 6 send 5000000) == exact ]] || fail "5 MB to a"
printf 'sum\nIN-THE-CLEAR-IN-THE-CLEAR' | on a timeout 5 socat -t5 - "TCP:${ADDR4[b]}:8000" >/dev/null
ping4 a b -c 1 || fail "no ping"
for h in a b; do
	has_layers $h '["network","socket"]' || fail "sessions on $h: $(layers $h)"
	stop "tap-$h"
	(($(packets "tap-$h" "tcp port $DATA_PORT") > 20)) || fail "no streams in $h's packets"
	(($(packets "tap-$h" "not tcp port $DATA_PORT and not icmp and not icmp6") == 0)) || fail "more than streams and pings in $h's packets"
	assert_no_plaintext "tap-$h" IN-THE-CLEAR
	assert_counter_over $h dp tx_packets 100
	[[ $(counter $h shim ingress_clear) == 0 ]] || fail "streams came to $h unsealed"
	[[ $(counter $h dp rx_level) == 0 ]] || fail "TCP came to $h round the socket"
done
capture_stop wire
assert_only_sealed wire a b
assert_sealed wire 100
assert_no_plaintext wire IN-THE-CLEAR

# TCP that no program's socket has made: refused here, and counted
on a "$POKE" segment "${ADDR4[a]}" "${ADDR4[b]}" 8000 3
on a "$POKE" segment "${ADDR6[a]}" "${ADDR6[b]}" 8000 2
wait_for 3 "five segments refused" dropped 5
level socket
[[ $(ask a b 4 who) == "${ADDR4[a]} "* ]] || fail "a stream at level socket"
ping4 a b -c 1 || fail "no ping at level socket"
on a "$POKE" segment "${ADDR4[a]}" "${ADDR4[b]}" 8000 3
wait_for 3 "three more refused" dropped 8
has_layers a '["network","socket"]' || fail "sessions: $(layers a)"

# either: as it comes
level 'socket|network'
[[ $(ask a b 4 who) == "${ADDR4[a]} "* ]] || fail "a stream at level socket|network"
[[ $(layers a) == '["socket"]' ]] || fail "a session for packets that nobody has sent: $(layers a)"
tap_start b
on a "$POKE" segment "${ADDR4[a]}" "${ADDR4[b]}" 8000 1
arrived() { (($(packets tap-b "tcp dst port 8000") > 0)); }
wait_for 5 "the segment as a packet" arrived
dropped 8 || fail "refused at socket|network"
assert_no_leak a
assert_no_leak b
