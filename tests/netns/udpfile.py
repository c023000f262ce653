#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""A file over UDP, every byte of it, as programs do it that want datagrams: numbered, acknowledged, sent again. Standard library only.

  udpfile.py receive PORT FILE                      one file, then ends
  udpfile.py send ADDR PORT FILE SIZE df|fragment   datagrams of at most SIZE bytes of the file; with df the program follows
                                                    what its own stack says of the path's MTU, else it lets others fragment
  prints "datagrams N again N size N" (the last size used)
"""
import errno
import select
import socket
import struct
import sys
import time

HEAD = struct.Struct("!QQ")  # offset, size of the whole file
END = HEAD.pack(2**64 - 1, 0)
WINDOW_B = 96 << 10  # less than a socket's default buffer
AGAIN_S = 0.2
GIVE_UP_S = 30
IP_MTU_DISCOVER, IPV6_MTU_DISCOVER, PMTUDISC_DONT, PMTUDISC_DO = 10, 23, 0, 2
IP_MTU, IPV6_MTU = 14, 24


class Sender:
    def __init__(self, addr, port, data, size, df):
        v6 = ":" in addr
        self.s = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_DGRAM)
        how = PMTUDISC_DO if df else PMTUDISC_DONT
        self.s.setsockopt(socket.IPPROTO_IPV6 if v6 else socket.IPPROTO_IP, IPV6_MTU_DISCOVER if v6 else IP_MTU_DISCOVER, how)
        self.s.connect((addr, int(port)))
        self.s.setblocking(False)
        self.v6, self.data, self.size = v6, memoryview(data), size
        self.todo, self.flying = [], {}  # [(offset, len)], offset -> (len, sent at)
        self.next = self.unacked = self.datagrams = self.again = 0

    def smaller(self):
        """The stack has learned of a smaller path: as large as fits now."""
        level, name = (socket.IPPROTO_IPV6, IPV6_MTU) if self.v6 else (socket.IPPROTO_IP, IP_MTU)
        self.size = self.s.getsockopt(level, name) - (48 if self.v6 else 28) - HEAD.size

    def put(self, offset, n):
        """Sends that part of the file: what of it went, less when the path has become smaller."""
        while True:
            n = min(n, self.size)
            try:
                self.s.send(HEAD.pack(offset, len(self.data)) + self.data[offset : offset + n])
            except OSError as e:
                if e.errno == errno.EMSGSIZE:
                    self.smaller()
                    continue
                if e.errno not in (errno.EAGAIN, errno.ECONNREFUSED, errno.ENOBUFS):
                    raise
            self.datagrams += 1
            return n

    def fill(self):
        while self.unacked < WINDOW_B and (self.todo or self.next < len(self.data)):
            if self.todo:
                offset, n = self.todo.pop()
            else:
                offset, n = self.next, min(self.size, len(self.data) - self.next)
                self.next += n
            went = self.put(offset, n)
            if went < n:
                self.todo.append((offset + went, n - went))
            self.flying[offset] = (went, time.monotonic())
            self.unacked += went

    def land(self):
        """Takes acknowledgements, and gives up on those that are late."""
        select.select([self.s], [], [], AGAIN_S / 4)
        got = False
        while True:
            try:
                (offset,) = struct.unpack("!Q", self.s.recv(64))
            except BlockingIOError:
                break
            except OSError as e:
                if e.errno not in (errno.ECONNREFUSED, errno.EMSGSIZE):
                    raise
                continue
            if offset in self.flying:
                self.unacked -= self.flying.pop(offset)[0]
                got = True
        if got:
            return True
        late = time.monotonic() - AGAIN_S
        for offset, (n, at) in list(self.flying.items()):
            if at < late:
                del self.flying[offset]
                self.unacked -= n
                self.todo.append((offset, n))
                self.again += 1
        return False

    def run(self):
        heard = time.monotonic()
        while self.next < len(self.data) or self.todo or self.flying:
            self.fill()
            now = time.monotonic()
            if self.land():
                heard = now
            elif now - heard > GIVE_UP_S:
                sys.exit(f"udpfile.py: nothing acknowledged for {GIVE_UP_S} s; {self.unacked} bytes under way")
        self.s.setblocking(True)
        for _ in range(3):
            self.s.send(END)
        print("datagrams", self.datagrams, "again", self.again, "size", self.size)


def send(addr, port, path, size, how):
    with open(path, "rb") as f:
        Sender(addr, port, f.read(), int(size), how == "df").run()


def receive(port, path):
    s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    s.bind(("::", int(port)))
    data = got = None
    done, total = 0, 1
    while done < total:
        packet, peer = s.recvfrom(65536)
        offset, total = HEAD.unpack_from(packet)
        data, got = data or bytearray(total), got or bytearray(total)
        end = offset + len(packet) - HEAD.size
        done += got.count(0, offset, end)  # parts that were cut smaller the second time may overlap
        got[offset:end] = b"\1" * (end - offset)
        data[offset:end] = packet[HEAD.size :]
        s.sendto(packet[:8], peer)
    with open(path, "wb") as f:
        f.write(data)
    s.settimeout(1)  # the last acknowledgements may have been lost
    try:
        while packet != END:
            packet, peer = s.recvfrom(65536)
            s.sendto(packet[:8], peer)
    except socket.timeout:
        pass


if __name__ == "__main__":
    verbs = {f.__name__: f for f in (send, receive)}
    if len(sys.argv) < 2 or sys.argv[1] not in verbs:
        sys.exit(__doc__)
    verbs[sys.argv[1]](*sys.argv[2:])
