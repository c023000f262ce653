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
	printf '#!/bin/sh\nexec setpriv --bounding-set=%s%s --no-new-privs %s "$@"\n' "$(bounding "$1")" "${BOUNDING:-}" "$REAL/$2" >"$TMP/bin/$2"
	chmod +x "$TMP/bin/$2"
}

setup
REAL=$BUILD
mkdir -p "$TMP/bin"
with mvpn-keyd keyd
with mvpn-server mvpn-server
ln -s "$REAL/mvpnctl" "$TMP/bin/mvpnctl"
BUILD=$TMP/bin
# one keyd for two networks
mkdir -p "$TMP/a"
printf '[keyd]\nshare_dir = %s\nnetworks = two\n' "$PIN/host-a" >"$TMP/a/keyd.conf"
printf '[data]\nudp_port = 7490\n' >"$TMP/a/two.conf"
net_up
[[ $(status_of a '.interfaces[0].wire') == "$WIRE" ]] || fail "the wire is not $WIRE"
ping4 a b -c 2 -i 0.05
copy a b tcp 6 500000
caps() { echo $((16#$(awk -v "w=$2:" '$1 == w { print $2 }' "/proc/$1/status"))); } # PID SET
keeps() { # PID
	local kept
	kept=$(caps "$1" CapEff)
	# NET_ADMIN 12, NET_RAW 13, IPC_LOCK 14, PERFMON 38, BPF 39
	((kept == (1 << 12 | 1 << 13 | 1 << 14 | 1 << 38 | 1 << 39))) || fail "keyd keeps capabilities $(printf %x "$kept")"
}
network() { { ctlj a networks || true; } | jq -e ".networks[] | select(.name == $1) | $2"; } # NAME EXPRESSION
keeps "$(pid_of keyd-b)"
keeps "$(network null .pid)"
# who supervises can give what children begin with, SETPCAP 8 and SYS_ADMIN 21 too (and SYS_RESOURCE 24, where the machine has it), and has nothing itself
parent=$(pid_of keyd-a)
(($(caps "$parent" CapEff) == 0 && $(caps "$parent" CapInh) == 0)) || fail "the supervisor has capabilities: $(grep Cap "/proc/$parent/status")"
((($(caps "$parent" CapPrm) & ~(1 << 24)) == (1 << 8 | 1 << 12 | 1 << 13 | 1 << 14 | 1 << 21 | 1 << 38 | 1 << 39))) ||
	fail "the supervisor keeps capabilities: $(grep Cap "/proc/$parent/status")"
# a child has its three and what it opens, nothing of the supervisor's; started again it can do all that it could
second=$(network '"two"' .pid)
[[ -z $(find "/proc/$second/fd" -lname "*/a/state/lock") ]] || fail "the child has descriptors of another one"
kill -KILL "$second"
again() { network '"two"' ".state == \"running\" and .pid != $second"; }
wait_for 10 "the child again" again
keeps "$(network '"two"' .pid)"
attach_two() { "$REAL/mvpnctl" --socket "$TMP/a/networks/two/keyd.sock" attach eth0 --wire udp; }
attach_two >"$TMP/log/attach-two.log" || fail "attach: $(cat "$TMP/log/attach-two.log")"
network '"two"' .isolated >/dev/null || fail "not isolated: $(network '"two"' .)"
host_stop a
# where the service may not mount the networks work all the same, and it is said
BOUNDING=,-sys_admin with mvpn-keyd keyd
host_start a
wait_for 10 "the second network" network '"two"' '.state == "running"'
network '"two"' '.isolated == false' >/dev/null || fail "isolated: $(network '"two"' .)"
{ "$REAL/mvpnctl" --socket "$TMP/a/networks/two/keyd.sock" -o json doctor || true; } |
	jq -e '.checks[] | select(.name == "isolation") | .result == "warn" and (.detail | contains("not permitted"))' >/dev/null ||
	fail "doctor says nothing of it"
(($(grep -c 'are not kept apart' "$TMP/log/keyd-a.log") == 2)) || fail "log: $(cat "$TMP/log/keyd-a.log")"
host_stop a
with mvpn-guard keyd
guard() { on a "$TMP/bin/keyd" --guard --state "$TMP/a/state" --pin "$PIN/a" --config "$TMP/a/keyd.conf" >"$TMP/log/guard.log" 2>&1; }
guard || fail "the guard: $(cat "$TMP/log/guard.log")"
[[ $(grep -c 'on 1 interfaces' "$TMP/log/guard.log") == 2 ]] || fail "not all networks are guarded: $(cat "$TMP/log/guard.log")"
# what is wrong with a configuration does not leave the host open
printf '[data]\nudp_port = none\n' >"$TMP/a/two.conf"
! guard || fail "the guard does not complain"
[[ $(grep -c 'on 1 interfaces' "$TMP/log/guard.log") == 2 ]] || fail "not all networks are guarded: $(cat "$TMP/log/guard.log")"
