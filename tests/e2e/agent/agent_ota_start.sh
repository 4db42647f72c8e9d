#!/usr/bin/env bash
# An update is on trial, and its new system keeps the agent from starting or from serving updates. The device cannot be repaired
# remotely then, so the agent rolls the update back after confirm_within.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../agent_lib.sh"
command -v jq >/dev/null || skip "no jq"
cd "$TMP" || exit 1
start_sshd </dev/null
PORT=$(free_port) GATE=$(free_port) WEB=$(free_port)
export CMXSAFED_BOOT_ID=boot-2
# config [LINES]: writes a configuration with LINES before its contexts. Its sections [gateway] and [ota] are complete.
config() {
    { gateway_section
      printf '[ota]\nallow_unsigned = yes\ninstall = cat\nversion = echo 2.0\nspool = %s/spool\nport = %s\nconfirm_within = 10s\n' "$TMP" "$PORT"
      printf '%s = cd %s && echo %s >>calls; [ ! -e slow ] || . ./slow\n' confirm "$TMP" confirm rollback "$TMP" rollback restart "$TMP" restart
      printf '%s\n' "$@"; reverse web "$WEB" "$GATE"; } >"$CONF"
}
# trial PHASE: writes a record with this phase: an update from 1.0 to 2.0 was installed in another boot.
trial() { printf 'phase %s\nboot boot-1\nold 1.0\nboots 0\nstuck 0\nsince 0\nend\n' "$1" >spool.state; rm -f calls; : >"$AGENT_LOG"; }
calls() { [ "$(cat calls 2>/dev/null | tr '\n' ' ')" = "$1" ]; }
# ends: runs the agent, as a service manager does, and expects that it ends with exit status 1.
ends() {
    timeout 30 "${AGENT_PREFIX[@]+"${AGENT_PREFIX[@]}"}" "$BIN/cmxsafed" -c "$CONF" >>"$AGENT_LOG" 2>&1
    [ $? = 1 ] || { cat "$AGENT_LOG"; fail "the agent does not end with 1"; }
}
# rolled_back WHY: expects that an agent that cannot start rolls the update back, but only after confirm_within.
rolled_back() {
    trial installed
    ends
    calls "" || { cat "$AGENT_LOG"; fail "$1: the trial does not last for confirm_within: $(cat calls)"; }
    sleep 10
    ends
    calls "rollback restart " || { cat "$AGENT_LOG" calls; fail "$1: no rollback"; }
    grep -qx "why $1" spool.state && grep -qx "phase going-back" spool.state || { cat spool.state; fail "$1: wrong record"; }
    trial none
    ends
    calls "" || fail "$1: a hook runs although no update is on trial"
}

CREDENTIAL="key_file = $TMP/missing" config
rolled_back "the agent can't start"
ok "a file of [gateway] is missing"

# root without CAP_NET_ADMIN cannot install rules, and neither can another user.
config '[isolation]' 'enabled = yes'
[ "$(id -u)" != 0 ] || AGENT_PREFIX=(setpriv --inh-caps -net_admin --bounding-set -net_admin)
rolled_back "the agent can't start"
logged "isolation is enabled but the agent has no permission" || { cat "$AGENT_LOG"; fail "the log has another error"; }
AGENT_PREFIX=()
ok "isolation cannot be installed"

CREDENTIAL=' ' config '[identity]' "key_file = $TMP/missing"
trial installed
start_agent
wait_for 20 logged "no session is opened, because the login needs this key" || fail "the agent does not wait for the key"
sleep 2
calls "" || fail "the trial does not last for confirm_within while the agent waits"
echo 'while [ -e slow ]; do sleep 0.1; done' >slow # the status must not wait for a slow hook
wait_for 20 calls "rollback " || { cat "$AGENT_LOG"; fail "no rollback while the agent waits for its key"; }
timeout 20 "$BIN/cmxsafed" status --socket "$RUN/s" >/dev/null || fail "the status waits for the rollback hook"
rm slow
wait_for 20 calls "rollback restart " || { cat "$AGENT_LOG"; fail "no restart while the agent waits for its key"; }
grep -qx "why no key for the login" spool.state || { cat spool.state; fail "wrong record"; }
end_agent
ok "the key of [identity] is missing"

config
python3 -m http.server --bind 127.0.0.1 "$PORT" >/dev/null 2>&1 & PIDS+=($!)
wait_for 20 listening "$PORT" || fail "no service on the port"
trial installed
start_agent
# All contexts are up, so the agent's loop wakes up once a minute.
wait_for 90 calls "rollback restart " || { cat "$AGENT_LOG"; fail "no rollback without an update service"; }
grep -qx "why no update service" spool.state || { cat spool.state; fail "wrong record"; }
end_agent
ok "the port of the update service is in use"

EVIDENCE=$(free_port)
head -c 32 /dev/urandom >hw.key && chmod 600 hw.key
slot_state() { curl -sS -m 10 -H 'Accept: application/json' "http://127.0.0.1:$EVIDENCE/evidence?nonce=0011223344556677" | jq -r .slot_state; }
SSHD_PORT=$(free_port) PORT=$(free_port) # no gateway listens there
config '[identity]' "key_file = $TMP/hw.key" '[attest]' 'enabled = yes' "port = $EVIDENCE"
sed -i "s|^allow_unsigned.*|key_file = $TMP/missing.pub|" "$CONF"
trial installed
start_agent
wait_for 10 listening "$EVIDENCE" && [ "$(slot_state)" = pending-verify ] || fail "the evidence without the update key: $(slot_state)"
wait_for 20 calls "rollback restart " || { cat "$AGENT_LOG"; fail "no rollback without the update key"; }
end_agent
ok "the update key is missing"
