#!/usr/bin/env bash
# While its sessions are up, the agent's memory holds no private key: neither the key's bytes, nor parts of its file's text,
# nor a key derived from a hardware key. The scenario searches all readable memory of a build without sanitizers, because
# sanitizers keep freed memory.
. "$(dirname "$0")/../lib.sh"
AGENT=$ROOT/build/bin/cmxsafed
[ -x "$AGENT" ] && [ -x "${AGENT}" ] && lacks __asan_init "$AGENT" || skip "no build without sanitizers"
[ "$(id -u)" = 0 ] || skip "reading another process's memory needs root"

cat >"$TMP/scan.py" <<'PY'
# scan.py PID CONTROL KEY-FILE|vector: prints the parts of the key that are in the process's memory, and
# "control" if the text CONTROL is there, which shows that the search works.
import base64, hashlib, re, struct, sys
pid, control, key = sys.argv[1:]
if key == "vector":  # the scalar of the test vector in docs/ATTESTATION.md, in several encodings
    scalar = bytes.fromhex("f5dc9fde1114fc9e44ae7f1bda1a895e0fc03cb18bfd2ba6cb340c2d4cc38f70")
    wanted = {"scalar": scalar, "scalar, little-endian": scalar[::-1], "scalar in hex": scalar.hex().encode()}
    for shift in range(3):
        wanted[f"scalar in base64, {shift}"] = base64.b64encode(b"\0" * shift + scalar)[4:36]
else:
    text = open(key).read().splitlines()[1:-1]
    wanted = {f"line {i}": line[:40].encode() for i, line in enumerate(text) if len(line) > 40 and i > 1}
    blob = base64.b64decode("".join(text))
    public = base64.b64decode(open(key + ".pub").read().split()[1])[-32:]
    at = blob.rfind(public)  # in an unencrypted Ed25519 key the seed directly precedes the second copy of the public half
    if blob.startswith(b"openssh-key-v1\0\0\0\0\4none"):
        wanted["seed"] = blob[at - 32:at]
found = set()
for line in open(f"/proc/{pid}/maps"):
    m = re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \S+\s*(.*)", line)
    if "r" not in m[3] or m[4] in ("[vvar]", "[vsyscall]"):
        continue
    try:
        with open(f"/proc/{pid}/mem", "rb") as f:
            f.seek(int(m[1], 16))
            data = f.read(int(m[2], 16) - int(m[1], 16))
    except OSError:
        continue
    if control.encode() in data:
        found.add("control")
    found |= {f"{name} in {m[4] or m[1]}" for name, v in wanted.items() if v in data}
print("\n".join(sorted(found)))
PY

start_sshd </dev/null
python3 -c 'import sys; sys.stdout.buffer.write(bytes(range(32)))' >"$TMP/hw" && chmod 600 "$TMP/hw"
ssh-keygen -q -t ed25519 -N 'a pass phrase' -f "$TMP/locked"
ssh-keygen -q -t ecdsa -m PEM -N '' -f "$TMP/pem"
echo 'a pass phrase' >"$TMP/phrase" && chmod 600 "$TMP/phrase"
cat "$TMP"/{client_key,locked,pem}.pub >"$TMP/authorized_keys"
[ ! -x "$BIN/cmxsafe" ] || "$BIN/cmxsafe" identity public --key "$TMP/hw" | grep ecdsa >>"$TMP/authorized_keys"

# holds_nothing NAME KEY LINES...: checks that an agent with LINES in its configuration has no part of KEY in memory
# after its session has come up twice.
holds_nothing() {
    local name=$1 key=$2 line port
    shift 2
    port=$(free_port)
    printf '[agent]\ncontrol_socket = %s\nconfine = no\n[gateway]\nhost = 127.0.0.1\nport = %s\nuser = %s\nhost_key = %s\nbackoff_max = 1s\n' \
        "$TMP/ctl" "$SSHD_PORT" "$SSHD_USER" "$PIN" >"$TMP/conf"
    for line in "$@"; do echo "$line" >>"$TMP/conf"; done
    printf '[context web]\nlocal_port = 80\nremote_port = %s\n' "$port" >>"$TMP/conf"
    "$AGENT" -c "$TMP/conf" 2>"$TMP/agent.log" & local agent=$!
    PIDS+=("$agent")
    sessions() { "$AGENT" status --socket "$TMP/ctl" --json | grep -q "\"state\":\"up\".*\"sessions\":$1,"; }
    wait_for 30 sessions 1 || fail "$name: not up"
    for p in $(sshd_children); do kill "$p"; done
    wait_for 30 sessions 2 || fail "$name: not up again"
    [ "$(python3 "$TMP/scan.py" "$agent" "$PIN" "$key")" = control ] || fail "$name: the search of the memory found something else than the control text: $(python3 "$TMP/scan.py" "$agent" "$PIN" "$key" | tr '\n' ';')"
    stop "$agent"
    ok "$name"
}
holds_nothing "a key file" "$TMP/client_key" "key_file = $TMP/client_key"
holds_nothing "a key file with a passphrase" "$TMP/locked" "key_file = $TMP/locked" "key_passphrase_file = $TMP/phrase"
holds_nothing "a PEM file" "$TMP/pem" "key_file = $TMP/pem"
[ -x "$BIN/cmxsafe" ] || { skip_part "a derived key: this build has no cmxsafe"; exit 0; }
holds_nothing "a derived key" vector "[identity]" "key_file = $TMP/hw"
