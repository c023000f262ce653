# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# Each verb's JSON is valid, one schema, on one line with json-line, and has the members that docs/control.md promises;
# the tables are not empty and hold no escape codes when no terminal reads them; no key is in any of it.
# waits
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/../lib.sh"

check() { # FILTER VERB…
	local want=$1 out
	shift
	out=$("$@" 2>&1) || true
	[[ $(wc -l <<<"$out") == 1 ]] || fail "'${*:2}' is not one line: $out"
	jq -e '.schema == 1 and (.ok | type == "boolean")' <<<"$out" >/dev/null || fail "'${*:2}' has no schema: $out"
	jq -e "$want" <<<"$out" >/dev/null || fail "'${*:2}' does not satisfy $want: $out"
}
has() { printf 'has("%s") and ' "$@"; echo true; }

net_up
ping4 a b -c 2 -i 0.05
check "$(has version state device server net_id boot_gen policy_rev interfaces tap udp_port workers suites peers sessions protected counters leak healthy problems)" ctlj a status
check '.interfaces[0] | '"$(has name ifindex hook wire rung queues reason link before_us)" ctlj a status
check '.counters | has("shim") and has("dp") and has("control")' ctlj a status
check '.peers[0] | '"$(has index id name state prefixes session endpoint last_rx_s tx_bytes rx_bytes error)" ctlj a peers
check '.sessions[0] | '"$(has id peer peer_id role state layer mode suite epoch age_s rekey_in_s tx_spi rx_spi lanes endpoint mtu tx_packets rx_packets rx_auth_fail rx_replay rx_bad_inner local remote)" ctlj a sessions
check '.flows[0] | '"$(has src dst proto sport dport peer packets bytes bytes_in first_s last_s verdict level process)" ctlj a flows
# each question of ping's has been answered
ctlj a flows | jq -e '.flows[] | select(.proto == 1) | .packets == 2 and .bytes == 2 * 84 and .bytes_in == .bytes' >/dev/null || fail "bytes of ping: $(ctlj a flows)"
# whose a flow is: who connects by its call, who accepted by its socket; and what has become of a connection
cgroup=$(status_of a .socket.cgroup)
if [[ -d $cgroup ]]; then
	# of raw and ping sockets, too, and after their end
	ctlj a flows | jq -e '.flows[]|select(.proto == 1).process | .comm == "ping" and .uid == 0 and .pid > 0 and (.cgroup|type == "string")' >/dev/null ||
		fail "flows of ping: $(ctlj a flows)"
	flow() { ctlj "$1" flows | jq -e "[.flows[]|select(.proto == 6)][0] | $2"; }
	group=$cgroup/$P-client.service
	mkdir "$group"
	serve b
	spawn client a bash -c "echo \$\$ >'$group/cgroup.procs'; exec socat PIPE TCP4:${ADDR4[b]}:7000"
	wait_for 5 "flow of socat" flow a '.process.comm == "socat" and .tcp.open and .tcp.bytes_in > 0'
	flow a ".process | .pid == $(pid_of client) and .uid == 0 and (.accepted|not) and .unit == \"$P-client.service\" and (.exe|test(\"/socat\"))" >/dev/null ||
		fail "flows: $(ctlj a flows)"
	ctl a flows | finds "socat\[$(pid_of client)\] .* $P-client.service .*/socat" || fail "$(ctl a flows)"
	flow b ".process.accepted and .tcp.open and .process.pid == $(pid_of serve-b) and (.process.exe|endswith(\"/pingpong\"))" >/dev/null ||
		fail "flows of b: $(ctlj b flows)"
	stop client
	wait_for 5 "end of the connection" flow a '(.tcp.open|not) and .tcp.bytes_in > 0 and .tcp.bytes_out > 0 and .tcp.rtt_ms > 0 and .process.comm == "socat" and .process.exe == null'
	wait_for 5 "end of the client" rmdir "$group"
	# names that are no UTF-8 hide nothing
	group=$cgroup/$P-$'\xff\x1b'
	mkdir "$group"
	cp "$(command -v socat)" "$TMP/odd"$'\xff'
	# shellcheck disable=SC2016 # the inner shell expands them
	spawn odd a bash -c 'echo $$ >"$0/cgroup.procs"; exec "$1" PIPE "$2"' "$group" "$TMP/odd"$'\xff' "TCP4:${ADDR4[b]}:7000"
	wait_for 5 "flow of a program with an odd name" flow a ".process.pid == $(pid_of odd) and .tcp.open"
	flow a ".process | .comm == \"odd?\" and (.exe|endswith(\"/odd?\")) and (.cgroup|endswith(\"/$P-?\u001b\"))" >/dev/null || fail "odd names: $(ctlj a flows)"
	stop odd
	wait_for 5 "end of the program" rmdir "$group"
fi
check '.received == 2 and (.rtt_ms | length == 3)' ctlj a ping b --count 2
check '.verdict == "sealed"' ctlj a explain "${ADDR4[b]}"
check '.verdict == "clear"' ctlj a explain "${ADDR4[c]}"
check '.state == "online"' ctlj a wait --timeout 5
check 'has("epoch")' ctlj a rekey b
check '.leak == 0' ctlj a leaks
check '.checks | length > 3' ctlj a doctor
check '.text | test("mvpn_")' ctlj a metrics
check '.ok' ctlj a reload
check '.ok == false and .error.code != null and .error.message != null' ctlj a attach nosuch0
check '.already' ctlj a attach eth0 --wire "$WIRE"
check "$(has version name net_id public_key fingerprint listen store uptime_s policy_rev devices channels half_open sessions introductions counters)" srvj status
check '.devices | length == 2' srvj device list
check '.prefixes | length == 2' srvj device show a
check '.tokens | length == 2' srvj token list
check '.text | test("allow")' srvj policy show
check '.sessions | length == 1' srvj sessions
check '.events | length > 3' srvj audit
check '.verified == true' srvj audit --verify
echo 'allow a -> b' >"$TMP/policy"
check '.warnings and .tests == 0' srvj policy check "$TMP/policy"
check '.same and .pairs == [] and .sessions_cut == 0' srvj policy diff "$TMP/policy"
check '.revisions[0] | .in_force and .rev == 1 and .lines == 1 and .uid >= 0' srvj policy list
echo 'test deny a -> b' >>"$TMP/policy"
check '.ok == false and .exit == 1 and .error.code == "policy-test"' srvj policy check "$TMP/policy"
check '.ok == false and .exit == 1 and .error.code == "no-such-revision"' srvj policy rollback
spawn follow server "$BUILD/mvpnctl" --socket "$TMP/server/server.sock" -o json-line server audit --follow --after 0
policy 'allow a -> b # again'
wait_for 5 "event of the stream" grep -q policy-apply "$TMP/log/follow.log"
stop follow
check '.seq == 1 and .event == "token-create" and .actor == "admin" and .detail.uid >= 0' head -1 "$TMP/log/follow.log"
check '.allowed' srvj policy test a b
for verb in status peers sessions flows leaks doctor; do
	ctl a $verb >"$TMP/table" || fail "table of $verb"
	[[ -s $TMP/table ]] || fail "the table of $verb is empty"
	! grep -q $'\e' "$TMP/table" || fail "escape codes in the table of $verb"
	ctl a -o json $verb | jq -e .schema >/dev/null || fail "-o json after the socket option: $verb"
done
