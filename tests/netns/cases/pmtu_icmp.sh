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
for h in a b; do
	assert_counter_over $h dp icmp_too_big 0
done
assert_no_leak a b
