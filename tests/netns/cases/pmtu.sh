# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# No black hole at any MTU of the underlay from 1280 to 9000 where routers are silent about what they drop: the link shrinks under
# the session, and grows again.
# wires: udp xdp
ICMP=dropped
# shellcheck source=tests/netns/pmtu.sh
source "$(dirname "$0")/../pmtu.sh"

at_mtu "$JUMBO"
# nobody says that it shrinks, nor that it grows again
link_mtu 1280
found_by a 1280
found_by b 1280
for mtu in 1500 1400 1280; do
	at_mtu "$mtu"
done
assert_no_leak a b
