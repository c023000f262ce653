# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# A device inside a prefix that a gateway owns does not become the owner of its address by connecting from it: that is the
# administrator's to say.
# waits
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/../lib.sh"

refused() { (($(counter c control addr_refused) > 0)); }

net_up
policy 'allow * -> *
protect 10.77.0.0/29 via b'
wait_for 5 "new policy on a" same_rev a
host_start c
srvj token create --server "${ADDR4[server]}:$CHAN_PORT" | jq -er .token >"$TMP/t" # it gives no address
ctl c enroll --token-file "$TMP/t" --name c >/dev/null || fail "enrolment of c"
ctl c wait --timeout 10 >/dev/null
attach c udp
wait_for 5 "refusal on c" refused
[[ $(srvj device show c | jq -c .addresses) != *"${ADDR4[c]}"* ]] || fail "c owns an address of b's prefix"
srvj status | jq -e '.counters.addr_refused > 0' >/dev/null || fail "the refusal is not counted"
srv audit | finds "address-refused .*${ADDR4[c]}.*address-taken" || fail "the refusal is not audited: $(srv audit)"
# what a and b had of their tokens is theirs inside it, and c's once an administrator says so
srvj device show a | jq -e --arg a "${ADDR4[a]}" '.addresses | index($a)' >/dev/null || fail "a has lost its address"
srv device address add c "${ADDR4[c]}" >/dev/null
owns() { srvj device show c | jq -e --arg a "${ADDR4[c]}" '.addresses | index($a)'; }
wait_for 5 "c's address" owns
wait_for 10 "session between a and c" ctl a ping c --count 1 --timeout 2000
ping4 a c -c 1
assert_no_leak a c
