# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# Each cipher carries real traffic, a device that insists on one is heard, and two that have none in common are refused.
# wires: udp xdp
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/../lib.sh"

insist() { # HOST CIPHER
	mkdir -p "$TMP/$1"
	printf '[data]\ncipher = %s\n' "$2" >"$TMP/$1/keyd.conf"
}
suite() { ctlj a sessions | jq -r '[.sessions[] | select(.transmits)][0].suite'; }
with() { # CIPHER OF B -> both talk, and by that one
	insist b "$1"
	host_stop b
	host_start b
	ctl b wait --timeout 40 >/dev/null || fail "b is not back with $1"
	wait_for 10 "a session with $1" eval "ping4 a b -c 1 && [[ \$(suite) == $1 ]]"
	copy a b tcp 4 2000000
	copy b a tcp 6 2000000
}

setup
insist b chacha20-poly1305
net_up
capture_start wire a
ping4 a b -c 1
[[ $(suite) == chacha20-poly1305 ]] || fail "b insisted on ChaCha20-Poly1305, and it is $(suite)"
copy a b tcp 4 2000000
copy a b udp 6 60000
if [[ $(status_of a '.suites | index("aes-256-gcm")') != null ]]; then
	with aes-256-gcm
	insist a chacha20-poly1305
	host_stop a
	host_start a
	ctl a wait --timeout 40 >/dev/null || fail "a is not back"
	! ping4 a b -c 2 -i 0.2 -W 1 || fail "two devices without a common cipher talk"
	told() { ctlj a peers | jq -e '.peers[] | select(.name == "b") | .error | test("cipher|suite")'; }
	wait_for 5 "the reason" told
fi
capture_stop wire
assert_no_plaintext wire "${CANARY:0:12}"
assert_only_sealed wire a b
assert_no_leak a b
