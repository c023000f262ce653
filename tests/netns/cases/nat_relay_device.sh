# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# a and b find no direct way, and the server carries nothing: c, d or e relays, which are devices like others, have no key of the pair, and
# are not allowed to talk to it. The relay's link is cut, it is killed, it is revoked: the pair goes another way, or none.
# wires: udp xdp
# waits
# shellcheck source=tests/netns/nat.sh
source "$(dirname "$0")/../nat.sh"

relay_of() { ctlj "$1" sessions | jq -r '[.sessions[] | select(.transmits)][0] | "\(.path) \(.relay)"'; }
both_by() { [[ $(relay_of a) == "relayed $1" && $(relay_of b) == "relayed $1" ]]; }
# OTHER…: both have gone from there, to the same device, and it works; $by is that
moved_from() {
	ping4 a b -c 1 -W 1 || return 1
	by=$(relay_of a) by=${by#relayed }
	[[ " $* null " != *" $by "* ]] && both_by "$by"
}

relays=(c d e)
[[ $WIRE == udp ]] || relays=(c) # the wire makes no difference to which one is taken
topo_up server a b "${relays[@]}" f
behind_nat a 1 random
behind_nat b 2 fully-random
mkdir "$TMP/server"
printf '[limits]\nrelay_mbit = 0\n' >"$TMP/server/server.conf"
members_up
for h in "${relays[@]}"; do
	host_start "$h"
	enrol "$h"
	attach "$h"
done
list=${relays[*]}
policy "group relays = ${list// /, }
allow a -> b
relay relays limit 400mbit"
for h in a b "${relays[@]}"; do
	wait_for 10 "new policy on $h" same_rev "$h"
	wait_for 10 "$h's view of itself" seen "$h"
done
for h in "${relays[@]}"; do capture_start "wire-$h" "$h"; done
capture_start server server
start=${EPOCHREALTIME/./}
ping4 a b -c 1 -W 5 || fail "the first packet is lost"
took=$(((${EPOCHREALTIME/./} - start) / 1000))
first=$(relay_of a) first=${first#relayed }
both_by "$first" || fail "a: $(relay_of a), b: $(relay_of b)"
copy a b tcp 4 1000000
copy b a tcp 4 1000000
copy a b udp 4 60000
ctlj a ping b --count 1 | jq -e ".received == 1 and .path == \"relayed\" and .relay == \"$first\"" >/dev/null || fail "ping: $(ctl a ping b)"
ctl a sessions | finds "relayed via $first" || fail "sessions: $(ctl a sessions)"
ctl a explain "${ADDR4[b]}" | finds "device $first passes them on" || fail "explain: $(ctl a explain "${ADDR4[b]}")"
ctlj a rekey b >/dev/null || fail "no rekey through the relay"
ping4 b a -c 2 -i 0.05
# on the relay: the pair, where its ends are, and what has gone through; none of its own sessions
ctlj "$first" relays | jq -e '.relays[0] | .packets > 1000 and .bytes > 1000000 and .rate_kbit == 400000 and
	([.a, .b] | map(.name) | sort == ["a", "b"]) and ([.a, .b] | map(.endpoint | startswith("10.77.0.10")) | all)' >/dev/null ||
	fail "relays: $(ctlj "$first" relays)"
ctl "$first" relays | finds "10.77.0.101" || fail "relays: $(ctl "$first" relays)"
ctl "$first" status | finds '^relays' || fail "status: $(ctl "$first" status)"
no_session "$first" || fail "the relay has a session: $(ctl "$first" sessions)"
(($(counter "$first" dp passed) > 1000)) || fail "passed: $(counter "$first" dp passed)"
srvj device list | jq -e ".devices[] | select(.name == \"$first\") | .relays >= 1" >/dev/null || fail "$(srvj device list)"
srvj audit | grep relay-open | finds "\"relay\":\"$first\"" || fail "no record of the relay's opening: $(srvj audit | tail -5)"
# somebody else's packets are not passed on, and nobody answers them
passed=$(counter "$first" dp passed) refused=$(counter "$first" dp pass_refused)
read -r sent _ back _ <<<"$(on f "$POKE" elsewhere "$TMP/wire-$first.pcap" "${ADDR4[$first]}" 0.3 "$DATA_PORT")"
((sent > 0 && back == 0)) || fail "of $sent packets of a stranger the relay answered $back"
(($(counter "$first" dp pass_refused) > refused)) || fail "a stranger's packets are not counted: $(drops "$first")"
(($(counter "$first" dp passed) - passed < sent)) || fail "a stranger's packets are passed on"
third=$first cut=no
if [[ $WIRE == udp ]]; then
	# cut off: nobody sees that but the ends, which are not answered
	start=${EPOCHREALTIME/./}
	ip -n "$P-sw" link set dev "$first" down
	wait_for 10 "the pair on another one" moved_from "$first"
	cut=$(((${EPOCHREALTIME/./} - start) / 1000)) second=$by
	(($(counter a control relay_silent) + $(counter b control relay_silent) > 0)) || fail "no end has said that $first is silent"
	copy b a tcp 4 200000
	# killed: the server sees its channel end
	host_stop "$second" KILL
	wait_for 6 "the pair on the third one" moved_from "$first" "$second"
	third=$by
	copy a b tcp 4 200000
	ip -n "$P-sw" link set dev "$first" up
fi
# revoked: there is none left, and the server carries nothing
srv device revoke "$third" >/dev/null
wait_for 5 "the end of what $third relays" eval "ctlj $third relays | jq -e '.relays == []' >/dev/null"
if ping4 a b -c 2 -i 0.2 -W 1; then fail "a revoked device relays: $(relay_of a)"; fi
for x in "${relays[@]/#/wire-}" server; do
	capture_stop "$x"
	assert_no_plaintext "$x" "${CANARY:0:12}"
done
(($(packets "wire-$first" "udp port $DATA_PORT and host ${ADDR4[na]} and greater 1000") > 20)) || fail "the relay has not carried it"
(($(packets "wire-$first" "host ${ADDR4[na]} and host ${ADDR4[$first]} and not udp port $DATA_PORT and not arp") == 0)) || fail "something else went to the relay"
(($(packets server "udp port $CHAN_PORT and greater 120") == 0)) || fail "the server has carried packets"
assert_no_leak a b
echo "first packet in $took ms, round a cut link: $cut ms"
