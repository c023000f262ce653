# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# `level socket` to a host behind two gateways: while b's TCP port is shut a's streams go through c, within 3 s and with no error, although
# b is well for packets; and through b again. When b is gone the streams through it are reset within 5 s, and new ones go through c.
# wires: udp
# waits
# shellcheck source=tests/netns/gateway.sh
source "$(dirname "$0")/../gateway.sh"

need python3 nft
STREAM=$ROOT/tests/netns/stream.py
net_up
second_gateway
policy $'allow a -> b\nallow a -> c\nlevel socket a -> b\nlevel socket a -> c\nprotect 10.9.0.0/24 via b, c'
for h in a b c; do
	wait_for 10 "the prefix on $h" protects $h 7
done
diverts() { ctlj a explain "${ADDR4[d]}" | jq -e '.why|any(contains("at the socket"))'; }
wait_for 10 "d at the socket" diverts
spawn serve d "$STREAM" serve 8000
wait_for 5 listener grep -q ready "$TMP/log/serve.log"

who() { on a timeout 10 "$STREAM" ask "${ADDR4[d]}" 8000 who || true; }
asked() { # GATEWAY'S ADDRESS WHAT MS: d sees that gateway, within so long
	local began=${EPOCHREALTIME/./} got ms
	got=$(who)
	ms=$(((${EPOCHREALTIME/./} - began) / 1000))
	echo "$2: $ms ms"
	[[ $got == "$1 "* ]] || fail "$2: $got"
	((ms < $3)) || fail "$2: $ms ms"
}
by() { [[ $(who) == "$1 "* ]]; }
port_of_b() { # shut|open
	if [[ $1 == shut ]]; then
		on b nft -f - <<-RULES
			table inet shut {
				chain in { type filter hook input priority 0; tcp dport $DATA_PORT drop; }
			}
		RULES
	else
		on b nft delete table inet shut
	fi
}
asked 10.9.0.2 "first stream" 3000
wait_for 5 "sessions with both gateways" both_stand_by

port_of_b shut
asked 10.9.0.1 "the port is shut" 3000
asked 10.9.0.1 "and known to be" 1000
ctlj a explain "${ADDR4[d]}" | jq -e '.gateways[0] | .name == "b" and .state == "well" and .streams == false' >/dev/null || fail "$(ctlj a explain "${ADDR4[d]}")"
(($(counter a control gateway_stream_failed) == 1)) || fail "gateway_stream_failed $(counter a control gateway_stream_failed)"
port_of_b open
wait_for 10 "streams through b again" by 10.9.0.2

cat >"$TMP/hold.py" <<'PY'
import socket, sys, time
s = socket.create_connection((sys.argv[1], 8000))
s.sendall(b"wait\n")
print("ready", flush=True)
began = None
s.settimeout(20)
try:
    print("end", s.recv(1))
except OSError as e:
    print(type(e).__name__, flush=True)
PY
spawn hold a python3 "$TMP/hold.py" "${ADDR4[d]}"
wait_for 5 "an open stream" grep -q ready "$TMP/log/hold.log"
opened() { ctlj a status | jq -e '.streams.open == 1'; }
wait_for 5 "an open stream" opened
began=${EPOCHREALTIME/./}
ip -n "$P-sw" link set dev b down
asked 10.9.0.1 "b is gone" 3000
wait_for 6 "end of the stream" gone "$(pid_of hold)"
echo "reset after $(((${EPOCHREALTIME/./} - began) / 1000)) ms"
grep -q ConnectionResetError "$TMP/log/hold.log" || fail "the open stream: $(cat "$TMP/log/hold.log")"
(((${EPOCHREALTIME/./} - began) < 5000000)) || fail "it took too long"
(($(counter a control streams_left) == 1)) || fail "streams_left $(counter a control streams_left)"
assert_no_leak a c
