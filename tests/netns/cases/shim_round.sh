# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# Ways round the shims that programs may try: packet sockets that ask to go round traffic control, source routes, large sends, other protocols.
# To a host that is not protected each of them leaves in clear, so the capture would see it; to one that is, none, at no level, with or without
# keyd.
# wires: udp
# waits
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/../lib.sh"

need python3
net_up
[[ $(status_of a .socket.cgroup) != null ]] || skip "no socket shim: $(status_of a .socket.error)"
mac_of() { on "$1" cat /sys/class/net/eth0/address; }
round() { # TEXT TO VIA
	on a "$ROOT/tests/netns/round.py" "${ADDR4[$2]}" "${ADDR6[$2]}" "${ADDR4[$3]}" "${ADDR6[$3]}" eth0 "$(mac_of "$2")" "$1"
}
tried() { # TEXT TO VIA
	capture_start "$1" a
	round "$@" >"$TMP/ways-$1"
	capture_stop "$1"
}
at_level() { [[ $(ctlj a explain "${ADDR4[b]}" | jq -r .level) == "$1" ]]; }

tried OPEN c server
(($(wc -l <"$TMP/ways-OPEN") >= 15)) || fail "only these ways are open to programs here: $(tr '\n' ' ' <"$TMP/ways-OPEN")"
while read -r way; do
	[[ $way == fast* ]] || assert_plaintext OPEN "OPEN-$way-" # a connection that nobody takes carries nothing
done <"$TMP/ways-OPEN"

for level in network socket; do
	policy $'allow a -> b\nlevel '"$level a -> b"
	wait_for 5 "level $level" at_level $level
	tried "AT-$level" b c
	assert_no_plaintext "AT-$level" "AT-$level"
done
host_stop a KILL
tried DEAD b c
assert_no_plaintext DEAD DEAD-
host_start a
assert_no_leak a
