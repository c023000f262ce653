# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# Garbage on the server's port: no answer, no crash, counted; half-open connections are bounded and do not keep devices out.
# A server that does no handshake unproven: a returns by the ticket that it has, b, whose keyd has lost its, by work.
# sanitized
# waits
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/../lib.sh"

topo_up server a b c
server_start
host_start a
enrol a
pid=$(pid_of mvpn-server)
rss() { awk '/VmRSS/ { print $2 }' "/proc/$pid/status"; }
before=$(rss)
for seed in 1 2 3; do
	read -r sent answered <<<"$(on c "$POKE" channel "${ADDR4[server]}" "$CHAN_PORT" "$seed")"
	((answered == 0)) || fail "$answered of $sent pieces of garbage were answered"
done
srvj status | jq -e '.channels == 1' >/dev/null || fail "the channel of a is gone: $(srvj status)"
# connections that say nothing
mkfifo "$TMP/hold"
spawn silent c bash -c "exec '$POKE' silent ${ADDR4[server]} $CHAN_PORT 200 <'$TMP/hold'"
exec {hold}>"$TMP/hold"
wait_for 10 "silent connections" grep -q . "$TMP/log/silent.log"
# 16 of one source may go on as they are; the rest must prove something, for which four times as many have the time. They are connected before
# the server has taken them.
challenged() { srvj status | jq -e '.counters | .challenged_source + .challenged_rate >= 180'; }
wait_for 5 "challenges" challenged
srvj status | jq -e '.half_open <= 64' >/dev/null ||
	fail "half-open connections of one source are not bounded: $(srvj status | jq -c '[.half_open, .counters]')"
host_start b
enrol b
wait_for 10 "end of the half-open connections" eval 'srvj status | jq -e ".half_open == 0"'
exec {hold}>&-
kill -0 "$pid" || fail "the server died"
(($(rss) < before + 20000)) || fail "the server grew from $before to $(rss) kB"
ctl a wait --timeout 5 >/dev/null
stop mvpn-server
host_stop b
rm "$TMP/b/state/ticket"
printf '[limits]\nhalf_open = 7\n' >"$TMP/server/server.conf" # of which not an eighth may be in use
server_start
host_start b
for h in a b; do
	ctl $h wait --timeout 20 >/dev/null || fail "$h did not come back: $(ctlj $h status)"
done
srvj status | jq -e '.counters | .proved_ticket >= 1 and .proved_work >= 1 and .handshake_ok == .proved_ticket + .proved_work' >/dev/null ||
	fail "tickets and work: $(srvj status | jq -c .counters)"
