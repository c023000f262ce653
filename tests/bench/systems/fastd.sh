# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash disable=SC2034
# fastd, as its manual recommends for speed: Salsa20/12 with UMAC, TUN mode.
#
# packages: fastd
# shellcheck source=tests/bench/tunnel.sh
source "$HERE/tunnel.sh"

ALWAYS_UP=1
system_up() {
	local h o
	peer_needs fastd
	topo_up a b
	umask 077
	for h in a b; do
		fastd --generate-key >"$TMP/$h.key" 2>"$TMP/log/fastd-key-$h.log" # "Secret: …", "Public: …"
	done
	for h in a b; do
		o=$(other "$h")
		cat >"$TMP/$h.conf" <<-END
			mode tun;
			interface "tun0";
			mtu $INNER_MTU;
			method "salsa2012+umac";
			bind ${ADDR4[$h]}:10000;
			secret "$(sed -n 's/^Secret: //p' "$TMP/$h.key")";
			log level verbose;
			peer "$o" {
				key "$(sed -n 's/^Public: //p' "$TMP/$o.key")";
				remote ipv4 "${ADDR4[$o]}" port 10000;
			}
		END
		spawn "fastd-$h" "$h" fastd --config "$TMP/$h.conf"
		tunnel_set "$h" tun0
	done
	tunnel_ready
}
system_pids() { pid_of fastd-a; }
