"""A hostile SSH gateway for scenarios: hostile.py PORT HOSTKEY AUTHORIZED_KEYS WHAT
WHAT after the login (with asyncssh): flood: opens more connections than allowed, unlisted ports and channels of other kinds;
mute: never answers a forward request; deny: refuses it; drown: sends requests without end and reads none of the answers;
uploads: opens 20 connections, which still send data while the device closes them; brief: ends each session soon after
granting the forward; names: accepts every user name; packets-N: opens a connection with the maximum packet size N and reads
100,000 bytes; chaos-SEED: sends random messages of the connection protocol, many of them invalid.
WHAT before or during the login (with raw sockets): silence, a sudden close, garbage, or an endless or slow banner; the value
names the stage and the action. stage-N-silent and stage-N-close forward the login to the sshd on port REAL_PORT first."""
import asyncio
import os
import random
import sys

import asyncssh
from asyncssh.packet import Boolean, String, UInt32

port, host_key, authorized, what = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]


async def count(attempts):
    opened, refused = [], 0
    for result in await asyncio.gather(*attempts, return_exceptions=True):
        if isinstance(result, Exception):
            refused += 1
        else:
            opened.append(result)
    return opened, refused


class Counter(asyncssh.SSHTCPSession):
    received = 0

    def data_received(self, data, datatype):
        self.received += len(data)


class Unread(dict):
    """In place of a connection's channels: accepts every message to any channel and does nothing."""
    def __missing__(self, number):
        return self

    def log_received_packet(self, *args):
        pass

    def process_packet(self, *args):
        return True


def message(host, listen_port):
    """Returns a random message. libssh numbers the device's channels from 43 on."""
    pick, some = random.choice, random.randbytes(random.randrange(400))
    number = UInt32(pick((0, 1, 11, 32768, 2**31, 2**32 - 1)))
    chan = UInt32(pick((43, 44, 45, 46, random.randrange(43, 120), 0, 2**32 - 1)))
    text, reply = String(pick((b'keepalive@openssh.com', b'tcpip-forward', b'exit-status', b'eow@openssh.com', some))), Boolean(pick((0, 1)))
    data = String(pick((b'G50000', b'Secho', b'D', b'R', some * 40)))
    opens = (String(pick((b'forwarded-tcpip',) * 9 + (b'session',))) + UInt32(random.randrange(12)) + number +
             UInt32(pick((1, 11, 64, 32768, 2**32 - 1))) + String(pick((host.encode(),) * 9 + (some,))) + UInt32(listen_port) + String(some[:60]) + number)
    kind, payload = pick((
        (90, opens), (90, opens), (94, chan + data), (94, chan + data), (94, chan + data), (95, chan + UInt32(pick((0, 1))) + data),
        (93, chan + number), (93, chan + UInt32(100000)), (96, chan), (97, chan), (98, chan + text + reply + some), (99, chan), (100, chan),
        (91, chan + number + number + number), (92, chan + number + String(b'\x1b[2Jevil\n') + String('')), (80, text + reply + some), (81, some),
        (82, some), (2, String(some)), (3, number), (4, Boolean(True) + String(b'\x1b[2J\nforged line') + String(''))))
    if random.random() < 0.02:
        kind = random.randrange(1, 256)
    return kind, payload[:random.randrange(len(payload) + 1)] if random.random() < 0.03 else payload


class Server(asyncssh.SSHServer):
    def connection_made(self, conn):
        self.conn = conn

    def begin_auth(self, username):
        if what == 'names':
            print('user', username, flush=True)
        return True

    def server_requested(self, listen_host, listen_port):
        if what == 'flood':
            self.task = asyncio.get_event_loop().create_task(self.flood(listen_host, listen_port))
        elif what == 'drown':
            self.task = asyncio.get_event_loop().create_task(self.drown())
        elif what == 'uploads':
            self.task = asyncio.get_event_loop().create_task(self.uploads(listen_host, listen_port))
        elif what.startswith('packets-'):
            self.task = asyncio.get_event_loop().create_task(self.packets(listen_host, listen_port, int(what[8:])))
        elif what.startswith('chaos-'):
            self.task = asyncio.get_event_loop().create_task(self.chaos(listen_host, listen_port))
        elif what == 'brief':
            print('granted', flush=True)
            asyncio.get_event_loop().call_later(0.2, self.conn.close)
        elif what == 'mute':
            return asyncio.sleep(3600, True)
        elif what == 'deny':
            return False
        return asyncssh.SSHListener()

    def connection_lost(self, exc):
        print('lost', flush=True)

    async def drown(self):
        await asyncio.sleep(0.3)  # until the forward is granted
        transport = self.conn._transport
        transport.pause_reading()
        for n in range(60000):
            self.conn.send_packet(asyncssh.constants.MSG_GLOBAL_REQUEST, asyncssh.packet.String('keepalive@openssh.com'),
                                  asyncssh.packet.Boolean(True))
            if n % 100 == 0:
                while transport.get_write_buffer_size() > 65536 and not transport.is_closing():
                    await asyncio.sleep(0.01)
                await asyncio.sleep(0)
            if transport.is_closing():
                return
        print('drowned', flush=True)

    async def packets(self, host, listen_port, size):
        await asyncio.sleep(0.3)
        chan, session = await self.conn.create_connection(Counter, host, listen_port, '127.0.0.1', 1, max_pktsize=size)
        chan.write(b'G100000')
        chan.write_eof()
        await chan.wait_closed()
        print(f'got {session.received}', flush=True)

    async def chaos(self, host, listen_port):
        await asyncio.sleep(0.3)
        conn, kex_and_login = self.conn, self.conn.process_packet
        conn._channels = Unread()
        conn.process_packet = lambda kind, seq, packet: kind >= 80 or kind in (2, 3, 4) or kex_and_login(kind, seq, packet)
        print('chaos', flush=True)
        for n in range(4000):
            conn.send_packet(*message(host, listen_port))
            if n % 20 == 0:
                await asyncio.sleep(0.01)
            while conn._transport and conn._transport.get_write_buffer_size() > 200000:
                await asyncio.sleep(0.01)
            if not conn._transport:
                return
        conn.send_packet(asyncssh.constants.MSG_DISCONNECT, UInt32(11), String(b'bye\x1b[2J\nforged line'), String(''))
        conn.close()

    async def uploads(self, host, listen_port):
        """Each connection sends enough to fill the window; the service resets the connection after its first byte."""
        await asyncio.sleep(0.3)
        for _ in range(20):
            chan, session = await self.conn.create_connection(asyncssh.SSHTCPSession, host, listen_port, '127.0.0.1', 1)
            chan.write(b'R' + bytes(4 << 20))
            await asyncio.wait_for(chan.wait_closed(), 60)
        print('uploaded', flush=True)

    async def flood(self, host, listen_port):
        await asyncio.sleep(0.3)

        def tcp(dest):
            return self.conn.create_connection(asyncssh.SSHTCPSession, host, dest, 'evil\x1b[2J\n', 1)
        opened, refused = await count([tcp(listen_port) for _ in range(300)])
        _, unlisted = await count([tcp(p) for p in range(1000, 1300)])
        _, other = await count([self.conn.create_agent_channel().open(asyncssh.SSHUNIXSession) for _ in range(20)])
        print(f'flood opened={len(opened)} refused={refused} unlisted={unlisted} other={other}', flush=True)
        for chan, _ in opened:
            chan.close()


async def raw(reader, writer):
    try:
        if what.startswith('banner'):
            writer.write(b'SSH-2.0-OpenSSH_9.9\r\n')
            await reader.readline()
        if what.endswith('silent'):
            await asyncio.sleep(3600)
        elif what.endswith('garbage'):
            writer.write(os.urandom(65536))
            await asyncio.sleep(1)
        elif what == 'endless':
            while True:
                writer.write(b'x' * 200 + b'\r\n')
                await writer.drain()
        elif what == 'dribble':
            for b in b'SSH-2.0-slow' * 1000:
                writer.write(bytes([b]))
                await asyncio.sleep(0.3)
        writer.close()
    except OSError:
        pass


async def plain_packet(reader):
    """Reads one packet. Before NEWKEYS, a packet is its length and then that many bytes (RFC 4253 section 6)."""
    head = await reader.readexactly(4)
    return head + await reader.readexactly(int.from_bytes(head, 'big'))


async def until_stage(reader, n):
    """Yields the bytes that a real sshd sends up to the end of stage n: 1 the banner, 2 KEXINIT, 3 NEWKEYS,
    4 the first 20 bytes after NEWKEYS."""
    yield await reader.readuntil(b'\n')
    if n >= 2:
        yield await plain_packet(reader)
    packet = b''
    while n >= 3 and packet[5:6] != bytes([21]):  # SSH_MSG_NEWKEYS
        packet = await plain_packet(reader)
        yield packet
    if n >= 4:
        yield await reader.readexactly(20)


async def middle(reader, writer):
    """Forwards the login to a real sshd until the stage in WHAT, then stays silent or closes the connection."""
    n, then = int(what.split('-')[1]), what.split('-')[2]
    up_reader, up_writer = await asyncio.open_connection('127.0.0.1', int(os.environ['REAL_PORT']))

    async def forth():
        while data := await reader.read(4096):
            up_writer.write(data)
    task = asyncio.ensure_future(forth())
    async for data in until_stage(up_reader, n):
        writer.write(data)
    if then == 'silent':
        await asyncio.sleep(3600)
    task.cancel()
    up_writer.close()
    writer.close()


async def main():
    random.seed(what)
    if what.split('-')[0] in ('flood', 'mute', 'deny', 'drown', 'names', 'uploads', 'brief', 'packets', 'chaos'):
        await asyncssh.create_server(Server, '127.0.0.1', port, server_host_keys=[host_key], authorized_client_keys=authorized)
    else:
        await asyncio.start_server(middle if what.startswith('stage-') else raw, '127.0.0.1', port)
    print('ready', flush=True)
    await asyncio.sleep(3600)

asyncio.run(main())
