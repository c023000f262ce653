# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# The same on virtio_net, in a virtual machine (tests/vm/run) whose four interfaces meet in a hub: two are eth0 of a and b, one
# joins the switch to them and one watches.
# wires: udp xdp
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/../lib.sh"

[[ -n ${VM_NICS:-} ]] || skip "needs the interfaces of a test's virtual machine (make vmcheck)"
read -r nic_a nic_b uplink tap _ <<<"$VM_NICS"

# by address: a namespace that ends gives an interface back, a moment later and under another name
named() { ip -o link | grep -i "link/ether $1" | sed 's/^[0-9]*: \([^:@]*\).*/\1/'; }
move() { # ADDRESS HOST NAME
	wait_for 10 "interface $1" test_named "$1"
	ip link set "$(named "$1")" netns "$P-$2" name "$3"
}
test_named() { named "$1" | finds .; }

# a and b get theirs in place of the pair to the switch
host_on_virtio() { # HOST ADDRESS
	ip -n "$P-$1" link del eth0
	move "$2" "$1" eth0
	ip -n "$P-$1" addr add "${ADDR4[$1]}/24" dev eth0
	ip -n "$P-$1" addr add "${ADDR6[$1]}/64" dev eth0 nodad
	ip -n "$P-$1" link set eth0 up
}

topo_up server a b c
move "$uplink" sw up
ip -n "$P-sw" link set dev up master br0 up
move "$tap" sw watch
ip -n "$P-sw" link set watch up
host_on_virtio a "$nic_a"
host_on_virtio b "$nic_b"
server_start
for h in a b; do
	host_start "$h"
	enrol "$h"
	attach "$h"
done
policy 'allow a -> b'
wait_for 10 "both hosts on a" protects a 4
wait_for 10 "both hosts on b" protects b 4
wait_for 10 "new policy on b" same_rev b

capture_start wire watch
ping4 a b -c 3 -i 0.05 -p 4d56504e
ping6 b a -c 3 -i 0.05
copy a b tcp 4 300000
copy b a tcp 6 300000
copy a b udp 4 60000
capture_stop wire
assert_no_plaintext wire "${CANARY:0:12}"
assert_only_sealed wire a b
assert_sealed wire 300
assert_no_leak a b
[[ $(status_of a '.interfaces[0].wire') == "$WIRE" ]] || fail "the wire is not $WIRE: $(status_of a '.interfaces')"
[[ $WIRE == udp ]] || on a ip -d link show eth0 | finds ' xdp[ /]' || fail "XDP is not native: $(on a ip link show eth0)"
