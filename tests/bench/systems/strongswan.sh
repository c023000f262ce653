# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash disable=SC2034
# strongSwan with its IPsec in user space (kernel-libipsec): ESP in UDP, AES-256-GCM, IKEv2 with a shared secret.
# Its tunnel device has an MTU of 1400, which it reads once: a larger one set from outside would cut packets off.
#
# packages: charon-systemd strongswan-swanctl libcharon-extra-plugins libstrongswan-standard-plugins
# shellcheck source=tests/bench/tunnel.sh
source "$HERE/tunnel.sh"

ALWAYS_UP=1
# Of the plugins only these: the control socket's place is the run's own, the kernel's IPsec is not to be had.
CHARON_PLUGINS="random nonce aesni openssl hmac kdf sha2 aes kernel-libipsec kernel-netlink socket-default vici"

swan() { # HOST VERB OPTION…
	STRONGSWAN_CONF=$TMP/$1/strongswan.conf on "$1" swanctl "${@:2}" --uri "unix://$TMP/$1/vici"
}
system_up() {
	local h o secret
	peer_needs charon-systemd swanctl
	[[ -e /usr/lib/ipsec/plugins/libstrongswan-kernel-libipsec.so ]] || skip "plugin kernel-libipsec is missing (make bench-deps PEERS=strongswan)"
	topo_up a b
	umask 077
	secret=0x$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
	for h in a b; do
		o=$(other "$h")
		mkdir -p "$TMP/$h"
		cat >"$TMP/$h/strongswan.conf" <<-END
			charon-systemd {
				load = $CHARON_PLUGINS
				plugins { vici { socket = unix://$TMP/$h/vici } }
			}
			swanctl { load = random openssl }
		END
		cat >"$TMP/$h/swanctl.conf" <<-END
			connections { peer {
				version = 2
				encap = yes
				local_addrs = ${ADDR4[$h]}
				remote_addrs = ${ADDR4[$o]}
				proposals = aes256gcm16-prfsha256-ecp256
				local { auth = psk }
				remote { auth = psk }
				children { net {
					local_ts = ${INNER4[$h]}/32
					remote_ts = ${INNER4[$o]}/32
					esp_proposals = aes256gcm16-ecp256
				} }
			} }
			secrets { ike { secret = $secret } }
		END
		on "$h" ip addr add "${INNER4[$h]}/32" dev lo
		STRONGSWAN_CONF=$TMP/$h/strongswan.conf spawn "charon-$h" "$h" charon-systemd
		wait_for 10 "answer of charon on $h" swan "$h" --stats
		swan "$h" --load-all --file "$TMP/$h/swanctl.conf" >"$TMP/log/swanctl-$h.log" 2>&1
	done
	swan a --initiate --child net >"$TMP/log/initiate.log" 2>&1
	tunnel_ready
}
system_pids() { pid_of charon-a; }
