# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# TCP in both directions with the interface's offloads on and off: checksums and segments are right either way.
# wires: udp xdp
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/../lib.sh"

net_up
for setting in on off; do
	for h in a b; do
		on $h ethtool -K eth0 tso $setting gso $setting gro $setting tx $setting rx $setting >/dev/null 2>&1 || true
	done
	for family in 4 6; do
		copy a b tcp $family 5000000
		copy b a tcp $family 5000000
	done
done
# one end with, one without
on a ethtool -K eth0 tso on gso on tx on >/dev/null 2>&1 || true
copy a b tcp 4 3000000
copy b a tcp 6 3000000
errors=$(on b nstat -az TcpInCsumErrors UdpInCsumErrors IcmpInCsumErrors 2>/dev/null | awk '/Csum/ { n += $2 } END { print n + 0 }')
((errors == 0)) || fail "$errors checksum errors on b"
assert_no_leak a b
