# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# Two gateways to one prefix, "protect ... via b, c": a goes through b while b is well. b's keyd is killed, later its link is cut: within
# 3 s a goes through c, connections live on, and a download is byte-exact; b is taken again once it has been well for a while. What c
# sends of the prefix is let in only while the policy says that c is a gateway to it.
# wires: udp
# waits
# shellcheck source=tests/netns/gateway.sh
source "$(dirname "$0")/../gateway.sh"

need python3 curl
net_up
second_gateway
policy $'allow a -> b\nallow a -> c\nprotect 10.9.0.0/24 via b, c'
for h in a b c; do
	wait_for 10 "the prefix on $h" protects $h 7
done

spawn serve d "$GAP" serve 9000
wait_for 5 listener grep -q ready "$TMP/log/serve.log"
mkdir "$TMP/web"
canary_file "$TMP/web/page" 5000000
spawn web d python3 -m http.server --directory "$TMP/web" 80
wait_for 5 "web server" listening d t 80
capture_start wire a
ping4 a d -c 1 || fail "a does not reach d"
through b || fail "not through b: $(ctlj a explain "${ADDR4[d]}")"
wait_for 5 "sessions with both gateways" both_stand_by
sent=$(counter b dp rx_packets)

gap_start
spawn curl a curl -sS -m 30 --limit-rate 2M -o "$TMP/got" "http://${ADDR4[d]}/page"
sleep 0.5
host_stop b KILL
wait_for 4 "the other gateway" through c
wait_for 15 "end of the download" gone "$(pid_of curl)"
cmp "$TMP/web/page" "$TMP/got" || fail "the download differs"
gap_end "gateway killed"
ctl a explain "${ADDR4[d]}" | finds 'gateway 1: b, has failed: ' || fail "$(ctl a explain "${ADDR4[d]}")"
(($(counter a control gateway_changed) == 1)) || fail "changed $(counter a control gateway_changed) times"

gap_start
host_start b
wait_for 20 "the first gateway again" through b
gap_end "gateway back"
before=$(counter b dp rx_packets)
ping4 a d -c 2 -i 0.1
(($(counter b dp rx_packets) >= before + 2)) || fail "pings do not go through b"

gap_start
ip -n "$P-sw" link set dev b down
wait_for 4 "the other gateway" through c
ping4 a d -c 1 || fail "a does not reach d through c"
gap_end "link cut"
capture_stop wire
assert_no_plaintext wire "${CANARY:0:12}"
(($(packets wire "net 10.9.0.0/24 and not arp") == 0)) || fail "packets of d are on the wire in clear"

# one gateway alone, which is gone; c still sends what d sends
policy $'allow a -> b\nallow a -> c\nprotect 10.9.0.0/24 via b'
for h in a c; do
	wait_for 10 "new policy on $h" same_rev $h
done
before=$(counter c dp drop_bad_src)
on d ping -4 -n -q -c 1 -W 1 "${ADDR4[a]}" >/dev/null && fail "d reaches a through what is no gateway"
(($(counter c dp drop_bad_src) + $(counter c shim ingress_clear) + $(counter c dp held) > before)) || fail "c did not refuse it"
# and the other one alone
policy $'allow a -> b\nallow a -> c\nprotect 10.9.0.0/24 via c'
wait_for 10 "new policy on a" same_rev a
wait_for 10 "a reaches d through c alone" ping4 a d -c 1
ctlj a explain "${ADDR4[d]}" | jq -e '.gateways|map([.name, .state, .in_use]) == [["c", "well", true]]' >/dev/null || fail "gateways of a prefix with one: $(ctlj a explain "${ADDR4[d]}")"
assert_no_leak a c
