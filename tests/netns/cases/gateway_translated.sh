# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# "protect ... via b source translated": d, behind b, sees b's address in place of a's, and needs no route to a. TCP in bulk, UDP, ping and ICMP
# errors both ways, in both families; ports of the host itself are left to it; what cannot be translated is dropped, and nothing
# leaves with a's address. Sealed before b, clear behind it.
# wires: udp
# shellcheck source=tests/netns/gateway.sh
source "$(dirname "$0")/../gateway.sh"

need python3 curl
STREAM=$ROOT/tests/netns/stream.py
DATAGRAM=$ROOT/tests/netns/datagram.py
net_up
behind b
# d knows its own network only
ip -n "$P-d" route del default
ip -n "$P-d" -6 route del default
policy $'allow a -> b\nprotect 10.9.0.0/24 via b source translated\nprotect fd09::/64 via b source translated'
for h in a b; do
	wait_for 10 "the prefixes on $h" protects $h 6
	wait_for 10 "new policy on $h" same_rev $h
done
ctl a explain "${ADDR4[d]}" | finds "see the gateway's address" || fail "a is not told: $(ctl a explain "${ADDR4[d]}")"
serve_behind
spawn datagrams d "$DATAGRAM" serve 8100
wait_for 5 "a server of datagrams" grep -q ready "$TMP/log/datagrams.log"
capture_start wire a
spawn tail d tcpdump -Z root -i to-b --immediate-mode -U -s 2000 -w "$TMP/behind.pcap"
wait_for 10 "capture behind b" grep -q 'listening on' "$TMP/log/tail.log"
for family in 4 6; do
	declare -n addr=ADDR$family
	gateway=10.9.0.1
	[[ $family == 4 ]] || gateway=fd09::1
	"ping$family" a d -c 3 -i 0.05 || fail "a does not reach d over IPv$family"
	"ping$family" a d -c 1 -s 1300 || fail "a does not reach d over IPv$family with more"
	read -r by_accept aport _ _ at _ src sport dst dport < <(on a "$STREAM" ask "${addr[d]}" 8000 who)
	[[ "$by_accept $at $src $dst $dport" == "$gateway ${addr[d]} ${addr[a]} ${addr[d]} 8000" ]] ||
		fail "IPv$family: d sees $by_accept at $at, a sees $src to $dst"
	((aport >= 61000)) || fail "IPv$family: d sees port $aport"
	[[ $(ctlj b flows | jq -r --argjson p "$sport" '.flows[]|select(.dport == $p).translated' | head -1) == *"$gateway"*"$aport" ]] ||
		fail "IPv$family: $(ctlj b flows | jq -c '.flows[]|[.src,.dst,.dport,.translated]')"
	[[ $(on a "$STREAM" ask "${addr[d]}" 8000 sum 8000000) == exact ]] || fail "8 MB to d over IPv$family"
	[[ $(on a "$STREAM" ask "${addr[d]}" 8000 send 8000000) == exact ]] || fail "8 MB from d over IPv$family"
	copy a d udp "$family" 60000
	# in fragments: what d gets and sends back has to be put together there, with a checksum that is right
	"ping$family" a d -c 3 -i 0.05 -s 4000 || fail "ping in fragments over IPv$family"
	for size in 1500 8000 60000; do
		said=$(on a "$DATAGRAM" ask "${addr[d]}" 8100 plain 3 $size) || fail "IPv$family: datagrams of $size: $said"
		[[ $said == "$gateway "*" 8100 ${addr[d]} 8100"$'\n3' ]] || fail "IPv$family: datagrams of $size: $said"
	done
	# nobody listens: a hears of it at once, as an error on its socket
	[[ $(on a "$STREAM" ask "${addr[d]}" 8001 who || true) == "refused 111" ]] || fail "IPv$family: TCP port 8001"
	on a python3 -c 'import socket, sys
s = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(1)
s.connect((sys.argv[1], 9))
for _ in range(5):  # the kernel limits how many errors it sends
    try:
        s.send(b"x")
        s.recv(1)
    except ConnectionRefusedError:
        sys.exit(0)
    except TimeoutError:
        pass
sys.exit(1)' "${addr[d]}" || fail "IPv$family: no ICMP error about UDP"
done
on a curl -sS -m 20 -o "$TMP/got" "http://${ADDR4[d]}/page"
cmp "$TMP/web/page" "$TMP/got" || fail "the page is another one"
# a hop further than d does not exist, but b's own answer comes through
said=$(on a ping -4 -n -c 3 -i 0.2 -t 1 -W 3 "${ADDR4[d]}" || true) # the kernel limits how many errors it sends
[[ $said == *"Time to live exceeded"* ]] || fail "b does not say that the TTL has run out: $said"
# b's own connections to d, with ports of that range too, are b's
[[ $(on b "$STREAM" ask "${ADDR4[d]}" 8000 who) == "10.9.0.1 "* ]] || fail "b itself does not reach d"
printf 'who\n' | on b timeout 3 socat -t1 - "TCP:${ADDR4[d]}:8000,sourceport=61005" | finds "^10.9.0.1 61005 " || fail "b from port 61005"
capture_stop wire
stop tail
assert_no_plaintext wire "${CANARY:0:12}"
assert_only_sealed wire a b
(($(packets wire "(net 10.9.0.0/24 or net fd09::/64) and not arp") == 0)) || fail "packets of d are on the wire in clear"
assert_plaintext behind "${CANARY:0:12}"
(($(packets behind "host ${ADDR4[a]} or host ${ADDR6[a]}") == 0)) || fail "a's address behind b: $(tcpdump -nr "$TMP/behind.pcap" "host ${ADDR4[a]} or host ${ADDR6[a]}" 2>/dev/null | head -3)"

# other protocols are not let by with a's address
before=$(counter b control untranslatable)
on a "$EMIT" send protocols "${ADDR4[a]}" "${ADDR4[d]}" "$CANARY" >/dev/null
dropped() { (($(counter b control untranslatable) > before)); }
wait_for 3 "other protocols that are dropped" dropped
for name in translations_full fragments_refused fragments_alone; do
	(($(counter b control $name) == 0)) || fail "$name: $(counter b control $name)"
done

# one device has its share, and is named
printf '[limits]\nmax_translations = 20\n' >"$TMP/b/keyd.conf"
ctl b reload | finds max_translations || fail "reload does not tell of max_translations"
on a python3 -c 'import socket, sys
for i in range(30):
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", (sys.argv[1], 8100))' "${ADDR4[d]}"
too_many() { ctlj b sessions | jq -e '.sessions|any(.peer == "a" and .translated.flows >= 20 and .translated.refused > 0)'; }
wait_for 5 "a, which has too many" too_many
assert_counter_over b control translations_refused 0
(ctlj b doctor || true) | jq -e '.checks[]|select(.name == "translations")|.result == "warn" and (.detail|startswith("a wants"))' >/dev/null ||
	fail "doctor: $(ctlj b doctor)"
grep -q "a has as many translated flows as one device may (20)" "$TMP/log/keyd-b.log" || fail "the log does not name a"
: >"$TMP/b/keyd.conf"
ctl b reload >/dev/null
on a "$DATAGRAM" ask "${ADDR4[d]}" 8100 plain 1 >/dev/null || fail "no room again"

# a connection outlives keyd on the gateway: what d sends meanwhile is not answered by b in its own name
spawn echo d "$GAP" serve 9000
wait_for 5 listener grep -q ready "$TMP/log/echo.log"
spawn gap a "$GAP" watch "${ADDR4[d]}" 9000
wait_for 5 "a connection" grep -q from "$TMP/log/echo.log"
flows=$(status_of b .translations)
((flows > 0)) || fail "no translations in the status of b"
host_stop b
host_start b
wait_for 10 "a reaches d again" ping4 a d -c 1 -W 1
sleep 0.5 # of the connection
stop gap
[[ $(tail -1 "$TMP/log/gap.log") == *" exact" ]] || fail "the connection: $(cat "$TMP/log/gap.log")"

# kept again: d, without a route, is not reached; the programs are gone
policy $'allow a -> b\nprotect 10.9.0.0/24 via b source kept'
wait_for 10 "new policy on b" same_rev b
! ping4 a d -c 1 -W 1 || fail "still translated"
[[ $(on b bpftool -j net show dev eth1 | jq '[.. | .name? // empty] | length') == 0 ]] || fail "programs are left on eth1: $(on b bpftool net show dev eth1)"

# a map of another kind where that of the flows belongs: keyd says so, drops what is to be translated, and goes on
rm "$PIN/b/translated"
bpftool map create "$PIN/b/translated" type array key 4 value 4 entries 1 name other
policy $'allow a -> b\nprotect 10.9.0.0/24 via b source translated'
wait_for 10 "new policy on b" same_rev b
wait_for 5 "the reason in the log" grep -q "they cannot be: the kernel does not load the programs that translate" "$TMP/log/keyd-b.log"
! ping4 a d -c 1 -W 1 || fail "not translated, and let by"
ping4 a b -c 1 || fail "keyd on b has gone"
(ctlj b doctor || true) | jq -e '.checks[]|select(.name == "translations")|.result == "fail"' >/dev/null || fail "doctor: $(ctlj b doctor)"
ctlj b status | jq -e '.problems|any(startswith("sources behind this gateway"))' >/dev/null || fail "status: $(ctlj b status)"
rm "$PIN/b/translated"
wait_for 10 "a reaches d again" ping4 a d -c 1 -W 1
assert_no_leak a b
