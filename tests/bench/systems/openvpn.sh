# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash disable=SC2034
# OpenVPN, two peers: TLS with self-signed certificates, UDP, AES-256-GCM, no kernel offload of the data channel. Its tunnel has
# a large MTU and leaves cutting to IP's fragments outside, as its documentation advises for fast networks: here that is four
# times the TCP throughput of an MTU that fits, and costs nothing else.
#
# packages: openvpn openssl
# shellcheck source=tests/bench/tunnel.sh
source "$HERE/tunnel.sh"

ALWAYS_UP=1
fingerprint() { openssl x509 -in "$TMP/$1.crt" -noout -fingerprint -sha256 | sed 's/.*=//'; }
system_up() {
	local h
	peer_needs openvpn openssl
	topo_up a b
	umask 077
	for h in a b; do
		openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj "/CN=$h" \
			-keyout "$TMP/$h.key" -out "$TMP/$h.crt" 2>"$TMP/log/openssl-$h.log"
	done
	for h in b a; do
		spawn "openvpn-$h" "$h" openvpn --dev tun0 --dev-type tun --proto udp4 --local "${ADDR4[$h]}" --remote "${ADDR4[$(other "$h")]}" \
			--"$([[ $h == b ]] && echo tls-server || echo tls-client)" --dh none --key "$TMP/$h.key" --cert "$TMP/$h.crt" \
			--peer-fingerprint "$(fingerprint "$(other "$h")")" --data-ciphers AES-256-GCM --disable-dco \
			--ifconfig "${INNER4[$h]}" "${INNER4[$(other "$h")]}" --tun-mtu 48000 --mssfix 0 --fast-io --verb 3
	done
	tunnel_ready
	grep -q 'AES-256-GCM' "$TMP/log/openvpn-a.log" || fail "openvpn took another cipher"
}
system_pids() { pid_of openvpn-a; }
