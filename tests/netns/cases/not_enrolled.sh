# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# A host that is not enrolled gets nothing from those that are, whatever it sends; and what they send to an address
# that policy protects, but nobody owns, is dropped.
# waits
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/../lib.sh"

topo_up server a b c
server_start
host_start a
[[ $(status_of a .state) == unenrolled ]] || fail "a fresh keyd says $(status_of a .state)"
# what an enrolment fails by is said with what to do about that, and so is an interface that leads nowhere
mistake() { # TEXT VERB…
	local text=$1 out
	shift
	out=$(ctl a "$@" 2>&1) && fail "'$*' is done"
	grep -q "$text" <<<"$out" || fail "'$*' does not say '$text': $out"
}
head -c 60 "$(token a)" >"$TMP/cut"
mistake 'the token is damaged: mistyped or cut' enroll --token-file "$TMP/cut"
srvj token create --server "${ADDR4[server]}:1" | jq -er .token >"$TMP/closed"
mistake 'Connection refused' enroll --token-file "$TMP/closed"
mistake 'is TCP to that port let pass' enroll --token-file "$TMP/closed"
mistake 'nothing leaves this host by it' attach lo
mistake "keyd's own device" attach mvpn0
enrol a
attach a
policy "protect ${ADDR4[c]}/32
protect ${ADDR6[c]}/128"
wait_for 5 "new policy on a" same_rev a
serve a
serve c
capture_start wire a
! ping4 c a -c 2 -W 1 -i 0.1 || fail "c reaches a from a protected address"
! ping6 c a -c 2 -W 1 -i 0.1 || fail "c reaches a from a protected address"
! ping4 a c -c 2 -W 1 -i 0.1 || fail "a reaches c in clear"
on a timeout 2 "$PINGPONG" ask udp "${ADDR4[c]}" 7000 1 64 >/dev/null 2>&1 && fail "a reaches c in clear"
capture_stop wire
(($(packets wire "icmp and src ${ADDR4[a]}") == 0)) || fail "a sent clear ICMP to a protected address"
(($(packets wire "udp and src ${ADDR4[a]} and dst ${ADDR4[c]}") == 0)) || fail "a sent clear UDP to a protected address"
assert_counter_over a shim drop_no_owner 2
assert_counter_over a shim ingress_clear 3
assert_no_leak a

# c is a copy of a's disk: the two throw each other off, and are told
mkdir -p "$TMP/c"
cp -r "$TMP/a/state" "$TMP/c/state"
rm -f "$TMP/c/state/lock" "$TMP/c/state/interfaces"
host_start c
twins() { status_of a '.problems[]' | finds "another host logs in with this device's identity"; }
wait_for 60 "word of a twin" twins
host_stop c
ctl a explain "${ADDR4[c]}" >/dev/null || (($? == 5)) || fail "explain"
