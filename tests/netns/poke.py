#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Puts frames on a port of the test switch, or bytes on a TCP port, that no honest peer would send. Standard library only.

  poke.py mark IFACE TEXT                    a broadcast frame of the local experimental type: a marker for captures
  poke.py replay IFACE PCAP MODE [SEED]      the UDP data packets of a capture again, as they leave the switch at IFACE:
        same      unchanged                    shuffle   in another order
        flip      one bit changed in each      truncate  cut at every length
        grow      new counter, more at the end random    new counter, all behind the header random
        type      every type byte
  poke.py elsewhere PCAP ADDR SECS [PORT]    the first 200 UDP data packets of a capture from a socket of this host to ADDR; prints packets and
                                             bytes sent, and those that came back within so many seconds
  poke.py forget                             the kernel's connection tracking forgets all flows of this network namespace
  poke.py spoof IFACE DST_MAC SRC DST COUNT TEXT    UDP in clear to port 9999 that claims to be from SRC
  poke.py speak IFACE DST_MAC SRC SPORT DST DPORT TEXT  one UDP datagram; IFACE may be `raw`, or `udp` for a socket without privileges
  poke.py segment SRC DST DPORT COUNT        TCP segments with a SYN, past the stack's own TCP
  poke.py frame IFACE DST_MAC TYPE COUNT BYTES TEXT [SRC_MAC] [VLAN]    numbered frames with so many bytes of payload that begin
        with TEXT; prints a line about each
  poke.py catch IFACE TYPE                   the same lines of the frames of that type that a program on the interface gets
  poke.py toobig IFACE PCAP ROUTER MTU [forge]      an ICMP or ICMPv6 error "too big" of ROUTER for each data packet of the capture,
                                                    to its sender; forge: quoting another SPI or counter
  poke.py junk IFACE DST_MAC SRC DST PORT COUNT [SEED]    random UDP payloads of 0..1400 bytes to PORT
  poke.py channel ADDR PORT [SEED]           garbage of several kinds on a TCP port
  poke.py silent ADDR PORT COUNT             connections that say nothing, until standard input ends
  poke.py forge TOKEN_FILE PART              the token with one bit of a part changed and its checksum made right:
        secret id server_key net_id version flags mistyped
"""
import base64
import errno
import hashlib
import ipaddress
import os
import random
import socket
import struct
import sys
import time

DATA_PORT = 7469
CTRL = 0x43
PUNCH = 0x50
ETH_TEST = 0x88B5


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ip_udp(src, dst, sport, dport, payload):
    """An IP packet; the checksum is right, so that only what is inside is wrong."""
    src, dst = ipaddress.ip_address(src), ipaddress.ip_address(dst)
    length = 8 + len(payload)
    pseudo = src.packed + dst.packed + struct.pack("!IHBB", length, 0, 0, 17)
    if src.version == 4:
        pseudo = src.packed + dst.packed + struct.pack("!BBH", 0, 17, length)
    udp = struct.pack("!HHHH", sport, dport, length, 0) + payload
    udp = udp[:6] + struct.pack("!H", checksum(pseudo + udp) or 0xFFFF) + udp[8:]
    if src.version == 6:
        return struct.pack("!IHBB", 6 << 28, length, 17, 64) + src.packed + dst.packed + udp
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + length, 0, 0x4000, 64, 17, 0) + src.packed + dst.packed
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + udp


def ether(dst_mac, packet, src_mac=b"\x02mvpn!"):
    kind = 0x0800 if packet[0] >> 4 == 4 else 0x86DD
    return dst_mac + src_mac + struct.pack("!H", kind) + packet


def mac(text):
    return bytes.fromhex(text.replace(":", ""))


def raw(iface):
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    s.bind((iface, 0))
    return s


def frames(path):
    """Frames of a classic pcap file."""
    with open(path, "rb") as f:
        head = f.read(24)
        order = "<" if struct.unpack("<I", head[:4])[0] in (0xA1B2C3D4, 0xA1B23C4D) else ">"
        while len(rec := f.read(16)) == 16:
            yield f.read(struct.unpack(order + "IIII", rec)[2])


def segments(data):
    """The packets of a segmentation-offload frame: the next one has the same SPI and the next counter, whatever its type."""
    following = data[4:8] + struct.pack("!Q", struct.unpack("!Q", data[8:16].ljust(8, b"\0"))[0] + 1)
    size = data.find(following, 20) - 4
    return [data[i : i + size] for i in range(0, len(data), size)] if size > 0 else [data]


def data_packets(path, port=DATA_PORT):
    """(source and destination MAC, src, dst, sport, dport, payload) of the data packets, each once."""
    out = []
    for frame in frames(path):
        kind = struct.unpack("!H", frame[12:14])[0]
        if kind == 0x0800 and frame[23] == 17 and frame[14] == 0x45:
            ip, udp = frame[14:34], frame[34:]
            src, dst = ipaddress.ip_address(ip[12:16]), ipaddress.ip_address(ip[16:20])
        elif kind == 0x86DD and frame[20] == 17:
            ip, udp = frame[14:54], frame[54:]
            src, dst = ipaddress.ip_address(ip[8:24]), ipaddress.ip_address(ip[24:40])
        else:
            continue
        sport, dport, length = struct.unpack("!HHH", udp[:6])
        if dport == port and 8 < length <= len(udp):
            # what keyd says to keyd (probes of the path, say) and to its own NAT is not the test's
            for data in filter(lambda d: d[0] not in (CTRL, PUNCH), segments(udp[8:length])):
                out.append((frame[:6], frame[6:12], src, dst, sport, dport, data))
    return list(dict.fromkeys(out))


def fresh(data):
    """The packet with a counter that the receiver has not seen: a replay check alone does not refuse it."""
    return data[:8] + struct.pack("!Q", struct.unpack("!Q", data[8:16])[0] + 1000000) + data[16:]


def mutants(mode, packets, rng):
    if mode == "shuffle":
        packets = packets[:]
        rng.shuffle(packets)
    for p in packets:
        head, data = p[:6], p[6]
        if mode in ("same", "shuffle"):
            yield p
        elif mode == "flip":
            bit = rng.randrange(len(data) * 8)
            flipped = bytearray(fresh(data))
            flipped[bit // 8] ^= 1 << bit % 8
            yield head + (bytes(flipped),)
        elif mode == "truncate":
            for n in range(len(data)):
                yield head + (data[:n],)
        elif mode == "grow":
            yield head + (fresh(data) + rng.randbytes(rng.randrange(1, 64)),)
        elif mode == "random":
            yield head + (fresh(data)[:16] + rng.randbytes(rng.randrange(16, 1300)),)
        elif mode == "type":
            for kind in range(256):
                if kind != data[0]:
                    yield head + (bytes([kind]) + data[1:],)
        else:
            sys.exit("poke.py: no mode " + mode)


def replay(iface, path, mode, seed="1"):
    s, n = raw(iface), 0
    for dst_mac, src_mac, src, dst, sport, dport, data in mutants(mode, data_packets(path), random.Random(int(seed))):
        s.send(ether(dst_mac, ip_udp(src, dst, sport, dport, data), src_mac))
        n += 1
        if n % 64 == 0:  # a veth queue holds 256 frames
            time.sleep(0.002)
    print(n)


def elsewhere(path, addr, secs, port=DATA_PORT):
    packets = [p[6] for p in data_packets(path, int(port))][:200]
    back = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(0.05)
        for data in packets:
            s.sendto(data, (addr, int(port)))
        end = time.monotonic() + float(secs)
        while time.monotonic() < end:
            try:
                back.append(len(s.recv(65536)))
            except TimeoutError:
                pass
    print(len(packets), sum(map(len, packets)), len(back), sum(back))


def forget():
    # NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_DELETE without a tuple; NLM_F_REQUEST and NLM_F_ACK
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12) as s:
        s.send(struct.pack("=IHHIIBBH", 20, 1 << 8 | 2, 5, 1, 0, socket.AF_UNSPEC, 0, 0))
        error = struct.unpack_from("=i", s.recv(4096), 16)[0]
    if error:
        raise OSError(-error, os.strerror(-error))


def spoof(iface, dst_mac, src, dst, count, text):
    s = raw(iface)
    for _ in range(int(count)):
        s.send(ether(mac(dst_mac), ip_udp(src, dst, 9999, 9999, text.encode())))


def speak(iface, dst_mac, src, sport, dst, dport, text):
    """UDP by a packet socket, a raw one (IFACE raw), or a plain one that is bound to SRC (udp). What is refused is not sent."""
    family = socket.AF_INET6 if ":" in src else socket.AF_INET
    data = ip_udp(ipaddress.ip_address(src), ipaddress.ip_address(dst), int(sport), int(dport), text.encode())
    try:
        if iface == "udp":
            with socket.socket(family, socket.SOCK_DGRAM) as s:
                s.bind((src, int(sport)))
                s.sendto(text.encode(), (dst, int(dport)))
        elif iface == "raw":
            socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW).sendto(data, (dst, 0))
        else:
            raw(iface).send(ether(mac(dst_mac), data))
    except OSError as e:
        if e.errno not in (errno.EPERM, errno.ENOBUFS):
            raise


def segment(src, dst, dport, count):
    v6 = ":" in dst
    s = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
    if v6:
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_CHECKSUM, 16)
    s.bind((src, 0))
    pair = socket.inet_pton(s.family, src) + socket.inet_pton(s.family, dst)
    for i in range(int(count)):
        head = struct.pack("!HHIIBBHHH", 40000 + i, int(dport), 1, 0, 0x50, 0x02, 64000, 0, 0)
        if not v6:
            head = head[:16] + struct.pack("!H", checksum(pair + struct.pack("!HH", 6, 20) + head)) + head[18:]
        s.sendto(head, (dst, 0))


def frame_line(data):
    """Length, text, and what tells whether it is the same to the byte, addresses included."""
    text = data[14:].partition(b"..")[0].decode(errors="replace").strip()
    return f"{len(data)} {hashlib.blake2b(data, digest_size=16).hexdigest()} {text}"


def frame(iface, dst_mac, kind, count, size, text, src_mac=None, vlan=None):
    s = raw(iface)
    src = mac(src_mac) if src_mac else s.getsockname()[4]
    tag = struct.pack("!HH", 0x8100, int(vlan)) if vlan else b""
    for i in range(int(count)):
        payload = f"{text} {i} ".encode().ljust(int(size), b".")[: int(size)]
        data = mac(dst_mac) + src + tag + struct.pack("!H", int(kind, 0)) + payload
        try:
            s.send(data)
        except OSError as e:
            if e.errno != errno.ENOBUFS:  # a program on the way out drops it
                raise
        print(frame_line(data), flush=True)


def catch(iface, kind):
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    s.bind((iface, int(kind, 0)))
    print("ready", flush=True)
    while True:
        data, where = s.recvfrom(65536)
        if where[2] != socket.PACKET_OUTGOING:
            print(frame_line(data), flush=True)


def icmp_too_big(router, mtu, quoted):
    """A whole packet to the sender of the quoted one."""
    dst = ipaddress.ip_address(quoted[8:24] if quoted[0] >> 4 == 6 else quoted[12:16])
    src = ipaddress.ip_address(router)
    if dst.version == 4:
        body = struct.pack("!BBHHH", 3, 4, 0, 0, mtu) + quoted[:548]
        body = body[:2] + struct.pack("!H", checksum(body)) + body[4:]
        head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 0, 0x4000, 64, 1, 0) + src.packed + dst.packed
        return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + body
    body = struct.pack("!BBHI", 2, 0, 0, mtu) + quoted[:1232]
    pseudo = src.packed + dst.packed + struct.pack("!II", len(body), 58)
    body = body[:2] + struct.pack("!H", checksum(pseudo + body)) + body[4:]
    return struct.pack("!IHBB", 6 << 28, len(body), 58, 64) + src.packed + dst.packed + body


def toobig(iface, path, router, mtu, forge=""):
    s, n = raw(iface), 0
    for _, src_mac, src, dst, sport, dport, data in data_packets(path):
        if forge:
            data = data[:4] + struct.pack("!I", random.getrandbits(32)) + data[8:] if n % 2 else fresh(data)
        s.send(ether(src_mac, icmp_too_big(router, int(mtu), ip_udp(src, dst, sport, dport, data))))
        n += 1
    print(n)


def junk(iface, dst_mac, src, dst, port, count, seed="1"):
    s, rng = raw(iface), random.Random(int(seed))
    for i in range(int(count)):
        data = rng.randbytes(rng.randrange(1400))
        s.send(ether(mac(dst_mac), ip_udp(src, dst, rng.randrange(1024, 65535), int(port), data)))
        if i % 64 == 0:
            time.sleep(0.002)


def channel(addr, port, seed="1"):
    rng = random.Random(int(seed))
    hello = b"MAVP\x01\x01\x01"
    kinds = [
        b"",
        b"\0",
        b"GET / HTTP/1.1\r\nHost: mvpn\r\n\r\n",
        b"\x16\x03\x01" + rng.randbytes(300),
        b"MAVP",
        hello + b"\0" + b"\xff\xff" + rng.randbytes(2000),
        hello + b"\0" + b"\0\0" + bytes(16),
        hello + b"\1" + struct.pack("!H", 96) + rng.randbytes(96 + 16),
        hello + b"\0" + struct.pack("!H", 84) + rng.randbytes(84 + 16),
        b"MAVP\xff\xff\xff\xff" + rng.randbytes(4096),
        bytes(70000),
    ]
    kinds += [rng.randbytes(rng.randrange(1, 5000)) for _ in range(40)]
    answered = 0
    for data in kinds:
        with socket.create_connection((addr, int(port)), timeout=5) as s:
            try:
                s.sendall(data)
                s.shutdown(socket.SHUT_WR)
                answered += len(s.recv(4096)) > 0
            except OSError:
                pass
    print(len(kinds), answered)


def silent(addr, port, count):
    held = []
    for _ in range(int(count)):
        try:
            held.append(socket.create_connection((addr, int(port)), timeout=2))
        except OSError:
            break
    print(len(held), flush=True)
    sys.stdin.read()


def forge(path, part):
    at = {"version": 0, "net_id": 1, "id": 9, "secret": 25, "server_key": 57, "flags": 89, "mistyped": 30}[part]
    with open(path, encoding="ascii") as f:
        text = f.read().strip()[len("mavp1_") :].upper()
    data = bytearray(base64.b32decode(text + "=" * (-len(text) % 8)))
    data[at] ^= 1
    if part != "mistyped":
        data[-4:] = hashlib.blake2b(data[:-4], digest_size=4).digest()
    print("mavp1_" + base64.b32encode(data).decode().rstrip("="))


def mark(iface, text):
    s = raw(iface)
    s.send(b"\xff" * 6 + b"\x02mark!" + struct.pack("!H", ETH_TEST) + text.encode().ljust(50, b"\0"))


if __name__ == "__main__":
    verbs = {f.__name__: f for f in (mark, replay, elsewhere, forget, spoof, segment, toobig, speak, frame, catch, junk, channel, silent, forge)}
    if len(sys.argv) < 2 or sys.argv[1] not in verbs:
        sys.exit(__doc__)
    verbs[sys.argv[1]](*sys.argv[2:])
