# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# The server's own host is the gateway: keyd runs beside mvpn-server, with the state directory of both, and reaches it by loopback. The channels of
# others to that host pass although its address is protected now; a reaches the host behind, sealed as far as the server; and when
# the server's link to those behind is gone, nothing leaves in clear where it came from.
# wires: udp
# shellcheck source=tests/netns/gateway.sh
source "$(dirname "$0")/../gateway.sh"

need curl python3
topo_up server a c
server_start
host_start server
host_start a
f=$(mktemp "$TMP/token.XXXXXX")
srvj token create --address "${ADDR4[server]}" --address "${ADDR6[server]}" --server "127.0.0.1:$CHAN_PORT" | jq -er .token >"$f"
ctl server enroll --token-file "$f" --name gw >"$TMP/log/enrol-gw.log" 2>&1 || fail "enrolment of the server's host: $(cat "$TMP/log/enrol-gw.log")"
ctl server wait --timeout 10 >/dev/null || fail "the server's host is not online"
attach server
enrol a
attach a
behind server
policy $'allow a -> gw\nprotect 10.9.0.0/24 via gw\nprotect fd09::/64 via gw'
for h in a server; do
	wait_for 10 "the prefixes on $h" protects $h 6
done
mkdir "$TMP/web"
canary_file "$TMP/web/page" 3000000
spawn web d python3 -m http.server --bind :: --directory "$TMP/web" 80
wait_for 5 "web server" listening d t 80
capture_start wire a
spawn tail d tcpdump -Z root -i to-server --immediate-mode -U -s 2000 -w "$TMP/behind.pcap"
wait_for 10 "capture behind the server" grep -q 'listening on' "$TMP/log/tail.log"
for family in 4 6; do
	"ping$family" a d -c 1 || fail "a does not reach d over IPv$family"
	"ping$family" d a -c 1 || fail "d does not reach a over IPv$family"
	"ping$family" a server -c 1 || fail "a does not reach the server's host over IPv$family"
done
on a curl -sS -m 20 -o "$TMP/got" "http://[${ADDR6[d]}]/page"
cmp "$TMP/web/page" "$TMP/got" || fail "the page is another one"

# the channel of a device that comes only now, and one that comes anew: neither is captured on the server's host
host_stop a
host_start a
wait_for 10 "a again" ctl a wait --timeout 1
wait_for 5 "a reaches d again" ping4 a d -c 1
host_start c
enrol c
capture_stop wire
assert_no_plaintext wire "${CANARY:0:12}"
(($(packets wire "(net 10.9.0.0/24 or net fd09::/64) and not arp") == 0)) || fail "packets of d are on the wire in clear"
stop tail
assert_plaintext behind "${CANARY:0:12}"
(($(counter server shim pass_server) > 0)) || fail "no channel was let by"

# nor is it at the socket level, and the server's UDP goes its own way; that of programs does not
policy $'allow a -> gw\nprotect 10.9.0.0/24 via gw\nprotect fd09::/64 via gw\nlevel socket a -> gw'
at_socket() { ctlj a explain "${ADDR4[d]}" | jq -e '.level == "socket" and (.why | any(contains("sealed at the socket")))'; }
wait_for 5 "level socket on a" at_socket
on a curl -sS -m 20 -o "$TMP/got" "http://${ADDR4[d]}/page"
cmp "$TMP/web/page" "$TMP/got" || fail "the page is another one, by a stream"
# the channel is connected anew while the level is in force: UDP to the server is asked for again on it
channels() { (($(counter a control channel_up) > 1)); }
on a ss -tK "dst ${ADDR4[server]} dport = $CHAN_PORT" >/dev/null
wait_for 10 "another channel" channels
on a ss -Htn state established "dst ${ADDR4[server]} dport = $CHAN_PORT" | grep -q . || fail "the channel goes by a stream, whose session it is to make"
online() { [[ $(status_of a .state) == online && $(status_of a .udp) == works ]]; }
wait_for 10 "UDP to the server" online

# no link to d any more, and a default route the way the packets came
capture_start cut server
ip -n "$P-server" link set eth1 down
ip -n "$P-server" route add default via "${ADDR4[c]}"
before=$(counter server shim drop_no_owner)
! ping4 a d -c 1 -W 1 || fail "d answers without a link"
dropped() { (($(counter server shim drop_no_owner) > before)); }
wait_for 3 "a packet that is dropped" dropped
capture_stop cut
(($(packets cut "net 10.9.0.0/24 and not arp") == 0)) || fail "in clear where it came from"
assert_no_leak a server
