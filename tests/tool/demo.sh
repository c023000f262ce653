# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# make demo succeeds, and interrupted by Ctrl-C at several moments it leaves no namespace, pin, process or file behind.
# shellcheck source=tests/tool/lib.bash
source "$(dirname "$0")/lib.bash"
need_root "network namespaces, BPF"
export MVPN_BUILD=${BUILD:-build} MVPN_PREFIX=mvpnd$$
left() {
	ip netns list | grep "^$MVPN_PREFIX-" || true
	find /sys/fs/bpf "${TMPDIR:-/tmp}" -maxdepth 1 -name "$MVPN_PREFIX*"
	pgrep -af "/$MVPN_PREFIX\." || true # state, sockets and configuration of all daemons are in a directory of that name
}

start=${EPOCHREALTIME/./}
out=$(tests/demo/demo.sh 2>&1) || fail "the demo fails: $out"
took=$((${EPOCHREALTIME/./} - start))
grep -q 'leak counter (a, b) *0, 0' <<<"$out" || fail "no summary: $out"
[[ -z $(left) ]] || fail "left behind: $(left)"
! grep -q $'\e' <<<"$out" || fail "colours without a terminal"

for percent in 3 15 40; do # of the time that it has taken
	after=$(awk "BEGIN { print $took * $percent / 1e8 }")
	status=0
	python3 - "$after" >/dev/null 2>&1 <<'PY' || status=$?
import os, signal, subprocess, sys
demo = subprocess.Popen(
    ["tests/demo/demo.sh"], start_new_session=True, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
)
try:
    demo.wait(float(sys.argv[1]))
except subprocess.TimeoutExpired:
    os.killpg(demo.pid, signal.SIGINT)
sys.exit(demo.wait(20) & 0xFF)
PY
	((status != 0)) || fail "interrupted after $after s the demo says that it succeeded"
	[[ -z $(left) ]] || fail "left behind after an interruption at $after s: $(left)"
done
