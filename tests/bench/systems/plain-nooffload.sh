# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash disable=SC2034
# No mvpn and no segmentation or checksum offload: every packet for itself, as a tunnel has to handle it.
#
# series: on
system_up() {
	local h
	topo_up a b
	for h in a b; do
		on $h ethtool -K eth0 tso off gso off gro off tx off >/dev/null 2>&1 || true
	done
	TARGET=${ADDR4[b]}
}
