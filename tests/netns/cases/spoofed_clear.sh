# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# Cleartext on the wire that claims to come from a protected peer, or from the host itself, is dropped and counted.
# wires: udp xdp
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/../lib.sh"

net_up
ping4 a b -c 1
mac=$(on b cat /proc/net/dev >/dev/null && ip -n "$P-b" -j link show eth0 | jq -r '.[0].address')
spawn listen4 b socat -u UDP4-RECV:9999 STDOUT
spawn listen6 b socat -u UDP6-RECV:9999,ipv6only=1 STDOUT
both_listen() { (($(on b ss -Hlnu 'sport = :9999' | wc -l) == 2)); }
wait_for 5 listeners both_listen
before=$(counter b shim ingress_clear)
for host in a b; do
	on sw "$POKE" spoof b "$mac" "${ADDR4[$host]}" "${ADDR4[b]}" 5 SPOOFED
	on sw "$POKE" spoof b "$mac" "${ADDR6[$host]}" "${ADDR6[b]}" 5 SPOOFED
done
# from a host that nobody protects it arrives: so the dropped ones would have, too
on sw "$POKE" spoof b "$mac" "${ADDR4[c]}" "${ADDR4[b]}" 1 HONEST
on sw "$POKE" spoof b "$mac" "${ADDR6[c]}" "${ADDR6[b]}" 1 HONEST
wait_for 5 "honest datagram" grep -q HONEST "$TMP/log/listen4.log"
wait_for 5 "honest datagram" grep -q HONEST "$TMP/log/listen6.log"
! grep -q SPOOFED "$TMP/log/listen4.log" "$TMP/log/listen6.log" || fail "spoofed cleartext arrived"
dropped() { echo $(($(counter b shim ingress_clear) - before)); }
all_dropped() { (($(dropped) >= 20)); }
wait_for 5 "count of spoofed packets" all_dropped
(($(dropped) == 20)) || fail "$(dropped) spoofed packets counted, expected 20"
status=0
ctlj b leaks >"$TMP/leaks.json" || status=$?
((status == 0)) || fail "leaks exits with $status: nothing has leaked"
jq -e '.ingress_clear >= 20' "$TMP/leaks.json" >/dev/null || fail "leaks does not show what was dropped"
ping4 a b -c 1 || fail "the session suffered"
