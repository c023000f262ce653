#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""How long a host does not answer. Standard library only.

  serve PORT        echoes datagrams and connections
  watch HOST PORT   a numbered datagram each 10 ms, and a numbered line each 100 ms on one connection, until SIGTERM; then prints
                    "MS CONNECTION": the longest time without an answer to a datagram, and "exact" or what became of the connection
"""
import os, signal, socket, sys, threading, time


def echo(s):
    with s:
        while b := s.recv(65536):
            s.sendall(b)


def serve(port):
    udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    udp.bind(("::", port))
    tcp = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)

    def datagrams():
        while True:
            b, peer = udp.recvfrom(65536)
            udp.sendto(b, peer)

    threading.Thread(target=datagrams, daemon=True).start()
    print("ready", flush=True)
    while True:
        s, peer = tcp.accept()
        print("from", peer[0].removeprefix("::ffff:"), peer[1], flush=True)
        threading.Thread(target=echo, args=(s,), daemon=True).start()


def connection(host, port, end, said):
    try:
        s = socket.create_connection((host, port), timeout=20 * int(os.environ.get("MVPN_SLOW", "1")))
        f = s.makefile("rwb", buffering=0)
        n = 0
        while not end.is_set():
            f.write(b"%d\n" % n)
            if f.readline() != b"%d\n" % n:
                said.append("wrong")
                return
            n += 1
            time.sleep(0.1)
        said.append("exact")
    except OSError as e:
        said.append("reset" if isinstance(e, ConnectionResetError) else str(e).replace(" ", "-"))


def watch(host, port):
    end, said, longest = threading.Event(), [], 0.0
    signal.signal(signal.SIGTERM, lambda *_: end.set())
    t = threading.Thread(target=connection, args=(host, port, end, said))
    t.start()
    udp = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    udp.connect((host, port))
    udp.setblocking(False)
    n, heard = 0, time.monotonic()
    print("ready", flush=True)
    while not end.is_set():
        try:
            udp.send(b"%d" % n)
            n += 1
        except OSError:
            pass
        time.sleep(0.01)
        try:
            while udp.recv(100):
                now = time.monotonic()
                longest, heard = max(longest, now - heard), now
        except OSError:
            pass
    longest = max(longest, time.monotonic() - heard)
    t.join()
    print(round(longest * 1000), *said, flush=True)


if sys.argv[1] == "serve":
    serve(int(sys.argv[2]))
else:
    watch(sys.argv[2], int(sys.argv[3]))
