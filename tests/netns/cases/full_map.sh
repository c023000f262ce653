# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# More protected prefixes than the map may hold: keyd says so and is unhealthy; what it knows stays protected, nothing leaks.
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
policy "allow a -> b
$(for i in {1..40}; do echo "protect 10.99.$i.0/24"; done)"
wait_for 10 "news of the full map" eval 'ctlj a status | jq -e ".healthy == false and (.problems | length > 0)"'
ping4 a b -c 2 -i 0.1 || fail "the session with b suffered"
policy 'allow a -> b'
wait_for 10 "health" eval 'ctlj a status | jq -e ".healthy"'
assert_no_leak a b
