# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# The same where routers say what does not fit.
# wires: udp
ICMP=passes
# shellcheck source=tests/netns/pmtu.sh
source "$(dirname "$0")/../pmtu.sh"

for mtu in 9000 1500 1400 1280; do
	at_mtu "$mtu"
done
assert_no_leak a b
