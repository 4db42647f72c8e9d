# lib.sh - for scenarios: a temporary folder, free ports, checks, a real sshd, the engine's driver. Scenarios source it;
# it cleans up when they exit. A scenario ends only processes that it started, by their id.
set -u
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
. "$ROOT/tests/e2e/checks.sh"
BIN=${CMX_BIN:-$ROOT/build/bin}
TMP=$(mktemp -d "${TMPDIR:-/tmp}/cmx-e2e.XXXXXX")
PIDS=()
CLEANUP=() # commands that run at exit, before the processes are ended
chmod 755 "$TMP"

# end_cgroup FOLDER: ends the processes that a scenario started in its control group, and removes the group.
end_cgroup() {
    echo 1 >"$1/cgroup.kill"
    wait_for 20 remove_cgroup "$1"
}
remove_cgroup() { find "$1" -depth -type d -exec rmdir {} + 2>/dev/null; [ ! -e "$1" ]; }

cleanup() {
    local status=$? c p children ours=()
    for c in "${CLEANUP[@]+"${CLEANUP[@]}"}"; do eval "$c"; done
    # The kernel reuses the id of a process that has ended, perhaps for another scenario's process. So only children of this shell
    # are ended. A function in the background runs in a subshell, and its programs are children of the subshell: end both.
    children=" $(pgrep -d ' ' -P $$) "
    for p in "${PIDS[@]+"${PIDS[@]}"}"; do [[ $children != *" $p "* ]] || ours+=("$p" $(descendants "$p")); done
    # A stopped process handles SIGTERM only when it continues. Send SIGCONT before SIGTERM: while a process ends, LeakSanitizer stops
    # it with SIGSTOP. A later SIGCONT would remove this SIGSTOP, and LeakSanitizer would wait for ever.
    for p in "${ours[@]+"${ours[@]}"}"; do kill -CONT "$p" 2>/dev/null; done
    for p in "${ours[@]+"${ours[@]}"}"; do kill "$p" 2>/dev/null; done
    for p in "${ours[@]+"${ours[@]}"}"; do wait "$p" 2>/dev/null; done
    if [ "$status" -ne 0 ] && [ "$status" -ne 77 ]; then
        for c in "$TMP"/*.log; do [ -s "$c" ] && { echo "--- $c"; tail -n 40 "$c"; }; done
    fi
    [ -n "${CMX_KEEP:-}" ] || rm -rf "$TMP"
    exit "$status"
}
trap cleanup EXIT
trap 'exit 143' TERM INT

# fail TEXT: ends the scenario, even from a subshell such as "$(...)" or one part of a pipeline. TEXT says what went wrong.
fail() {
    echo "FAILED: $*" >&2
    [ "$BASHPID" = $$ ] || kill -TERM $$
    exit 1
}
ok() { echo "ok: $*"; }
# skip TEXT: ends the scenario as skipped. skip_part TEXT: reports that a part is skipped; the other parts run.
# scripts/test.sh prints both texts.
skip() { echo "SKIPPED: $*" >&2; exit 77; }
skip_part() { echo "SKIPPED PART: $*" >&2; }

# free_port: prints a TCP port that is free on the loopback. It is below the ephemeral range, so that no outgoing connection
# takes it; a lock folder prevents parallel scenarios from choosing the same port.
PORT_LOCKS=${TMPDIR:-/tmp}/cmx-e2e-ports
claim_port() {
    if mkdir "$PORT_LOCKS/$1" 2>/dev/null; then
        ss -Hltn "sport = :$1" 2>/dev/null | grep -q . || return 0
    elif [ -z "$(find "$PORT_LOCKS/$1" -maxdepth 0 -mmin +30 2>/dev/null)" ]; then
        return 1
    fi
    rmdir "$PORT_LOCKS/$1" 2>/dev/null
    return 1
}
free_port() {
    local p i
    mkdir -p "$PORT_LOCKS"
    for i in $(seq 500); do
        p=$((12000 + (RANDOM * 32768 + RANDOM) % 20000))
        claim_port "$p" && { echo "$p"; return 0; }
    done
    return 1
}

# free_offset: prints a value for port_offset. The board adds it to the ports of its services (81, 8888, 8989); the
# resulting ports are free.
free_offset() {
    local o i
    for i in $(seq 100); do
        o=$(($(free_port) - 8989))
        claim_port $((o + 8888)) && claim_port $((o + 81)) && { echo "$o"; return 0; }
    done
    return 1
}

# flip FILE OFFSET: inverts the byte at OFFSET. (Writing a constant may change nothing, because a random file may
# already contain it.)
flip() {
    local byte
    byte=$(xxd -s "$2" -l 1 -p "$1")
    [ -n "$byte" ] || fail "$1 has no byte $2"
    printf '%02x' $((0x$byte ^ 0xff)) | xxd -r -p | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

# sql FILE [SQL]: runs sqlite3 on a registry. Waits while a gateway writes to it.
sql() { sqlite3 -cmd '.timeout 20000' "$@"; }

listening() { ss -Hltn "sport = :$1" | grep -q .; }

# start_sshd: starts a stock sshd as the current user on a high loopback port, with extra configuration lines from standard
# input. Sets SSHD_PORT, SSHD_PID, PIN (its ed25519 fingerprint), KEY (the client's key file), SSHD_USER. SSHD_PREFIX is a
# command to run it with.
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
    # Debian's sshd needs this folder when root runs it.
    [ "$(id -u)" != 0 ] || mkdir -p /run/sshd
    ${SSHD_PREFIX:-} /usr/sbin/sshd -D -e -f "$TMP/sshd_config" >>"$TMP/sshd.log" 2>&1 &
    SSHD_PID=$!
    PIDS+=("$SSHD_PID")
    [ -n "${SSHD_PREFIX:-}" ] || wait_for 10 listening "$SSHD_PORT" || fail "sshd does not listen"
}

# python_with PACKAGE==VERSION...: prints the path of an interpreter with these packages. Its environment is created once, in
# the build folder.
python_with() {
    local dir
    dir=${CMX_BUILD:-$ROOT/build}/python-$(printf '%s' "$*" | tr -c 'a-z0-9.\n' '-')
    (
        flock 9
        [ -f "$dir/.ready" ] || { python3 -m venv "$dir" && "$dir/bin/pip" -q install --disable-pip-version-check "$@" && touch "$dir/.ready"; } >&2
    ) 9>"$dir.lock" || return 1
    echo "$dir/bin/python"
}

# descendants PID: prints the ids of all descendants of the process.
descendants() {
    local child
    for child in $(pgrep -P "$1"); do
        echo "$child"
        descendants "$child"
    done
}
# sshd_children: prints the ids of the processes that serve sessions of our sshd. In OpenSSH 9.8 and later the process that holds the
# connection is a grandchild of the listener.
sshd_children() { descendants "$SSHD_PID"; }

# stop_sshd: ends the listener and its sessions, which would otherwise continue.
stop_sshd() {
    local children p
    children=$(sshd_children)
    stop "$SSHD_PID"
    for p in $children; do kill "$p" 2>/dev/null; done
    return 0
}

# start_nginx TEXT ADDRESS:PORT...: starts nginx and sets NGINX to its process id. On these listeners nginx reads the
# header of the PROXY protocol and answers TEXT. TEXT may use nginx's variables.
start_nginx() {
    local text=$1 listen=''
    shift
    listen=$(printf 'listen %s proxy_protocol; ' "$@")
    mkdir -p "$TMP/nginx"
    cat >"$TMP/nginx.conf" <<CONF
pid $TMP/nginx/pid;
daemon off;
worker_processes 1;
error_log $TMP/nginx/error.log;
events {}
http {
    access_log off;
    client_body_temp_path $TMP/nginx/b; proxy_temp_path $TMP/nginx/p; fastcgi_temp_path $TMP/nginx/f;
    uwsgi_temp_path $TMP/nginx/u; scgi_temp_path $TMP/nginx/s;
    server { $listen location / { return 200 "$text\n"; } }
}
CONF
    nginx -c "$TMP/nginx.conf" -p "$TMP/nginx" 2>"$TMP/nginx-start.log" &
    NGINX=$!
    PIDS+=("$NGINX")
    for listen; do wait_for 10 listening "${listen##*:}" || fail "nginx: $(cat "$TMP/nginx-start.log")"; done
}
# stop PID: ends a process of this scenario and waits for it.
stop() { kill "$1" 2>/dev/null; wait "$1" 2>/dev/null; return 0; }

# start_proxy [gateway options] -- CONTEXT...: starts the engine's driver against our sshd; `ask COMMAND` then sends it a command.
start_proxy() {
    coproc PROXY { exec "$BIN/${PROXY_DRIVER:-proxy_run}" 127.0.0.1 "$SSHD_PORT" "$SSHD_USER" "$KEY" "$PIN" base=100 max=1000 "$@" 2>>"$TMP/proxy.log"; }
    PROXY_RUN=$PROXY_PID
    exec {PROXY_OUT}<&"${PROXY[0]}" {PROXY_IN}>&"${PROXY[1]}" # subshells inherit these copies, but not the descriptors in PROXY
    PIDS+=("$PROXY_RUN")
    answer >/dev/null || fail "proxy_run does not start"
}

# answer: prints the driver's next answer, up to the line that contains only a dot.
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

# status_of CONTEXT FIELD: prints a field of the context's status.
status_of() { ask status | sed -nE "s/^$1 .*\b$2=([^ ]*).*/\1/p"; }
# status_is CONTEXT FIELD VALUE: succeeds if this field of the status is VALUE.
status_is() { [ "$(status_of "$1" "$2")" = "$3" ]; }

# quit_proxy: asks the driver to end, and checks its exit status and its log.
quit_proxy() {
    printf 'quit\n' >&"$PROXY_IN" 2>/dev/null
    wait "$PROXY_RUN" || fail "proxy_run ended with $?"
    no_sanitizer_report "$TMP/proxy.log" || fail "a sanitizer complains"
}
