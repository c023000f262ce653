# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# A rule with protocols and ports: what it names passes with its answers, anything else is refused at the sender at once. A change of the
# rule is in force within a second, and a connection that it allows goes on.
# waits
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/../lib.sh"

set_policy() {
	policy "$1"
	for h in a b; do
		wait_for 5 "new policy on $h" same_rev $h
	done
}
connects() { # FROM TO PORT 4|6
	local to=${ADDR4[$2]}
	[[ $4 == 4 ]] || to=[${ADDR6[$2]}]
	on "$1" socat -u "TCP$4:$to:$3,connect-timeout=2" - >/dev/null 2>&1
}
listen() { # PORT: greets who connects
	spawn "listen-$1" b socat -u "SYSTEM:echo hello" "TCP6-LISTEN:$1,ipv6only=0,fork,reuseaddr"
	wait_for 5 "listener $1" listening b t "$1"
}
refused_fast() { # FROM TO PORT 4|6
	local start=${EPOCHREALTIME/./}
	! connects "$@" || fail "$1 reaches $2 port $3"
	((${EPOCHREALTIME/./} - start < 1500000)) || fail "$1 to $2 port $3 was not told that it is refused"
}
services() { ctlj a sessions | jq -c '.sessions[] | select(.transmits) | .services.remote'; }
says() { [[ $(services) == "$1" ]]; }

net_up
listen 8022
listen 8105
listen 8023
set_policy 'allow only a -> b proto tcp port 8022, 8100-8110 proto icmp'
for family in 4 6; do
	connects a b 8022 $family || fail "port 8022 over IPv$family"
	connects a b 8105 $family || fail "port 8105 over IPv$family"
	refused_fast a b 8023 $family
	"ping$family" a b -c 1 || fail "no ping over IPv$family"
	! "ping$family" b a -c 1 -W 1 || fail "b begins with a over IPv$family"
done
assert_counter_over a dp drop_service 0
assert_counter_over b dp drop_service 0
[[ $(counter a dp rx_service) == 0 && $(counter b dp rx_service) == 0 ]] || fail "a sender let by what its peer refuses"
says '["icmp","tcp 8022","tcp 8100-8110"]' || fail "sessions say $(services)"
ctl a sessions | finds 'icmp, tcp 8022, tcp 8100-8110 at peer' || fail "the table does not say what the session is for"
[[ $(ctlj a explain "${ADDR4[b]}:8105/tcp" | jq -r .verdict) == sealed ]] || fail "explain of an allowed port"
ctlj a explain "${ADDR4[b]}:8105/tcp" | jq -e '.rule.line == 1 and (.rule.text|startswith("allow only a -> b proto icmp proto tcp port 8022"))' >/dev/null ||
	fail "explain names no line: $(ctlj a explain "${ADDR4[b]}:8105/tcp")"
for h in a b; do
	ctlj $h flows | jq -e '[.flows[]|select(.verdict == "to_tap" and (.proto == 6 or .proto == 1))] | length > 3 and all(if .dport == 8023 then .rule == null else .rule.line == 1 and .rule.policy_rev > 0 end)' >/dev/null ||
		fail "flows of $h without the line: $(ctlj $h flows | jq -c '.flows[]|[.dst,.proto,.dport,.verdict,.rule]')"
done
[[ $(ctlj a explain "${ADDR4[b]}:8023/tcp" | jq -r .verdict) == dropped ]] || fail "explain of a refused port"
ctl a explain "${ADDR4[b]}:8023/tcp" | finds 'tcp 8023 is not among that' || fail "explain does not say why"
srv policy test a b 8105/tcp >/dev/null || fail "policy test of an allowed port"
status=0
srv policy test a b 8023/tcp >"$TMP/out" || status=$?
((status == 5)) || fail "policy test of a refused port exits with $status"
grep -q 'only for *icmp, tcp 8022, tcp 8100-8110 at b' "$TMP/out" || fail "policy test says $(cat "$TMP/out")"

# a connection to 8022 that says something each 50 ms goes on while 8100-8110 go
on a bash -c "exec 3<>/dev/tcp/${ADDR4[b]}/8200" 2>/dev/null && fail "port 8200"
spawn echo b socat "TCP4-LISTEN:8106,reuseaddr" EXEC:cat
wait_for 5 "echo" listening b t 8106
spawn talk a bash -c "exec 3<>/dev/tcp/${ADDR4[b]}/8106; for ((i = 0; ; i++)); do echo \$i >&3; read -r x <&3; echo \$x; sleep 0.05; done"
wait_for 5 "the talk" grep -q '^3$' "$TMP/log/talk.log"
echo 'allow only a -> b proto tcp port 8106 proto icmp' >"$TMP/narrow"
status=0
srv policy diff "$TMP/narrow" >"$TMP/out" || status=$?
((status == 1)) || fail "diff exits with $status"
grep -q '8022, tcp 8100-8110 at b *only ->, icmp, tcp 8106 at b' "$TMP/out" || fail "diff says $(cat "$TMP/out")"
policy "$(cat "$TMP/narrow")"
start=${EPOCHREALTIME/./}
while connects a b 8022 4; do
	((${EPOCHREALTIME/./} - start < 1000000)) || fail "port 8022 is open a second after the policy has gone"
done
n=$(tail -n 1 "$TMP/log/talk.log")
went_on() { (($(tail -n 1 "$TMP/log/talk.log") > n + 5)); }
wait_for 5 "an allowed connection to go on" went_on
says '["icmp","tcp 8106"]' || fail "sessions say $(services)"
set_policy 'allow a -> b'
connects a b 8023 4 || fail "a rule without services does not let everything by"
assert_no_leak a b
