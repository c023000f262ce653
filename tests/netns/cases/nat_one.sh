# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# a is behind NAT, b is not. Either begins; b follows a to another port and another address, but not to where somebody else
# repeats a's packets from, and sends no more there than came from there.
# wires: udp xdp
# waits
# shellcheck source=tests/netns/nat.sh
source "$(dirname "$0")/../nat.sh"

topo_up server a b c
behind_nat a 1
ip -n "$P-b" route add 192.168.1.0/24 via "${ADDR4[c]}" # as any default route: only the inner packets are for there
nat_daemons_up
[[ $(status_of a '"\(.behind_nat) \(.seen)"') == "true ${ADDR4[na]}:$DATA_PORT" ]] || fail "a: $(status_of a '.seen')"
[[ $(status_of b '"\(.behind_nat) \(.seen)"') == "false ${ADDR4[b]}:$DATA_PORT" ]] || fail "b: $(status_of b '.seen')"
capture_start wire b
ctlj b ping a --count 1 | jq -e '.received == 1 and .path == "direct"' >/dev/null || fail "b does not reach a"
ping4 b a -c 2 -i 0.05
copy b a tcp 4 300000
drop() {
	policy '# nobody may talk'
	wait_for 5 "end of the sessions" no_session a
	wait_for 5 "end of the sessions" no_session b
	policy 'allow * -> *'
	wait_for 5 "new policy on a" same_rev a
	wait_for 5 "new policy on b" same_rev b
}
drop
ping4 a b -c 2 -i 0.05
copy a b tcp 4 300000
ctl a sessions | finds direct || fail "sessions: $(ctl a sessions)"
ctl a status | finds "seen as ${ADDR4[na]}:$DATA_PORT" || fail "status: $(ctl a status)"
ctl a ping b --count 1 | finds '(direct)' || fail "ping does not say how"

# another port
nat_rules na "to :20000-20999"
nat_forget na
elsewhere() { [[ $(ctlj b sessions | jq -r '[.sessions[] | select(.transmits)][0].endpoint') == "${ADDR4[na]}:20"* ]]; }
wait_for 5 "b to follow a to another port" eval 'ping4 a b -c 1 -W 1; elsewhere'
ping4 b a -c 2 -i 0.05 || fail "b does not reach a at the other port"

# another address
nat_rules na ""
ip -n "$P-na" addr del "${ADDR4[na]}/24" dev eth0
ip -n "$P-na" addr add 10.77.0.111/24 dev eth0
nat_forget na
wait_for 5 "b to follow a to another address" eval "ping4 a b -c 1 -W 1; sees b 10.77.0.111:$DATA_PORT"
ping4 b a -c 2 -i 0.05 || fail "b does not reach a at the other address"
capture_stop wire
assert_no_plaintext wire "${CANARY:0:12}"

# packets of a that b has not got come from c instead
spawn taken na tcpdump -Z root -i lan --immediate-mode -U -c 4 -w "$TMP/taken.pcap" "udp dst port $DATA_PORT and dst host ${ADDR4[b]}"
wait_for 5 "capture" grep -q 'listening on' "$TMP/log/taken.log"
on na nft insert rule ip filter through udp dport "$DATA_PORT" ip daddr "${ADDR4[b]}" drop
! ping4 a b -c 6 -i 0.05 -W 1 || fail "packets pass that should be taken"
wait_for 5 "packets taken" gone "$(pid_of taken)"
read -r sent sent_bytes back back_bytes <<<"$(on c "$POKE" elsewhere "$TMP/taken.pcap" "${ADDR4[b]}" 1.5)"
((sent > 0 && back > 0)) || fail "of $sent packets from a false source b answered $back: this would not have shown an amplifier"
((back <= 3 * sent && back_bytes <= 3 * sent_bytes)) || fail "$sent_bytes bytes from a false source brought $back_bytes there"
# where a was, or by now the relay: a's own packets to b are lost
moved() { [[ $(ctlj b sessions | jq -r '[.sessions[] | select(.transmits)][0].endpoint') == "${ADDR4[c]}:"* ]]; }
! moved || fail "a repeated packet has moved a's end point"
nat_rules na ""
wait_for 5 "a again" ping4 a b -c 1 -W 1
assert_no_leak a b
echo "to a false source $back packets, $back_bytes bytes, for $sent packets, $sent_bytes bytes"
