"""For bench/ota.sh. `delay PORT TARGET MS`: a TCP relay that delays every byte by MS in each direction, without a limit of the rate. `original GATEWAY_PORT USER KEY REMOTE LOCAL`: a reverse forward with the flow control of the original's relay: a channel window
of 8,000 bytes, replenished when half is used, and reads of 512 bytes."""
import asyncio
import sys


async def pump(reader, writer, delay):
    loop, queue = asyncio.get_running_loop(), asyncio.Queue()

    async def out():
        while True:
            due, data = await queue.get()
            await asyncio.sleep(max(0, due - loop.time()))
            if not data:
                break
            writer.write(data)
            await writer.drain()
        writer.close()

    task = asyncio.create_task(out())
    try:
        while data := await reader.read(65536):
            queue.put_nowait((loop.time() + delay, data))
    except OSError:
        pass
    queue.put_nowait((loop.time() + delay, b""))
    await task


async def delay(port, target, ms):
    async def accept(reader, writer):
        r, w = await asyncio.open_connection("127.0.0.1", target)
        await asyncio.gather(pump(reader, w, ms / 1000), pump(r, writer, ms / 1000), return_exceptions=True)

    server = await asyncio.start_server(accept, "127.0.0.1", port)
    await server.serve_forever()


async def original(gateway, user, key, remote, local):
    import asyncssh

    async def copy(reader, writer):
        while data := await reader.read(512):
            writer.write(data)
            await writer.drain()
        writer.write_eof()

    async def accept(reader, writer):
        r, w = await asyncio.open_connection("127.0.0.1", local)
        await asyncio.gather(copy(reader, w), copy(r, writer), return_exceptions=True)

    async with asyncssh.connect("127.0.0.1", gateway, username=user, client_keys=[key], known_hosts=None) as c:
        await c.start_server(lambda *peer: accept, "localhost", remote, window=8000, encoding=None)
        await c.wait_closed()


if sys.argv[1] == "delay":
    asyncio.run(delay(int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])))
else:
    asyncio.run(original(int(sys.argv[2]), sys.argv[3], sys.argv[4], int(sys.argv[5]), int(sys.argv[6])))
