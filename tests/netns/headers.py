#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Headers of the data packets in a capture (poke.py reads it, super-packets apart).

  headers.py lanes PCAP           for each source and lane: address, lane, source port, packets
  headers.py nonces PCAP…         no two packets have the same SPI, lane and counter unless they are the same packet; prints how
                                  many packets, SPIs, lanes and generations were seen in all captures together
  headers.py generation PCAP      the highest generation
"""
import collections
import struct
import sys

import poke


def header(data):
    """(type, lane, generation, SPI, counter)"""
    kind, lane, gen, spi, counter = struct.unpack("!BBHIQ", data[:16])
    return kind, lane & 15, gen, spi, counter


def lanes(path):
    seen = collections.Counter()
    for _, _, src, _, sport, _, data in poke.data_packets(path):
        seen[str(src), header(data)[1], sport] += 1
    for (src, lane, sport), n in sorted(seen.items()):
        print(src, lane, sport, n)


def generation(path):
    print(max(header(packet[6])[2] for packet in poke.data_packets(path)))


def nonces(*paths):
    seen, spis, lane_set, gens = {}, set(), set(), set()
    for path in paths:
        for packet in poke.data_packets(path):
            data = packet[6]
            if len(data) < 32:
                sys.exit(f"{path}: {len(data)} bytes are no data packet")
            _, lane, gen, spi, counter = header(data)
            key = spi, lane, counter
            if seen.setdefault(key, data) != data:
                sys.exit(f"{path}: SPI {spi:08x} lane {lane} counter {counter}: two different packets, one nonce")
            spis.add(spi)
            lane_set.add((spi, lane))
            gens.add((spi, lane, gen))
    print(len(seen), len(spis), len(lane_set), len(gens))


if __name__ == "__main__":
    verbs = {f.__name__: f for f in (lanes, generation, nonces)}
    if len(sys.argv) < 3 or sys.argv[1] not in verbs:
        sys.exit(__doc__)
    verbs[sys.argv[1]](*sys.argv[2:])
