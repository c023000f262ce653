# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# Detach of the last interface while sessions are in use asks for --force, because cleartext would follow; with it the
# host is free, and attach makes it safe again.
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/../lib.sh"

net_up
ping4 a b -c 1
spawn talk a ping -4 -n -i 0.01 "${ADDR4[b]}"
wait_for 5 "answers" grep -q icmp_seq=10 "$TMP/log/talk.log"
status=0
out=$(ctl a detach eth0 2>&1) || status=$?
[[ $status == 1 && $out == *--force* ]] || fail "detach under traffic exits with $status: $out"
ping4 a b -c 1 || fail "the refused detach did something"
ctl a detach eth0 --force >/dev/null || fail "detach --force under traffic"
[[ -z $(on a "$HOOKS" eth0) ]] || fail "programs are left: $(on a "$HOOKS" eth0)"
attach a
wait_for 10 "talking again" ping4 a b -c 1
