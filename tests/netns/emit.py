#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""IP packets with headers of every kind, sent by a host's own stack, and what arrives of them. Standard library only.

  emit.py send KINDS SRC DST TEXT [IFACE]  packets with TEXT in each; prints each as it should arrive, in hex, a line each
                                           (with IFACE as frames: SRC and DST need not be anybody's, DST may be a group)
        classes     every TOS or traffic class      ttl        some TTLs or hop limits
        labels      IPv6 flow labels                protocols  ICMP, SCTP-shaped, GRE, OSPF, unknown ones
        options     IPv4 options, IPv6 extension headers, in several orders
        fragments   first, middle and last ones, alone and with an extension header
        udp         one plain datagram
  emit.py hear IFACE TEXT                  prints each packet that IFACE receives with TEXT in it, in hex, until it is ended
  emit.py stream DST PORT OPTIONS FILE     a TCP/IPv6 connection with these extension headers (of hbh, dst): sends the file
"""
import errno
import ipaddress
import itertools
import socket
import struct
import sys

from poke import checksum, ether, ip_udp

ICMP, TCP, UDP, GRE, ICMP6, OSPF, SCTP, EXPERIMENT = 1, 6, 17, 47, 58, 89, 132, 253
HOP, ROUTING, FRAGMENT, NONE, DST = 0, 43, 44, 59, 60
SO_RCVBUFFORCE = 33
PADDING = b"\x01\x04\0\0\0\0"  # PadN that fills an extension header of eight bytes


def header(src, dst, proto, payload, tos=0, ttl=64, label=0, frag=0, options=b""):
    if src.version == 6:
        head = struct.pack("!IHBB", 6 << 28 | tos << 20 | label, len(payload), proto, ttl)
        return head + src.packed + dst.packed + payload
    words = 5 + len(options) // 4
    # an identification of 0 would be replaced by the stack
    head = struct.pack("!BBHHHBBH", 0x40 | words, tos, words * 4 + len(payload), 0x4D56, frag, ttl, proto, 0)
    head += src.packed + dst.packed + options
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload


def extension(following, more=0):
    """An options header: 8 bytes, or 8 more for each of `more`."""
    return struct.pack("!BB", following, more) + (PADDING if not more else b"\x01" + bytes([4 + 8 * more]) + bytes(4 + 8 * more))


def udp(src, dst, text):
    return ip_udp(src, dst, 4000, 9999, text)[40 if src.version == 6 else 20 :]


def echo(src, dst, text):
    if src.version == 4:
        data = struct.pack("!BBHHH", 8, 0, 0, 77, 1) + text
        return ICMP, data[:2] + struct.pack("!H", checksum(data)) + data[4:]
    data = struct.pack("!BBHHH", 128, 0, 0, 77, 1) + text
    pseudo = src.packed + dst.packed + struct.pack("!II", len(data), ICMP6)
    return ICMP6, data[:2] + struct.pack("!H", checksum(pseudo + data)) + data[4:]


def classes(src, dst, text):
    for tos in range(256):
        yield header(src, dst, UDP, udp(src, dst, text), tos=tos)


def ttl(src, dst, text):
    for n in (1, 2, 3, 63, 64, 65, 128, 254, 255):
        yield header(src, dst, UDP, udp(src, dst, text), ttl=n)


def labels(src, dst, text):
    for n in (0, 1, 0x12345, 0xFFFFF):
        yield header(src, dst, UDP, udp(src, dst, text), label=n)


def protocols(src, dst, text):
    proto, data = echo(src, dst, text)
    yield header(src, dst, proto, data)
    yield header(src, dst, SCTP, struct.pack("!HHIIBBH", 5000, 5001, 7, 0, 0, 0, 4 + len(text)) + text)
    yield header(src, dst, GRE, struct.pack("!HH", 0, 0x0800) + text)
    yield header(src, dst, OSPF, text)
    yield header(src, dst, EXPERIMENT, text)
    yield header(src, dst, NONE, text)
    yield header(src, dst, TCP, text)  # not that either
    yield header(src, dst, UDP, text[:7])  # shorter than its header


def options(src, dst, text):
    if src.version == 4:
        yield header(src, dst, UDP, udp(src, dst, text), options=b"\x01" * 4)
        yield header(src, dst, UDP, udp(src, dst, text), options=b"\x94\x04\0\0")  # router alert
        yield header(src, dst, UDP, udp(src, dst, text), options=b"\x44\x28\x05\0" + bytes(36))  # timestamp, full
        return
    data, proto = udp(src, dst, text), UDP
    yield header(src, dst, DST, extension(UDP) + data)
    yield header(src, dst, DST, extension(UDP, 5) + data)
    yield header(src, dst, HOP, extension(UDP) + data)
    yield header(src, dst, HOP, extension(DST) + extension(UDP, 1) + data)
    yield header(src, dst, DST, extension(DST) + extension(DST) + extension(DST) + extension(DST) + extension(UDP) + data)
    yield header(src, dst, HOP, extension(NONE) + text)
    yield header(src, dst, DST, extension(EXPERIMENT, 31) + text)  # long
    # a routing header: type 2 (RFC 6275), with the way still to go
    yield header(src, dst, ROUTING, struct.pack("!BBBBI", UDP, 2, 2, 1, 0) + dst.packed + data)
    proto, data = echo(src, dst, text)
    yield header(src, dst, DST, extension(proto) + data)


def fragments(src, dst, text):
    data = udp(src, dst, text * 3)
    size = len(data) // 3 & ~7
    pieces = [(at, data[at : at + size]) for at in range(0, 2 * size, size)] + [(2 * size, data[2 * size :])]
    for at, piece in pieces:
        more = at < 2 * size
        if src.version == 4:
            yield header(src, dst, UDP, piece, frag=0x2000 * more | at // 8)
            continue
        piece = struct.pack("!BBHI", UDP, 0, at | more, 0x4D56504E) + piece
        yield header(src, dst, FRAGMENT, piece)
        yield header(src, dst, DST, extension(FRAGMENT) + piece)


def plain(src, dst, text):
    yield header(src, dst, UDP, udp(src, dst, text))


KINDS = {"classes": classes, "ttl": ttl, "labels": labels, "protocols": protocols, "options": options,
         "fragments": fragments, "udp": plain}


def group_mac(dst):
    if not dst.is_multicast:
        return b"\xff" * 6
    if dst.version == 6:
        return b"\x33\x33" + dst.packed[-4:]
    return b"\x01\0\x5e" + bytes([dst.packed[1] & 127]) + dst.packed[2:]


def send(kinds, src, dst, text, iface=None):
    src, dst = ipaddress.ip_address(src), ipaddress.ip_address(dst)
    family = socket.AF_INET if src.version == 4 else socket.AF_INET6
    if iface:
        s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        s.bind((iface, 0))
    else:
        s = socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW)  # the header is ours
    for packet in itertools.chain.from_iterable(KINDS[k](src, dst, text.encode()) for k in kinds.split(",")):
        if iface:
            try:
                s.send(ether(group_mac(dst), packet, s.getsockname()[4]))
            except OSError as e:
                if e.errno != errno.ENOBUFS:  # a program on the interface has dropped it
                    raise
        else:
            s.sendto(packet, (str(dst), 0))
        print(packet.hex())


def hear(iface, text):
    s = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.ntohs(3))  # ETH_P_ALL, without a link header
    s.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)  # slower than what is sent at once
    s.bind((iface, 3))
    print("listening", file=sys.stderr, flush=True)
    while True:
        packet, about = s.recvfrom(70000)
        if about[2] != socket.PACKET_OUTGOING and text.encode()[:7] in packet:
            print(packet.hex(), flush=True)


def stream(dst, port, which, path):
    s = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    number = {"hbh": socket.IPV6_HOPOPTS, "dst": socket.IPV6_DSTOPTS}
    for name in which.split(","):
        s.setsockopt(socket.IPPROTO_IPV6, number[name], extension(0))
    s.settimeout(30)
    s.connect((dst, int(port)))
    with open(path, "rb") as f:
        s.sendall(f.read())
    s.shutdown(socket.SHUT_WR)
    s.recv(1)  # the other end has closed: all of it was read


if __name__ == "__main__":
    verbs = {f.__name__: f for f in (send, hear, stream)}
    if len(sys.argv) < 3 or sys.argv[1] not in verbs:
        sys.exit(__doc__)
    verbs[sys.argv[1]](*sys.argv[2:])
