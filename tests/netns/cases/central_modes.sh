# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# wires: udp xdp
# The modes in which the server knows a session's keys: only by a policy line and with both devices' consent; said by everything
# that shows a session. A device that has not consented refuses, and both ends say why.
# waits
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/../lib.sh"

mode_is() { ctlj "$1" sessions | jq -e --arg m "$2" '.sessions | length > 0 and all(.mode == $m)' >/dev/null; } # HOST MODE
consent() { # HOST yes|no
	printf '[keyd]\ncentral_keys = %s\n' "$2" >"$TMP/$1/keyd.conf"
	ctl "$1" reload >/dev/null
}
talk() { # FROM TO
	ctl "$1" ping "$2" --count 1 --timeout 2000 >/dev/null || fail "$1 does not reach $2"
	ping4 "$1" "$2" -c 3 -i 0.05
}
why() { { ctl "$1" ping "$([[ $1 == a ]] && echo b || echo a)" --count 1 --timeout 300 2>&1 || true; } | finds central_keys; } # HOST
refused_at() { # HOST REFUSING-HOST: who asks hears of it; who refuses has counted it
	! ctl "$1" ping "$([[ $1 == a ]] && echo b || echo a)" --count 1 --timeout 1000 >"$TMP/log/refused" 2>&1 ||
		fail "a session in a mode that $2 has not consented to"
	wait_for 5 "the reason on $1" why "$1"
	assert_counter_over "$2" control mode_refused 0
	grep -q REFUSED "$TMP/log/keyd-$2.log" || fail "$2 does not say in its log that it refused"
}

net_up
talk a b
mode_is a end-to-end || fail "the default mode is another"
[[ $(status_of a .central_sessions) == 0 ]] || fail "a counts sessions whose keys the server knows"

# nobody has consented
srv policy check - <<<'mode central60 a -> b' 2>&1 | finds 'can read what a and b say' || fail "no warning"
# what an earlier line decides is told, by file and line
printf 'mode central60 a -> *\nmode end-to-end * -> b\n' >"$TMP/overlap"
srv policy check "$TMP/overlap" 2>&1 | finds 'overlap:2: mode end-to-end \* -> b .*between a and b line 1, ' || fail "no warning of two lines that differ"
policy 'allow a -> b
mode central60 a -> b'
wait_for 5 "end of the end-to-end session" no_session a
refused_at a a
# b asks: a refuses its offer, once b has consented
consent b yes
refused_at b a
no_session a >/dev/null || fail "a has a session that it refused"

# both
consent a yes
capture_start wire a
talk a b
mode_is a central60 || fail "a shows another mode"
mode_is b central60 || fail "b shows another mode"
[[ $(srvj sessions | jq -r '.sessions[0].mode') == central60 ]] || fail "the server shows another mode"
[[ $(srvj status | jq .central_sessions) == 1 && $(status_of b .central_sessions) == 1 ]] || fail "status does not count it"
ctl a sessions | finds 'central60: the server knows them' || fail "the table of sessions does not show the mode"
ctl a status | finds 'the server knows those of 1 ' || fail "status does not say it"
srv audit | finds 'session-central .*mode=central60' || fail "not in the audit trail"
ctl a rekey b >/dev/null
mode_is a central60 || fail "the rekey changed the mode"

policy 'allow a -> b
mode central63 b -> a'
wait_for 5 "end of the sessions of the other mode" no_session a
talk b a
mode_is a central63 || fail "a shows another mode"
mode_is b central63 || fail "b shows another mode"
capture_stop wire
assert_only_sealed wire a b

# who takes back his consent is taken at his word
consent b no
wait_for 2 "end of the session on b" no_session b
wait_for 2 "end of the session on a" no_session a
refused_at a b
policy 'allow a -> b'
wait_for 5 "new policy on a" same_rev a
wait_for 5 "new policy on b" same_rev b
talk a b
mode_is a end-to-end || fail "the default mode does not come back"
assert_no_leak a b
