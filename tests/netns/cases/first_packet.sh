# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# The packet that finds no session waits for it and is not lost: a ping, a datagram and a connection, each one attempt.
# wires: udp xdp
# sanitized
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/../lib.sh"

need nstat
net_up
serve b
no_session a || fail "there is a session before the first packet"
ping4 a b -c 1 || fail "the first ping over IPv4 was lost"
drop_sessions
ping6 a b -c 1 || fail "the first ping over IPv6 was lost"
drop_sessions
on a "$PINGPONG" ask udp "${ADDR4[b]}" 7000 1 64 >/dev/null || fail "the first datagram was lost"
drop_sessions
again() { on a nstat -asz TcpExtTCPSynRetrans | awk '/SynRetrans/ { print $2 }'; }
before=$(again)
us=$(on a "$PINGPONG" first "${ADDR4[b]}" 7000) || fail "the first connection failed"
[[ $(again) == "$before" ]] || fail "the first SYN was lost: first byte after $us us"
echo "first byte $us us after connect() with no session"
drop_sessions
# a burst meets no session: what is held goes out in order, nothing is lost
read -r sent received duplicate reordered <<<"$(numbered a b 200 0.3)"
((sent == received && duplicate == 0 && reordered == 0)) ||
	fail "of $sent datagrams $received arrived, $duplicate twice, $reordered out of order"
assert_no_leak a b
