# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# A host that filters by the reverse path lets in what comes out of the tunnel all the same, also where it arrives on the tap,
# whether strictly or loosely, since before keyd or only now; its own setting stays.
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/../lib.sh"

topo_up server a b
on a sysctl -qw net.ipv4.conf.all.rp_filter=1
on b sysctl -qw net.ipv4.conf.all.rp_filter=2
mkdir -p "$TMP/a" "$TMP/b"
for h in a b; do
	printf '[data]\narrival = tap\n' >"$TMP/$h/keyd.conf"
done
daemons_up
ping4 a b -c 2 -i 0.1 || fail "reverse path filtering stops the tunnel"
copy a b tcp 4 500000
copy b a udp 4 50000
for h in a b; do
	[[ $(status_of $h .healthy) == true ]] || fail "$h is not healthy: $(status_of $h .problems)"
	ctlj $h doctor | jq -e '.checks[] | select(.name == "rp_filter" and .result == "ok")' >/dev/null || fail "doctor: $(ctlj $h doctor)"
done
[[ $(on a sysctl -n net.ipv4.conf.all.rp_filter) == 1 ]] || fail "the host's own setting was changed"
# whoever sets up new devices on this host comes after keyd
on b sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.mvpn0.rp_filter=1
wait_for 5 "mended filter" ping4 a b -c 1 -W 1
[[ $(on b sysctl -n net.ipv4.conf.mvpn0.rp_filter) == 2 ]] || fail "mvpn0 is still strict"
assert_no_leak a b
