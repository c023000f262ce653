# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# keyd is killed in the middle of traffic: from then on nothing of it is on the wire, in clear or otherwise, while what is
# not protected goes on; a new keyd adopts what is pinned and heals it.
# wires: udp xdp
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/../lib.sh"

DROP_KEYD_DOWN=8 # enum mvpn_counter

need bpftool
net_up
ping4 a b -c 2 -i 0.05
capture_start wire a
spawn talk a ping -4 -n -i 0.01 -p 4d56504e4b494c4c "${ADDR4[b]}"
wait_for 5 "answers" grep -q icmp_seq=30 "$TMP/log/talk.log"
host_stop a KILL
replies=$(grep -c 'bytes from' "$TMP/log/talk.log")
! ping6 a b -c 3 -W 1 -i 0.2 -p 4d56504e4b494c4c || fail "something answered without keyd"
on a "$PINGPONG" ask udp "${ADDR4[b]}" 7000 2 200 >/dev/null 2>&1 && fail "something answered without keyd"
ping4 a c -c 2 -i 0.1 || fail "what is not protected stopped too"
(($(grep -c 'bytes from' "$TMP/log/talk.log") <= replies + 1)) || fail "the flow went on"
capture_stop wire
assert_no_plaintext wire MVPNKILL
assert_only_sealed wire a b

# the redirect to a tap that is gone is the kernel's to drop; once keyd has not breathed for MVPN_ALIVE_S, the shim drops and counts
drops_counted() {
	bpftool -j map dump pinned "$PIN/a/counters" |
		jq -e --argjson i "$DROP_KEYD_DOWN" '[.[].formatted | select(.key == $i) | .values[].value] | add > 0'
}
wait_for 15 "dropped packets counted" drops_counted

host_start a
ctl a wait --timeout 40 >/dev/null || fail "the new keyd is not online"
[[ $(status_of a '.interfaces | length') == 1 ]] || fail "eth0 was not adopted: $(status_of a .interfaces)"
[[ $(status_of a '.interfaces[0].wire') == "$WIRE" ]] || fail "the wire is not $WIRE any more"
wait_for 10 "healing" ping4 a b -c 1
ping6 b a -c 1
assert_no_leak a b
