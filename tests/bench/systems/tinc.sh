# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash disable=SC2034
# tinc 1.0 as a router: AES-256-CBC with SHA-256, since this version knows no AEAD and its defaults are Blowfish and SHA-1.
# It would send by TCP until it knows what passes by UDP, which takes it up to 30 s; the tunnel's MTU is known to pass.
#
# packages: tinc
# shellcheck source=tests/bench/tunnel.sh
source "$HERE/tunnel.sh"

ALWAYS_UP=1
system_up() {
	local h
	peer_needs tincd
	topo_up a b
	umask 077
	for h in a b; do
		mkdir -p "$TMP/$h/hosts"
		printf '%s\n' "Name = $h" "Interface = tun0" "Mode = router" "AddressFamily = ipv4" "ConnectTo = $(other "$h")" \
			>"$TMP/$h/tinc.conf"
		printf '%s\n' "Address = ${ADDR4[$h]}" "Subnet = ${INNER4[$h]}/32" "Cipher = aes-256-cbc" "Digest = sha256" "PMTUDiscovery = no" \
			>"$TMP/$h/hosts/$h"
		tincd -c "$TMP/$h" -K2048 </dev/null >"$TMP/log/tinc-key-$h.log" 2>&1
	done
	for h in a b; do
		cp "$TMP/$(other "$h")/hosts/$(other "$h")" "$TMP/$h/hosts/"
		spawn "tinc-$h" "$h" tincd -c "$TMP/$h" -D -d2 --pidfile="$TMP/$h/tinc.pid"
		tunnel_set "$h" tun0
	done
	tunnel_ready
}
system_pids() { pid_of tinc-a; }
