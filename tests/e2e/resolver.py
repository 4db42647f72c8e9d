"""A name server for scenarios: resolver.py ADDRESS NAME=FILE... answers each A query for NAME with 127.0.0.1 once FILE exists; every
other query is refused at once. Prints the queries and the answers."""
import os
import socket
import sys
import threading
import time

address = sys.argv[1]
files = dict(a.split('=') for a in sys.argv[2:])
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind((address, 53))


def name_of(query):
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1:at + 1 + query[at]].decode())
        at += 1 + query[at]
    return '.'.join(labels), int.from_bytes(query[at + 1:at + 3], 'big'), query[12:at + 5]


def answer(query, peer):
    name, kind, question = name_of(query)
    file = files.get(name)
    print('asked', name, kind, flush=True)
    while file and not os.path.exists(file):
        time.sleep(0.05)
    a_record = file and kind == 1
    head = query[:2] + (b'\x81\x80' if file else b'\x81\x83') + b'\0\1' + (b'\0\1' if a_record else b'\0\0') + b'\0\0\0\0'
    data = b'\xc0\x0c\0\1\0\1\0\0\0\0\0\4\x7f\0\0\1' if a_record else b''
    print('answered', name, kind, flush=True)
    sock.sendto(head + question + data, peer)


print('ready', flush=True)
while True:
    threading.Thread(target=answer, args=sock.recvfrom(512), daemon=True).start()
