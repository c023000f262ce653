# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# make bench and make profile: the table holds the medians, ratios and spread of the run asked for; there is a picture; a system that fails, is
# missing or is interrupted costs nobody else's measurements, and -c measures just what is not there yet.
# shellcheck source=tests/tool/lib.bash
source "$(dirname "$0")/lib.bash"
row() { # SYSTEM METRIC SERIES EXPECTED: the rest of that line
	local got
	got=$(awk -F'\t' -v OFS=' ' -v s="$1" -v m="$2" -v o="$3" '$1 == s && $2 == m && $10 == o { print $3, $4, $5, $6, $7, $8, $9 }' "$D/table")
	[[ $got == "$4" ]] || fail "$1 $2 $3: '$got', expected '$4'"
}

# ---- the table ----

line() { printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$@"; } # RUN ROUND SERIES SYSTEM METRIC VALUE UNIT
{
	echo "# run old: words"
	line old 1 on plain tcp1 99 Gbit/s
	for round in 3 1 2; do
		line new $round on plain tcp1 $((10 * round)) Gbit/s
		line new $round off plain tcp1 4 Gbit/s
		line new $round on mvpn-udp tcp1 $round Gbit/s
		line new $round off mvpn-udp tcp1 $((round * round)) Gbit/s
		line new $round on fastd tcp1 0.$round Gbit/s
		line new $round on tinc tcp1 0.$((4 - round)) Gbit/s
		for s in plain:0 mvpn-udp:50 fastd:80 tinc:20; do
			line new $round on "${s%:*}" udp64_loss "${s#*:}" %
		done
		for s in plain:50 mvpn-udp:100 fastd:400 tinc:200; do
			line new $round on "${s%:*}" pingpong_p50 "${s#*:}" us
		done
		line new $round on server rss 6 MiB
		line new $round on fastd rss 3 MiB
	done
	line new 1 on tinc tcp1 0.7 Gbit/s # the round once more
	line new 1 on tinc tcp1 0.5 Gbit/s
	line new 1 on plain new_metric 1234567 x
} >"$D/raw"
tests/bench/report.py "$D/raw" >"$D/table"
[[ $(head -n 1 "$D/table" | tr '\t' ' ') == "system metric value unit ratio_to_plain ratio_to_best_peer min max rounds offloads" ]] ||
	fail "header: $(head -n 1 "$D/table")"
row plain tcp1 on "20 Gbit/s 1.000 100.000 10 30 3"
row mvpn-udp tcp1 on "2 Gbit/s 0.100 10.000 1 3 3"
row mvpn-udp tcp1 off "4 Gbit/s 1.000 - 1 9 3"
row tinc tcp1 on "0.2 Gbit/s 0.010 1.000 0.1 0.5 3"
row mvpn-udp pingpong_p50 on "100 us 0.500 2.000 100 100 3" # less is better: half of plain's, twice the best peer's
row fastd pingpong_p50 on "400 us 0.125 0.500 400 400 3"
row mvpn-udp udp64_loss on "50 % - 0.400 50 50 3"
row plain udp64_loss on "0 % - - 0 0 3"
row server rss on "6 MiB - - 6 6 3" # not to be compared
row plain new_metric on "1234567 x 1.000 - 1234567 1234567 1"
tests/bench/report.py "$D/raw" old >"$D/table"
row plain tcp1 on "99 Gbit/s 1.000 - 99 99 1"
[[ $(wc -l <"$D/table") == 2 ]] || fail "another run in the table: $(cat "$D/table")"
! tests/bench/report.py "$D/raw" none >/dev/null 2>"$D/err" || fail "makes a table of no run"
grep -q 'no measurement of run none' "$D/err" || fail "of no run: $(cat "$D/err")"
echo "not a line" >>"$D/raw"
! tests/bench/report.py "$D/raw" >/dev/null 2>"$D/err" || fail "takes a line that is none"
grep -q 'line [0-9]*: 1 fields' "$D/err" || fail "of a bad line: $(cat "$D/err")"
! tests/bench/report.py "$D/nothing" >/dev/null 2>"$D/err" || fail "makes a table of nothing"
grep -q 'make bench' "$D/err" || fail "of nothing: $(cat "$D/err")"

# ---- the profile ----

sample() { # COMM PID FRAME…: innermost first, "function" of the kernel or "function@library"
	local f
	printf '%s %d/%d \n' "$1" "$2" "$2"
	for f in "${@:3}"; do
		if [[ $f == *@* ]]; then printf '\t    1f %s (%s)\n' "${f%@*}" "${f#*@}"; else printf '\tffffffff82 %s+0x1 ([kernel.kallsyms])\n' "$f"; fi
	done
	echo
}
{
	sample "mvpn-w0" 1 _copy_to_iter tun_do_read tun_chr_read_iter vfs_read do_syscall_64 syscall@libc.so.6
	sample "mvpn-w0" 1 aes_gcm_enc_256@libIPSec_MB.so.1
	sample "mvpn-w0" 1 frame_start@keyd
	sample "mvpn-w0" 1 veth_xmit dev_hard_start_xmit udp_sendmsg __sys_sendmsg do_syscall_64
	sample "mvpn-w0" 1 ip_output udp_sendmsg __sys_sendmsg do_syscall_64 __sendmsg@libc.so.6
	sample "mvpn-w0" 2 try_to_wake_up sock_def_readable tcp_v4_rcv tun_get_user tun_chr_write_iter do_syscall_64
	sample "mvpn-w0" 2 tcp_v4_rcv tun_get_user tun_chr_write_iter do_syscall_64
	sample "mvpn-w0" 2 aes_gcm_dec_256@libIPSec_MB.so.1
	sample "iperf3" 3 udp_sendmsg __sys_sendmsg do_syscall_64
	sample "iperf3" 3 tun_net_xmit skb_do_redirect udp_sendmsg do_syscall_64
	sample "iperf3" 4 main@iperf3
	sample "swapper" 0 default_idle cpu_startup_entry
	sample "swapper" 0 udp_rcv net_rx_action cpu_startup_entry
	sample "some (one) else" 99 do_syscall_64
} >"$D/samples"
echo "frame_start frame" >"$D/functions"
# two processors and 7000 packets in 7000 us: 2000 ns a packet, of which each of 14 samples is a part
tests/bench/stages.py "$D/samples" "$D/functions" wire=udp load=tcp offloads=on cpus=2 wall_us=7000 keyd_a=1 keyd_b=2 sender=3 \
	receiver=4 sealed=7000 opened=7000 back=70 tap_reads=700 tap_writes=350 >"$D/profile"
while read -r times stage; do
	grep -qF "| $stage | $(awk "BEGIN { printf \"%.1f | %.0f\", $times * 100 / 14, $times * 2000 / 14 }") |" "$D/profile" ||
		fail "stage '$stage' has not $times samples: $(cat "$D/profile")"
done <<-END
	1 sender: program, its stack
	1 tc egress, BPF, queue of the tap
	1 tap read (copy)
	1 segment, headers, nonce
	1 seal (cipher)
	1 wire send (system call, stack, copy)
	2 wire (virtual Ethernet, bridge, receiver's softirq)
	1 open (cipher)
	1 tap write (copy, receiving stack)
	1 receiver: program, its copy
	1 scheduler, wake-ups, poll
	1 other programs, kernel
	1 idle
	13 all but idle
END
grep -q '1000 thousand packets a second opened; 1.00 sealed and 0.01 sent back a packet; 20.0 packets a tap write, 10.0 a tap read' "$D/profile" ||
	fail "profile: $(head -n 1 "$D/profile")"

# ---- rounds, of systems that measure nothing real ----

need_root "network namespaces, BPF"
mkdir -p "$D/tests"
cp -r tests/bench tests/netns "$D/tests/"
rm "$D"/tests/bench/systems/*
# shellcheck disable=SC2016 # for the systems
{
	printf '# %s\nmeasure() {\n%s\n}\n' "" 'emit tcp1 "$round" Gbit/s' >"$D/tests/bench/systems/plain.sh"
	printf '# %s\nmeasure() {\n%s\n}\n' "series: on" 'emit tcp1 5 Gbit/s' >"$D/tests/bench/systems/once.sh"
	printf '# %s\nmeasure() {\n%s\n}\n' "packages: p" 'skip "command p is missing"' >"$D/tests/bench/systems/absent.sh"
	printf '# %s\nmeasure() {\n%s\n}\n' "packages: f" 'emit tcp1 7 Gbit/s; [[ $round != 2 || -e $HERE/mended ]] || fail "no more"; emit tcp4 7 Gbit/s' \
		>"$D/tests/bench/systems/frail.sh"
	printf '# %s\nmeasure() {\n%s\n}\n' "" 'emit tcp1 1 Gbit/s; [[ $round == 1 ]] || kill -TERM $$' >"$D/tests/bench/systems/stopped.sh"
}
bench() { env BENCH_DIR="$D/out" SYSTEMS="$1" OFFLOADS="${2:-both}" "$D/tests/bench/bench" -r 3 -s 1 "${@:3}" >"$D/table" 2>"$D/err"; }
measured() { awk -F'\t' 'NF == 7 { print $4 "." $3 "." $2 "." $5 }' "$D/out/raw.tsv" | sort | tr '\n' ' '; }

! bench "plain once" both all || fail "succeeds though a system failed"
grep -q 'left out: absent: command p is missing' "$D/err" || fail "says nothing of what is missing: $(cat "$D/err")"
(($(grep -c 'left out: absent' "$D/err") == 1)) || fail "tries what is missing again"
grep -q 'frail, offloads off, failed in round 2' "$D/err" || fail "says nothing of what failed: $(cat "$D/err")"
grep -Eq 'step [0-9]+ of 21: .*about [0-9]+:[0-9]{2} min left' "$D/err" || fail "no progress: $(cat "$D/err")"
[[ $(measured) == "frail.off.1.tcp1 frail.off.1.tcp4 frail.off.3.tcp1 frail.off.3.tcp4 frail.on.1.tcp1 frail.on.1.tcp4 frail.on.3.tcp1 frail.on.3.tcp4 \
once.on.1.tcp1 once.on.2.tcp1 once.on.3.tcp1 plain.off.1.tcp1 plain.off.2.tcp1 plain.off.3.tcp1 plain.on.1.tcp1 plain.on.2.tcp1 plain.on.3.tcp1 " ]] ||
	fail "measured: $(measured)"
row plain tcp1 off "2 Gbit/s 1.000 0.286 1 3 3"
row frail tcp1 on "7 Gbit/s 3.500 1.000 7 7 2"
touch "$D/tests/bench/mended"
before=$(wc -l <"$D/out/raw.tsv")
bench "plain once" both -c all || fail "does not go on: $(cat "$D/err")"
(($(wc -l <"$D/out/raw.tsv") == before + 4)) || fail "measures what is there: $(measured)"
row frail tcp1 on "7 Gbit/s 3.500 1.000 7 7 3"

rm "$D/out/raw.tsv"
status=0
bench "plain stopped" on || status=$?
((status == 130)) || fail "interrupted: status $status: $(cat "$D/err")"
[[ $(measured) == "plain.on.1.tcp1 stopped.on.1.tcp1 " ]] || fail "interrupted: measured $(measured)"
env BENCH_DIR="$D/out" "$D/tests/bench/bench" --report >"$D/table" 2>"$D/err" || fail "no table of a part: $(cat "$D/err")"
row plain tcp1 on "1 Gbit/s 1.000 1.000 1 1 1"

# ---- the picture ----

command -v gnuplot >/dev/null || {
	echo "command gnuplot is missing (make deps)"
	exit 77
}
[[ $(head -c 4 "$D/out/bench.png" | tail -c 3) == PNG ]] || fail "no picture"
[[ ! -s $D/err || $(cat "$D/err") == "# plot: "* ]] || fail "gnuplot complains: $(cat "$D/err")"
