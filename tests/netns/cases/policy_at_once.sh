# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# A policy that forbids a pair ends its session at both ends within a second, and the rollback lets it begin again; `diff` says
# before what will happen, with diff's exit codes; a policy whose tests fail changes nothing, and what is wrong is said with file and
# line.
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/../lib.sh"

exits() { # STATUS COMMAND…
	local want=$1 status=0
	shift
	"$@" >"$TMP/out" 2>&1 || status=$?
	((status == want)) || fail "'$*' exits with $status, expected $want: $(cat "$TMP/out")"
}
rev() { srvj status | jq .policy_rev; }
# milliseconds from before `apply` until neither end has the session
cut() {
	local start=${EPOCHREALTIME/./}
	srv policy apply "$TMP/none" >"$TMP/out"
	grep -q '1 session cut' "$TMP/out" || fail "not one session was cut: $(cat "$TMP/out")"
	until no_session a >/dev/null && no_session b >/dev/null; do
		((${EPOCHREALTIME/./} < start + 5000000)) || fail "the session is there after 5 s"
	done
	echo $(((${EPOCHREALTIME/./} - start) / 1000))
}

net_up
ping4 a b -c 1
echo '# nobody may talk' >"$TMP/none"
exits 1 srv policy diff "$TMP/none"
grep -q '^cut *1 session' "$TMP/out" || fail "diff foresees no cut: $(cat "$TMP/out")"
exits 0 srv policy diff "$TMP/policy"
echo 'allow a -> b' >"$TMP/bad"
echo 'test deny b -> a tcp 22' >>"$TMP/bad"
# where the mistakes are, as compilers say it
says() { grep -qF -- "$1" "$TMP/out" || fail "no \"$1\": $(cat "$TMP/out")"; }
exits 2 srv policy diff "$TMP/bad"
says "$TMP/bad:2: test deny b -> a tcp 22: line 1 lets b begin with a"
exits 1 srv policy apply "$TMP/bad"
says "$TMP/bad:2: test"
[[ $(rev) == 1 ]] || fail "a policy whose test fails is in force"
exits 1 srv policy check - <<<$'allow a -> b\nallow a => b'
says '-:2:9: expected'
exits 1 srv policy test --file "$TMP/bad" a b
says "$TMP/bad:2: test"
exits 5 srv policy test --file "$TMP/none" a b
exits 0 srv policy test --file - a b 22/tcp <<<$'\nallow only a -> b proto tcp port 22'
says 'line 2: allow only a -> b proto tcp port 22'

# the best of three: the machine may be busy with others
for try in 1 2 3; do
	took=$(cut)
	say "cut in $took ms"
	srv policy rollback >/dev/null
	wait_for 5 "the rollback on a" same_rev a
	wait_for 5 "the rollback on b" same_rev b
	ping4 a b -c 1
	((took > 1000)) || break
done
((took <= 1000)) || fail "cut after $took ms, three times over a second"
[[ $(rev) == $((1 + 2 * try)) ]] || fail "revision $(rev) after $try rollbacks"
assert_no_leak a b
