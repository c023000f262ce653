# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# What fails by chance in a case: grep -q at the end of a pipe (lib.sh's `finds` says why), and to wait for what was looked at but once.
# shellcheck source=tests/tool/lib.bash
source "$(dirname "$0")/lib.bash"
# `ss` of one socket and what others write in one piece are left alone
! grep -nE '[^|]\| *grep -[a-zA-Z]*q' tests/netns/*.sh tests/netns/cases/*.sh | grep -v ' ss -H' || fail "use finds, not grep -q, on what a command writes"
! grep -nE 'wait_for [0-9]+ "[^"]*" (test|\[) .*[^\\]\$\(' tests/netns/*.sh tests/netns/cases/*.sh || fail "the wait looks at it but once"
