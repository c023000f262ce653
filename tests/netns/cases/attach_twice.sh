# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# A second attach changes nothing and says so; attach of what is not there and detach of what is not attached are clear errors.
# wires: udp xdp
# waits
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/../lib.sh"

refuses() { # WORD COMMAND…: exit 1 and a message with that word
	local word=$1 status=0 out
	shift
	out=$("$@" 2>&1) || status=$?
	((status == 1)) || fail "'${*:2}' exits with $status, expected 1: $out"
	grep -q -- "$word" <<<"$out" || fail "'${*:2}' does not name $word: $out"
}

net_up
ping4 a b -c 1
spawn talk a ping -4 -n -i 0.01 -c 200 "${ADDR4[b]}"
programs=$(on a "$HOOKS" eth0)
ctlj a attach eth0 --wire "$WIRE" | jq -e .already >/dev/null || fail "the second attach does not say already"
[[ $(on a "$HOOKS" eth0 | wc -l) == $(wc -l <<<"$programs") ]] || fail "programs doubled: $(on a "$HOOKS" eth0)"
wait_for 10 "end of the pings" gone "$(pid_of talk)"
grep -q ' 0% packet loss' "$TMP/log/talk.log" || fail "the second attach lost packets: $(tail -n 3 "$TMP/log/talk.log")"
refuses nosuch0 ctl a attach nosuch0
refuses lo ctl a detach lo
refuses an-interface-name-far-too-long ctl a attach an-interface-name-far-too-long
[[ $(status_of a '.interfaces | length') == 1 ]] || fail "the failed attach left something"
ctl a detach eth0 --force >/dev/null
refuses eth0 ctl a detach eth0
attach a
wait_for 10 "talking again" ping4 a b -c 1
