#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Ways round mvpn that programs may try: each sends TEXT-WAY to an address so that it might leave in clear. Standard library only.

  round.py DST4 DST6 VIA4 VIA6 IFACE MAC TEXT    prints each way that the kernel has taken; VIA is a host that is not protected, MAC that of DST
"""
import errno, ipaddress, socket, struct, sys

from emit import UDP, header, udp

IP_OPTIONS, IPV6_RTHDR, SOL_PACKET, PACKET_QDISC_BYPASS, SO_BINDTODEVICE, UDP_SEGMENT, IPPROTO_UDPLITE = 4, 57, 263, 20, 25, 103, 136
PORT = 9999


def own(dst):
    s = socket.socket(socket.AF_INET6 if dst.version == 6 else socket.AF_INET, socket.SOCK_DGRAM)
    s.connect((str(dst), PORT))
    return ipaddress.ip_address(s.getsockname()[0])


def sock(dst, proto=0, kind=socket.SOCK_DGRAM):
    return socket.socket(socket.AF_INET6 if dst.version == 6 else socket.AF_INET, kind, proto)


def bypass(dst, via, iface, mac, text, tags=b""):
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    s.setsockopt(SOL_PACKET, PACKET_QDISC_BYPASS, 1)
    s.bind((iface, 0))
    src = own(dst)
    s.send(mac + bytes(6) + tags + struct.pack("!H", 0x86DD if dst.version == 6 else 0x0800) + header(src, dst, UDP, udp(src, dst, text)))


def tagged(dst, via, iface, mac, text):
    bypass(dst, via, iface, mac, text, struct.pack("!HH", 0x8100, 5))


def routed(dst, via, iface, mac, text):
    s = sock(dst)
    if dst.version == 4:
        s.setsockopt(socket.IPPROTO_IP, IP_OPTIONS, b"\x83\x0b\x04" + via.packed + dst.packed + b"\0")
    else:
        s.setsockopt(socket.IPPROTO_IPV6, IPV6_RTHDR, struct.pack("!BBBBI", 0, 4, 4, 1, 1 << 24) + bytes(16) + via.packed)
    s.sendto(text, (str(dst), PORT))


def device(dst, via, iface, mac, text):
    s = sock(dst)
    s.setsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, iface.encode())
    s.sendto(text, (str(dst), PORT))


def mapped(dst, via, iface, mac, text):
    s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    s.sendto(text, (str(dst) if dst.version == 6 else f"::ffff:{dst}", PORT))


def lite(dst, via, iface, mac, text):
    sock(dst, IPPROTO_UDPLITE).sendto(text, (str(dst), PORT))


def large(dst, via, iface, mac, text):
    s = sock(dst)
    s.connect((str(dst), PORT))
    s.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 1000)
    s.send(text * 100)


def again(dst, via, iface, mac, text):
    s = sock(dst)
    for to in (via, dst):
        s.connect((str(to), PORT))
    s.send(text)


def fast(dst, via, iface, mac, text):
    s = sock(dst, kind=socket.SOCK_STREAM)
    s.setblocking(False)
    s.sendto(text, socket.MSG_FASTOPEN, (str(dst), PORT))


def raw(dst, via, iface, mac, text):
    sock(dst, 253, socket.SOCK_RAW).sendto(text, (str(dst), 0))


WAYS = (bypass, tagged, routed, device, mapped, lite, large, again, fast, raw)


def main(dst4, dst6, via4, via6, iface, mac, text):
    for way in WAYS:
        for dst, via in (dst4, via4), (dst6, via6):
            dst, via = ipaddress.ip_address(dst), ipaddress.ip_address(via)
            name = f"{way.__name__}{dst.version}"
            try:
                way(dst, via, iface, bytes.fromhex(mac.replace(":", "")), f"{text}-{name}-".encode())
                print(name)
            except OSError as e:
                if e.errno == errno.EINPROGRESS:
                    print(name)


if __name__ == "__main__":
    if len(sys.argv) != 8:
        sys.exit(__doc__)
    main(*sys.argv[1:])
