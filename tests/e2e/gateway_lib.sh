# gateway_lib.sh - for gateway scenarios: a gateway in --user mode, keys, clients. Source it after lib.sh.
GW=$TMP/gateway
export CMXSAFE_GATEWAY=$GW
gw() { "$BIN/cmxsafe" gateway "$@"; }
inside() { "$BIN/cmxsafe" gateway exec -- "$@"; }

need_namespaces() {
    unshare --user --net --mount true 2>/dev/null || skip "no user namespaces here"
    [ "$(id -u)" = 0 ] || command -v newuidmap >/dev/null || skip "newuidmap (package uidmap) is needed without root"
    [ -e /proc/net/if_inet6 ] || skip "no IPv6 here"
}

# start_gateway [init options]: initialises a gateway and runs it on a free loopback port, GW_PORT.
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

# record_events: adds a hook that appends each event to $TMP/events.
record_events() {
    mkdir "$GW/hooks.d"
    printf '#!/bin/sh\ncat >>"%s"\n' "$TMP/events" >"$GW/hooks.d/log"
    chmod 755 "$GW/hooks.d/log"
    : >"$TMP/events"
}

key() { [ -f "$TMP/$1" ] || ssh-keygen -q -t ed25519 -N '' -C "$1" -f "$TMP/$1"; }

address_of() { gw show "$1" --json | jq -r .device.address; }

# client KEY [ssh arguments] &: runs a stock ssh that logs in with KEY; $! is its process.
client() {
    local key=$1
    shift
    exec ssh -i "$TMP/$key" -p "$GW_PORT" -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel="${SSH_LOG:-ERROR}" \
        -o BatchMode=yes -o IdentitiesOnly=yes -o IdentityAgent=none -o ExitOnForwardFailure=yes -o ConnectTimeout=20 \
        -F none -l cmxsafe-gw 127.0.0.1 "$@"
}
# keep_client KEY [ssh arguments]: starts a client in the background, and starts it again whenever it has ended.
keep_client() {
    (
        trap 'kill "$c" 2>/dev/null; exit' TERM
        while :; do
            client "$@" & c=$!
            wait "$c"
            sleep 0.2
        done
    ) >/dev/null 2>&1 & PIDS+=("$!")
}
# try_client KEY [ssh arguments]: like client, but in the foreground and for at most 20 s. Also fails if the login
# succeeds and the session lasts 20 s, so use the functions below for logins that must be refused.
try_client() {
    TMP=$TMP GW_PORT=$GW_PORT SSH_LOG=${SSH_LOG:-} timeout 20 bash -c "$(declare -f client); client \"\$@\"" - "$@"
}
# refused_login, refused_listen, refused_open, refused_session KEY [ssh arguments]: succeed if sshd refuses the key, the
# listener, the connection or the session, and ssh prints the matching message. $TMP/refused keeps the output of ssh.
refused_with() {
    local words=$1 status=0
    shift
    SSH_LOG=INFO try_client "$@" </dev/null >"$TMP/refused" 2>&1 || status=$?
    [ "$status" = 255 ] && grep -qE -- "$words" "$TMP/refused" && return
    echo "ssh $* ended with $status, without '$words': $(head -c 2000 "$TMP/refused")" >&2
    return 1
}
refused_login() { refused_with 'Permission denied \(publickey\)' "$@"; }
refused_listen() { refused_with 'remote port forwarding failed for listen port' "$@"; }
refused_open() { refused_with 'open failed: administratively prohibited' "$@"; }
refused_session() { refused_with 'channel 0: open failed' "$@"; }

# fail_logins TEXT KEY [ssh arguments]: tries to log in with KEY until the log contains TEXT, or the source should have a penalty of a
# minute. Each failed login adds 5 s to the penalty, which decreases with time, so a slow machine needs more of them.
fail_logins() {
    local text=$1 begin=$SECONDS tries=0 other
    shift
    while [ "$tries" -lt 80 ] && [ $((tries * 5 - (SECONDS - begin))) -lt 60 ]; do
        try_client "$@" 2>/dev/null & other=$!
        try_client "$@" 2>/dev/null
        wait "$other"
        ! logged "$text" || return 0
        tries=$((tries + 2))
    done
    return 1
}

# pause PID: stops a process of the gateway at a moment when it holds no lock on the registry. With a lock, the stopped
# process would block the others.
pause() {
    local _
    for _ in $(seq 50); do
        flock "$GW/apply.lock" kill -STOP "$1" || return 1
        sql -cmd '.timeout 0' "$GW/registry.db" 'BEGIN EXCLUSIVE; ROLLBACK' >/dev/null 2>&1 && return 0
        kill -CONT "$1"; sleep 0.1
    done
    return 1
}

# web TEXT: starts a small HTTP server on the loopback that answers TEXT; sets WEB to its port.
web() {
    WEB=$(free_port)
    mkdir -p "$TMP/www-$WEB"
    printf '%s\n' "$1" >"$TMP/www-$WEB/index.html"
    python3 -m http.server -b 127.0.0.1 -d "$TMP/www-$WEB" "$WEB" >/dev/null 2>&1 &
    PIDS+=("$!")
    wait_for 10 listening "$WEB" || fail "no web server"
}

connected() { gw status --json | json_is '[.sessions[] | select(.name == $n)] | length > 0' --arg n "$1" >/dev/null; }
gone() { ! connected "$1"; }
fetch() { inside curl -sS -m 5 "$@"; }
answers() { [ "$(fetch "$1" 2>/dev/null)" = "$2" ]; }
logged() { grep -q -- "$1" "$TMP/gateway.log"; }

# event WHAT NAME: succeeds if a hook has written this event to $TMP/events.
event() { [ "$(jq -n --arg e "$1" --arg n "$2" '[inputs] | map(select(.event == $e and .name == $n)) | length > 0' "$TMP/events")" = true ]; }
# await_hooks: waits until the worker gives events to hooks. It gives them only events that are newer than its first look at the registry.
await_hooks() {
    handed() { sql "$GW/registry.db" "INSERT INTO event(at, what, who, detail) VALUES(1, 'begin', 'x', '')" && sleep 1 && event begin x; }
    wait_for 20 handed || fail "the worker gives no event to the hooks"
}

# Fails if a sanitizer reported anything in the gateway.
no_complaints() {
    no_sanitizer_report "$TMP/gateway.log" || fail "a sanitizer complains"
}
stop_gateway() {
    stop "$GW_PID"
    no_complaints
}

# fleet_python: sets FLEET_PYTHON to a Python interpreter with asyncssh.
fleet_python() { FLEET_PYTHON=$(python_with asyncssh==2.24.1) || fail "asyncssh cannot be installed"; }

# start_fleet N: creates and enrols N devices and starts a process that simulates them; `fleet COMMAND` sends it a command.
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

# Checks that every device is connected and has exactly one listener: on port 81 of its own address.
listeners_right() {
    gw status --json | jq -r '.sessions[] | .name + " " + (.forwards | join(","))' | sort >"$TMP/listeners.is"
    sed -E 's/^([^ ]*) (.*)$/\1 [\2]:81/' "$TMP/fleet/addresses" | sort >"$TMP/listeners.should"
    diff "$TMP/listeners.should" "$TMP/listeners.is" >"$TMP/listeners.log"
}
