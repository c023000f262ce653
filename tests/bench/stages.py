#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Where each microsecond of a packet goes, from samples of the whole machine. Standard library only.

  stages.py SAMPLES FUNCTIONS KEY=VALUE…    SAMPLES: perf script -F comm,pid,tid,ip,sym,dso; FUNCTIONS: "name file" lines
                                            of the fast path's objects; the keys are what tests/bench/profile passes; functions=N
                                            also lists N functions of each stage

A sample belongs to the innermost function of its kernel stack that says which stage it is (RULES); in user space to the
source file of the function or to its library; else to the program. So a stage holds all that it makes the kernel do until
another stage begins: the receiving stack is a part of "tap write", which runs it.
"""
import collections
import re
import sys

SENDER = "sender: program, its stack"
EGRESS = "tc egress, BPF, queue of the tap"
TAP_READ = "tap read (copy)"
SEGMENT = "segment, headers, nonce"
SEAL = "seal (cipher)"
SEND = "wire send (system call, stack, copy)"
CARRY = "wire (virtual Ethernet, bridge, receiver's softirq)"
RECEIVE = "wire receive (system call, copy)"
LOOKUP = "look-ups, replay window, routing check"
OPEN = "open (cipher)"
COALESCE = "coalesce"
TAP_WRITE = "tap write (copy, receiving stack)"
RECEIVER = "receiver: program, its copy"
WAKE = "scheduler, wake-ups, poll"
ENTRY = "keyd: system call entry and exit"
OTHER_KEYD = "keyd, other"
OTHER = "other programs, kernel"
IDLE = "idle"
STAGES = (SENDER, EGRESS, TAP_READ, SEGMENT, SEAL, SEND, CARRY, RECEIVE, LOOKUP, OPEN, COALESCE, TAP_WRITE, RECEIVER,
          WAKE, ENTRY, OTHER_KEYD, OTHER, IDLE)  # fmt: skip

# kernel functions; "k": only in keyd's threads
RULES = (
    (WAKE, "", r"_*(try_to_wake_up|ttwu_\w+|wake_up\w*|schedule|schedule_\w+|sched_yield|do_sched_yield|x64_sys_sched_yield|"
               r"finish_task_switch\w*|x64_sys_p?poll|do_sys_poll|x64_sys_epoll_\w+|do_epoll_\w+|x64_sys_futex|eventfd_\w+|"
               r"sysvec_reschedule_ipi|sched_ttwu_pending|flush_smp_call_function_queue|x64_sys_clock_nanosleep|do_nanosleep)"),
    (IDLE, "", r"(cpuidle_\w+|default_idle\w*|pv_native_safe_halt|native_safe_halt|arch_cpu_idle|intel_idle\w*|acpi_\w*idle\w*)"),
    (EGRESS, "", r"(tcx_run\w*|sch_handle_egress|tcf_classify\w*|cls_bpf_classify|skb_do_redirect|__bpf_redirect\w*|tun_net_xmit|"
                 r"bpf_prog_\w+_egress\w*)"),
    (SENDER, "", r"(tcp_write_xmit|__tcp_push_pending_frames|tcp_tsq_handler|tcp_tasklet_func|tcp_tsq_workfn)"),
    (TAP_READ, "", r"(tun_chr_read_iter|tun_do_read\w*)"),
    (TAP_WRITE, "", r"(tun_chr_write_iter|tun_get_user|tun_sendmsg|tun_napi_\w+)"),
    (CARRY, "", r"(net_rx_action|__napi_poll|process_backlog|veth_poll\w*|veth_xmit|br_handle_frame\w*|net_tx_action|"
                r"__xsk_map_redirect|xdp_do_redirect\w*|generic_xdp_\w+|do_xdp_generic)"),
    (SEND, "k", r"(__sys_sendm?msg|___sys_sendmsg|x64_sys_sendm*sg|__sys_sendto|udp_sendmsg|udpv6_sendmsg|xsk_sendmsg|"
                r"__xsk_sendmsg|__xsk_generic_xmit|io_sendmsg|io_send\w*)"),
    (RECEIVE, "k", r"(__sys_recvm+sg|___sys_recvmsg|do_recvmmsg|__sys_recvfrom|udp_recvmsg|udpv6_recvmsg|xsk_recvmsg|"
                   r"__xsk_recvmsg|io_recv\w*)"),
    (TAP_READ, "k", r"(vfs_read|ksys_read)"),
    (TAP_WRITE, "k", r"(vfs_write|ksys_write)"),
    (ENTRY, "k", r"(do_syscall_64|entry_SYSCALL\w*|syscall_return_via_sysret|do_syscall_x64|x64_sys_call)"),
)  # fmt: skip
RULES = tuple((stage, whose, re.compile(pattern + "$")) for stage, whose, pattern in RULES)
FILES = {
    "segment": SEGMENT, "seal": SEGMENT, "frame": SEGMENT, "icmp": SEGMENT, "open": LOOKUP, "replay": LOOKUP, "keytab": LOOKUP,
    "lpm": LOOKUP, "coalesce": COALESCE, "tap": OTHER_KEYD, "wire_udp": SEND, "wire_xdp": SEND,
}  # fmt: skip
CIPHER = re.compile(r"gcm|aes|chacha|poly1305|ghash|aead")
INWARD = re.compile(r"receive|deliver|gro|fill|stock")  # of a wire's functions, those of the way in
KERNEL = re.compile(r"\[kernel|\[guest|bpf_prog_|\.ko\b|^\[[a-z0-9_]+\]$")
HEAD = re.compile(r"^(.*?)\s+(\d+)/(\d+)\s*$")
FRAME = re.compile(r"^\s+[0-9a-f]+ (.*?) \(([^()]*(?:\([^()]*\))?[^()]*)\)$")


def samples(path):
    """(comm, pid, [(symbol, dso)], innermost first) of each"""
    with open(path, encoding="utf-8", errors="replace") as f:
        head, frames = None, []
        for line in f:
            line = line.rstrip("\n")
            if not line.strip():
                if head:
                    yield (*head, frames)
                head, frames = None, []
            elif frame := head and FRAME.match(line):
                frames.append((frame[1].split("+")[0], frame[2]))
            elif start := HEAD.match(line):
                head = start[1].strip(), int(start[2])
        if head:
            yield (*head, frames)


def in_kernel(dso):
    return bool(KERNEL.search(dso))


def of_user(role, symbol, dso, functions):
    if not role.startswith("keyd"):
        return {"sender": SENDER, "receiver": RECEIVER}.get(role, OTHER)
    if CIPHER.search(symbol) or "IPSec_MB" in dso or "sodium" in dso:
        if re.search(r"dec|open", symbol):
            return OPEN
        if re.search(r"enc|seal", symbol):
            return SEAL
        return SEAL if role == "keyd_a" else OPEN  # what flows is sealed on a
    if "libc" in dso and re.search(r"syscall|read|write|send|recv|poll", symbol):
        return ENTRY
    stage = FILES.get(functions.get(symbol), OTHER_KEYD)
    return RECEIVE if stage == SEND and INWARD.search(symbol) else stage


def stage_of(comm, role, frames, functions):
    for symbol, dso in frames:
        if not in_kernel(dso):
            break
        for stage, whose, pattern in RULES:
            if pattern.match(symbol) and (not whose or role.startswith("keyd")):
                return stage
    if frames and not in_kernel(frames[0][1]):
        return of_user(role, *frames[0], functions)
    if comm.startswith("swapper"):
        return IDLE
    return {"sender": SENDER, "receiver": RECEIVER, "keyd_a": OTHER_KEYD, "keyd_b": OTHER_KEYD}.get(role, OTHER)


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    given = dict(pair.split("=", 1) for pair in sys.argv[3:])
    with open(sys.argv[2], encoding="utf-8") as f:
        functions = dict(line.split() for line in f)
    roles = {int(given[role]): role for role in ("keyd_a", "keyd_b", "sender", "receiver")}
    counts = dict.fromkeys(STAGES, 0)
    leaves = {stage: collections.Counter() for stage in STAGES}
    for comm, pid, frames in samples(sys.argv[1]):
        stage = stage_of(comm, roles.get(pid, ""), frames, functions)
        counts[stage] += 1
        leaves[stage][frames[0][0] if frames else comm] += 1
    total = sum(counts.values())
    packets = int(given["opened"])
    if not total or not packets:
        sys.exit("stages: no samples, or no packets")
    wall_ns = int(given["wall_us"]) * 1000
    each = wall_ns * int(given["cpus"]) / packets  # CPU time a packet, idle too
    rate = packets / (wall_ns / 1e9)
    print(f"{given['wire']} wire, load {given['load']}, offloads {given['offloads']}: {rate / 1000:.0f} thousand packets a second opened; "
          f"{int(given['sealed']) / packets:.2f} sealed and {int(given['back']) / packets:.2f} sent back a packet; "
          f"{packets / max(1, int(given['tap_writes'])):.1f} packets a tap write, "
          f"{int(given['sealed']) / max(1, int(given['tap_reads'])):.1f} a tap read; {total} samples.\n")  # fmt: skip
    print(f"| stage | % of {given['cpus']} CPUs | ns a packet |")
    print("|---|---:|---:|")
    for stage, n in counts.items():
        print(f"| {stage} | {100 * n / total:.1f} | {each * n / total:.0f} |")
    busy = total - counts[IDLE]
    print(f"| all but idle | {100 * busy / total:.1f} | {each * busy / total:.0f} |")
    if given.get("functions"):
        print("\nfunctions with most samples, ns a packet")
        for stage, leaf in leaves.items():
            most = leaf.most_common(int(given["functions"]))
            print(f"  {stage}: " + ", ".join(f"{name} {each * n / total:.0f}" for name, n in most))


main()
