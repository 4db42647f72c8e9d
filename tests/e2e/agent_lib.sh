#!/usr/bin/env bash
# agent_lib.sh - configures, starts and queries cmxsafed in scenarios. Source it after lib.sh.
CONF=$TMP/cmxsafed.conf
RUN=$TMP/run
AGENT_LOG=$TMP/cmxsafed.log
AGENT_PREFIX=() # words that precede the command line of cmxsafed
mkdir "$RUN"

# gateway_section: prints [agent] with AGENT_LINES, and [gateway] for the scenario's sshd with short pauses between
# retries.
gateway_section() {
    cat <<C
[agent]
control_socket = $RUN/s
${AGENT_LINES:-}
[gateway]
host = 127.0.0.1
port = $SSHD_PORT
user = ${GATEWAY_USER:-$SSHD_USER}
host_key = $PIN
${CREDENTIAL:-key_file = $KEY}
backoff_min = 200ms
backoff_max = 1s
C
}

# reverse NAME LOCAL REMOTE: prints the section of a reverse context.
reverse() { printf '[context %s]\nlocal_port = %s\nremote_port = %s\n' "$1" "$2" "$3"; }

# serve_folder PORT FOLDER: serves the folder over HTTP on the loopback.
serve_folder() {
    python3 -m http.server -d "$2" --bind 127.0.0.1 "$1" >"$TMP/http.$1.out" 2>&1 &
    PIDS+=($!)
    wait_for 20 listening "$1" || fail "http.server does not listen"
}

start_agent() {
    "${AGENT_PREFIX[@]+"${AGENT_PREFIX[@]}"}" "$BIN/cmxsafed" -c "$CONF" >>"$AGENT_LOG" 2>&1 &
    AGENT=$!
    PIDS+=("$AGENT")
}

json() { "$BIN/cmxsafed" status --socket "$RUN/s" --json; }
# field JQ-EXPRESSION: prints the value of the expression on the agent's status.
field() { json | jq -r "$1"; }
field_is() { [ "$(field "$1")" = "$2" ]; }
context() { field ".contexts[] | select(.name == \"$1\") | $2"; }
context_is() { [ "$(context "$1" "$2")" = "$3" ]; }
wait_up() { wait_for 60 field_is .all_up true || { json; fail "the contexts do not come up"; }; }

logged() { grep -qF -- "$1" "$AGENT_LOG"; }

# end_agent: sends SIGTERM; fails if a sanitizer reported anything.
end_agent() {
    kill -TERM "$AGENT"
    wait "$AGENT"
    local code=$?
    [ "$code" = 0 ] || fail "cmxsafed ended with $code"
    [ ! -e "$RUN/s" ] || fail "the control socket still exists"
    no_sanitizer_report "$AGENT_LOG" || fail "a sanitizer complains"
}
