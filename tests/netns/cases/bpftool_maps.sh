# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# An operator reads the pinned maps with bpftool, by the names of their fields; no key is in them.
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/../lib.sh"

net_up
need bpftool
ping4 a b -c 2 -i 0.05
for map in protected keys config exempt own_sockets flows spis counters frames frame_tap ports sockets levels kept_ports; do
	[[ -e $PIN/a/$map ]] || fail "no map $map in $PIN/a: $(ls "$PIN/a")"
	bpftool -j map show pinned "$PIN/a/$map" | jq -e '.btf_id > 0' >/dev/null || fail "map $map has no BTF"
done
bpftool -j map dump pinned "$PIN/a/protected" >"$TMP/protected.json"
jq -e '[.[].formatted | select(.value.peer > 0 and (.key.prefixlen == 128))] | length >= 2' "$TMP/protected.json" >/dev/null ||
	fail "protected: $(head -c 600 "$TMP/protected.json")"
bpftool -j map dump pinned "$PIN/a/keys" >"$TMP/keys.json"
spi=$(ctlj a sessions | jq -r '[.sessions[] | select(.state == "active")][0].tx_spi')
jq -e --argjson spi "$((16#$spi))" '[.[].formatted.value | select(.spi == $spi and .epoch > 0)] | length == 1' "$TMP/keys.json" >/dev/null ||
	fail "keys does not name SPI $spi: $(cat "$TMP/keys.json")"
bpftool -j map dump pinned "$PIN/a/config" | jq -e '.[0].formatted.value | (.elements // .) | .udp_port > 0 and .tap_ifindex > 0' >/dev/null ||
	fail "config: $(bpftool -j map dump pinned "$PIN/a/config")"
[[ $(on a "$HOOKS" eth0 | wc -l) == 3 ]] || fail "not three programs on eth0: $(on a "$HOOKS" eth0)"
# keys are 32 bytes: no map value is long enough to hold one next to its other fields
jq -e '[.[].formatted.value | keys[]] | unique - ["state", "spi", "epoch", "lanes", "mtu"] == []' "$TMP/keys.json" >/dev/null || fail "unknown fields in keys"
