#!/usr/bin/env bash
# Tests reloads by SIGHUP: contexts are added, removed and changed while a transfer on another context continues
# undisturbed. An invalid file changes nothing and is reported. A reload also reads the files that the configuration
# names.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../agent_lib.sh"
for tool in jq python3; do command -v "$tool" >/dev/null || skip "no $tool"; done

start_sshd </dev/null
WEB=$(free_port) OTHER=$(free_port) KEEP=$(free_port) SECOND=$(free_port) THIRD=$(free_port)
mkdir "$TMP/www" "$TMP/other"
head -c 40000000 /dev/urandom >"$TMP/www/big"
echo other >"$TMP/other/index.html"
serve_folder "$WEB" "$TMP/www"
serve_folder "$OTHER" "$TMP/other"

reload() { # reload EXPECTED-LOG-LINE: sends SIGHUP and waits for the line
    : >"$AGENT_LOG"
    kill -HUP "$AGENT"
    wait_for 20 logged "$1" || fail "reload does not report: $1"
}
write_conf() { { gateway_section; cat; } >"$TMP/new.conf" && mv "$TMP/new.conf" "$CONF"; } # replaces the file, as an editor does
serves() { [ "$(curl -sS --max-time 10 "http://127.0.0.1:$1/" 2>/dev/null)" = "$2" ]; }
closed() { ! listening "$1"; }

{ reverse keep "$WEB" "$KEEP"; reverse second "$OTHER" "$SECOND"; } | write_conf
start_agent
wait_up
curl -sS --limit-rate 4M -o "$TMP/got" "http://127.0.0.1:$KEEP/big" &
TRANSFER=$!
PIDS+=("$TRANSFER")
wait_for 20 context_is keep .relays.open 1 || fail "the transfer does not start"

# ---- added ----
{ reverse keep "$WEB" "$KEEP"; reverse second "$OTHER" "$SECOND"; reverse third "$OTHER" "$THIRD"; } | write_conf
reload "read again: 3 contexts"
wait_for 30 serves "$THIRD" other || fail "an added context does not come up"
[ "$(context second .sessions)" = 1 ] || fail "adding a context disturbed another"
ok "added"

# ---- changed ----
{ reverse keep "$WEB" "$KEEP"; reverse second "$WEB" "$SECOND"; reverse third "$OTHER" "$THIRD"; } | write_conf
reload "read again: 3 contexts"
wait_for 30 context_is second .local_port "$WEB" || fail "a changed context keeps its old port"
wait_up
wait_for 30 sh -c "curl -sS --max-time 5 http://127.0.0.1:$SECOND/ | grep -q big" || fail "a changed context leads to the old service"
[ "$(context third .sessions)" = 1 ] || fail "changing a context disturbed another"
ok "changed"

# ---- removed ----
{ reverse keep "$WEB" "$KEEP"; reverse third "$OTHER" "$THIRD"; } | write_conf
reload "read again: 2 contexts"
wait_for 30 closed "$SECOND" || fail "a removed context still listens"
field_is '.contexts | length' 2 || fail "a removed context is still in the status"
ok "removed"

# ---- broken ----
{ reverse keep "$WEB" "$KEEP"; reverse third "$OTHER" 0; echo 'colour = red'; } | write_conf
reload "the old configuration stays in force"
wait_for 10 logged "$CONF:" || fail "the error has no line"
wait_for 10 logged "unknown key 'colour'" || fail "not all errors are logged"
field '.config.reload_failed.error' | grep -q 'remote_port: 0 is out of range' || fail "the failed reload is not in the status"
"$BIN/cmxsafed" status --socket "$RUN/s" | grep -q '^reload failed .* ago: .*; the old configuration is in force$' || fail "table"
serves "$THIRD" other || fail "a broken file changed something"
rm "$CONF"
reload "the old configuration stays in force"
ok "broken"

# ---- the log level is applied; an option that needs a restart is named; a valid file clears the failure ----
AGENT_LINES=$'log_level = debug\nconfine = no' write_conf < <(reverse keep "$WEB" "$KEEP"; reverse third "$OTHER" "$THIRD")
reload "[agent] confine: the change takes effect when the agent restarts"
field_is .config.reload_failed null || fail "a good reload does not clear the failure"
ok "settings of the agent"

# ---- the transfer was not disturbed ----
wait "$TRANSFER" || fail "the transfer was cut"
cmp "$TMP/www/big" "$TMP/got" || fail "the transfer is damaged"
[ "$(context keep .sessions)" = 1 ] || fail "the untouched context has a new session"
[ "$(context keep .relays.total)" = 1 ] || fail "the untouched context had more than one connection"
ok "untouched transfer"

# ---- a reload with an invalid file, or with a change that needs a restart, changes nothing ----
head -c 24000000 /dev/urandom >"$TMP/other/part" # much more than the buffers between the service and curl hold
(umask 077; head -c 32 /dev/urandom >"$TMP/hw.key")
curl -sS --limit-rate 4M -o "$TMP/got" "http://127.0.0.1:$THIRD/part" &
TRANSFER=$!
PIDS+=("$TRANSFER")
wait_for 20 context_is third .relays.open 1 || fail "the transfer does not start"
write_conf < <(reverse keep "$WEB" "$KEEP"; printf '[identity]\nkey_file = %s\n' "$TMP/hw.key")
reload "[identity] key_file: a change needs a restart of the agent"
wait_for 20 logged "the old configuration stays in force" || fail "a change of the identity was applied"
write_conf < <(reverse keep "$WEB" "$KEEP"; printf '[ota]\ninstall = cat\nkey_file = %s\n' "$TMP/none.pub")
reload "[ota] key_file $TMP/none.pub: No such file or directory"
wait_for 20 logged "the old configuration stays in force" || fail "an invalid file was applied"
wait "$TRANSFER" && cmp "$TMP/other/part" "$TMP/got" || fail "a refused reload cut a transfer"
write_conf < <(reverse keep "$WEB" "$KEEP"; reverse third "$OTHER" "$THIRD")
reload "read again: 2 contexts"
ok "a refused file changes nothing"

# ---- the files named in [gateway] are read again: a key that others can read is refused ----
chmod 640 "$KEY"
reload "group or others can access it"
chmod 600 "$KEY"
end_agent
ok "key permissions on reload"

# ---- confine_ports = fixed: a reload that needs another port is refused, and the message names it ----
AGENT_LINES='confine_ports = fixed' write_conf < <(reverse keep "$WEB" "$KEEP")
start_agent
wait_up
if [ "$(field '.confinement[] | select(.what == "landlock ports") | .applied')" = true ]; then
    wait_for 20 sh -c "curl -sS --max-time 5 http://127.0.0.1:$KEEP/ | grep -q big" || fail "fixed ports: the service is not reached"
    AGENT_LINES='confine_ports = fixed' write_conf < <(reverse keep "$WEB" "$KEEP"; reverse third "$OTHER" "$THIRD")
    reload "[context third]: local_port $OTHER is usable only after a restart, because confine_ports = fixed"
    field_is '.contexts | length' 1 || fail "a refused reload was applied"
    AGENT_LINES='confine_ports = fixed' write_conf < <(reverse keep "$WEB" "$KEEP"; reverse third "$WEB" "$THIRD")
    reload "read again: 2 contexts"
    wait_up
    ok "fixed ports"
else
    skip_part "confine_ports = fixed: the kernel has no Landlock rules for ports"
fi
end_agent

# Even with the maximum number of contexts, each context can have its own port.
{ AGENT_LINES='confine_ports = fixed' gateway_section | sed "s/^port = .*/port = $(free_port)/"
    for n in {1..512}; do reverse "c$n" $((10000 + n)) $((20000 + n)); echo "session = all"; done; } >"$CONF"
start_agent
wait_for 30 json || fail "the agent does not start with 512 contexts"
reload "read again: 512 contexts"
end_agent
ok "a port for each of 512 contexts"
