# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# The daemons work with no more than the capabilities that their systemd units leave them, and keyd gives up more by itself.
# wires: udp xdp
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/../lib.sh"

need setpriv
bounding() { # UNIT: as setpriv wants it
	sed -n 's/^CapabilityBoundingSet=//p' "$ROOT/dist/systemd/$1.service" | tr 'A-Z ' 'a-z,' | sed 's/cap_/+/g; s/^/-all,/'
}
with() { # UNIT: puts setpriv before the program in what spawn is given
	printf '#!/bin/sh\nexec setpriv --bounding-set=%s --no-new-privs %s "$@"\n' "$(bounding "$1")" "$REAL/$2" >"$TMP/bin/$2"
	chmod +x "$TMP/bin/$2"
}

setup
REAL=$BUILD
mkdir -p "$TMP/bin"
with mvpn-keyd keyd
with mvpn-server mvpn-server
ln -s "$REAL/mvpnctl" "$TMP/bin/mvpnctl"
BUILD=$TMP/bin
net_up
[[ $(status_of a '.interfaces[0].wire') == "$WIRE" ]] || fail "the wire is not $WIRE"
ping4 a b -c 2 -i 0.05
copy a b tcp 6 500000
kept=$((16#$(awk '/^CapEff/ { print $2 }' "/proc/$(pid_of keyd-a)/status")))
# NET_ADMIN 12, NET_RAW 13, IPC_LOCK 14, PERFMON 38, BPF 39
((kept == (1 << 12 | 1 << 13 | 1 << 14 | 1 << 38 | 1 << 39))) || fail "keyd keeps capabilities $(printf %x "$kept")"
host_stop a
with mvpn-guard keyd
on a "$TMP/bin/keyd" --guard --state "$TMP/a/state" --pin "$PIN/a" >"$TMP/log/guard.log" 2>&1 || fail "the guard: $(cat "$TMP/log/guard.log")"
