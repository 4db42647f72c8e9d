#!/usr/bin/env bash
# Either side starts key re-exchanges under load. A pinned fingerprint matches the gateway's host key of every type.
. "$(dirname "$0")/../lib.sh"

S=$(free_port) R=$(free_port)
client() { python3 "$ROOT/tests/e2e/client.py" "$@"; }
ssh-keygen -q -t rsa -b 3072 -N '' -f "$TMP/host_rsa"; ssh-keygen -q -t ecdsa -N '' -f "$TMP/host_ecdsa"
start_sshd <<CONF
RekeyLimit 3M
HostKey $TMP/host_rsa
HostKey $TMP/host_ecdsa
CONF
python3 "$ROOT/tests/e2e/service.py" "$S" & PIDS+=($!)
wait_for 10 listening "$S" || fail "service"
for type in rsa ecdsa; do
    PIN=$(ssh-keygen -lf "$TMP/host_$type.pub" | awk '{print $2}')
    start_proxy rekey=2000000 -- "echo,$S,$R,max=32"
    up
    client "$R" sink 20000000 || fail "to the device"
    client "$R" source 20000000 || fail "from the device"
    client "$R" many 16 || fail "many"
    [ "$(status_of echo sessions)" = 1 ] || fail "the session ended during the key exchange: $(ask status)"
    quit_proxy
    wait_for 10 eval "! listening $R" || fail "the listener is still open"
    ok "pinned by its $type fingerprint; 40 MB with a re-exchange every 2 to 3 MB"
done
PIN=$(cat "$TMP/host_ed25519.pub")
start_proxy -- "echo,$S,$R"
up; quit_proxy
ok "pinned by a public key line"
