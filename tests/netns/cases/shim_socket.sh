# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# A session is asked for when a program connects, before there is a packet: whatever the program is, also in a container, also if it
# ran before. Sockets that are open when the shim comes and goes carry on, and without keyd it refuses nothing.
# wires: udp
# waits
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/../lib.sh"

need socat bpftool nft cc python3
net_up
cgroup=$(status_of a .socket.cgroup)
[[ -d $cgroup ]] || skip "no socket shim: $(status_of a .socket.error)"
ctlj a doctor | jq -e '.checks[]|select(.name == "socket shim").result == "ok"' >/dev/null || fail "doctor: $(ctlj a doctor)"

# no packet to this port leaves the stack: only the socket can have asked
quiet() { # HOST
	on "$1" nft -f - <<-RULES
		table inet quiet {
			chain out { type filter hook output priority 0; meta l4proto { tcp, udp } th dport 5432 drop; }
			chain by { type filter hook forward priority 0; meta l4proto { tcp, udp } th dport 5432 drop; }
		}
	RULES
}
quiet a
cat >"$TMP/ask.py" <<-'PY'
	import socket, sys
	how, addr = sys.argv[1:3]
	if len(sys.argv) > 3:
	    open(sys.argv[3]).read()
	s = socket.socket(socket.AF_INET6 if ":" in addr else socket.AF_INET, socket.SOCK_STREAM if how == "tcp" else socket.SOCK_DGRAM)
	s.setblocking(False)
	try:
	    s.sendto(b"x", (addr, 5432)) if how == "send" else s.connect((addr, 5432))
	except (BlockingIOError, PermissionError):
	    pass
PY
session() { ! no_session a; }
# asked HOW COMMAND…: makes a session without a packet
asked() {
	local how=$1 held before
	shift
	held=$(counter a shim to_tap_held) before=$(counter a control intro_by_socket)
	"$@"
	wait_for 10 "session ($how)" session
	(($(counter a control intro_by_socket) == before + 1)) || fail "$how: $(counter a control intro_by_socket) introductions by sockets, $before before"
	(($(counter a shim to_tap_held) == held)) || fail "$how: a packet asked, too"
}
# a program and a connection that are older than the shim
ctl a detach eth0 --force >/dev/null
[[ $(status_of a .socket.cgroup) == null ]] || fail "still there: $(status_of a .socket)"
! compgen -G "$PIN/a/sock_[cs]*[46]" >/dev/null || fail "pins are left: $(ls "$PIN/a")"
mkfifo "$TMP/go" "$TMP/in"
spawn waiting a python3 "$TMP/ask.py" tcp "${ADDR4[b]}" "$TMP/go"
spawn echo c socat TCP4-LISTEN:7777,reuseaddr PIPE
wait_for 5 listener listening c t 7777
spawn line a socat -u "$TMP/in" "TCP4:${ADDR4[c]}:7777"
exec 5>"$TMP/in"
wait_for 5 connection eval "on a ss -Htn state established dport = :7777 | grep -q ."
acked() { on a ss -Htino state established dport = :7777 | grep -o 'bytes_acked:[0-9]*' || true; }
carries_on() {
	local before
	before=$(acked)
	echo "$1" >&5
	wait_for 5 "bytes over the old connection, $1" eval "[[ \$(acked) != '$before' ]]"
}
carries_on before
attach a
wait_for 10 "both addresses of both hosts on a" protects a 4
carries_on attached
no_session a || fail "there is a session already"
go() { echo go >"$TMP/go"; }
asked "a program that ran before" go
ctl a detach eth0 --force >/dev/null
carries_on detached
exec 5>&-
attach a
wait_for 10 "both addresses of both hosts on a" protects a 4
drop_sessions

# statically linked: no library that could be replaced is in its way
cc -static -x c -o "$TMP/static" - <<-C || skip "no static C library"
	#include <arpa/inet.h>
	int main(int n, char **v)
	{
		struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(5432)};
		inet_pton(AF_INET, v[1], &a.sin_addr);
		return connect(socket(AF_INET, SOCK_DGRAM, 0), (struct sockaddr *)&a, sizeof(a));
	}
C
asked "a static program" on a "$TMP/static" "${ADDR4[b]}"

# without keyd everybody may connect; what they send is the network shim's to stop
host_stop a KILL
on a python3 "$TMP/ask.py" udp "${ADDR4[b]}" || fail "connect() fails without keyd"
[[ -e $PIN/a/sock_connect4 && -e $PIN/a/sock_sendmsg6 ]] || fail "the socket shim went with keyd"

# the next one looks at containers: here a namespace behind a, and a cgroup to keep other tests' sockets out
mkdir "$cgroup/$P-pod"
printf '[shim]\nnamespaces = all\ncgroup = %s\n' "$cgroup/$P-pod" >>"$TMP/a/keyd.conf"
container_add d a
quiet d
host_start a
wait_for 10 "a online" ctl a wait --timeout 1
drop_sessions
[[ $(status_of a .socket.cgroup) == "$cgroup/$P-pod" ]] || fail "not on the cgroup of keyd.conf: $(status_of a .socket)"
asked "a container" on d bash -c "echo \$\$ >'$cgroup/$P-pod/cgroup.procs'; exec python3 '$TMP/ask.py' udp ${ADDR4[b]}"
wait_for 5 "end of the container" rmdir "$cgroup/$P-pod"

assert_no_leak a b
