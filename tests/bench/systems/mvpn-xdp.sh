# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# mvpn over AF_XDP.
# shellcheck source=tests/bench/systems/mvpn-udp.sh
source "$HERE/systems/mvpn-udp.sh"
