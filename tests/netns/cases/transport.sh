# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# TCP's MSS fits the tunnel from the first packet on: the transport shim sets it on connections to protected destinations in its
# own network namespace and on no others; what comes from outside is clamped on the way. It goes with the last interface and is
# taken over by the next keyd.
# wires: udp
# waits
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/../lib.sh"

need ss socat bpftool
net_up
ping4 a b -c 1
ping6 a b -c 1
cgroup=$(status_of a .transport.cgroup)
[[ -d $cgroup ]] || skip "no transport shim: $(status_of a .transport.error)"
ctlj a doctor | jq -e '.checks[]|select(.name == "transport shim").result == "ok"' >/dev/null || fail "doctor: $(ctlj a doctor)"

# mss FROM TO FAMILY [socat option…]: of a connection, as the connecting stack has advertised it and as both use it
mss() {
	local from=$1 to=$2 family=$3 dst=${ADDR4[$2]} port=$((20000 + BASHPID % 9000)) out # another one each time: the connections stay
	[[ $family == 4 ]] || dst=[${ADDR6[$to]}]
	spawn "mss-$from-$port" "$to" socat "TCP$family-LISTEN:$port,reuseaddr" PIPE
	wait_for 5 listener listening "$to" t "$port"
	spawn "mss-$from-$port-c" "$from" socat "TCP$family:$dst:$port${4:+,$4}" EXEC:"sleep 30"
	wait_for 5 connection eval "on $to ss -Htn state established sport = :$port | grep -q ."
	out=$(on "$from" ss -Htni state established dport = ":$port" | grep -oE ' (mss|advmss):[0-9]+' | tr -d '\n')
	out+=$(on "$to" ss -Htni state established sport = ":$port" | grep -oE ' mss:[0-9]+')
	echo "$out"
}
# timestamps take 12 bytes of each segment
[[ $(mss a b 4) == " mss:1388 advmss:1388 mss:1388" ]] || fail "IPv4: $(mss a b 4)"
[[ $(mss a b 6) == " mss:1368 advmss:1368 mss:1368" ]] || fail "IPv6: $(mss a b 6)"
[[ $(mss b a 4) == " mss:1388 advmss:1388 mss:1388" ]] || fail "IPv4 from b: $(mss b a 4)"
# what the program has asked for is not raised
[[ $(mss a b 4 mss=600) == " mss:588 advmss:588 mss:588" ]] || fail "TCP_MAXSEG of the program: $(mss a b 4 mss=600)"
# not protected: neither from a protected host nor between others
[[ $(mss a c 4) == " mss:1448 advmss:1448 mss:1448" ]] || fail "unprotected: $(mss a c 4)"
[[ $(mss c server 6) == " mss:1428 advmss:1428 mss:1428" ]] || fail "others: $(mss c server 6)"

# another keyd takes it over; the SYN is right while there is no keyd, too
link() { bpftool -j link show pinned "$PIN/a/transport" | jq .id; } # not how many are there: other tests' keyds have theirs
on_cgroup() { bpftool -j cgroup show "$cgroup" | jq -e --argjson id "$1" 'any(.id == $id)' >/dev/null; }
before=$(link)
prog=$(bpftool -j link show id "$before" | jq .prog_id)
on_cgroup "$prog" || fail "program $prog is not on $cgroup"
host_stop a KILL
host_start a
wait_for 10 "a online" ctl a wait --timeout 1
[[ $(link) == "$before" ]] || fail "link $(link) after the restart, $before before"
prog=$(bpftool -j link show id "$before" | jq .prog_id)
[[ $(status_of a .transport.cgroup) == "$cgroup" ]] || fail "not taken over: $(status_of a .transport)"
ping4 a b -c 1
[[ $(mss a b 4) == " mss:1388 advmss:1388 mss:1388" ]] || fail "after the restart: $(mss a b 4)"

# without it the fast path does it alone
ctl a detach eth0 --force >/dev/null
! on_cgroup "$prog" || fail "detaching the last interface left the program on $cgroup"
[[ $(status_of a .transport.cgroup) == null && ! -e $PIN/a/transport ]] || fail "still there: $(status_of a .transport)"
