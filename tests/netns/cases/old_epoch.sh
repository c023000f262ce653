# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# Packets of an earlier session that are late are accepted while its keys are kept, once; afterwards nobody knows their SPI.
# waits
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/../lib.sh"

net_up
ping4 a b -c 1
spawn listen b socat -u UDP4-RECV:9999 OPEN:"$TMP/heard",creat,append
wait_for 5 listener listening b u 9999
heard() { [[ -e $TMP/heard ]] && (($(wc -l <"$TMP/heard") == $1)); }
# what a sends while b is off the switch: captured, and never delivered
unheard() { # NAME COUNT
	capture_start "$1" a
	ip -n "$P-sw" link set dev b nomaster
	# shellcheck disable=SC2016
	on a bash -c 'for ((i = 1; i <= $1; i++)); do echo "$2-$i" >/dev/udp/$3/9999; done' - "$2" "$1" "${ADDR4[b]}"
	capture_stop "$1"
	ip -n "$P-sw" link set dev b master br0
}
unheard late 30
unheard lost 30
spi=$(ctlj b sessions | jq -r '[.sessions[] | select(.transmits)][0].rx_spi')
ctl a rekey b >/dev/null || fail "rekey"
draining() { ctlj b sessions | jq -e --arg spi "$spi" '.sessions[] | select(.rx_spi == $spi and .state == "draining")'; }
wait_for 5 "old session to drain" draining
n=$(on sw "$POKE" replay b "$TMP/late.pcap" shuffle 3)
((n >= 30)) || fail "only $n of 30 datagrams were sealed"
wait_for 5 "late datagrams" heard 30
n=$(on sw "$POKE" replay b "$TMP/late.pcap" shuffle 4)
refused() { (($(counter b dp rx_replay) >= n)); }
wait_for 5 "refusal of what came before" refused

gone_for_good() { ! ctlj b sessions | jq -e --arg spi "$spi" '.sessions[] | select(.rx_spi == $spi)'; }
wait_for 70 "end of the old session" gone_for_good
before=$(counter b dp rx_unknown_spi)
n=$(on sw "$POKE" replay b "$TMP/lost.pcap" same)
unknown() { (($(counter b dp rx_unknown_spi) >= before + n)); }
wait_for 5 "unknown SPIs counted" unknown
heard 30 || fail "a packet of a session that has ended was accepted"
ping4 a b -c 1
assert_no_leak a b
