#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Ends of datagrams that behave in every way, and what they see of each other. Standard library only.

  serve PORT                    answers each datagram: "who" by "source seen, own port", "elsewhere" from another port, anything else by itself
  ask HOST PORT HOW [N [SIZE]]  asks "who" and prints the answer, its source, and what getpeername() and getsockname() say; then sends N
                                datagrams of SIZE bytes, each after the answer to the last, and prints how many came back as they were
  the answer is waited for 5 s, or as long as PATIENCE says; HOW is
        plain      by sendto()      connected  by connect() and send()      mapped  by sendto() of an IPv6 socket, to IPv4
        connected-mapped  by connect() and send() of such a socket
  flood HOST PORT N SIZE        N datagrams as fast as they go; prints how many were sent
  late HOST PORT FILE           one that has connected and been answered; sends IN-THE-CLEAR once there is such a file, and prints
                                refused, silent (a second) or what comes back
  many PORT HOST…               one socket, a datagram to each host in turn and a line about whose answer came from where
"""
import hashlib, os, socket, struct, sys, time


def name(addr):
    return f"{addr[0].removeprefix('::ffff:')} {addr[1]}"


def serve(port):
    s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    s.bind(("::", port))
    print("ready", flush=True)
    while True:
        data, source = s.recvfrom(65536)
        if data == b"elsewhere":
            socket.socket(s.family, s.type).sendto(data, source)
            continue
        s.sendto(f"{name(source)} {port}".encode() if data == b"who" else data, source)


def block(i, size):
    return (struct.pack("!I", i) + hashlib.sha256(b"%d" % i).digest() * (size // 32 + 1))[:size]


def ask(host, port, how, n=0, size=100):
    v6 = ":" in host or how.endswith("mapped")
    to = ("::ffff:" + host if how.endswith("mapped") else host, port)
    connected = how.startswith("connected")
    s = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(float(os.environ.get("PATIENCE", 5)))
    if connected:
        s.connect(to)
    send = s.send if connected else lambda data: s.sendto(data, to)
    try:
        send(b"who")
        data, source = s.recvfrom(65536)
        seen = [name(s.getpeername()), name(s.getsockname())] if connected else []
        print(data.decode(), name(source), *seen)
        good = 0
        for i in range(n):
            send(block(i, size))
            good += s.recv(65536) == block(i, size)
        if n:
            print(good)
    except OSError as e:
        print("refused" if e.errno in (1, 111, 113) else "silent" if isinstance(e, TimeoutError) else e)
        return 1
    return 0


def late(host, port, path):
    s = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(5)
    s.connect((host, port))
    s.send(b"who")
    s.recv(65536)
    print("connected", flush=True)
    while not os.path.exists(path):
        time.sleep(0.02)
    s.settimeout(1)
    try:
        s.send(b"IN-THE-CLEAR")
        print(s.recv(65536))
    except OSError as e:
        print("refused" if e.errno == 111 else "silent" if isinstance(e, TimeoutError) else e)
    return 0


def flood(host, port, n, size):
    s = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    for i in range(n):
        s.sendto(block(i, size), (host, port))
    print(n)
    return 0


def many(port, hosts):
    s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    s.settimeout(5)
    for host in hosts:
        s.sendto(host.encode(), (host if ":" in host else "::ffff:" + host, port))
    for _ in hosts:
        data, source = s.recvfrom(65536)
        print(data.decode(), name(source))
    return 0


verb, rest = sys.argv[1], sys.argv[2:]
if verb == "serve":
    serve(int(rest[0]))
elif verb == "ask":
    sys.exit(ask(rest[0], int(rest[1]), rest[2], *map(int, rest[3:])))
elif verb == "late":
    sys.exit(late(rest[0], int(rest[1]), rest[2]))
elif verb == "flood":
    sys.exit(flood(rest[0], *map(int, rest[1:])))
else:
    sys.exit(many(int(rest[0]), rest[1:]))
