# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# Two gateways to one prefix, "protect ... via b, c", whose far side fails while their keyds are well: b's cable is cut, c's route is
# withdrawn, the address that has to answer b is silent. Within 3 s a goes through the other one each time, and through b again once it
# has been well for a while. The gateway says why; when neither reaches the prefix it goes on through the one that there is.
# wires: udp
# waits
# shellcheck source=tests/netns/gateway.sh
source "$(dirname "$0")/../gateway.sh"

need python3 bridge
net_up
second_gateway
printf '[gateway]\ncheck = 10.9.0.200\n' >"$TMP/b/keyd.conf"
ctl b reload >/dev/null || fail "reload of b"
printf '[gateway]\ncheck = 10.9.0.200 somewhere\n' >"$TMP/c/keyd.conf"
ctl c reload >"$TMP/reload.log" 2>&1 && fail "a check that is no address is taken"
grep -q '"somewhere" begins with no address' "$TMP/reload.log" || fail "$(cat "$TMP/reload.log")"
printf '[data]\nudp_port = 7999\n[limits]\nmax_prefixes = 77\n' >"$TMP/c/keyd.conf"
ctl c reload >"$TMP/reload.log" 2>&1 && fail "another data port while keyd runs"
grep -q 'udp_port: only a restart of keyd changes that' "$TMP/reload.log" || fail "$(cat "$TMP/reload.log")"
printf '[limits]\nmax_prefixes = 77\n' >"$TMP/c/keyd.conf"
ctl c reload | finds max_prefixes || fail "what was refused has changed something"
policy $'allow a -> b\nallow a -> c\nprotect 10.9.0.0/24 via b, c'
for h in a b c; do
	wait_for 10 "the prefix on $h" protects $h 7
done

explained() { ctlj a explain "${ADDR4[d]}" | jq -e --arg g "$1" "$2" >/dev/null; }
is() { explained "$1" ".gateways[]|select(.name == \$g).state == \"$2\""; } # GATEWAY STATE
says() { ctlj "$1" doctor | jq -e --arg t "$2" '.checks[]|select(.name == "gateway" and .result == "warn").detail|contains($t)' >/dev/null; }

spawn serve d "$GAP" serve 9000
wait_for 5 listener grep -q ready "$TMP/log/serve.log"
ping4 a d -c 1 || fail "a does not reach d"
through b || fail "not through b: $(ctlj a explain "${ADDR4[d]}")"
wait_for 5 "sessions with both gateways" both_stand_by

gap_start
ip -n "$P-d" link set dev to-b down
wait_for 4 "the other gateway" through c
gap_end "cable cut"
is b away || fail "$(ctl a explain "${ADDR4[d]}")"
ctl a explain "${ADDR4[d]}" | finds 'gateway 1: b, away: ' || fail "$(ctl a explain "${ADDR4[d]}")"
says b "eth1 is down or has no carrier" || fail "$(ctlj b doctor)"
(($(counter a control gateway_away) == 1 && $(counter b control prefix_lost) == 1)) || fail "not counted"
ctlj b status | jq -e '.problems|any(contains("10.9.0.0/24 is not reached"))' >/dev/null || fail "$(ctlj b status)"

gap_start
ip -n "$P-d" link set dev to-b up
wait_for 4 "b well" is b well
wait_for 12 "the first gateway again" through b
gap_end "cable mended"

gap_start
on d bridge link set dev to-b state 0 # it still has a carrier
wait_for 4 "the other gateway" through c
gap_end "silent"
says b "10.9.0.200 on eth1 does not answer" || fail "$(ctlj b doctor)"
on d bridge link set dev to-b state 3
wait_for 4 "b well" is b well

gap_start
ip -n "$P-c" route del 10.9.0.0/24
wait_for 4 "the other gateway" through b
gap_end "route withdrawn"
says c "there is no route" || fail "$(ctlj c doctor)"
# what is named is the interface of the prefix's part, not the one that everything else leaves by
ip -n "$P-c" link add part type veth peer name cut
ip -n "$P-c" link set dev part up
ip -n "$P-c" route add 10.9.0.128/25 dev part
ip -n "$P-c" route add default via "${ADDR4[server]}"
wait_for 4 "the part without a carrier" says c "part is down or has no carrier"
ip -n "$P-c" route del default
ip -n "$P-c" link del part

# neither: as before, and the next one is taken should that one fail altogether
ip -n "$P-d" link set dev to-b down
wait_for 4 "b away" is b away
through b || fail "not through b: $(ctlj a explain "${ADDR4[d]}")"
host_stop b
wait_for 4 "the gateway that is left" through c
ip -n "$P-c" route add 10.9.0.0/24 dev eth1
wait_for 4 "c well" is c well
wait_for 4 "a reaches d" ping4 a d -c 1
assert_no_leak a c
