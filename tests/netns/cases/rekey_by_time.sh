# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# By time alone, a session is made anew before it ends, without a loss.
# waits
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/../lib.sh"

setup
mkdir -p "$TMP/server"
printf '[session]\nrekey_s = 10\n' >"$TMP/server/server.conf"
net_up
ping4 a b -c 1
epoch() { ctlj a sessions | jq '[.sessions[] | select(.transmits)][0].epoch'; }
[[ $(epoch) == 1 ]] || fail "epoch $(epoch)"
spawn talk a ping -4 -n -i 0.005 "${ADDR4[b]}"
remade() { (($(epoch) > 1)); }
wait_for 14 "rekey by time" remade
stop talk INT
read -r sent received < <(sed -n 's/^\([0-9]*\) packets transmitted, \([0-9]*\) received.*/\1 \2/p' "$TMP/log/talk.log") ||
	fail "no summary: $(cat "$TMP/log/talk.log")"
# the last answers may have been under way
last=$(sed -n 's/.* icmp_seq=\([0-9]*\) ttl=.*/\1/p' "$TMP/log/talk.log" | sort -n | tail -n 1)
((sent > 500 && last == received && sent - received <= 20)) || fail "of $sent packets $received were answered over a rekey by time, the last was $last"
assert_no_leak a b
