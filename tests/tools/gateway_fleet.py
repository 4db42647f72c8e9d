#!/usr/bin/env python3
"""Simulates many devices in one process. Each has a key, one SSH session and one listener, and reconnects as a real device does (exponential backoff with full jitter). The SSH client is asyncssh.

    gateway_fleet.py keys N FILE.csv FOLDER     creates N keys, and a CSV file for `cmxsafe gateway import`
    gateway_fleet.py run FOLDER SSH_PORT USER LISTEN_PORT     each device listens on LISTEN_PORT of its address

run reads FOLDER/addresses (name address), then commands from standard input:
        up        waits until every device is up; prints `up N SECONDS REFUSALS`
        lost      waits until every device is down; prints `lost N`
        quit
"""
import asyncio
import os
import random
import sys
import time

import asyncssh


def make_keys(count, csv, folder):
    os.makedirs(folder, exist_ok=True)
    with open(csv, "w") as out:
        out.write("name,key,ports,group\n")
        for i in range(count):
            key = asyncssh.generate_private_key("ssh-ed25519")
            key.write_private_key(f"{folder}/dev-{i}")
            public = key.export_public_key().decode().split()
            out.write(f'dev-{i},{public[0]} {public[1]},81,fleet\n')


class Fleet:
    def __init__(self, folder, port, user, listen_port):
        self.port, self.user, self.listen_port = port, user, listen_port
        self.up, self.refusals, self.began = set(), 0, time.monotonic()
        self.changed = asyncio.Condition()
        self.devices = []
        with open(f"{folder}/addresses") as f:
            for line in f:
                name, address = line.split()
                self.devices.append((name, address, asyncssh.read_private_key(f"{folder}/{name}")))

    async def mark(self, name, is_up):
        async with self.changed:
            if is_up:
                self.up.add(name)
            else:
                if len(self.up) == len(self.devices):
                    self.began, self.refusals = time.monotonic(), 0
                self.up.discard(name)
            self.changed.notify_all()

    async def device(self, name, address, key):
        ceiling = 1.0
        while True:
            try:
                async with asyncssh.connect("127.0.0.1", self.port, username=self.user, client_keys=[key], known_hosts=None,
                                            agent_path=None, config=None, keepalive_interval=15, login_timeout=30,
                                            connect_timeout=30) as connection:
                    # A busy gateway may never answer the request. Like a real device, give up after a while.
                    await asyncio.wait_for(connection.forward_remote_port(address, self.listen_port, "127.0.0.1", 9), 60)
                    ceiling = 1.0
                    await self.mark(name, True)
                    await connection.wait_closed()
            except (OSError, asyncssh.Error, asyncio.TimeoutError):
                self.refusals += 1
            except Exception as e:  # an exception in asyncssh must not end the simulated device
                self.refusals += 1
                print(f"{name}: {e!r}", file=sys.stderr, flush=True)
            if name in self.up:
                await self.mark(name, False)
            await asyncio.sleep(random.uniform(ceiling / 4, ceiling))
            ceiling = min(ceiling * 2, 60)

    async def until(self, condition):
        async with self.changed:
            await self.changed.wait_for(condition)

    async def obey(self):
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while command := (await reader.readline()).decode().strip():
            if command == "up":
                await self.until(lambda: len(self.up) == len(self.devices))
                print(f"up {len(self.up)} {time.monotonic() - self.began:.2f} {self.refusals}", flush=True)
            elif command == "lost":
                await self.until(lambda: not self.up)
                print(f"lost {len(self.devices)}", flush=True)
            elif command == "quit":
                return


async def run(folder, port, user, listen_port):
    fleet = Fleet(folder, port, user, listen_port)
    tasks = [asyncio.create_task(fleet.device(*d)) for d in fleet.devices]
    await fleet.obey()
    for t in tasks:
        t.cancel()
    os._exit(0)


if __name__ == "__main__":
    if sys.argv[1] == "keys":
        make_keys(int(sys.argv[2]), sys.argv[3], sys.argv[4])
    else:
        asyncio.run(run(sys.argv[2], int(sys.argv[3]), sys.argv[4], int(sys.argv[5])))
