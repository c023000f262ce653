# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# make deps: silent when nothing is missing; otherwise installs exactly that, starts no service, leaves no policy file; without
# root it says what to type. The benchmark's peers are packages for those who ask. apt-get and dpkg-query are stand-ins here.
# shellcheck source=tests/tool/lib.bash
source "$(dirname "$0")/lib.bash"
printf '#!/bin/sh\necho "$@" >>%s/apt\n[ ! -e %s/no-apt ] || exit 100\n' "$D" "$D" >"$D/apt-get"
# shellcheck disable=SC2016
printf '#!/bin/sh\ncase $* in *nginx-light|*jq) [ -e %s/all ] && echo installed || exit 1;; *) echo installed;; esac\n' "$D" >"$D/dpkg-query"
printf '#!/bin/sh\ncat %s/uid\n' "$D" >"$D/id"
chmod +x "$D"/*
echo 0 >"$D/uid"
policy=$(ls -l /usr/sbin/policy-rc.d 2>/dev/null || true)

touch "$D/all"
out=$(PATH=$D:$PATH tests/deps 2>&1) || fail "fails though nothing is missing"
[[ -z $out && ! -e $D/apt ]] || fail "speaks or acts though nothing is missing: $out"
rm "$D/all"

peers=$(tests/deps --peers all --list)
[[ $(tests/deps --peers tinc fastd --list) == fastd$'\n'tinc && $peers == *openvpn*wireguard-go* ]] || fail "peers' packages: $peers"
unasked=$(tests/deps --list | grep -Fx "$(grep -v '^openssl$' <<<"$peers")" || true)
[[ -z $unasked ]] || fail "installs the benchmark's peers unasked: $unasked"
tests/deps --peers nobody --list >/dev/null 2>&1 && fail "knows a peer that there is not"

echo 1000 >"$D/uid"
out=$(PATH=$D:$PATH tests/deps 2>&1) && fail "succeeds without root though packages are missing"
[[ $out == *"apt-get install"*nginx-light*jq* && ! -e $D/apt ]] || fail "without root: $out"

[[ $(id -u) == 0 ]] || exit 0 # the policy file is root's
echo 0 >"$D/uid"
PATH=$D:$PATH tests/deps >/dev/null
grep -q '^-qq update$' "$D/apt" || fail "no apt-get update: $(cat "$D/apt")"
grep -q -- '--no-install-recommends.* nginx-light jq$' "$D/apt" || fail "not just what is missing: $(cat "$D/apt")"
touch "$D/no-apt"
PATH=$D:$PATH tests/deps >/dev/null 2>&1 && fail "succeeds though apt-get fails"
[[ $(ls -l /usr/sbin/policy-rc.d 2>/dev/null || true) == "$policy" ]] || fail "policy-rc.d has changed"
