#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""hooks.py IFACE…: the BPF programs on the TCX hooks of interfaces, one line each. Debian 12's bpftool does not know TCX."""
import ctypes
import errno
import os
import platform
import socket
import struct
import sys

BPF_PROG_QUERY = 16
TCX = {"ingress": 46, "egress": 47}
SYS_BPF = {"x86_64": 321}.get(platform.machine(), 280)
MAX = 64

libc = ctypes.CDLL(None, use_errno=True)
for iface in sys.argv[1:]:
    for hook, kind in TCX.items():
        ids = (ctypes.c_uint32 * MAX)()
        # target, attach type, query flags, attach flags, array of ids, count
        attr = ctypes.create_string_buffer(
            struct.pack("=IIIIQI", socket.if_nametoindex(iface), kind, 0, 0, ctypes.addressof(ids), MAX), 128
        )
        if libc.syscall(SYS_BPF, BPF_PROG_QUERY, attr, 64) < 0:
            if ctypes.get_errno() == errno.EINVAL:
                break  # before Linux 6.6: no TCX, so nothing is on it
            sys.exit("hooks.py: %s %s: %s" % (iface, hook, os.strerror(ctypes.get_errno())))
        for i in range(struct.unpack_from("=I", attr.raw, 24)[0]):
            print(iface, hook, ids[i])
