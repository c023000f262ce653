# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# attach, traffic, detach: the host is exactly as it was. Links, addresses, routes, rules, qdiscs, filters, BPF
# programs, sysctls, nft rules, offloads and channels are compared; keyd itself adds nothing but mvpn0.
# wires: udp xdp
# waits
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/../lib.sh"

topo_up server a b c
on a nft add table inet admin
on a nft add chain inet admin in '{ type filter hook input priority 0; policy accept; }'
snapshot a "$TMP/before"
server_start
for h in a b; do
	host_start $h
	enrol $h
done
snapshot a "$TMP/running"
attach a
attach b
policy 'allow a -> b'
wait_for 10 "both hosts on a" protects a 4
wait_for 10 "new policy on b" same_rev b
ping4 a b -c 2 -i 0.05
copy a b tcp 6 300000
ctl a detach eth0 --force >/dev/null
snapshot a "$TMP/detached"
assert_same "$TMP/running" "$TMP/detached" "detach did not put back what attach changed"
host_stop a
snapshot a "$TMP/after"
assert_same "$TMP/before" "$TMP/after" "keyd left something behind"
[[ ! -d $PIN/a/if ]] || [[ -z $(ls -A "$PIN/a/if") ]] || fail "pins are left: $(ls -R "$PIN/a")"
