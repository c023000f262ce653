# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash disable=SC2034
# mvpn at both levels: streams, whose TCP is sealed once more as packets.
# shellcheck source=tests/bench/systems/mvpn-socket.sh
source "$HERE/systems/mvpn-socket.sh"
LEVEL=socket+network
unset -f system_extra
