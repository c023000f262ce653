# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# tests/run that is interrupted before it has come to a case clears nothing away: nothing of that kind is its own yet. The
# directories here are a private bpffs and a temporary one, so that a mistake costs nobody else anything.
# shellcheck source=tests/tool/lib.bash
source "$(dirname "$0")/lib.bash"
need_root "a bpffs of its own"
if [[ ${1:-} != inside ]]; then
	unshare -m bash "tests/tool/${0##*/}" inside
	exit
fi
mount -t bpf bpf /sys/fs/bpf
mkdir -p /sys/fs/bpf/others "$D/tests/tool" "$D/tmp"
touch "$D/tmp/.abcdef" "$D/tmp/x.abcdef"
cp tests/run "$D/tests/"
printf 'echo >%s/started\nexec sleep 60\n' "$D" >"$D/tests/tool/wait.sh"
TMPDIR=$D/tmp BUILT=1 KINDS=tool "$D/tests/run" tool/wait >"$D/out" 2>&1 &
deadline=$((SECONDS + 20))
until [[ -e $D/started ]]; do
	((SECONDS < deadline)) || fail "the test does not start: $(cat "$D/out")"
	sleep 0.02
done
kill -TERM $!
status=0
wait $! || status=$?
((status == 1)) || fail "interrupted: status $status: $(cat "$D/out")"
[[ -d /sys/fs/bpf/others && -e $D/tmp/.abcdef && -e $D/tmp/x.abcdef ]] || fail "cleared away what is not its own: $(ls -A /sys/fs/bpf "$D/tmp")"
