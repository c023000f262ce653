# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# `level socket` to a host behind a gateway: TCP is sealed above TCP as far as b, whose keyd connects on to d, which runs nothing of
# ours and sees b's address. Clear behind b, sealed before it. Neither what is not b's nor a closed port is reached.
# wires: udp
# shellcheck source=tests/netns/gateway.sh
source "$(dirname "$0")/../gateway.sh"

need python3 curl
STREAM=$ROOT/tests/netns/stream.py
net_up
behind b
policy $'allow a -> b\nlevel socket a -> b\nprotect 10.9.0.0/24 via b\nprotect fd09::/64 via b'
diverts() { ctlj a explain "$1" | jq -e '.why|any(contains("at the socket"))'; }
for family in 4 6; do
	declare -n addr=ADDR$family
	wait_for 10 "IPv$family behind b at the socket" diverts "${addr[d]}"
done
for h in a b; do
	wait_for 10 "the prefixes on $h" protects $h 6
done
serve_behind

capture_start wire a
spawn tail d tcpdump -Z root -i to-b --immediate-mode -U -s 2000 -w "$TMP/behind.pcap"
wait_for 10 "capture behind b" grep -q 'listening on' "$TMP/log/tail.log"
for family in 4 6; do
	declare -n addr=ADDR$family
	read -r by_accept _ _ _ at aport src _ dst dport < <(on a "$STREAM" ask "${addr[d]}" 8000 who)
	gateway=10.9.0.1
	[[ $family == 4 ]] || gateway=fd09::1
	[[ "$by_accept $at $aport $src $dst $dport" == "$gateway ${addr[d]} 8000 ${addr[a]} ${addr[d]} 8000" ]] ||
		fail "IPv$family: d sees $by_accept at $at, a sees $src to $dst"
	[[ $(on a "$STREAM" ask "${addr[d]}" 8000 sum 5000000) == exact ]] || fail "5 MB to d"
	[[ $(on a "$STREAM" ask "${addr[d]}" 8000 send 5000000) == exact ]] || fail "5 MB from d"
done
# datagrams as well, each answer from where it was sent to
spawn udp d "$ROOT/tests/netns/datagram.py" serve 9000
wait_for 5 listener grep -q ready "$TMP/log/udp.log"
for family in 4 6; do
	declare -n addr=ADDR$family
	for how in plain connected; do
		got=$(on a "$ROOT/tests/netns/datagram.py" ask "${addr[d]}" 9000 $how 5 1400 || true)
		gateway=10.9.0.1
		[[ $family == 4 ]] || gateway=fd09::1
		[[ $got == "$gateway "*" 9000 ${addr[d]} 9000"*$'\n'5 ]] || fail "IPv$family datagrams, $how, to d: $got"
	done
done
[[ $(on a "$ROOT/tests/netns/datagram.py" ask "${ADDR4[d]}" 9009 connected) == refused ]] || fail "d's port 9009, where nobody listens"
on a curl -sS -m 20 -o "$TMP/got" "http://${ADDR4[d]}/page"
cmp "$TMP/web/page" "$TMP/got" || fail "the page is another one"
capture_stop wire
assert_no_plaintext wire "${CANARY:0:12}"
(($(packets wire "tcp port $DATA_PORT") > 20)) || fail "no streams on the wire"
(($(packets wire "(net 10.9.0.0/24 or net fd09::/64) and not arp") == 0)) || fail "packets of d are on the wire in clear"
stop tail
assert_plaintext behind "${CANARY:0:12}"
(($(counter b control streams_forwarded) == 7)) || fail "$(counter b control streams_forwarded) streams forwarded"
(($(counter b control streams_accepted) == 7)) || fail "$(counter b control streams_accepted) streams accepted"

# nobody listens; nobody is there; a closed port of b itself
[[ $(on a "$STREAM" ask "${ADDR4[d]}" 8001 who || true) == "refused 111" ]] || fail "port 8001 answers"
[[ $(on a "$STREAM" ask "${ADDR4[b]}" 8001 who || true) == "refused 111" ]] || fail "port 8001 of b answers"
# what else goes there goes as packets
ping4 a d -c 1 || fail "ping to d"
assert_no_leak a b
