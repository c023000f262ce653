# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# A configuration with an unknown key, section or value is an error that names file, line and key; nothing starts. Nor does it where
# something that it needs is missing or taken, and the message says what, and what to do.
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/../lib.sh"

setup
mkdir -p "$TMP/a"
# the example shows the defaults, commented out: with or without the comment signs it is good
for sed in '' 's/^#([a-z_]+ = )/\1/'; do
	sed -E "$sed" "$ROOT/dist/keyd.conf" >"$TMP/example.conf"
	"$BUILD/keyd" --state "$TMP/a" --config "$TMP/example.conf" --check-config >/dev/null || fail "the example keyd.conf is refused"
	sed -E "$sed" "$ROOT/dist/server.conf" >"$TMP/example.conf"
	"$BUILD/mvpn-server" --check-config --config "$TMP/example.conf" >/dev/null || fail "the example server.conf is refused"
done

rejects() { # WORD TEXT: both by --check-config and by a start
	local out status=0
	printf '%s\n' "$2" >"$TMP/bad.conf"
	out=$(timeout 5 "$BUILD/keyd" --state "$TMP/a" --config "$TMP/bad.conf" --check-config 2>&1) || status=$?
	((status == 1 || status == 2)) || fail "--check-config exits with $status for '$2'"
	grep -q -- "$1" <<<"$out" || fail "the message does not name $1: $out"
	grep -q -- bad.conf <<<"$out" || fail "the message does not name the file: $out"
	status=0
	timeout 5 "$BUILD/keyd" --state "$TMP/a" --socket "$TMP/a/s" --pin "$PIN/a" --config "$TMP/bad.conf" >/dev/null 2>&1 || status=$?
	((status == 1 || status == 2)) || fail "keyd starts with '$2' (status $status)"
	status=0
	out=$(timeout 5 "$BUILD/mvpn-server" run --state "$TMP/server" --config "$TMP/bad.conf" 2>&1) || status=$?
	((status == 1 || status == 2)) || fail "mvpn-server starts with '$2' (status $status)"
}
rejects wier '[keyd]
wier = udp'
rejects kyed '[kyed]
socket = /run/s'
rejects sixty '[data]
udp_port = sixty'
rejects 70000 '[data]
udp_port = 70000'
rejects loud '[keyd]
log_level = loud'
rejects bad.conf 'not an ini line at all'
status=0
"$BUILD/keyd" --state "$TMP/a" --config "$TMP/missing.conf" --check-config >/dev/null 2>&1 || status=$?
((status == 1 || status == 2)) || fail "a missing file is no error"

# what a host or a container may lack
starts_not() { # TEXT COMMAND…: keyd below COMMAND, in a network namespace of its own
	local want=$1 out status=0
	shift
	out=$(timeout 10 unshare -n "$@" "$BUILD/keyd" --state "$TMP/a" --socket "$TMP/a/s" --pin "$PIN/a" --config "$TMP/a/keyd.conf" 2>&1) || status=$?
	((status == 1)) || fail "keyd starts without what it needs ($want): status $status"
	grep -q -- "$want" <<<"$out" || fail "the message does not say '$want': $out"
}
touch "$TMP/a/keyd.conf"
starts_not 'without the capability net_admin' setpriv --bounding-set -net_admin
starts_not 'no TUN device (/dev/net/tun): No such file' unshare -m bash -c 'mount -t tmpfs none /dev/net && exec "$@"' -
starts_not "UDP port $DATA_PORT is another program's" bash -c "exec 9< <(exec socat -u UDP6-RECV:$DATA_PORT,ipv6only=0 -)
	until ss -Hlun | grep -q :$DATA_PORT; do sleep 0.02; done; \"\$@\"; r=\$?; kill \$!; exit \$r" -
mkdir -p "$PIN"
chown 65534 "$PIN"
starts_not "the pin directory $PIN is user 65534's" env
chown 0 "$PIN"
chmod 777 "$PIN"
starts_not "has mode 777: others could change" env
