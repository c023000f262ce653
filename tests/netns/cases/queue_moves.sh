# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# The network moves lanes from one receive queue to another and back while datagrams flow, as a card does whose hash changes: the
# lanes' packets come in at another worker, are handed over, and the lanes follow. Nothing is lost, doubled or overtaken.
# wires: xdp
# sanitized
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/../lib.sh"

QUEUES=2
FLOWS=6
setup
mkdir -p "$TMP/b"
# for that, native mode is taken on veth; in generic mode veth says queue 0 of everything
printf '[data]\nbusy_poll = yes\n' >"$TMP/b/keyd.conf"
net_up
[[ $(status_of b '.interfaces[0].queues') == 2 ]] || fail "b has not two queues: $(status_of b .interfaces)"
ping4 a b -c 1
cpus=$(nproc --all)
((cpus <= 32)) || skip "more than 32 CPUs: their mask is not that simple"
mask=$(printf '%x' $(((1 << cpus) - 1)))
to_queue() { # N: everything that the switch sends to b
	# shellcheck disable=SC2016
	on sw unshare -m sh -ec 'mount -t sysfs sysfs /sys; cd /sys/class/net/b/queues; echo $3 >tx-$1/xps_cpus; echo 0 >tx-$2/xps_cpus' - \
		"$1" $((1 - $1)) "$mask" || skip "kernel: no CONFIG_XPS"
}
moved() { (($(counter b dp lanes_moved) > $1)); }
moves=0
to_queue 0
flows_start a b $FLOWS 300 8
for queue in 1 0 1 0; do
	to_queue $queue
	wait_for 5 "move to queue $queue" moved "$moves"
	moves=$(counter b dp lanes_moved)
done
flows_end a b $FLOWS
echo "$moves moves, $(counter b dp rx_relayed) packets handed over"
(($(counter b dp rx_relay_full) == 0)) || fail "packets were lost between workers"
(($(counter b dp rx_replay) == 0)) || fail "packets were refused as replayed"
# a lane that has moved is a lane like any other
copy a b tcp 4 2000000
copy b a tcp 4 2000000
assert_no_leak a b
