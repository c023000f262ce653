# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# Busy polling defers the interrupts of the interface while AF_XDP is on it, and gives its settings back as they were: on
# detach, when keyd ends, and after it was killed.
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/../lib.sh"

# keyd with a /sys that shows the devices of its own network namespace
keyd_start() {
	mkdir -p "$TMP/sys"
	# shellcheck disable=SC2016 # expanded by the shell inside
	spawn keyd-a a unshare -m sh -ec 'mount -t sysfs sysfs "$1"; mount --bind /sys/fs/bpf "$1/fs/bpf"
		mount --rbind "$1" /sys; shift; exec "$@"' sh "$TMP/sys" "$BUILD/keyd" --state "$TMP/a/state" \
		--socket "$TMP/a/keyd.sock" --pin "$PIN/a" --config "$TMP/a/keyd.conf"
	wait_for 30 "answer of keyd on a" ctl a status
}
setting() { cat "/proc/$(pid_of keyd-a)/root/sys/class/net/eth0/$1"; }
settings() { echo "$(setting napi_defer_hard_irqs) $(setting gro_flush_timeout)"; }
settings_are() { [[ $(settings) == "$1" ]]; }
set_by_admin() { # HARD_IRQS TIMEOUT
	nsenter --target "$(pid_of keyd-a)" --mount --net sh -c \
		"echo $1 >/sys/class/net/eth0/napi_defer_hard_irqs && echo $2 >/sys/class/net/eth0/gro_flush_timeout"
}

topo_up server a b
server_start
mkdir -p "$TMP/a"
printf '[data]\nbusy_poll = yes\n' >"$TMP/a/keyd.conf"
keyd_start
host_start b
enrol a
enrol b
set_by_admin 1 7000
attach a xdp
attach b udp
settings_are "2 200000" || fail "interrupts are not deferred: $(settings)"
policy 'allow a -> b'
for h in a b; do
	wait_for 10 "both addresses of both hosts on $h" protects $h 4
	wait_for 10 "new policy on $h" same_rev $h
done
ping4 a b -c 3 -i 0.05
copy a b tcp 4 2000000
copy b a tcp 4 2000000

ctl a detach eth0 --force >/dev/null
settings_are "1 7000" || fail "detaching left other settings: $(settings)"
attach a xdp
settings_are "2 200000" || fail "interrupts are not deferred the second time: $(settings)"

# killed: its own settings are not taken for the administrator's
stop keyd-a KILL
sed -i 's/yes/no/' "$TMP/a/keyd.conf"
keyd_start
wait_for 10 "settings of before" settings_are "1 7000"
assert_no_leak a b
