# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# A host that has never heard of mvpn is reached as before: in clear, both ways, both families.
# wires: udp xdp
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/../lib.sh"

net_up
capture_start wire a
for family in 4 6; do
	"ping$family" a c -c 2 -i 0.05
	"ping$family" c a -c 2 -i 0.05
	copy a c tcp $family 500000
	copy c a tcp $family 500000
	copy a c udp $family 20000
	copy c a udp $family 20000
done
capture_stop wire
assert_plaintext wire "$CANARY"
(($(packets wire "host ${ADDR4[c]} and udp port $DATA_PORT") == 0)) || fail "packets for c were sealed"
(($(counter a shim to_tap) == 0)) || fail "packets for c went to the tap"
assert_no_leak a b
