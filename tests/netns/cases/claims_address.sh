# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# A device that claims an address it does not own is refused it, and that is counted; its owner keeps its traffic.
# waits
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/../lib.sh"

net_up
host_start c
# c has taken b's address as a second one, on an interface that nobody else sees, and registers both
on c sysctl -qw net.ipv4.conf.all.arp_ignore=1
ip -n "$P-c" link add mine type veth peer name mine1
ip -n "$P-c" link set mine up
ip -n "$P-c" addr add "${ADDR4[b]}/32" dev mine
f=$(srvj token create --address "${ADDR4[c]}" --server "${ADDR4[server]}:$CHAN_PORT" | jq -r .token >"$TMP/t" && echo "$TMP/t")
ctl c enroll --token-file "$f" --name c >/dev/null || fail "enrolment of c"
ctl c wait --timeout 10 >/dev/null
attach c udp
attach c udp mine
refused() { (($(counter c control addr_refused) > 0)); }
wait_for 5 "refusal on c" refused
policy 'allow * -> *'
for h in a b c; do
	wait_for 5 "new policy on $h" same_rev $h
done
srvj device show c | jq -e --arg a "${ADDR4[b]}" '[.prefixes[] | select(startswith($a))] | length == 0' >/dev/null ||
	fail "c owns b's address: $(srvj device show c)"
srvj device show b | jq -e --arg a "${ADDR4[b]}" '[.prefixes[] | select(startswith($a))] | length == 1' >/dev/null ||
	fail "b has lost its address"
srvj status | jq -e '.counters.addr_refused > 0' >/dev/null ||
	fail "the refusal is not counted: $(srvj status | jq -c .counters)"
# an address of another device in a token is refused to the administrator
! srv token create --address "${ADDR4[b]}" --server "${ADDR4[server]}:$CHAN_PORT" >"$TMP/dup" 2>&1 ||
	say "a token for a taken address is made; its device is refused later"
serve b
on a "$PINGPONG" ask udp "${ADDR4[b]}" 7000 3 64 >/dev/null || fail "a no longer reaches b"
# inside a session with a, c sends from b's address: a's fast path must refuse it
ping4 c a -c 1
before=$(counter a dp rx_bad_inner)
on c ping -n -q -c 3 -i 0.1 -W 1 -I "${ADDR4[b]}" "${ADDR4[a]}" >/dev/null 2>&1 && fail "a answered c as if it were b"
drops=$(($(counter a dp rx_bad_inner) - before + $(counter c dp drop_bad_src)))
((drops > 0)) || fail "the false inner source was counted nowhere"
assert_no_leak a b
