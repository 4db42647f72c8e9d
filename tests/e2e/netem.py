"""Simulates a slow and lossy link between two network namespaces: netem.py NS_A IF_A NS_B IF_B DELAY_MS LOSS_PERCENT
Creates a TAP device in each namespace and forwards frames between the two, each after DELAY_MS (one way). Drops
LOSS_PERCENT of the frames. For kernels without sch_netem."""
import ctypes
import fcntl
import heapq
import os
import random
import select
import struct
import sys
import time

TUNSETIFF, IFF_TAP_NO_PI, CLONE_NEWNET = 0x400454ca, 0x0002 | 0x1000, 0x40000000
libc = ctypes.CDLL(None, use_errno=True)


def tap(ns, name):
    with open(f'/run/netns/{ns}') as f:
        if libc.setns(f.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), 'setns')
    fd = os.open('/dev/net/tun', os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack('16sH22x', name.encode(), IFF_TAP_NO_PI))
    return fd


a, b = tap(sys.argv[1], sys.argv[2]), tap(sys.argv[3], sys.argv[4])
delay, loss = float(sys.argv[5]) / 1000, float(sys.argv[6]) / 100
rng, queue, serial = random.Random(7), [], 0
print('ready', flush=True)
while True:
    now = time.monotonic()
    while queue and queue[0][0] <= now:
        _, _, fd, frame = heapq.heappop(queue)
        try:
            os.write(fd, frame)
        except OSError:
            pass  # the interface is down
    ready, _, _ = select.select([a, b], [], [], max(0, queue[0][0] - now) if queue else 1)
    for fd in ready:
        frame = os.read(fd, 65536)
        serial += 1
        if rng.random() >= loss and len(queue) < 5000:
            heapq.heappush(queue, (time.monotonic() + delay, serial, b if fd == a else a, frame))
