#!/usr/bin/env bash
# Login by keyboard-interactive: the password answers the single hidden prompt of a gateway that uses PAM, and no other prompt.
. "$(dirname "$0")/../lib.sh"

PYTHON=$(python_with asyncssh==2.24.1) || fail "asyncssh cannot be installed"
S=$(free_port) R=$(free_port)
start_sshd </dev/null # creates the keys; the gateways below use the same host key
python3 "$ROOT/tests/e2e/service.py" "$S" & PIDS+=($!)
wait_for 10 listening "$S" || fail "service"
REAL_KEY=$KEY
works() { python3 "$ROOT/tests/e2e/client.py" "$R" sink 1000; }

asking() { # asking WHAT: starts asking.py, a gateway whose prompts WHAT selects; sets SSHD_PORT
    SSHD_PORT=$(free_port)
    : >"$TMP/asking.out"
    "$PYTHON" "$ROOT/tests/e2e/asking.py" "$SSHD_PORT" "$TMP/host_ed25519" "$TMP/authorized_keys" "$1" >"$TMP/asking.out" 2>"$TMP/asking.log" &
    ASKING=$!; PIDS+=("$ASKING")
    wait_for 20 listening "$SSHD_PORT" || fail "asking $1"
}
never_told() { lacks 's3cret' "$TMP/proxy.log" || fail "the password is in the log"; }

taken() { # taken WHAT: checks that the login with the password s3cret-word succeeds
    asking "$1"
    start_proxy password=s3cret-word -- "echo,$S,$R"
    wait_for 20 status_is echo sessions 1 || fail "$1: $(ask status)"
    quit_proxy; stop "$ASKING"; never_told
    ok "$1: logged in"
}
refused() { # refused WHAT TEXT: checks that the login fails with TEXT
    asking "$1"
    start_proxy password=s3cret-word -- "echo,$S,$R"
    wait_for 30 status_is echo error auth || fail "$1: $(ask status)"
    ask status | grep -qF "text=login: $2" || fail "$1: $(ask status)"
    status_is echo sessions 0 || fail "$1: logged in"
    quit_proxy; stop "$ASKING"; never_told
    ok "$1: $2"
}
KEY='' # without a key, only the password is offered
taken one
taken nothing-then-one
refused wrong "credentials refused"
refused shown "the gateway asks for something other than a password"
lacks answers "$TMP/asking.out" || fail "a prompt with echo was answered: $(cat "$TMP/asking.out")"
refused two "the gateway asks for more than a password"
lacks s3cret "$TMP/asking.out" || fail "two prompts got the password"
refused again "the gateway asks again after the password"
[ "$(grep -c s3cret "$TMP/asking.out")" = 1 ] || fail "the password was sent more than once: $(cat "$TMP/asking.out")"
refused endless "the gateway asks endlessly"

# Without a password no prompt is answered.
asking one
KEY=$REAL_KEY
start_proxy -- "echo,$S,$R"
wait_for 20 status_is echo error auth || fail "without a password: $(ask status)"
lacks asked "$TMP/asking.out" || fail "asked without a password"
quit_proxy; stop "$ASKING"
ok "without a password keyboard-interactive is not offered"

# ---- a stock sshd with PAM; a script in this test accepts or refuses each login ----
[ "$(id -u)" = 0 ] && unshare -m true 2>/dev/null || { skip_part "PAM: needs root"; exit 0; }
module=$(find /lib /usr/lib -name pam_exec.so 2>/dev/null | head -n 1)
[ -n "$module" ] || { skip_part "PAM: no pam_exec"; exit 0; }
cat >"$TMP/check" <<'CHECK'
#!/bin/sh
[ "$PAM_TYPE" = auth ] || exit 0
IFS= read -r answer
[ "$answer" = s3cret-word ]
CHECK
chmod 755 "$TMP/check"
printf 'auth required %s quiet expose_authtok %s\nauth required pam_permit.so\naccount required pam_permit.so\nsession required pam_permit.so\n' "$module" "$TMP/check" >"$TMP/pam"
printf '#!/bin/sh\nmount --bind "%s" /etc/pam.d/sshd && exec "$@"\n' "$TMP/pam" >"$TMP/with_pam"
chmod 755 "$TMP/with_pam"
[ -e /etc/pam.d/sshd ] || fail "sshd's PAM service"
with_pam() { # with_pam LINE...: starts a stock sshd with these lines of configuration
    SSHD_PORT=$(free_port)
    : >"$TMP/sshd.log"
    SSHD_PREFIX="unshare -m $TMP/with_pam" start_sshd < <(printf '%s\n' 'UsePAM yes' 'KbdInteractiveAuthentication yes' 'PermitRootLogin yes' "$@")
    wait_for 20 listening "$SSHD_PORT" || fail "sshd with PAM"
}

with_pam
KEY=''
start_proxy password=s3cret-word -- "echo,$S,$R"
up
works || fail "by PAM"
grep -q "Accepted keyboard-interactive/pam" "$TMP/sshd.log" || fail "the login was not by keyboard-interactive: $(tail -n 5 "$TMP/sshd.log")"
quit_proxy; never_told
start_proxy password=wrong -- "echo,$S,$R"
wait_for 30 status_is echo error auth || fail "a wrong password: $(ask status)"
quit_proxy; stop_sshd
ok "a stock sshd with UsePAM and KbdInteractiveAuthentication"

with_pam 'AuthenticationMethods publickey,keyboard-interactive'
start_proxy password=s3cret-word -- "echo,$S,$R"
up
works || fail "a login with key and password fails"
quit_proxy; stop_sshd; never_told
ok "a key, then the password"

with_pam 'PasswordAuthentication yes' 'AuthenticationMethods password,keyboard-interactive'
KEY=''
start_proxy password=s3cret-word -- "echo,$S,$R"
wait_for 30 status_is echo error auth || fail "a second factor: $(ask status)"
ask status | grep -qF "text=login: the gateway asks again after the password" || fail "a second factor: $(ask status)"
grep -q "Partial password" "$TMP/sshd.log" || fail "the password was not tried: $(tail -n 5 "$TMP/sshd.log")"
lacks "keyboard-interactive/pam for" "$TMP/sshd.log" || fail "the second factor got the password"
quit_proxy; stop_sshd
ok "prompts after the password are not answered"
