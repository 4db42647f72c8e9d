#!/usr/bin/env bash
# Connections at rest: a session with 64 idle connections does not wake up. The connections still react at once when
# either side sends data or closes, when their context is removed, or when the session ends.
. "$(dirname "$0")/../lib.sh"
S=$(free_port) R=$(free_port) Q=$(free_port)
start_sshd </dev/null
PROXY_DRIVER=proxy_run_hasty # connections rest after 200 ms
start_proxy -- "one,$S,$R,max=64,session=s" "two,$S,$Q,max=8,session=s"
up
cat >"$TMP/rest.py" <<'PY'
"""Both ends of the connections. rest.py SERVICE-PORT ONE TWO PID: prints "ready" and answers to lines on its input."""
import glob, re, socket, sys, time
service_port, one, two, pid = sys.argv[1:]
listener = socket.create_server(('127.0.0.1', int(service_port)), backlog=128)

def pair(port):
    client = socket.create_connection(('127.0.0.1', int(port)), 60)
    server, _ = listener.accept()
    for s in client, server:
        s.settimeout(60)
    moved(client, server, b'begin')
    return client, server

def moved(source, sink, data):
    source.sendall(data)
    got = b''
    while len(got) < len(data):
        more = sink.recv(65536)
        assert more, 'the connection ended'
        got += more
    assert got == data, 'other data arrived'

def wakeups():
    return sum(int(re.search(r'^voluntary_ctxt_switches:\s+(\d+)', open(f).read(), re.M)[1])
               for f in glob.glob(f'/proc/{pid}/task/*/status') if 'cmx-' in open(f).read().splitlines()[0])

def rested():
    """Waits until the sessions' tasks wake up at most twice in three seconds; with a tick it would be six times."""
    for _ in range(40):
        before = wakeups()
        time.sleep(3)
        if wakeups() - before <= 2:
            return
    sys.exit('the session does not rest')

pairs = [pair(one) for _ in range(60)] + [pair(two) for _ in range(4)]
rested()
print('the session does not wake up', flush=True)
for client, server in pairs:
    moved(client, server, b'to the device')
    moved(server, client, b'from the device')
rested()
for client, server in pairs:
    moved(server, client, b'the service speaks first')
rested()
big = bytes(range(256)) * 4096
import threading
for client, server in pairs[:3]:
    for a, b in (client, server), (server, client):
        sender = threading.Thread(target=a.sendall, args=(big,))
        sender.start()
        got = 0
        while got < len(big):
            got += len(b.recv(65536))
        sender.join()
print('data passes both ways after a rest', flush=True)
rested()
pairs[0][0].shutdown(socket.SHUT_WR)
assert pairs[0][1].recv(1) == b'', 'the client\'s end does not arrive'
moved(pairs[0][1], pairs[0][0], b'half open')
pairs[0][1].close()
assert pairs[0][0].recv(1) == b'', 'the service\'s end does not arrive'
pairs[1][1].shutdown(socket.SHUT_WR)
assert pairs[1][0].recv(1) == b'', 'the service\'s end does not arrive'
moved(pairs[1][0], pairs[1][1], b'half open')
for s in pairs[1]:
    s.close()
print('half-closes and closes pass after a rest', flush=True)
rested()
print('remove', flush=True)
sys.stdin.readline()
for client, server in pairs[60:]:
    for s in client, server:
        try:
            assert s.recv(1) == b'', 'data instead of the end'
        except ConnectionResetError:
            pass
for client, server in pairs[2:60]:
    moved(client, server, b'the other context')
rested()
print('a removed context ends only its own connections', flush=True)
sys.stdin.readline()
for client, server in pairs[2:60]:
    try:
        assert server.recv(1) == b'', 'data instead of the end'
    except ConnectionResetError:
        pass
print('the end of the session ends all connections', flush=True)
PY
mkfifo "$TMP/in" "$TMP/out"
python3 "$TMP/rest.py" "$S" "$R" "$Q" "$PROXY_RUN" <"$TMP/in" >"$TMP/out" 2>"$TMP/rest.log" & PIDS+=($!)
exec {ENDS_IN}>"$TMP/in" {ENDS_OUT}<"$TMP/out"
# said TEXT: checks that the next line that rest.py prints is TEXT.
said() { local line; IFS= read -r -t 300 -u "$ENDS_OUT" line && [ "$line" = "$1" ] || fail "rest.py printed '${line:-nothing}' instead of '$1'"; }
said 'the session does not wake up'; ok "64 idle connections do not wake their session up"
said 'data passes both ways after a rest'; ok "data passes after a rest, whichever side sends first"
said 'half-closes and closes pass after a rest'; ok "half-closes and closes pass after a rest"
said remove
[ "$(ask set "one,$S,$R,max=64,session=s")" = "set ok" ] || fail "the context is not removed"
echo >&"$ENDS_IN"
said 'a removed context ends only its own connections'; ok "a removed context ends its connections, and no others"
quit_proxy
echo >&"$ENDS_IN"
said 'the end of the session ends all connections'; ok "the end of the session ends connections at rest"
