# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# Every level with every protocol and topology: {none, network, socket, socket|network, socket+network} × {TCP, UDP, ICMP, raw TCP} ×
# {client and server, both ends asking, through a gateway, out of one}. What comes through is byte-exact; who looks sees at the switch,
# at the tunnel's device and behind the gateway just what the level says.
# wires: udp
# waits
# shellcheck source=tests/netns/gateway.sh
source "$(dirname "$0")/../gateway.sh"

need python3 socat
net_up
behind b
SECRET=$CANARY
UDP=$ROOT/tests/netns/datagram.py
spawn answers a "$UDP" serve 9100
wait_for 5 "answers of a" listening a u 9100
protect=$'protect 10.9.0.0/24 via b\nprotect fd09::/64 via b'

at_level() { # LEVEL
	[[ $(ctlj a explain "${ADDR4[b]}" | jq -r .level) == "$1" && $(ctlj b explain "${ADDR4[a]}" | jq -r .level) == "$1" &&
		$(ctlj a explain "${ADDR4[d]}" | jq -r .level) == "$1" ]]
}
level() { # LEVEL: and no session from before it
	policy "level $1 a -> b"$'\n'"$protect"
	for h in a b; do
		wait_for 5 "end of the sessions" no_session $h
	done
	policy "allow a -> b"$'\n'"level $1 a -> b"$'\n'"$protect"
	wait_for 5 "level $1" at_level "$1"
	for h in a b; do
		wait_for 10 "the prefixes on $h" protects $h 6
		wait_for 5 "new policy on $h" same_rev $h
	done
}
lan_start() { # the far side of the gateway
	: >"$TMP/log/lan.log"
	spawn lan d tcpdump -Z root -i to-b --immediate-mode -U -s 2000 -w "$TMP/lan.pcap"
	wait_for 10 "capture behind b" grep -q 'listening on' "$TMP/log/lan.log"
}
with() { # TEXT COMMAND…: what it sends says TEXT all over
	local CANARY=$1-$SECRET
	shift
	"$@"
}
exchange() { # FROM TO FAMILY: both protocols byte for byte, and an echo
	with "TCP-OF-$1-TO-$2" copy "$1" "$2" tcp "$3" 100000
	with "UDP-OF-$1-TO-$2" copy "$1" "$2" udp "$3" 20000
	"ping$3" "$1" "$2" -c 1 -s 64 -p 49434d502d5345435245542d4543484f # ICMP-SECRET-ECHO
}
answered() { # FROM TO HOW: datagrams, and what comes back from where they went to
	local said
	said=$(on "$1" "$UDP" ask "${ADDR4[$2]}" 9100 "$3" 3 1000)
	[[ $said == "${ADDR4[$1]} "*" ${ADDR4[$2]} 9100"*$'\n'3 ]] || fail "level $LEVEL: datagrams $1 -> $2, $3: $said"
}
refused() { # FROM TO: what the level does not let pass as packets
	! on "$1" timeout 3 socat -u OPEN:/etc/hostname "TCP4:${ADDR4[$2]}:9,connect-timeout=2" 2>"$TMP/refused" || fail "TCP $1 -> $2 was let pass"
	dropped=$(counter b dp drop_level)
	printf %s "UDP-OF-$1-TO-$2-$SECRET" | on "$1" socat -u - "UDP4-SENDTO:${ADDR4[$2]}:9"
	wait_for 3 "datagram out of the gateway refused" rises b "$dropped" 1
}
# sees PCAP TEXT yes|no
sees() {
	local n
	n=$(found "$1" "$2")
	[[ $3 == yes ]] && ((n == 0)) && fail "level $LEVEL: '$2' is not in $1"
	[[ $3 == no ]] && ((n > 0)) && fail "level $LEVEL: '$2' is in $1"
	return 0
}
raw_tcp() { on a "$POKE" segment "${ADDR4[a]}" "${ADDR4[b]}" 4321 2; }
raw_arrives() { (($(packets tap-b "tcp dst port 4321") == 2)); }
rises() { (($(counter "$1" dp drop_level) >= $2 + $3)); } # HOST FROM BY

# none: to c, which is nobody's; the control for every capture below
LEVEL=none
capture_start wire a
exchange a c 4
capture_stop wire
for text in TCP-OF-a-TO-c UDP-OF-a-TO-c ICMP-SECRET-ECHO; do
	sees wire $text yes
done

for LEVEL in network socket 'socket|network' socket+network; do
	level "$LEVEL"
	# TCP and UDP as streams, as packets, to be read at the tunnel's device; streams over TCP on the wire
	streams=yes packets=yes clear=no above=no
	[[ $LEVEL != network ]] || streams=no clear=yes
	[[ $LEVEL == network || $LEVEL == 'socket|network' ]] || packets=no
	[[ $streams == no || $LEVEL == socket+network ]] || above=yes
	capture_start wire a
	tap_start a
	tap_start b
	lan_start

	exchange a b 4 # client and server
	exchange a b 6
	exchange b a 4 # the peer asks, too
	exchange a d 4 # through the gateway
	exchange a d 6
	dropped=$(counter a dp drop_level)
	raw_tcp
	if [[ $packets == yes ]]; then
		with TCP-OF-d-TO-a copy d a tcp 4 100000 # out of it: never passed a socket of b's
		with UDP-OF-d-TO-a copy d a udp 4 20000
		answered d a plain
		answered d a connected
		[[ $(printf elsewhere | on d socat -t1 - "UDP4-DATAGRAM:${ADDR4[a]}:9100") == elsewhere ]] || fail "level $LEVEL: no answer from another port"
		wait_for 3 "raw segments at b" raw_arrives
	else
		wait_for 3 "raw segments refused" rises a "$dropped" 2
		refused d a
	fi

	stop lan
	stop tap-a
	stop tap-b
	capture_stop wire
	# the switch: no byte of it, and TCP only where it carries streams
	for text in TCP-OF UDP-OF ICMP-SECRET "${SECRET:0:12}"; do
		sees wire "$text" no
	done
	n=$(packets wire "tcp port $DATA_PORT")
	[[ $above == yes ]] && ((n == 0)) && fail "level $LEVEL: no streams on the wire"
	[[ $above == no ]] && ((n > 0)) && fail "level $LEVEL: TCP on the wire"
	(($(packets wire "not udp port $DATA_PORT and not tcp port $DATA_PORT and not tcp port $CHAN_PORT and (host ${ADDR4[b]} or host ${ADDR6[b]}) \
		and not arp and not icmp6") == 0)) || fail "level $LEVEL: something else on the wire"
	# the tunnel's device: echoes in clear; TCP and UDP unless it was sealed above
	for h in a b; do
		sees "tap-$h" ICMP-SECRET-ECHO yes
		for pair in a-TO-b b-TO-a a-TO-d; do
			sees "tap-$h" "TCP-OF-$pair" "$clear"
			sees "tap-$h" "UDP-OF-$pair" "$clear"
		done
	done
	sees tap-a UDP-OF-d-TO-a "$packets"
	# behind the gateway everything is as the application behind it has it
	for text in TCP-OF-a-TO-d UDP-OF-a-TO-d ICMP-SECRET-ECHO UDP-OF-d-TO-a; do
		sees lan $text yes
	done
	echo "level $LEVEL: as it should be"
done
assert_no_leak a b
