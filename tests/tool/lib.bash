# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
#
# What the tests of the scripts start with: they run in the top directory, and $D is theirs and goes with them.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
D=$(mktemp -d)
trap 'rm -rf "$D"' EXIT
fail() {
	echo "$*"
	exit 1
}
need_root() { # WHAT FOR
	[[ $(id -u) == 0 ]] || {
		echo "needs root ($1)"
		exit 77
	}
}
