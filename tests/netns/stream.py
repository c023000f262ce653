#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Ends of TCP connections that behave in every way, and what they see of each other. Standard library only.

  serve PORT                  one line from the client says what is to be done with the connection:
                                who     answers with "PEER's address, own address"
                                sum     after the client's half-close: bytes and their SHA-256
                                send N  N bytes of a known pattern, then a half-close; then as sum
                                reset   resets it
                                wait    takes nothing until it is gone
  ask HOST PORT WHAT [N]      such a client; prints what it gets
  ask HOST PORT stay          connects and stays; the server takes nothing
  ask HOST PORT slow          as sum, a little each 20 ms, until SIGUSR1
  connect HOST PORT HOW [S]   what connect() says within S seconds (5) and after how many ms: ok, the name of the error, or silent. HOW is
                                block   a socket that waits         poll    one that does not, and poll()
                                fast    data with the SYN (TFO)     mptcp   a socket of MPTCP
  crowd HOST PORT N [S]       N connections at once, each there within S seconds (30) and asked `who`, all open until the last has answered: how many did
"""
import errno, hashlib, os, select, signal, socket, struct, sys, threading, time


def pattern(n):
    block = b"".join(struct.pack("<Q", i * 0x9e3779b97f4a7c15 & 0xffffffffffffffff) for i in range(8192))
    while n > 0:
        yield block[:n]
        n -= len(block)


def drain(s):
    h, n = hashlib.sha256(), 0
    while b := s.recv(1 << 18):
        h.update(b)
        n += len(b)
    return f"{n} {h.hexdigest()}"


def expected(n):
    h = hashlib.sha256()
    for b in pattern(n):
        h.update(b)
    return f"{n} {h.hexdigest()}"


def name(addr):
    return f"{addr[0].removeprefix('::ffff:')} {addr[1]}"


def reset(s):
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


def line(s):
    text = b""
    while not text.endswith(b"\n"):
        b = s.recv(1)
        if not b:
            return ""
        text += b
    return text.decode().strip()


def serve_one(s, peer):
    what = line(s).split()
    if what[:1] == ["who"]:
        s.sendall(f"{name(peer)} {name(s.getpeername())} {name(s.getsockname())}\n".encode())
        s.recv(1)
    elif what[:1] == ["sum"]:
        s.sendall((drain(s) + "\n").encode())
    elif what[:1] == ["send"]:
        for b in pattern(int(what[1])):
            s.sendall(b)
        s.shutdown(socket.SHUT_WR)
        print(drain(s), flush=True)
    elif what[:1] == ["reset"]:
        reset(s)
        return
    elif what[:1] == ["wait"]:
        poll = select.poll()
        poll.register(s, select.POLLERR | select.POLLHUP)
        poll.poll()
        try:
            while s.recv(1 << 18):
                pass
            print("ended", flush=True)
        except ConnectionResetError:
            print("reset", flush=True)
    s.close()


def serve(port):
    l = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=4096)
    print("ready", flush=True)
    while True:
        s, peer = l.accept()
        threading.Thread(target=serve_one, args=(s, peer), daemon=True).start()


def ask(host, port, what, n):
    told = []
    signal.signal(signal.SIGUSR1, lambda *_: told.append(True))
    try:
        s = socket.create_connection((host, port), timeout=30)
    except OSError as e:
        print("refused", e.errno)
        return 1
    try:
        s.sendall(f"{ {'stay': 'wait', 'slow': 'sum'}.get(what, what)} {n}\n".encode())
        if what == "who":
            print(line(s), name(s.getsockname()), name(s.getpeername()))
        elif what == "sum":
            for b in pattern(n):
                s.sendall(b)
            s.shutdown(socket.SHUT_WR)
            print("exact" if line(s) == expected(n) else "wrong")
        elif what == "slow":
            block = next(pattern(1 << 16))
            while not told:
                s.sendall(block[n % (1 << 16) :][: 1 << 14])
                n += 1 << 14
                time.sleep(0.02)
            s.shutdown(socket.SHUT_WR)
            print("exact" if line(s) == expected(n) else "wrong")
        elif what == "send":
            print("exact" if drain(s) == expected(n) else "wrong")
            for b in pattern(n):  # the other direction is still open
                s.sendall(b)
            s.shutdown(socket.SHUT_WR)
        elif what == "wait":  # more than can be on its way, then a reset
            s.setblocking(False)
            full, sent = time.monotonic() + 1, 0
            while time.monotonic() < full:
                try:
                    sent += s.send(bytes(1 << 16))
                    full = time.monotonic() + 0.3
                except BlockingIOError:
                    time.sleep(0.01)
            print("bounded" if sent < 64 << 20 else f"sent {sent}")
            reset(s)
        elif what == "stay":
            time.sleep(600)
        else:
            print("got", s.recv(100))
    except OSError as e:
        print("reset" if isinstance(e, (ConnectionResetError, BrokenPipeError)) else e)
        return 1
    return 0


def connect(host, port, how, patience):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    s = socket.socket(family, socket.SOCK_STREAM, 262 if how == "mptcp" else 0)
    t, e = time.monotonic(), 0
    if how == "block":
        s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", patience, 0))
    else:
        s.setblocking(False)
    try:
        if how == "fast":
            s.sendto(b"who\n", socket.MSG_FASTOPEN, (host, port))
        else:
            s.connect((host, port))
    except OSError as x:
        e = x.errno
    if how != "block" and e == errno.EINPROGRESS:
        poll = select.poll()
        poll.register(s, select.POLLOUT)
        e = s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) if poll.poll(patience * 1000) else errno.EAGAIN
    name = "ok" if e == 0 else "silent" if e in (errno.EAGAIN, errno.EINPROGRESS) else errno.errorcode[e]
    print(name, round((time.monotonic() - t) * 1000), flush=True)
    return 0


def answered(s):
    try:
        return line(s).startswith(name(s.getsockname()))
    except OSError:
        return False


def crowd(host, port, n, patience):
    socks, t = [], time.monotonic()
    for _ in range(n):
        try:
            s = socket.create_connection((host, port), timeout=patience)
            s.settimeout(30)
            s.sendall(b"who\n")
            socks.append(s)
        except OSError:
            pass
    good = sum(answered(s) for s in socks)
    print(good, f"{time.monotonic() - t:.1f}")
    return 0


if sys.argv[1] == "serve":
    serve(int(sys.argv[2]))
elif sys.argv[1] == "ask":
    sys.exit(ask(sys.argv[2], int(sys.argv[3]), sys.argv[4], int(sys.argv[5]) if len(sys.argv) > 5 else 0))
elif sys.argv[1] == "connect":
    sys.exit(connect(sys.argv[2], int(sys.argv[3]), sys.argv[4], int(sys.argv[5]) if len(sys.argv) > 5 else 5))
else:
    sys.exit(crowd(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5]) if len(sys.argv) > 5 else 30))
