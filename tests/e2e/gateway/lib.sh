# lib.sh - for the gateway's scenarios: a gateway in --user mode, keys, clients. Source it after tests/e2e/lib.sh.
GW=$TMP/gateway
export CMXSAFE_GATEWAY=$GW
gw() { "$BIN/cmxsafe" gateway "$@"; }
inside() { "$BIN/cmxsafe" gateway exec -- "$@"; }

need_namespaces() {
    unshare --user --net --mount true 2>/dev/null || skip "no user namespaces here"
    [ "$(id -u)" = 0 ] || command -v newuidmap >/dev/null || skip "newuidmap (package uidmap) is needed without root"
    [ -e /proc/net/if_inet6 ] || skip "no IPv6 here"
}

# start_gateway [init options]: sets it up and runs it on a free loopback port, GW_PORT.
start_gateway() {
    GW_PORT=${GW_PORT:-$(free_port)}
    gw init --user --listen "127.0.0.1:$GW_PORT" --host 127.0.0.1 "$@" >"$TMP/init.out" || fail "init"
    serve_gateway
}
serve_gateway() {
    "$BIN/cmxsafe" gateway serve 2>>"$TMP/gateway.log" &
    GW_PID=$!
    PIDS+=("$GW_PID")
    wait_for 20 gw status || fail "the gateway does not come up"
}

key() { [ -f "$TMP/$1" ] || ssh-keygen -q -t ed25519 -N '' -C "$1" -f "$TMP/$1"; }

address_of() { gw show "$1" --json | jq -r .device.address; }

# client KEY [ssh arguments] &: a stock ssh as that device; $! is ssh itself.
client() {
    local key=$1
    shift
    exec ssh -i "$TMP/$key" -p "$GW_PORT" -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR \
        -o BatchMode=yes -o IdentitiesOnly=yes -o IdentityAgent=none -o ExitOnForwardFailure=yes -o ConnectTimeout=20 \
        -F none -l cmxsafe-gw "$@" 127.0.0.1
}
# try_client KEY [ssh arguments]: the same in the foreground, for at most 20 s.
try_client() {
    TMP=$TMP GW_PORT=$GW_PORT timeout 20 bash -c "$(declare -f client); client \"\$@\"" - "$@"
}

# web TEXT: a small HTTP server on the loopback that answers TEXT; sets WEB.
web() {
    WEB=$(free_port)
    mkdir -p "$TMP/www-$WEB"
    printf '%s\n' "$1" >"$TMP/www-$WEB/index.html"
    python3 -m http.server -b 127.0.0.1 -d "$TMP/www-$WEB" "$WEB" >/dev/null 2>&1 &
    PIDS+=("$!")
    wait_for 10 listening "$WEB" || fail "no web server"
}

connected() { gw status --json | jq -e --arg n "$1" '[.sessions[] | select(.name == $n)] | length > 0' >/dev/null; }
gone() { ! connected "$1"; }
fetch() { inside curl -sS -m 5 "$@"; }
answers() { [ "$(fetch "$1" 2>/dev/null)" = "$2" ]; }
logged() { grep -q -- "$1" "$TMP/gateway.log"; }

# A sanitizer's complaint anywhere in the gateway is a failure.
no_complaints() {
    ! grep -E 'ERROR: (Address|Leak|Thread)Sanitizer|runtime error' "$TMP/gateway.log" || fail "a sanitizer complains"
}
stop_gateway() {
    stop "$GW_PID"
    no_complaints
}

# fleet_python: sets FLEET_PYTHON, a Python with asyncssh.
fleet_python() { FLEET_PYTHON=$(python_with asyncssh==2.21.0) || fail "asyncssh can't be installed"; }

# start_fleet N: makes and enrols N devices and starts their process; then `fleet COMMAND` talks to it.
start_fleet() {
    "$FLEET_PYTHON" "$ROOT/tests/tools/gateway_fleet.py" keys "$1" "$TMP/fleet.csv" "$TMP/fleet" || fail "keys"
    gw import "$TMP/fleet.csv" >/dev/null || fail "import"
    gw list --json | jq -r '.[] | select(.group == "fleet") | .name + " " + .address' >"$TMP/fleet/addresses"
    coproc FLEET { exec "$FLEET_PYTHON" "$ROOT/tests/tools/gateway_fleet.py" run "$TMP/fleet" "$GW_PORT" cmxsafe-gw 81 2>>"$TMP/fleet.log"; }
    PIDS+=("$FLEET_PID")
    exec {FLEET_OUT}<&"${FLEET[0]}" {FLEET_IN}>&"${FLEET[1]}"
}
fleet() {
    local line
    printf '%s\n' "$1" >&"$FLEET_IN"
    IFS= read -r -t "${2:-300}" -u "$FLEET_OUT" line || fail "the fleet: no answer to $1"
    printf '%s\n' "$line"
}

# Every device is connected and holds its own address's port, and nothing else.
listeners_right() {
    gw status --json | jq -r '.sessions[] | .name + " " + (.forwards | join(","))' | sort >"$TMP/listeners.is"
    sed -E 's/^([^ ]*) (.*)$/\1 [\2]:81/' "$TMP/fleet/addresses" | sort >"$TMP/listeners.should"
    diff "$TMP/listeners.should" "$TMP/listeners.is" >"$TMP/listeners.log"
}
