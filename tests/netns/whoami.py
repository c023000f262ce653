#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Traffic of one socket of each kind, which stays open. Standard library only.

  whoami.py tcp|udp|raw HOST PORT|PROTO     says something each 100 ms: to a port, or as an IP protocol of its own
  whoami.py packet IFACE SRC DST PORT       likewise UDP, by a packet socket
  whoami.py ask HOST PORT                   ten datagrams of 5 bytes, each of which is answered
  whoami.py serve PORT                      takes whatever comes by TCP and UDP, and answers such datagrams with 700 bytes
"""
import ipaddress, select, socket, sys, time

from poke import ether, ip_udp


def say(kind, host, number):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    if kind == "raw":
        s = socket.socket(family, socket.SOCK_RAW, number)
        to = (host, 0)
    else:
        s = socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
        to = (host, number)
    if kind != "raw":
        s.connect(to)
    while True:
        s.sendto(b"here", to) if kind == "raw" else s.send(b"here")
        time.sleep(0.1)


def ask(host, port):
    s = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    s.connect((host, port))
    for _ in range(10):
        s.send(b"here?")
        s.recv(1 << 16)
    time.sleep(3600)


def frames(iface, src, dst, port):
    s = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM)
    v6 = ":" in src
    frame = ip_udp(src, dst, port, port, b"here")
    while True:
        s.sendto(frame, (iface, 0x86DD if v6 else 0x0800, 0, 0, b"\2\0\0\0\0\1"))
        time.sleep(0.1)


def serve(port):
    t = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
    u = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    u.bind(("::", port))
    open_ones = [t, u]
    print("ready", flush=True)
    while True:
        for s in select.select(open_ones, [], [])[0]:
            if s is t:
                open_ones.append(t.accept()[0])
            elif s is u:
                data, there = u.recvfrom(1 << 16)
                if data == b"here?":
                    u.sendto(bytes(700), there)
            elif not s.recv(1 << 16):
                open_ones.remove(s)


if sys.argv[1] == "serve":
    serve(int(sys.argv[2]))
elif sys.argv[1] == "ask":
    ask(sys.argv[2], int(sys.argv[3]))
elif sys.argv[1] == "packet":
    frames(sys.argv[2], sys.argv[3], sys.argv[4], int(sys.argv[5]))
else:
    say(sys.argv[1], sys.argv[2], int(sys.argv[3]))
