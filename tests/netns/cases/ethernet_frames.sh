# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# Frames of another EtherType between two devices that an ethernet line pairs: programs at both ends send and receive them on
# eth0 as ever, the wire shows sealed packets only. What no line names passes untouched; what cannot be sealed is dropped.
# wires: udp xdp
# sanitized
# waits
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/../lib.sh"

TYPE=0x88b5
OTHER=0x88b6
SECRET=MVPN-SECRET-FRAME
mac_of() { ip -n "$P-$1" -j link show eth0 | jq -r '.[0].address'; }
tap_there() { [[ $(status_of "$1" '.frame_tap.name // ""') == mvpn0e ]] && ip -n "$P-$1" link show mvpn0e; }
tap_gone() { [[ $(status_of "$1" '.frame_tap') == null ]] && ! ip -n "$P-$1" link show mvpn0e; }
rule() { # POLICY
	policy "$1"
	for h in a b; do
		wait_for 10 "new policy on $h" same_rev "$h"
		wait_for 10 "device for frames on $h" "tap_${2:-there}" "$h"
	done
}
listen() { # HOST TYPE
	spawn "catch-$1-$2" "$1" "$POKE" catch eth0 "$2"
	wait_for 5 "listener for frames" grep -q ready "$TMP/log/catch-$1-$2.log"
}
caught() { grep -cF -- "$3" "$TMP/log/catch-$1-$2.log" || true; } # HOST TYPE TEXT
has_caught() { (($(caught "$1" "$2" "$3") >= $4)); }
send() { on "$1" "$POKE" frame eth0 "${MAC[$2]}" "$3" "$4" "$5" "$6" "${@:7}" >"$TMP/sent"; } # FROM TO TYPE COUNT BYTES TEXT
# frames FROM TO TYPE TEXT: three of different sizes arrive, byte by byte, and once each
frames() {
	local size text
	for size in 46 300 1400; do
		text=$4-$size
		send "$1" "$2" "$3" 2 "$size" "$text"
		wait_for 5 "frames of $size bytes from $1 to $2" has_caught "$2" "$3" "$text" 2
		[[ $(grep -cFxf "$TMP/sent" "$TMP/log/catch-$2-$3.log") == 2 ]] || fail "$1 -> $2: frames of $size bytes are not as sent"
	done
}
# CAPTURE TYPE; tcpdump dumps the bytes of what it does not know, a line each
in_clear() { tcpdump -ner "$TMP/$1.pcap" "ether proto $2 and not ether broadcast" 2>/dev/null | grep -c ethertype || true; }

net_up
declare -A MAC=([a]=$(mac_of a) [b]=$(mac_of b))
rule $'allow a -> b\nethernet a -> b type 0x88b5 dscp cs6 limit 4mbit'
for h in a b; do
	listen "$h" $TYPE
	listen "$h" $OTHER
done

capture_start wire a
frames a b $TYPE "$SECRET-ab"
frames b a $TYPE "$SECRET-ba"
frames a b $OTHER plain-ab
frames b a $OTHER plain-ba
# the tag goes along inside
before=$(counter b dp rx_frames)
send a b $TYPE 1 100 "$SECRET-tagged" "${MAC[a]}" 7
rx_over() { (($(counter b dp rx_frames) > $1)); }
wait_for 5 "tagged frame" rx_over "$before"
wait_for 5 "tagged frame at the program" has_caught b $TYPE "$SECRET-tagged" 1
capture_stop wire
assert_no_plaintext wire "$SECRET"
assert_plaintext wire plain-ab
assert_plaintext wire plain-ba
assert_sealed wire 7 # equal ones may share a super-packet
(($(in_clear wire $TYPE) == 0)) || fail "frames in clear on the wire"
(($(packets wire "vlan 7") == 0)) || fail "the tagged frame is on the wire"
(($(in_clear wire $OTHER) == 12)) || fail "$(in_clear wire $OTHER) frames of no rule on the wire, expected 12"
[[ $(ctlj a explain "${MAC[b]}/$TYPE" | jq -r .verdict) == sealed ]] || fail "explain: $(ctlj a explain "${MAC[b]}/$TYPE")"
[[ $(ctlj a explain "${MAC[b]}/$OTHER" | jq -r .verdict) == clear ]] || fail "explain: $(ctlj a explain "${MAC[b]}/$OTHER")"
ctlj a flows | jq -e --arg m "${MAC[b]}" '.flows[] | select(.dst == $m and .ethertype == "0x88b5" and .packets >= 6)' >/dev/null ||
	fail "flows: $(ctlj a flows)"
ctlj a sessions | jq -e '.sessions[] | select(.layer == "link" and .tx_packets >= 6 and .local == [] and .remote == [])' >/dev/null ||
	fail "sessions: $(ctlj a sessions)"
ping4 a b -c 2 -i 0.05 || fail "packets suffer"
# the line's DSCP, both ways, and its limit
tos=$(tcpdump -vnr "$TMP/wire.pcap" "udp port $DATA_PORT and udp[8] == 0x44" 2>/dev/null | grep -o 'tos 0x[0-9a-f]*' | sort -u)
[[ $tos == 'tos 0xc0' ]] || fail "outer TOS of frames: $tos"
ctl a explain "${MAC[b]}/$TYPE" | finds '"dscp cs6 limit 4mbit"' || fail "explain does not name the class"
[[ $(counter a dp drop_limit) == 0 ]] || fail "a few frames are over the limit"
send a b $TYPE 400 1400 "$SECRET-flood"
limited() { (($(counter a dp drop_limit) > 0 && $(counter a dp shaped) > 20)); }
wait_for 5 "frames over the limit" limited

# more than the path takes: counted, and not on the wire
before=$(counter a dp drop_too_big)
capture_start big a
send a b $TYPE 2 1500 "$SECRET-big"
big_counted() { (($(counter a dp drop_too_big) == before + 2)); }
wait_for 5 "two frames that do not fit" big_counted
capture_stop big
assert_no_plaintext big "$SECRET"

# in clear, claiming to be from a: dropped and counted; the same from somebody else arrives
before=$(counter b shim ingress_clear)
on sw "$POKE" frame b "${MAC[b]}" $TYPE 5 100 SPOOFED "${MAC[a]}" >/dev/null
on sw "$POKE" frame b "${MAC[b]}" $TYPE 1 100 HONEST 02:00:00:00:00:77 >/dev/null
wait_for 5 "honest frame" has_caught b $TYPE HONEST 1
(($(caught b $TYPE SPOOFED) == 0)) || fail "spoofed frames arrived"
spoofed() { (($(counter b shim ingress_clear) >= before + 5)); }
wait_for 5 "count of spoofed frames" spoofed
(($(counter b shim ingress_clear) == before + 5)) || fail "$(counter b shim ingress_clear) counted, $before before"

# without keyd nothing of the type leaves; then it goes on
host_stop a
capture_start down a
send a b $TYPE 3 100 "$SECRET-down"
send a b $OTHER 1 100 plain-down
capture_stop down
assert_no_plaintext down "$SECRET"
assert_plaintext down plain-down
(($(in_clear down $TYPE) == 0)) || fail "frames in clear without keyd"
! ip -n "$P-a" link show mvpn0e >/dev/null 2>&1 || fail "the device for frames has stayed"
down=drop_keyd_down
if [[ $WIRE == udp ]]; then # and as at boot: no pins, the guard alone
	find "$PIN/a" -depth -delete
	on a "$BUILD/keyd" --guard --state "$TMP/a/state" --pin "$PIN/a" >"$TMP/log/guard.log" 2>&1 || fail "keyd --guard: $(cat "$TMP/log/guard.log")"
	capture_start guard a
	send a b $TYPE 3 100 "$SECRET-guard"
	send a b $OTHER 1 100 plain-guard
	capture_stop guard
	assert_no_plaintext guard "$SECRET"
	assert_plaintext guard plain-guard
	down=drop_no_owner
fi
host_start a
wait_for 10 "keyd on a" ctl a wait --timeout 10
wait_for 10 "device for frames on a" tap_there a
assert_counter_over a shim $down 2
arrives() {
	send a b $TYPE 1 100 "$SECRET-again"
	has_caught b $TYPE "$SECRET-again" 1
}
wait_for 15 "frames after the restart" arrives
(($(caught b $TYPE "$SECRET-down") == 0)) || fail "frames were kept over the restart"

# nobody else gets an address that is taken
host_start c
ip -n "$P-c" link set eth0 down
ip -n "$P-c" link set eth0 address "${MAC[a]}"
ip -n "$P-c" link set eth0 up
enrol c
attach c udp
refused() { [[ $(srvj status | jq .counters.mac_refused) -ge 1 ]]; }
wait_for 10 "refusal of c's claim" refused
srvj device show a | jq -e --arg m "${MAC[a]}" '.macs == [$m]' >/dev/null || fail "a has lost its address: $(srvj device show a)"
srvj device show c | jq -e '.macs == []' >/dev/null || fail "c has got an address: $(srvj device show c)"
told() { (($(counter c control mac_refused) > 0)); }
wait_for 5 "word of the refusal on c" told
host_stop c
ip -n "$P-c" link set eth0 down

# a line for frames alone lets no packet by
rule 'ethernet a -> b type *'
! ping4 a b -c 1 -W 1 || fail "packets pass by a rule for frames"
capture_start star a
frames b a $TYPE "$SECRET-star"
frames a b $OTHER "$SECRET-other"
capture_stop star
assert_no_plaintext star "$SECRET"

# one way only
rule 'ethernet only a -> b type 0x88b5'
capture_start oneway a
frames a b $TYPE "$SECRET-there"
before=$(counter b shim drop_denied)
send b a $TYPE 2 100 "$SECRET-back"
denied() { (($(counter b shim drop_denied) == before + 2)); }
wait_for 5 "frames dropped that go the other way" denied
capture_stop oneway
assert_no_plaintext oneway "$SECRET"
(($(caught a $TYPE "$SECRET-back") == 0)) || fail "frames went the way that is not allowed"

# without a line all is as without mvpn
rule 'allow a -> b' gone
frames a b $TYPE plain-end
assert_no_leak a b
