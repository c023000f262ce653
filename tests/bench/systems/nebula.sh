# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# nebula: two hosts that know each other's address, no lighthouse, AES-256-GCM.
#
# packages: nebula
# shellcheck source=tests/bench/tunnel.sh
source "$HERE/tunnel.sh"

nebula_start() { # HOST
	spawn "nebula-$1" "$1" nebula -config "$TMP/$1/config.yml"
	tunnel_set "$1" tun0
}
system_up() {
	local h o
	peer_needs nebula nebula-cert
	topo_up a b
	umask 077
	nebula-cert ca -name bench -duration 48h -out-crt "$TMP/ca.crt" -out-key "$TMP/ca.key"
	for h in a b; do
		o=$(other "$h")
		mkdir -p "$TMP/$h"
		nebula-cert sign -name "$h" -ip "${INNER4[$h]}/24" -ca-crt "$TMP/ca.crt" -ca-key "$TMP/ca.key" \
			-out-crt "$TMP/$h/host.crt" -out-key "$TMP/$h/host.key"
		cat >"$TMP/$h/config.yml" <<-END
			pki: {ca: $TMP/ca.crt, cert: $TMP/$h/host.crt, key: $TMP/$h/host.key}
			static_host_map: {"${INNER4[$o]}": ["${ADDR4[$o]}:4242"]}
			lighthouse: {am_lighthouse: false, hosts: []}
			listen: {host: ${ADDR4[$h]}, port: 4242}
			tun: {dev: tun0, mtu: $INNER_MTU}
			cipher: aes
			firewall:
			  outbound: [{port: any, proto: any, host: any}]
			  inbound: [{port: any, proto: any, host: any}]
		END
		nebula_start "$h"
	done
	tunnel_ready
}
system_cut() {
	local h
	for h in a b; do
		stop "nebula-$h"
		nebula_start "$h"
	done
}
system_pids() { pid_of nebula-a; }
