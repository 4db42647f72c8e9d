#!/usr/bin/env bash
# The agent loads only the libraries that its configuration needs. If a library is missing, the error names its package.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../agent_lib.sh"

loaded() { grep -q "/lib$1\.so" "/proc/$AGENT/maps"; }
S=$(free_port) R=$(free_port) A=$(free_port)
python3 "$ROOT/tests/e2e/service.py" "$S" & PIDS+=($!)
start_sshd </dev/null

# ---- only the proxy ----
{ gateway_section; reverse echo "$S" "$R"; } >"$CONF"
start_agent
wait_up
loaded ssh || fail "the test does not find the loaded libraries"
for library in nftables microhttpd gnutls tss2-esys seccomp; do
    ! loaded $library || fail "$library is loaded although nothing needs it"
done
[ "$(field '.confinement[] | select(.what == "seccomp") | .applied')" = true ] || echo "note: no seccomp here"
python3 "$ROOT/tests/e2e/client.py" "$R" sink 1000000 || fail "the tunnel does not work"
end_agent
ok "the proxy alone loads none of the modules' libraries"

# ---- a service ----
head -c 32 /dev/urandom >"$TMP/hmac"; chmod 600 "$TMP/hmac"
{ gateway_section; printf '[identity]\nkey_file = %s\n[attest]\nenabled = yes\nport = %s\n' "$TMP/hmac" "$A"; reverse echo "$S" "$R"; } >"$CONF"
start_agent
wait_up
loaded microhttpd || fail "attestation is served without libmicrohttpd"
! loaded nftables || fail "nftables is loaded although nothing needs it"
curl -fsS -m 60 "http://127.0.0.1:$A/evidence?nonce=0011223344556677" -o "$TMP/evidence" && [ -s "$TMP/evidence" ] || fail "no evidence"
end_agent
ok "a service loads its libraries"

# ---- a missing library, simulated by an empty file in a private overlay of the file system ----
[ "$(id -u)" = 0 ] && unshare -m true 2>/dev/null || { skip_part "a missing library: needs root"; exit 0; }
path=$(ldconfig -p | awk '/libmicrohttpd\.so\.[0-9]+ / { print $NF; exit }')
[ -n "$path" ] || fail "ldconfig does not list libmicrohttpd"
AGENT_PREFIX=(unshare -m sh -c 'mount --bind /dev/null "$(readlink -f "$0")" && exec "$@"' "$path")
: >"$AGENT_LOG"
start_agent
wait_up
grep -qE "there is no attestation: an HTTP service needs a library: .*libmicrohttpd\.so.*; install .+; correct this, then restart the agent" "$AGENT_LOG" || { cat "$AGENT_LOG" >&2; fail "wrong message"; }
python3 "$ROOT/tests/e2e/client.py" "$R" sink 1000000 || fail "the tunnel does not work without the library"
end_agent
ok "a missing library keeps nobody from the device, and the error names the package"
