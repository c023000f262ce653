# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
#
# What the cases share that compare what `explain` says with what happens; after lib.sh. There is a pingpong server on port 7000.

asked() { # HOST JQ DST [OPTION…]
	local from=$1 want=$2 out
	shift 2
	out=$(ctlj "$from" explain "$@")
	jq -e "$want" <<<"$out" >/dev/null || fail "explain $* on $from is not $want: $out"
}
arrives() { # FROM TO PROTO 4|6 SECONDS
	local -n addr=ADDR$4
	case $3 in
	tcp) on "$1" timeout "$5" "$PINGPONG" first "${addr[$2]}" 7000 ;;
	udp) on "$1" timeout "$5" "$PINGPONG" ask udp "${addr[$2]}" 7000 1 100 | finds ' 0$' ;;
	icmp) "ping$4" "$1" "$2" -c 1 -W "$5" ;;
	esac
}
# row VERDICT[|VERDICT] FROM TO PROTO…: what `asker` says of FROM's packets, asked with the options `as`, and what becomes of them
asker=a as=()
row() {
	local want=$1 from=$2 to=$3 proto family dst secs=10 pids=() each=() i
	shift 3
	[[ $want != dropped ]] || secs=0.5
	: >"$TMP/said"
	for proto; do
		for family in 4 6; do
			local -n to_addr=ADDR$family
			dst=[${to_addr[$to]}]
			[[ $proto == icmp ]] || dst+=:7000
			ctlj "$asker" explain "${as[@]}" "$dst/$proto" >>"$TMP/said"
			each+=("$proto $family")
		done
	done
	jq -se --arg v "^($want)\$" 'all(.verdict|test($v))' "$TMP/said" >/dev/null ||
		fail "$* from $from to $to is not all $want: $(jq -c '[.verdict,.why]' "$TMP/said")"
	for i in "${each[@]}"; do
		# shellcheck disable=SC2086
		arrives "$from" "$to" $i "$secs" >/dev/null 2>&1 &
		pids+=($!)
	done
	for i in "${!pids[@]}"; do
		if wait "${pids[i]}"; then
			[[ $want != dropped ]] || fail "${each[i]} from $from to $to arrives, and explain says that it is dropped"
		else
			[[ $want == dropped ]] || fail "${each[i]} from $from to $to does not arrive, and explain says: $(sed -n "$((i + 1))p" "$TMP/said")"
		fi
	done
}
in_force() { # POLICY
	policy "$1"
	rev=$(grep -o '^revision [0-9]*' "$TMP/log/policy.log")
	for h in a b; do
		wait_for 5 "new policy on $h" at_rev $h
	done
}
at_rev() { [[ $(ctlj "$1" status) == *"\"policy_rev\":${rev#revision },"* ]]; }
hooks() { ctlj a explain "$@" | jq -r '[.hooks[].hook] | join(" ")'; } # DST: by name
