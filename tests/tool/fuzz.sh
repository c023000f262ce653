# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# Every fuzz target builds, takes its seeds and goes on from there for a moment: what they find in the long run is `make fuzz-run`'s.
set -euo pipefail
cd "$(dirname "$0")/../.."
BUILD=${BUILD:-build}
RUNS=300
D=$(mktemp -d)
trap 'rm -rf "$D"' EXIT

make -s -j2 fuzz BUILD="$BUILD"
for source in tests/fuzz/*.c; do
	name=$(basename "$source" .c)
	seeds=tests/fuzz/corpus/$name
	[[ -d $seeds ]] || seeds=
	mkdir "$D/$name"
	"$BUILD/fuzz/$name" -runs=$RUNS -verbosity=0 -artifact_prefix="$D/" "$D/$name" ${seeds:+"$seeds"} >"$D/out" 2>&1 || {
		echo "$name:"
		tail -n 40 "$D/out"
		exit 1
	}
done
