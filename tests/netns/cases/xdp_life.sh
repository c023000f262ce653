# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# The AF_XDP wire's life: at once after a detach, while the kernel still holds the queue; with more queues than before; beside
# another XDP program. Traffic goes on by the one wire or the other, nothing leaves in clear, keyd answers meanwhile and sleeps
# when there is nothing to do.
# wires: xdp
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/../lib.sh"

wire_is() { [[ $(status_of a ".interfaces[0].$1") == "$2" ]]; }
ms() { echo "${EPOCHREALTIME/./}" | head -c -4; }
cpu_ticks() { awk '{ print $14 + $15 }' "/proc/$(pid_of keyd-a)/stat"; }

QUEUES=2
topo_up server a b c
on a ethtool -L eth0 rx 1 >/dev/null
daemons_up
capture_start wire a
ping4 a b -c 3 -i 0.05
wire_is wire xdp || fail "no AF_XDP: $(status_of a .interfaces)"
wire_is queues 1 || fail "not one queue: $(status_of a .interfaces)"

answer_ms() {
	local since
	since=$(ms)
	status_of a .state >/dev/null
	echo $(($(ms) - since))
}
usual=$(answer_ms) # more on a busy machine

# detach and attach: the answer comes when it is settled, and others are answered before that
for i in 1 2 3; do
	ctl a detach eth0 --force >/dev/null
	ctl a attach eth0 --wire xdp >"$TMP/attach" 2>&1 &
	attaching=$!
	for _ in 1 2 3; do
		took=$(answer_ms)
		((took < 1000 * ${MVPN_SLOW:-1} + 5 * usual)) || fail "keyd did not answer for $took ms, for $usual before"
	done
	wait $attaching || fail "attach at once after detach, round $i: $(cat "$TMP/attach")"
	wire_is wire xdp || fail "attached at once, the wire is not xdp: $(status_of a .interfaces)"
	ping4 a b -c 1
done

# one queue more
on a ethtool -L eth0 rx 2 >/dev/null
wait_for 10 "the second queue" wire_is queues 2
wait_for 10 "AF_XDP on both" wire_is wire xdp
copy a b tcp 4 1000000
copy b a tcp 6 1000000
# and what takes one away is refused by the kernel or followed by keyd
! on a ethtool -L eth0 rx 1 >/dev/null 2>&1 || wait_for 10 "the loss of a queue" wire_is queues 1
copy b a tcp 4 300000

# nothing to do: no CPU time, no wake-ups (the main thread's timers are a few a second)
before=$(cpu_ticks)
sleep 2
used=$(($(cpu_ticks) - before))
((used <= 2)) || fail "an idle keyd used $used ticks of 10 ms in 2 s"

# beside another's program
ctl a attach eth0 --wire udp >/dev/null
on a bpftool prog load "$BUILD/obj/bpf/wire.bpf.o" "$PIN/other" type xdp
on a bpftool net attach xdpgeneric pinned "$PIN/other" dev eth0
ctl a attach eth0 --wire xdp >"$TMP/out" 2>&1 && fail "attached beside another XDP program"
grep -q 'another XDP program' "$TMP/out" || fail "refused without the reason: $(cat "$TMP/out")"
wire_is wire udp || fail "the UDP wire did not carry on: $(status_of a .interfaces)"
status_of a '.interfaces[0].reason' | finds 'another XDP program' || fail "the reason is not shown: $(status_of a .interfaces)"
ping4 a b -c 2 -i 0.05
on a bpftool net detach xdpgeneric dev eth0
ctl a attach eth0 --wire xdp >/dev/null
wire_is wire xdp || fail "not attached after the other program had gone: $(status_of a .interfaces)"
copy a b tcp 4 300000

# what auto takes, and its reason
ctl a attach eth0 --wire auto >/dev/null
wire_is wire udp || fail "auto took AF_XDP on veth: $(status_of a .interfaces)"
status_of a '.interfaces[0].reason' | finds 'auto: veth has no zero-copy' || fail "no reason: $(status_of a .interfaces)"
capture_stop wire
assert_no_plaintext wire "${CANARY:0:12}"
assert_only_sealed wire a b
assert_sealed wire 100
assert_no_leak a b
