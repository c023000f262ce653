# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# Whoever sees a counter finds it in docs/operations.md, in the table of the daemon or program that counts it.
# shellcheck source=tests/tool/lib.bash
source "$(dirname "$0")/lib.bash"

# FILE BEGINNING PATTERN: the names that PATTERN finds from a line with BEGINNING on to the end of that list
names() { sed -n "/$2/,/^\$/p" "$1" | grep -oP "$3"; }
{
	names include/mvpn/maps.h 'define MVPN_COUNTER_NAMES' '"\K\w+(?=")'
	names keyd/dp/tell.c 'dp_counter_names\[' '"\K\w+(?=")'
	names keyd/control_show.c 'keyd_counter_names\[' '"\K\w+(?=")'
	names server/server.h 'define SERVER_COUNTERS' '\bX\(\K\w+(?=\)\s)'
} | sort -u >"$D/names"
(($(wc -l <"$D/names") > 150)) || fail "only $(wc -l <"$D/names") counters were found"
# shellcheck disable=SC2016 # no command, but quotes of Markdown
grep -oP '`\K\w+(?=`)' docs/operations.md | sort -u >"$D/told"
missing=$(comm -23 "$D/names" "$D/told" | tr '\n' ' ')
[[ -z $missing ]] || fail "not in docs/operations.md: $missing"
