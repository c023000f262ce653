# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# bash completion for mvpnctl: its verbs and options are what the program itself says of them.

# "attach", "identity show", "server token create" …, one a line
_mvpnctl_verbs() {
	mvpnctl --help 2>/dev/null | awk '
		/^server VERB/ { group = "server " }
		/^  [a-z]/ {
			verb = ""
			$0 = substr($0, 3)
			sub(/  .*/, "") # what it does
			for (i = 1; i <= NF && $i ~ /^[a-z]/; i++)
				verb = verb (i > 1 ? " " : "") $i
			print group verb
		}'
}

_mvpnctl() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} said='' verb='' next='' v word
	local -a verbs
	mapfile -t verbs < <(_mvpnctl_verbs)
	for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
		[[ $word != -* ]] || continue
		for v in "${verbs[@]}"; do
			if [[ $v == "$said$word" || $v == "$said$word "* ]]; then
				said+="$word "
				break
			fi
		done
	done
	for v in "${verbs[@]}"; do
		[[ $v != "${said% }" ]] || verb=$v
		[[ $v != "$said"* ]] || next+="$(cut -d' ' -f1 <<<"${v#"$said"}") "
	done
	case $verb:$cur:$prev in
	*:*:--output | *:*:-o) next='table json json-line' ;;
	*:*:--network | *:*:-N)
		next=$(mvpnctl -o json networks 2>/dev/null | sed -n 's/^ *"name": "\([a-z0-9]*\)",*$/\1/p')
		;;
	*:-*:*)
		# shellcheck disable=SC2086 # a verb is one to three words
		next="--socket --network --output --help $(mvpnctl help $verb 2>/dev/null | grep -oE '^  (-., )?--[a-z-]+' | grep -oE -e '--[a-z-]+')"
		;;
	attach:* | detach:*) next=$(ls /sys/class/net) ;;
	esac
	mapfile -t COMPREPLY < <(compgen -W "$next" -- "$cur")
}
complete -o default -F _mvpnctl mvpnctl
