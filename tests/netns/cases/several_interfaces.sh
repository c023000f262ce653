# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# Two interfaces attached: what leaves by either is caught, and both carry traffic at once; detaching one leaves the other
# protected.
# wires: udp xdp
# waits
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/../lib.sh"

net_up
ip -n "$P-a" link add eth1 type veth peer name a1 netns "$P-sw"
ip -n "$P-sw" link set dev a1 master br0 up
ip -n "$P-a" link set eth1 up
attach a "$WIRE" eth1
ping4 a b -c 1
ip -n "$P-a" route add "${ADDR4[b]}/32" dev eth1 src "${ADDR4[a]}"
capture_start wire a1
ping4 a b -c 2 -i 0.1 -W 1 -p 4d56504e || true
ctl a detach eth1 >/dev/null
routes() { { ctlj a doctor || true; } | jq -r '.checks[]|select(.name == "routes")|"\(.result) \(.detail)"'; }
[[ $(routes) == "fail ${ADDR4[b]} goes by eth1, which is not attached: in CLEAR; "* ]] || fail "doctor: $(routes)"
[[ $(status_of a '.interfaces | map(.name) | join(" ")') == eth0 ]] || fail "interfaces after the detach: $(status_of a .interfaces)"
capture_stop wire
assert_no_plaintext wire MVPNMVPN
ip -n "$P-a" route del "${ADDR4[b]}/32" dev eth1
wait_for 5 "talking over eth0" ping4 a b -c 1
[[ $(routes) == ok\ * ]] || fail "doctor: $(routes)"

# rules of the kernel's may send some of it another way: by mark, by user, and what a VRF is for
says() { # WORDS: doctor warns, and explain says so, too
	[[ $(routes) == "warn what rule "*" $1 is about may go to ${ADDR4[b]}"*" by eth1 (table 77), which is not attached: in CLEAR"* ]] || fail "doctor: $(routes)"
	ctlj a explain "${ADDR4[b]}" | jq -e --arg r "$1" '.verdict == "sealed" and (.why|any(contains($r) and contains("eth1"))) and (.todo|contains("attach eth1"))' >/dev/null ||
		fail "explain: $(ctlj a explain "${ADDR4[b]}")"
}
ip -n "$P-a" route add default dev eth1 table 77
[[ $(routes) == ok\ * ]] || fail "no rule leads to table 77, and doctor says: $(routes)"
for rule in 'fwmark 0x9' 'uidrange 7-8' 'from 10.9.0.0/16' 'iif eth1' 'oif eth1'; do
	# shellcheck disable=SC2086
	ip -n "$P-a" rule add $rule table 77
	says "$rule"
	# shellcheck disable=SC2086
	ip -n "$P-a" rule del $rule table 77
done
ip -n "$P-a" rule add fwmark 0x9 table 77
ip -n "$P-a" route add 10.77.0.0/16 dev eth0 table 77 # a longer one
[[ $(routes) == ok\ * ]] || fail "all of it goes by eth0 in table 77, and doctor says: $(routes)"
ip -n "$P-a" route del 10.77.0.0/16 dev eth0 table 77
ip -n "$P-a" rule del fwmark 0x9 table 77
if ip -n "$P-a" link add red type vrf table 77 2>/dev/null; then
	says "of a VRF"
	ip -n "$P-a" link del red
	ip -n "$P-a" rule del pref 1000
fi
ip -n "$P-a" route flush table 77

# a and b have a second network between them, attached too: each address goes sealed, whichever interface it would leave by
ip -n "$P-b" link add eth1 type veth peer name b1 netns "$P-sw"
ip -n "$P-sw" link set dev b1 master br0 up
for h in a b; do
	ip -n "$P-$h" link set eth1 up
	srv device address add "$h" "10.78.0.${ADDR4[$h]##*.}/32" >/dev/null
	ip -n "$P-$h" addr add "10.78.0.${ADDR4[$h]##*.}/24" dev eth1
	attach "$h" "$WIRE" eth1
done
for h in a b; do
	wait_for 20 "the second addresses on $h" protects $h 6
done
before=$(counter a shim to_tap)
capture_start wire0 a
capture_start wire1 a1
canary_file "$TMP/both" 3000000
for n in 77 78; do
	spawn "hear$n" b socat -u "TCP4-LISTEN:70$n,bind=10.$n.0.2,reuseaddr" "OPEN:$TMP/both.$n,creat,trunc"
	wait_for 5 listener listening b t "70$n"
done
for n in 77 78; do
	spawn "say$n" a socat -u "OPEN:$TMP/both" "TCP4:10.$n.0.2:70$n,bind=10.$n.0.1,connect-timeout=10"
done
for n in 77 78; do
	wait_for 40 "end of the transfer by 10.$n.0.0/24" gone "$(pid_of "hear$n")"
	cmp "$TMP/both" "$TMP/both.$n" || fail "10.$n.0.0/24: contents differ"
done
for c in wire0 wire1; do
	capture_stop $c
	assert_no_plaintext $c "${CANARY:0:12}"
	(($(packets $c "tcp and net 10.78.0.0/24") == 0)) || fail "TCP in clear"
done
assert_counter_over a shim to_tap "$before"
assert_no_leak a b
