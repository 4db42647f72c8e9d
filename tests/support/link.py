#!/usr/bin/env python3
"""A time server, and clients for the protocols with which a device configures itself. Standard library only.

usage: link.py MODE [ARGUMENT...]
  time_server ADDRESS        answers SNTP (RFC 4330) until it is killed
  time ADDRESS               requests the time; prints "time" or "silent"
  dhcp6 IFACE XID            sends Solicit and Request (RFC 8415); prints "bound ADDRESS" or "silent"
  dhcp6_listen IFACE SECONDS waits for an unsolicited message; prints "heard" or "silent"
"""
import socket
import struct
import sys

WAIT_S = 2.0


def time_server(address):
    s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    s.bind((address, 123))
    while True:
        query, peer = s.recvfrom(512)
        if len(query) == 48 and query[0] & 7 == 3:
            head = bytes([0x24, 1, 0, 0xEC]) + bytes(20)
            s.sendto(head + query[40:48] + struct.pack("!QQ", 1, 2), peer)


def time(address):
    s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(WAIT_S)
    try:
        s.sendto(b"\x23" + bytes(39) + b"\1\2\3\4\5\6\7\x08", (address, 123))
        answer = s.recv(512)
        return "time" if answer[24:32] == b"\1\2\3\4\5\6\7\x08" else "silent"
    except OSError:
        return "silent"


def option(code, data):
    return struct.pack("!HH", code, len(data)) + data


def options(message):
    found, at = {}, 4
    while at + 4 <= len(message):
        code, size = struct.unpack("!HH", message[at:at + 4])
        found[code] = message[at + 4:at + 4 + size]
        at += 4 + size
    return found


def dhcp6_socket(iface):
    s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("::", 546, 0, socket.if_nametoindex(iface)))
    s.settimeout(WAIT_S)
    return s


def dhcp6(iface, xid):
    s, number = dhcp6_socket(iface), int(xid, 0)
    to = ("ff02::1:2", 547, 0, socket.if_nametoindex(iface))
    mine = option(1, b"\0\3\0\1\2\0\0\0\0\1") + option(8, b"\0\0")
    wish = option(3, struct.pack("!III", 1, 0, 0))

    def ask(kind, more, wanted):
        s.sendto(struct.pack("!I", kind << 24 | number) + mine + more, to)
        while True:
            answer = s.recv(2048)
            if struct.unpack("!I", answer[:4])[0] == wanted << 24 | number:
                return options(answer)

    try:
        offer = ask(1, wish, 2)
        lease = ask(3, option(2, offer[2]) + option(3, offer[3]), 7)
        return "bound " + socket.inet_ntop(socket.AF_INET6, lease[3][16:32])
    except (OSError, KeyError):
        return "silent"


def dhcp6_listen(iface, seconds):
    s = dhcp6_socket(iface)
    s.settimeout(float(seconds))
    print("listening", flush=True)
    try:
        s.recv(2048)
        return "heard"
    except OSError:
        return "silent"


answer = {"time_server": time_server, "time": time, "dhcp6": dhcp6, "dhcp6_listen": dhcp6_listen}[sys.argv[1]](*sys.argv[2:])
print(answer)
