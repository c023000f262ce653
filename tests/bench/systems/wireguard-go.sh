# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# wireguard-go, WireGuard in user space. Its control socket has the name of its device in a directory that all namespaces
# share, so the device's name is the run's own.
#
# packages: wireguard-go wireguard-tools
# shellcheck source=tests/bench/tunnel.sh
source "$HERE/tunnel.sh"

wg_device() { echo "w${P#mvpn}$1"; }
wg_peer() { # HOST
	on "$1" wg set "$(wg_device "$1")" peer "$(cat "$TMP/$(other "$1").pub")" \
		allowed-ips "${INNER4[$(other "$1")]}/32" endpoint "${ADDR4[$(other "$1")]}:51820"
}
system_up() {
	local h
	peer_needs wireguard-go wg
	topo_up a b
	umask 077
	for h in a b; do
		wg genkey >"$TMP/$h.key"
		wg pubkey <"$TMP/$h.key" >"$TMP/$h.pub"
		spawn "wireguard-go-$h" "$h" wireguard-go -f "$(wg_device "$h")"
		tunnel_set "$h" "$(wg_device "$h")"
		wait_for 5 "control socket on $h" on "$h" wg show "$(wg_device "$h")"
		on "$h" wg set "$(wg_device "$h")" private-key "$TMP/$h.key" listen-port 51820
	done
	for h in a b; do
		wg_peer "$h"
	done
	tunnel_ready
}
system_cut() {
	local h
	for h in a b; do
		on "$h" wg set "$(wg_device "$h")" peer "$(cat "$TMP/$(other "$h").pub")" remove
		wg_peer "$h"
	done
}
system_pids() { pid_of wireguard-go-a; }
