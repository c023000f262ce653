# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# a and b are each behind a NAT that takes another port for each destination: no way can be opened, and the server relays what it
# cannot read. When the NATs become better the pair goes directly.
# wires: udp xdp
# waits
# shellcheck source=tests/netns/nat.sh
source "$(dirname "$0")/../nat.sh"

topo_up server a b c
behind_nat a 1 random
behind_nat b 2 fully-random
nat_daemons_up
capture_start wire server
start=${EPOCHREALTIME/./}
ping4 a b -c 1 -W 5 || fail "the first packet is lost"
took=$(((${EPOCHREALTIME/./} - start) / 1000))
for pair in "a b" "b a"; do
	read -r x y <<<"$pair"
	# shellcheck disable=SC2086
	ping4 $x $y -c 2 -i 0.05
	copy "$x" "$y" tcp 4 1000000
	copy "$x" "$y" udp 4 60000
	path_is "$x" relayed || fail "$x does not say relayed: $(ctl "$x" sessions)"
done
ctlj a ping b --count 1 | jq -e '.received == 1 and .path == "relayed"' >/dev/null || fail "ping: $(ctl a ping b)"
ctlj a rekey b >/dev/null || fail "no rekey through the relay"
ping4 b a -c 2 -i 0.05
# a server that has been started anew relays again
stop mvpn-server KILL
server_start
wait_for 10 "the relay again" ping4 a b -c 1 -W 1
path_is a relayed || fail "a does not say relayed after the server's restart"
# somebody else's packets are not passed on, and nobody answers them
relayed=$(srvj status | jq .counters.relayed) refused=$(srvj status | jq .counters.echo_refused)
read -r sent _ back _ <<<"$(on c "$POKE" elsewhere "$TMP/wire.pcap" "${ADDR4[server]}" 0.3 "$CHAN_PORT")"
((sent > 0 && back == 0)) || fail "of $sent packets of a stranger the relay answered $back"
capture_stop wire
assert_no_plaintext wire "${CANARY:0:12}"
(($(packets wire "udp port $CHAN_PORT and greater 1000") > 1000)) || fail "the relay has not carried it"
(($(srvj status | jq .counters.relayed) - relayed < sent)) || fail "a stranger's packets are relayed"
(($(srvj status | jq .counters.echo_refused) >= refused + sent)) || fail "a stranger's packets are not counted"

for r in na nb; do
	nat_rules $r ""
	nat_forget $r
done
# an address more makes each look anew how it is seen
ip -n "$P-a" addr add 192.168.1.3/24 dev eth0
ip -n "$P-b" addr add 192.168.2.3/24 dev eth0
for h in a b; do
	wait_for 5 "$h's new mapping" eval "[[ \$(status_of $h .seen) == \${ADDR4[n$h]}:$DATA_PORT ]]"
done
directly() { path_is a direct && path_is b direct; }
wait_for 5 "a rekey" ctlj a rekey b
wait_for 5 "a direct way" eval 'ping4 a b -c 1 -W 1; directly'
ping4 b a -c 2 -i 0.05
assert_no_leak a b
# a session that is cut is not relayed any more
srv device revoke b >/dev/null
wait_for 5 "end of the session" no_session a
echo "first packet in $took ms"
