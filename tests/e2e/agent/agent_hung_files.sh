#!/usr/bin/env bash
# A file is on a file system that does not answer, such as a network mount without its server: each call on it blocks.
# The agent starts nevertheless, the device stays reachable, the control socket answers, and SIGTERM ends the agent.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../agent_lib.sh"
for tool in jq openssl python3; do command -v "$tool" >/dev/null || skip "no $tool"; done

# hang FOLDER: mounts a FUSE file system whose server never reads a request. restore FOLDER: unmounts it.
hang() {
    rm -f "$TMP/hung.out"
    python3 -c '
import ctypes, os, sys, time
fd = os.open("/dev/fuse", os.O_RDWR)
data = b"fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other" % fd
if ctypes.CDLL(None).mount(b"hung", sys.argv[1].encode(), b"fuse", 0, data) != 0:
    sys.exit("no mount")
print("mounted", flush=True)
time.sleep(600)' "$1" >"$TMP/hung.out" 2>&1 &
    HUNG=$!
    PIDS+=("$HUNG")
    wait_for 10 grep -q mounted "$TMP/hung.out"
}
restore() { umount -l "$1"; stop "$HUNG"; }
mkdir "$TMP/hung" "$TMP/www"
CLEANUP+=('umount -l "$TMP/hung" 2>/dev/null')
hang "$TMP/hung" || skip "no FUSE mount: $(cat "$TMP/hung.out")"
restore "$TMP/hung"

start_sshd </dev/null
WEB=$(free_port) GATE=$(free_port) PORT=$(free_port) SERVICE=$(free_port) UPDATE=$(free_port)
echo hello >"$TMP/www/index.html"
serve_folder "$WEB" "$TMP/www"
head -c 32 /dev/urandom >"$TMP/hmac" && chmod 600 "$TMP/hmac"
head -c 70000 /dev/urandom >"$TMP/image"
serves() { [ "$(curl -sS --max-time 10 "http://127.0.0.1:$GATE/" 2>/dev/null)" = hello ]; }
answers() { timeout 10 "$BIN/cmxsafed" status --socket "$RUN/s" >"$TMP/table"; }
# configure KEY IMAGE SPOOL: writes a configuration with these files.
configure() {
    { gateway_section; printf '[identity]\nkey_file = %s\n[attest]\nenabled = yes\nport = %s\nimage = %s\n' "$1" "$PORT" "$2"
      printf '[ota]\ninstall = cat\nallow_unsigned = yes\nport = %s\nspool = %s\n' "$UPDATE" "$3"
      reverse web "$WEB" "$GATE"; reverse service "$PORT" "$SERVICE"; } >"$CONF"
}
# term: expects that SIGTERM ends the agent within its time limit.
term() {
    kill -TERM "$AGENT"
    timeout 60 tail --pid="$AGENT" -f /dev/null &
    wait "$AGENT" || fail "the agent ends with $?"
    no_sanitizer_report "$AGENT_LOG" || fail "a sanitizer complains"
}

# ---- at the start ----
for file in identity attest ota; do
    : >"$AGENT_LOG"
    hang "$TMP/hung" || fail "no mount"
    path=$TMP/hung/folder/file
    configure $([ $file = identity ] && echo "$path" || echo "$TMP/hmac") $([ $file = attest ] && echo "$path" || echo "$TMP/image") \
        $([ $file = ota ] && echo "$path" || echo "$TMP/spool")
    start_agent
    wait_for 30 serves || { cat "$AGENT_LOG"; fail "$file: the device is not reachable"; }
    answers && grep -qF "$path: its file system does not answer" "$TMP/table" || { cat "$TMP/table"; fail "$file: the status does not name the file"; }
    term
    restore "$TMP/hung"
done
ok "at the start"

# ---- a file that the agent needs hangs at the start: the agent ends with an error that names the file, so that its service
# manager starts it again. --check reports the same error, and also reports files of other sections.
: >"$AGENT_LOG"
hang "$TMP/hung" || fail "no mount"
path=$TMP/hung/folder/file
for key in key_file known_hosts_file image; do
    configure "$TMP/hmac" "$([ $key = image ] && echo "$path" || echo "$TMP/image")" "$TMP/spool"
    case $key in
        key_file) sed -i "s|^key_file = $KEY|key_file = $path|" "$CONF" ;;
        known_hosts_file) sed -i "s|^host_key = .*|known_hosts_file = $path|" "$CONF" ;;
    esac
    timeout -s KILL 20 "$BIN/cmxsafed" --check -c "$CONF" >"$TMP/checked" 2>&1
    [ $? = 1 ] && grep -qF ": $key $path: its file system does not answer" "$TMP/checked" || { cat "$TMP/checked"; fail "--check does not name $key"; }
    [ $key != image ] || break
    timeout -s KILL 20 "$BIN/cmxsafed" -c "$CONF" >"$TMP/started" 2>&1
    [ $? = 1 ] && grep -qF ": $key $path: its file system does not answer" "$TMP/started" || { cat "$TMP/started"; fail "the start does not name $key"; }
done
timeout -s KILL 20 "$BIN/cmxsafed" -c "$TMP/hung/conf" >"$TMP/started" 2>&1
[ $? = 1 ] && grep -qF "$TMP/hung/conf: its file system does not answer" "$TMP/started" || { cat "$TMP/started"; fail "the agent does not say that the file system of its configuration does not answer"; }
restore "$TMP/hung"
ok "at the start, the file system of a file that the agent needs does not answer"

# ---- while the agent runs: a request for attestation opens the image, and a reload reads the update key ----
: >"$AGENT_LOG"
openssl ecparam -name prime256v1 -genkey -noout 2>/dev/null | openssl ec -pubout -out "$TMP/hung/update.pub" 2>/dev/null
configure "$TMP/hmac" "$TMP/hung/image" "$TMP/spool"
sed -i "s|^allow_unsigned.*|key_file = $TMP/hung/update.pub|" "$CONF"
start_agent
wait_for 30 serves && wait_for 30 listening "$SERVICE" || fail "the device is not reachable"
hang "$TMP/hung" || fail "no mount"
curl -s -m 3 "http://127.0.0.1:$SERVICE/hash?challenge=ab&ranges=0-16" >/dev/null && fail "an answer from an image that cannot be read"
answers || fail "the status waits for the image"
serves || fail "the device is not reachable while the image does not answer"
kill -HUP "$AGENT"
sleep 1
answers || fail "the status waits for a reload"
failed() { answers && grep -q '^reload failed .* does not answer' "$TMP/table"; }
wait_for 20 failed || { cat "$TMP/table"; fail "the status does not say why the reload does not end"; }
kill -HUP "$AGENT"
restore "$TMP/hung"
wait_for 20 logged "read again" || fail "the reload does not end when the files can be read"
# The first reload was reported as failed, and ends with or without an error when the folder is unmounted; the second one is applied.
wait_for 20 sh -c "[ \$(grep -c 'conf read again\|conf not applied' '$AGENT_LOG') = 3 ]" || fail "the second reload is lost"
reloaded() { answers && lacks '^reload failed' "$TMP/table"; }
wait_for 10 reloaded || fail "the status keeps an old error"
hang "$TMP/hung" || fail "no mount"
kill -HUP "$AGENT"
curl -s -m 3 "http://127.0.0.1:$SERVICE/hash?challenge=ab&ranges=0-16" >/dev/null
serves || fail "the device is not reachable while a reload does not end"
term
restore "$TMP/hung"
ok "while the agent runs, the file system of such a file does not answer"

# ---- the login needs the key: the agent logs in when the file system answers again ----
: >"$AGENT_LOG"
"$BIN/cmxsafe" identity public --key "$TMP/hmac" | head -n 1 >>"$TMP/authorized_keys" || fail "identity public"
hang "$TMP/hung" || fail "no mount"
CREDENTIAL=' ' configure "$TMP/hung/hmac" "$TMP/image" "$TMP/spool"
start_agent
wait_for 20 answers || fail "the agent does not answer while it waits for the key"
! listening "$GATE" || fail "a session is open without the key"
restore "$TMP/hung"
cp -p "$TMP/hmac" "$TMP/hung/hmac"
wait_for 30 serves || fail "the agent does not log in when the key can be read"
end_agent
ok "the key of the login"
