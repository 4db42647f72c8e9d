#!/usr/bin/env bash
# The engine recovers by itself and reports each cause: service down then up, sshd restarted, session processes killed 20
# times, port taken then freed, host key changed, key refused.
. "$(dirname "$0")/../lib.sh"

S=$(free_port) R=$(free_port) D=$(free_port)
client() { python3 "$ROOT/tests/e2e/client.py" "$@"; }
start_service() { python3 "$ROOT/tests/e2e/service.py" "$S" & SERVICE=$!; PIDS+=($!); wait_for 10 listening "$S" || fail "service"; }
works() { client "$R" sink 1000; }

start_sshd </dev/null
start_proxy keepalive=2 -- "echo,$S,$R,session=one" "back,$D,$S,direct=127.0.0.1,session=one"
up
client "$R" refused || fail "service down: the connection is not closed"
status_is echo refused 1 || fail "the refusal is not counted: $(ask status)"
start_service
works || fail "the service is not reachable when it is up again"; ok "service down, then up"
client "$D" sink 100000 || fail "direct"; ok "a direct context reaches the gateway's side, in the same session"

for _ in $(seq 20); do
    for p in $(sshd_children); do kill -KILL "$p"; done
    wait_for 20 status_is echo state up || fail "the session did not come up again: $(ask status)"
    wait_for 20 works || fail "up, but no data passes: $(ask status)"
done
[ "$(status_of echo sessions)" -ge 21 ] || fail "sessions: $(ask status)"
ok "session process killed 20 times"

# The gateway's session ends right after it has sent the last packets of some connections. When the engine answers these
# packets, libssh reads the end of the session, which the engine must notice before the next keepalive.
cat >"$TMP/last.py" <<'PY'
"""last.py SERVICE-PORT PORT ENGINE SSHD...: ends the sessions of the gateway while the engine is stopped."""
import os, signal, socket, sys, time
service_port, port, engine, *sshd = map(int, sys.argv[1:])
listener = socket.create_server(('127.0.0.1', service_port))
clients = [socket.create_connection(('127.0.0.1', port), 20) for _ in range(6)]
servers = [listener.accept()[0] for _ in clients]
for s in servers:
    s.shutdown(socket.SHUT_WR)
for c in clients:
    assert c.recv(1) == b''
time.sleep(0.5)
os.kill(engine, signal.SIGSTOP)
for c in clients:
    c.close()
time.sleep(0.5)
for p in sshd:
    os.kill(p, signal.SIGKILL)
time.sleep(0.5)
os.kill(engine, signal.SIGCONT)
PY
LAST=$(free_port) L=$(free_port)
quit_proxy
start_proxy events=1 keepalive=300 -- "last,$LAST,$L"
up
python3 "$TMP/last.py" "$LAST" "$L" "$PROXY_RUN" $(sshd_children) || fail "last.py failed"
wait_for 10 grep -q "^event session last down" "$TMP/proxy.log" || fail "the end of the session was not noticed"
up
quit_proxy
start_proxy keepalive=2 -- "echo,$S,$R,session=one" "back,$D,$S,direct=127.0.0.1,session=one"
up
ok "the session ends right after connections end"

stop_sshd
client_fails() { ! works 2>/dev/null; }
wait_for 20 client_fails || fail "sshd is down, but something answers"
wait_for 20 status_is echo error refused || fail "wrong cause: $(ask status)"; ok "gateway down: reported as refused"
start_sshd </dev/null
wait_for 20 works || fail "no data passes after the gateway's restart: $(ask status)"; ok "gateway restarted"

# Another process holds the port, then frees it.
stop_sshd
wait_for 10 status_is echo state waiting || fail "the context is not waiting"
python3 -c "
import socket, time
a = socket.create_server(('127.0.0.1', $R)); b = socket.create_server(('::1', $R), family=socket.AF_INET6); time.sleep(300)" & HOLDER=$!; PIDS+=($!)
wait_for 10 listening "$R" || fail "holder"
start_sshd </dev/null
wait_for 20 status_is echo error forward-refused || fail "held port: $(ask status)"
status_is back state up || fail "the other context of the session also waits"
stop "$HOLDER"
wait_for 20 works || fail "freed port: $(ask status)"; ok "port held, then freed: requested again in the same session"

# The gateway has another host key: the device offers no credential and reports the error `host-key`.
stop_sshd
mv "$TMP/host_ed25519" "$TMP/good_key"; mv "$TMP/host_ed25519.pub" "$TMP/good_key.pub"; GOOD=$PIN
: >"$TMP/sshd.log"
start_sshd </dev/null
wait_for 20 status_is echo error host-key || fail "host key: $(ask status)"
wait_for 10 grep -q "HOST KEY NOT PINNED" "$TMP/proxy.log" || fail "the log does not report the wrong host key: $(tail -n 3 "$TMP/proxy.log")"
lacks -E "Accepted|Failed|userauth" "$TMP/sshd.log" || fail "a credential was offered to the wrong gateway"
stop_sshd
mv "$TMP/good_key" "$TMP/host_ed25519"; mv "$TMP/good_key.pub" "$TMP/host_ed25519.pub"
start_sshd </dev/null; [ "$PIN" = "$GOOD" ] || fail "test"
wait_for 20 works || fail "right key again: $(ask status)"; ok "host key changed: refused before any credential, then recovered"

# The gateway refuses the key.
cp "$TMP/authorized_keys" "$TMP/authorized_keys.good"; : >"$TMP/authorized_keys"
for p in $(sshd_children); do kill "$p"; done
wait_for 20 status_is echo error auth || fail "key refused: $(ask status)"
cp "$TMP/authorized_keys.good" "$TMP/authorized_keys"
wait_for 20 works || fail "key accepted again: $(ask status)"; ok "key refused, then accepted"
quit_proxy

# The gateway shares no cipher with the device. It closes the connection, as a gateway that stops would do, but the
# engine reports that no cipher matches.
stop_sshd
SSHD_PORT=$(free_port)
start_sshd <<<'Ciphers chacha20-poly1305@openssh.com'
start_proxy ciphers=aes256-ctr -- "echo,$S,$R"
wait_for 20 status_is echo error protocol || fail "no common cipher: $(ask status)"
ask status | grep -q "no match for method encryption" || fail "no common cipher: $(ask status)"
quit_proxy; ok "no common cipher: reported as such"

# The gateway has no host key of the pinned type: the engine recognises this failure by libssh's error text.
stop_sshd
SSHD_PORT=$(free_port)
ssh-keygen -q -t ecdsa -N '' -f "$TMP/host_ecdsa"
start_sshd <<<"HostKey $TMP/host_ecdsa
HostKeyAlgorithms ecdsa-sha2-nistp256"
PIN=$(cat "$TMP/host_ed25519.pub")
start_proxy -- "echo,$S,$R"
wait_for 20 status_is echo error protocol || fail "no common host key: $(ask status)"
ask status | grep -q "no match for method server host key" || fail "no common host key: $(ask status)"
quit_proxy; ok "no host key of the pinned type: reported as such"

# A key is both pinned by its fingerprint and revoked: the revocation wins, before any credential is offered.
stop_sshd
SSHD_PORT=$(free_port)
: >"$TMP/sshd.log"
start_sshd </dev/null
start_proxy "pin=@revoked * $(cut -d' ' -f1,2 "$TMP/host_ed25519.pub")" -- "echo,$S,$R"
wait_for 20 status_is echo error host-key || fail "revoked: $(ask status)"
wait_for 10 grep -q "HOST KEY REVOKED: gateway shows SHA256:" "$TMP/proxy.log" || fail "the log does not report the revoked host key: $(tail -n 3 "$TMP/proxy.log")"
lacks -E "Accepted|Failed|userauth" "$TMP/sshd.log" || fail "a credential was offered"
quit_proxy; ok "a key that is both pinned and revoked is refused"
