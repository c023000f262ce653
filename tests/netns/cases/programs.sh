# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# Programs as Debian ships them, unchanged and told nothing: the web, ssh, PostgreSQL, names, routes, iperf3, Java, a Go program
# without libc, sockets that the kernel itself owns, a container. Each does its work over the packet path and once more at each other level
# that takes it. Nothing that they said is to be read on the wire.
# wires: udp xdp
# waits
# shellcheck source=tests/netns/lib.sh
source "$(dirname "$0")/../lib.sh"

need nginx curl sshd ssh iperf3 dnsmasq dig traceroute java ant go python3 nft
PG=$(compgen -G '/usr/lib/postgresql/*/bin/postgres' | tail -n 1) || skip "PostgreSQL is missing (make deps)"
PG=${PG%/*}
net_up
# a firewall as hosts have it: what peers send has come by eth0
for h in a b; do
	on "$h" nft -f - <<-RULES
		table inet firewall {
			chain in {
				type filter hook input priority 0; policy drop
				iifname { lo, eth0, vx0, pod } accept
			}
		}
	RULES
done

# ---- b serves ----

serve_ssh() {
	local d=$TMP/ssh
	mkdir -p "$d" /run/sshd
	ssh-keygen -q -t ed25519 -N '' -f "$d/host"
	ssh-keygen -q -t ed25519 -N '' -f "$d/user"
	cp "$d/user.pub" "$d/authorized"
	printf '%s\n' 'Port 22' "HostKey $d/host" "AuthorizedKeysFile $d/authorized" 'StrictModes no' 'PermitRootLogin prohibit-password' \
		'UsePAM yes' "PidFile $d/pid" 'Subsystem sftp internal-sftp' >"$d/sshd_config"
	printf '%s\n' "IdentityFile $d/user" 'IdentitiesOnly yes' 'User root' 'BatchMode yes' 'StrictHostKeyChecking no' \
		"UserKnownHostsFile $d/known" 'LogLevel ERROR' >"$d/ssh_config"
	spawn sshd b "$(command -v sshd)" -D -e -f "$d/sshd_config"
	wait_for 5 sshd listening b t 22
}
serve_postgres() {
	local d=$TMP/pg
	chmod 711 "$TMP"
	install -d -o postgres "$d"
	runuser -u postgres -- "$PG/initdb" --no-sync -A trust -D "$d/data" >"$TMP/log/initdb.log" 2>&1 || fail "initdb: $(tail -n 3 "$TMP/log/initdb.log")"
	printf 'host all all %s trust\n' 0.0.0.0/0 ::/0 >>"$d/data/pg_hba.conf"
	spawn postgres b runuser -u postgres -- "$PG/postgres" -D "$d/data" -c fsync=off -c listen_addresses='*' -c unix_socket_directories=''
	wait_for 10 PostgreSQL listening b t 5432
}
serve_names() {
	spawn dnsmasq b dnsmasq -k -C /dev/null --no-resolv --no-hosts --user=root --pid-file="$TMP/dnsmasq.pid" \
		--host-record=db.example,192.0.2.7,2001:db8::7 --txt-record="long.example$(printf ",$CANARY-%.0s" {1..40})"
	wait_for 5 dnsmasq listening b u 53
}
www_start b
serve_ssh
serve_postgres
serve_names
spawn iperf3 b iperf3 -s
spawn mptcp b "$ROOT/tests/netns/mptcp.py" serve 8080
wait_for 5 "Multipath TCP" listening b t 8080
CGO_ENABLED=0 GO111MODULE=off GOCACHE=$TMP/go GOFLAGS=-trimpath go build -o "$TMP/fetch" "$ROOT/tests/netns/fetch.go"
page=$TMP/www-b/html/index.html

# ---- a asks ----

the_page() { cmp - "$page" || fail "$1: not the page"; } # PROGRAM: on standard input
bracketed() { if [[ $1 == *:* ]]; then echo "[$1]"; else echo "$1"; fi; }
get() { # ADDRESS
	on a curl -sS -g -m 10 "http://$(bracketed "$1")/" | the_page "curl $1"
}
ask_web() { # ADDRESS
	get "$1"
	on a "$TMP/fetch" "$(bracketed "$1"):80" / | the_page "Go $1"
}
ask_java() { # ADDRESS
	printf '<project><get src="http://%s/" dest="%s" quiet="true"/></project>\n' "$(bracketed "$1")" "$TMP/java" >"$TMP/build.xml"
	on a ant -q -f "$TMP/build.xml" >"$TMP/log/ant.log" 2>&1 || fail "Java $1: $(tail -n 3 "$TMP/log/ant.log")"
	cmp "$TMP/java" "$page" || fail "Java $1: another page"
}
ask_ssh() { # ADDRESS
	on a ssh -F "$TMP/ssh/ssh_config" "$1" cat <"$page" | the_page "ssh $1"
	on a sftp -q -F "$TMP/ssh/ssh_config" -b - "$(bracketed "$1")" <<<"get $page $TMP/sftp" >/dev/null
	cmp "$TMP/sftp" "$page" || fail "sftp $1: not what is there"
}
psql_() { on a "$PG/psql" -X -q -A -t -v ON_ERROR_STOP=1 -h "$1" -U postgres "${@:2}"; }
ask_postgres() { # ADDRESS
	psql_ "$1" -c 'create temporary table t (n serial, line text)' -c '\copy t(line) from pstdin' \
		-c 'select line from t order by n' <"$page" | the_page "PostgreSQL $1"
	[[ $(psql_ "$1" -c 'select host(inet_client_addr())') == "$2" ]] || fail "PostgreSQL sees another client than $2"
}
ask_next() { # ADDRESS: of several hosts that are named PostgreSQL's client finds the one that answers
	[[ $(psql_ "$1,$1" -p 5431,5432 -c 'select 1') == 1 ]] || fail "PostgreSQL at the second of two addresses of $1"
}
ask_names() { # ADDRESS OPTION…
	[[ $(on a dig "@$1" +short "${@:2}" db.example A) == 192.0.2.7 ]] || fail "dig $*: no address"
	# too long for a datagram: asked again by TCP
	(($(on a dig "@$1" +short "${@:2}" long.example TXT | grep -o "$CANARY" | wc -l) == 40)) || fail "dig $*: not the long answer"
}
ask_iperf() { # ADDRESS OPTION…
	local out
	[[ $* == *\ -n\ * ]] || set -- "$@" -t 1
	out=$(on a iperf3 -J -c "$@") || fail "iperf3 $*: $(jq -r .error <<<"$out")"
	(($(jq '.end|(.sum_received // .sum).bytes' <<<"$out") > 100000)) || fail "iperf3 $*: $(jq -c .end.sum_received <<<"$out")"
}
ask_mptcp() { [[ $(on a "$ROOT/tests/netns/mptcp.py" ask "$1" 8080 "$CANARY") == "$CANARY" ]] || fail "Multipath TCP to $1"; }
# The other end is one hop away, whichever way it is asked. One probe at a time: traceroute sends 16 at once, a kernel answers the first six
# of them (icmp_ratelimit), and where queues run beside each other that of the first hop need not be among them.
ask_route() { # ADDRESS [HOW]
	local how out ways=("${@:2}")
	(($# > 1)) || ways=('' -I '-T -p 80')
	for how in "${ways[@]}"; do
		# shellcheck disable=SC2086 # none, one or three words
		out=$(on a traceroute -n -q 1 -N 1 -w 2 $how "$1" | sed 1d)
		[[ $out =~ ^\ *1\ +"$1"\ [^$'\n']*$ ]] || fail "traceroute $how $1: $out"
	done
}
ask_tcp() { # ADDRESS OWN-ADDRESS [OPTION OF IPERF3…]
	ask_web "$1"
	ask_ssh "$1"
	ask_postgres "$1" "$2"
	ask_next "$1"
	ask_iperf "$1" "${@:3}"
	ask_names "$1" +tcp
}

capture_start wire a
for family in 4 6; do
	declare -n addr=ADDR$family
	ask_tcp "${addr[b]}" "${addr[a]}"
	ask_iperf "${addr[b]}" -u -b 5M
	ask_names "${addr[b]}"
	ask_mptcp "${addr[b]}"
	ask_route "${addr[b]}"
	"ping$family" a b -c 3 -i 0.05 -s 9000 -p 4d56504e
	"ping$family" a b -c 1 -I eth0
done
ask_java "${ADDR4[b]}"

# the kernel's own sockets: a virtual network over UDP, with the canary in it
for h in a b; do
	peer=b own=1
	[[ $h == a ]] || peer=a own=2
	ip -n "$P-$h" link add vx0 type vxlan id 7 dstport 4789 remote "${ADDR4[$peer]}" local "${ADDR4[$h]}" dev eth0
	addresses "$h" vx0 10.99.0.$own/24
done
get 10.99.0.2

# a container: a network namespace and a cgroup of its own behind a, with a's address outside
router_add d
ip -n "$P-a" link add pod type veth peer name eth0 netns "$P-d"
addresses a pod 172.17.0.1/24
addresses d eth0 172.17.0.2/24
ip -n "$P-d" route add default via 172.17.0.1
on a sysctl -qw net.ipv4.ip_forward=1
on a nft -f - <<-RULES
	table ip pods {
		chain out {
			type nat hook postrouting priority 100
			ip saddr 172.17.0.0/24 oif eth0 masquerade
		}
	}
RULES
cgroup=$(status_of a .socket.cgroup)
if [[ -d $cgroup ]]; then
	mkdir "$cgroup/$P-pod"
	in_pod() { bash -c "echo \$BASHPID >'$cgroup/$P-pod/cgroup.procs'; exec nsenter --net='/run/netns/$P-d' \"\$@\"" - "$@"; }
else
	in_pod() { on d "$@"; }
fi
ask_pod() {
	in_pod curl -sS -m 10 "http://${ADDR4[b]}/" | the_page "curl in a container"
	[[ $(in_pod dig "@${ADDR4[b]}" +short db.example A) == 192.0.2.7 ]] || fail "dig in a container: no address"
	in_pod ping -n -q -c 2 -i 0.05 "${ADDR4[b]}" >/dev/null || fail "ping in a container"
}
ask_pod
capture_stop wire
assert_no_plaintext wire "${CANARY:0:12}"
assert_only_sealed wire a b
assert_sealed wire 300

# ---- at the other levels ----

at_level() { [[ $(ctlj "$1" explain "${ADDR4[$2]}" | jq -r .level) == "$3" ]]; }
level() { # LEVEL
	policy $'allow a -> b\nlevel '"$1 a -> b"
	wait_for 5 "level $1 on a" at_level a b "$1"
	wait_for 5 "level $1 on b" at_level b a "$1"
}
# by sockets of a's own, as far as they are asked; no port but keyd's is on the wire
streams() { # FAMILY
	local -n addr=ADDR$1
	ask_tcp "${addr[b]}" "${addr[a]}" -b 50M
	ask_iperf "${addr[b]}" -b 50M -R
	ask_iperf "${addr[b]}" -n 200K -u -b 10M
	ask_names "${addr[b]}"
	ask_mptcp "${addr[b]}"
	ask_route "${addr[b]}" -I
	"ping$1" a b -c 2 -i 0.05 -s 9000 -p 4d56504e
}
if [[ $WIRE == udp ]]; then
	for level in socket socket+network; do
		level $level
		capture_start streams a
		streams 4
		streams 6
		[[ $level != socket ]] || ask_java "${ADDR4[b]}"
		capture_stop streams
		assert_no_plaintext streams "${CANARY:0:12}"
		[[ $level == socket ]] && way=tcp || way=udp
		(($(packets streams "$way port $DATA_PORT") > 100)) || fail "level $level: nothing by $way"
		(($(packets streams "(tcp or udp) and not port $DATA_PORT and not port $CHAN_PORT") == 0)) || fail "level $level: more on the wire"
	done
	# and for those who have no socket here
	level 'socket|network'
	capture_start either a
	ask_web "${ADDR4[b]}"
	get 10.99.0.2
	ask_pod
	capture_stop either
	assert_no_plaintext either "${CANARY:0:12}"
	(($(packets either "tcp port $DATA_PORT") > 10)) || fail "level socket|network: no streams on the wire"
fi
assert_no_leak a b
