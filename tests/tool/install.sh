# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# make install DESTDIR= puts everything where the units expect it, keeps an administrator's configuration, and make
# uninstall takes it away again but that; systemd understands the units.
set -euo pipefail
cd "$(dirname "$0")/../.."
BUILD=${BUILD:-build}
D=$(mktemp -d)
trap 'rm -rf "$D"' EXIT
fail() {
	echo "$*"
	exit 1
}

make -s install DESTDIR="$D" BUILD="$BUILD" >/dev/null
for f in usr/sbin/{mvpn-keyd,mvpn-server,mvpnctl} lib/systemd/system/mvpn-{keyd,keyd@,server,guard,guard@}.service etc/mvpn/{keyd,server}.conf; do
	[[ -s $D/$f ]] || fail "$f is not installed"
done
[[ -d $D/etc/mvpn/keyd.conf.d ]] || fail "there is no place for parts of keyd.conf"
# what a network's own unit may write is below what the service of all networks may
for line in 'keyd@.service:StateDirectory=mvpn/networks/%i' 'keyd@.service:RuntimeDirectory=mvpn/networks/%i' \
	'guard@.service:ReadWritePaths=/sys/fs/bpf /var/lib/mvpn/networks/%i'; do
	grep -qxF "${line#*:}" "$D/lib/systemd/system/mvpn-${line%%:*}" || fail "mvpn-${line%%:*} has no ${line#*:}"
done
! grep -q 'CAP_SYS_ADMIN\|Namespaces=mnt\|mount' "$D/lib/systemd/system/mvpn-keyd@.service" || fail "a network's own unit may mount"
[[ ! -e $D/usr/sbin/keyd ]] || fail "keyd is Debian's name for another program"
for page in docs/*.[1-8]; do
	[[ ! -e $page ]] || [[ -s $D/usr/share/man/man${page##*.}/${page##*/} ]] || fail "$page is not installed"
done
"$D/usr/sbin/mvpn-keyd" --version | grep -q . || fail "the installed keyd does not run"
"$D/usr/sbin/mvpn-keyd" --state "$D" --config "$D/etc/mvpn/keyd.conf" --check-config >/dev/null || fail "the example keyd.conf is refused"

echo '# mine' >"$D/etc/mvpn/keyd.conf"
make -s install DESTDIR="$D" BUILD="$BUILD" >/dev/null
grep -q '# mine' "$D/etc/mvpn/keyd.conf" || fail "install overwrote the configuration"

# what bash offers is what the program says of itself
completes() { # WANT WORD…
	# shellcheck disable=SC2034 # for the function
	(
		PATH=$D/usr/sbin:$PATH
		# shellcheck source=dist/mvpnctl.bash
		source "$D/usr/share/bash-completion/completions/mvpnctl"
		COMP_WORDS=(mvpnctl "${@:2}") COMP_CWORD=$(($# - 1)) COMPREPLY=()
		_mvpnctl
		[[ " ${COMPREPLY[*]} " == *" $1 "* ]] || fail "completion of '${*:2}' has no $1: ${COMPREPLY[*]}"
	)
}
completes explain ex
completes create server token ''
completes --ephemeral-after server token create --
completes --pid explain --
completes set identity passphrase ''
completes json-line -o ''

if command -v systemd-analyze >/dev/null; then
	# the units name absolute paths: let them be those of the copy
	sed -i "s,=/usr/sbin/,=$D/usr/sbin/,; /^Documentation=/d" "$D"/lib/systemd/system/*.service
	out=$(systemd-analyze verify --man=no "$D"/lib/systemd/system/*.service 2>&1 | grep -F mvpn || true)
	[[ -z $out ]] || fail "systemd-analyze: $out"
fi
make -s uninstall DESTDIR="$D" BUILD="$BUILD" >/dev/null
left=$(find "$D" -type f | sed "s,^$D/,,")
[[ $(sort <<<"$left" | tr '\n' ' ') == 'etc/mvpn/keyd.conf etc/mvpn/server.conf ' ]] || fail "left after uninstall: $left"
