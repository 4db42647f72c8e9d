# lib.sh - for scenarios: a temporary folder, free ports, a real sshd, the engine's driver. Source it; cleanup runs at exit.
# Only processes that a scenario started are ended, by their id.
set -u
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
BIN=${CMX_BIN:-$ROOT/build/bin}
TMP=$(mktemp -d "${TMPDIR:-/tmp}/cmx-e2e.XXXXXX")
PIDS=()
CLEANUP=() # more commands, run before the processes are ended
chmod 755 "$TMP"

cleanup() {
    local status=$? c p
    for c in "${CLEANUP[@]+"${CLEANUP[@]}"}"; do eval "$c"; done
    for p in "${PIDS[@]+"${PIDS[@]}"}"; do kill "$p" 2>/dev/null; done
    for p in "${PIDS[@]+"${PIDS[@]}"}"; do wait "$p" 2>/dev/null; done
    if [ "$status" -ne 0 ] && [ "$status" -ne 77 ]; then
        for c in "$TMP"/*.log; do [ -s "$c" ] && { echo "--- $c"; tail -n 40 "$c"; }; done
    fi
    [ -n "${CMX_KEEP:-}" ] || rm -rf "$TMP"
    exit "$status"
}
trap cleanup EXIT
trap 'exit 143' TERM INT

fail() { echo "FAILED: $*" >&2; exit 1; }
skip() { echo "SKIPPED: $*" >&2; exit 77; }
ok() { echo "ok: $*"; }

# free_port: a TCP port of the loopback that nobody uses now. Drawn from below the ephemeral range, so that no outgoing
# connection takes it meanwhile; a lock folder keeps parallel scenarios apart.
PORT_LOCKS=${TMPDIR:-/tmp}/cmx-e2e-ports
free_port() {
    local p i
    mkdir -p "$PORT_LOCKS"
    for i in $(seq 500); do
        p=$((12000 + (RANDOM * 32768 + RANDOM) % 20000))
        if mkdir "$PORT_LOCKS/$p" 2>/dev/null; then
            if ! ss -Hltn "sport = :$p" 2>/dev/null | grep -q .; then echo "$p"; return 0; fi
            rmdir "$PORT_LOCKS/$p"
        elif [ -n "$(find "$PORT_LOCKS/$p" -maxdepth 0 -mmin +30 2>/dev/null)" ]; then
            rmdir "$PORT_LOCKS/$p" 2>/dev/null
        fi
    done
    return 1
}

# wait_for SECONDS COMMAND...: polls until the command succeeds.
wait_for() {
    local end=$((SECONDS + $1))
    shift
    while [ "$SECONDS" -lt "$end" ]; do "$@" >/dev/null 2>&1 && return 0; sleep 0.05; done
    "$@" >/dev/null 2>&1
}

# flip FILE OFFSET: inverts the byte there. A constant in its place may be what a random file holds already.
flip() {
    local byte
    byte=$(xxd -s "$2" -l 1 -p "$1")
    [ -n "$byte" ] || fail "$1 has no byte $2"
    printf '%02x' $((0x$byte ^ 0xff)) | xxd -r -p | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

listening() { ss -Hltn "sport = :$1" | grep -q .; }

# start_sshd [extra configuration lines on standard input]: a stock sshd as the current user on a high loopback port.
# Sets SSHD_PORT, SSHD_PID, PIN (its ed25519 fingerprint), KEY (the client's key file), SSHD_USER. SSHD_PREFIX: a command before it.
SSHD_USER=$(id -un)
start_sshd() {
    [ -f "$TMP/host_ed25519" ] || ssh-keygen -q -t ed25519 -N '' -f "$TMP/host_ed25519"
    [ -f "$TMP/client_key" ] || { ssh-keygen -q -t ed25519 -N '' -f "$TMP/client_key"; cp "$TMP/client_key.pub" "$TMP/authorized_keys"; }
    KEY=$TMP/client_key
    PIN=$(ssh-keygen -lf "$TMP/host_ed25519.pub" | awk '{print $2}')
    : "${SSHD_PORT:=$(free_port)}"
    cat >"$TMP/sshd_config" <<CONF
$(cat)
Port $SSHD_PORT
ListenAddress ${SSHD_ADDRESS:-127.0.0.1}
HostKey $TMP/host_ed25519
AuthorizedKeysFile $TMP/authorized_keys
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
MaxStartups 100
MaxSessions 100
LogLevel VERBOSE
CONF
    # Debian's sshd insists on this folder when root runs it.
    [ "$(id -u)" != 0 ] || mkdir -p /run/sshd
    ${SSHD_PREFIX:-} /usr/sbin/sshd -D -e -f "$TMP/sshd_config" >>"$TMP/sshd.log" 2>&1 &
    SSHD_PID=$!
    PIDS+=("$SSHD_PID")
    [ -n "${SSHD_PREFIX:-}" ] || wait_for 10 listening "$SSHD_PORT" || fail "sshd does not listen"
}

# python_with PACKAGE==VERSION...: an interpreter that has them, in an environment under the build folder made once by name.
python_with() {
    local dir
    dir=${CMX_BUILD:-$ROOT/build}/python-$(printf '%s' "$*" | tr -c 'a-z0-9.\n' '-')
    (
        flock 9
        [ -f "$dir/.ready" ] || { python3 -m venv "$dir" && "$dir/bin/pip" -q install --disable-pip-version-check "$@" && touch "$dir/.ready"; } >&2
    ) 9>"$dir.lock" || return 1
    echo "$dir/bin/python"
}

# The processes that serve sessions of our sshd.
sshd_children() { pgrep -P "$SSHD_PID" -x sshd; }

# stop_sshd: the listener and its sessions (which would outlive it).
stop_sshd() {
    local children p
    children=$(sshd_children)
    stop "$SSHD_PID"
    for p in $children; do kill "$p" 2>/dev/null; done
    return 0
}

# stop PID: ends one of ours and waits for it.
stop() { kill "$1" 2>/dev/null; wait "$1" 2>/dev/null; return 0; }

# start_proxy [gateway options] -- CONTEXT...: the engine's driver against our sshd; then `ask COMMAND` talks to it.
start_proxy() {
    coproc PROXY { exec "$BIN/${PROXY_DRIVER:-proxy_run}" 127.0.0.1 "$SSHD_PORT" "$SSHD_USER" "$KEY" "$PIN" base=100 max=1000 "$@" 2>>"$TMP/proxy.log"; }
    PROXY_RUN=$PROXY_PID
    exec {PROXY_OUT}<&"${PROXY[0]}" {PROXY_IN}>&"${PROXY[1]}" # subshells inherit these, not a coprocess's own
    PIDS+=("$PROXY_RUN")
    answer >/dev/null || fail "proxy_run does not start"
}

# The lines up to the single dot.
answer() {
    local line
    while IFS= read -r -t 60 -u "$PROXY_OUT" line; do
        [ "$line" = . ] && return 0
        printf '%s\n' "$line"
    done
    return 1
}

ask() { printf '%s\n' "$*" >&"$PROXY_IN" && answer; }

up() { [ "$(ask up)" = up ] || { ask status; fail "the contexts do not come up"; }; }

# status_of CONTEXT FIELD
status_of() { ask status | sed -nE "s/^$1 .*\b$2=([^ ]*).*/\1/p"; }
# status_is CONTEXT FIELD VALUE
status_is() { [ "$(status_of "$1" "$2")" = "$3" ]; }

# quit_proxy: ends the driver in its own way; prints its last memory line. A sanitizer's complaint is a failure.
quit_proxy() {
    printf 'quit\n' >&"$PROXY_IN" 2>/dev/null
    wait "$PROXY_RUN" || fail "proxy_run ended with $?"
    ! grep -qE 'ERROR: (Address|Leak|Thread)Sanitizer|runtime error|WARNING: ThreadSanitizer' "$TMP/proxy.log" || fail "a sanitizer complains"
}
