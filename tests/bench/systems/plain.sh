# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash disable=SC2034
# No mvpn: what the virtual Ethernet gives.
system_up() {
	topo_up a b
	TARGET=${ADDR4[b]}
}
