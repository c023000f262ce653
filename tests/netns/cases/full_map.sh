# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# More protected prefixes than the map may hold: keyd says so and is unhealthy; what it knows stays protected, nothing leaks.
# waits
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/../lib.sh"

topo_up server a b c
server_start
mkdir -p "$TMP/a"
printf '[limits]\nmax_prefixes = 16\n' >"$TMP/a/keyd.conf"
host_start a
host_start b
for h in a b; do
	enrol $h
	attach $h
done
policy 'allow a -> b'
wait_for 10 "new policy on a" same_rev a
wait_for 10 "new policy on b" same_rev b
ping4 a b -c 1
ip -n "$P-a" route add default via "${ADDR4[c]}"
policy "allow a -> b
$(for i in {1..40}; do echo "protect 10.99.$i.0/24"; done)"
wait_for 10 "news of the full map" eval 'ctlj a status | jq -e ".healthy == false and (.problems | length > 0)"'
ping4 a b -c 2 -i 0.1 || fail "the session with b suffered"
# what does not fit is covered, so dropped, not sent in clear
capture_start wire a
on a ping -n -q -c 2 -i 0.1 -W 1 10.99.40.1 >/dev/null 2>&1 || true
capture_stop wire
(($(packets wire "host 10.99.40.1") == 0)) || fail "a prefix beyond the limit was sent to in clear"
ctl a doctor >/dev/null || (($? == 4)) || fail "doctor"
policy 'allow a -> b'
healthy() { [[ $(status_of a .healthy) == true ]]; }
wait_for 10 "health" healthy
ping4 a b -c 1
assert_no_leak a b
