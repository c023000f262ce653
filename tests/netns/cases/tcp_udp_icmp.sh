# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# Unchanged programs talk over both families, byte-exact, and nothing of it can be read on the wire.
# wires: udp xdp
# sanitized
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/../lib.sh"

net_up
capture_start wire a
for family in 4 6; do
	"ping$family" a b -c 3 -i 0.05 -p 4d56504e
	"ping$family" b a -c 3 -i 0.05
	copy a b tcp $family 3000000
	copy b a tcp $family 3000000
	copy a b udp $family 60000
	copy b a udp $family 60000
done
capture_stop wire
assert_no_plaintext wire "${CANARY:0:12}"
assert_only_sealed wire a b
assert_sealed wire 300
assert_no_leak a b
[[ $(status_of a '.interfaces[0].wire') == "$WIRE" ]] || fail "the wire is not $WIRE: $(status_of a '.interfaces')"
