#!/usr/bin/env bash
# Figures of the gateway, against the same sshd with a plain authorized_keys file in the same run. One line a figure:
# name value aim ok|short. CMX_FLEET sets the fleet's size (500).
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../scripts/lib.sh"
export CMX_BUILD=$CMX_ROOT/build CMX_BIN=${CMX_BIN:-$CMX_ROOT/build/bin}
. "$here/../tests/e2e/lib.sh"
. "$here/../tests/e2e/gateway/lib.sh"
install_packages socat jq python3-venv nftables iproute2 >/dev/null
need_namespaces
fleet_python
N=${CMX_FLEET:-500}
DEVICES=10000
ulimit -n "$(ulimit -Hn)"

figure() { # figure NAME VALUE AIM OK?(1)
    printf '%s %s %s %s\n' "$1" "$2" "$3" "$([ "$4" = 1 ] && echo ok || echo short)"
}
holds() { awk "BEGIN { print ($1) ? 1 : 0 }"; }
now_us() { date +%s%6N; }
median() { sort -n | awk '{ v[NR] = $1 } END { print (NR % 2) ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }

start_gateway --fleet fd12:3456:789a::/48
python3 - "$DEVICES" >"$TMP/many.csv" <<'PY'
import base64, os, struct, sys
print("name,key,ports")
for i in range(int(sys.argv[1])):
    blob = struct.pack(">I", 11) + b"ssh-ed25519" + struct.pack(">I", 32) + os.urandom(32)
    print(f'many-{i},ssh-ed25519 {base64.b64encode(blob).decode()},"81,8989"')
PY
start=$(now_us)
gw import "$TMP/many.csv" >/dev/null || fail "import"
seconds=$(awk "BEGIN { printf \"%.2f\", ($(now_us) - $start) / 1e6 }")
figure gateway_enrol_10000_s "$seconds" "<=10" "$(holds "$seconds <= 10")"

# What the look-up adds to a login: the same sshd, started for each connection alike, with the key in a file and in the registry.
# Logins in turn; MaxSessions 0 ends each right after authentication.
key a
gw enroll bench-a --key "$TMP/a.pub" --ports 81 >/dev/null || fail "enroll"
A=$(address_of bench-a)
line=$(inside /cmxsafe-authkeys /cmxsafe "$(ssh-keygen -lf "$TMP/a.pub" | awk '{print $2}')")
printf '%s\n' "$line" >"$GW/plain_keys"
grep -v '^AuthorizedKeys' "$GW/sshd_config" >"$GW/sshd_plain"
printf 'AuthorizedKeysFile /cmxsafe/plain_keys\nStrictModes no\n' >>"$GW/sshd_plain"
PA=$(free_port) PB=$(free_port)
for pair in "$PA sshd_plain" "$PB sshd_config"; do
    set -- $pair
    "$BIN/cmxsafe" gateway exec --uid 1000 -- socat "TCP-LISTEN:$1,bind=127.0.0.1,fork,reuseaddr" "EXEC:/usr/sbin/sshd -i -e -f /cmxsafe/$2,nofork" \
        2>>"$TMP/login_sshd.log" & PIDS+=("$!")
done
cat >"$TMP/login.sh" <<'LOGIN'
# login.sh KEY PORT...: milliseconds of one login to each port, in turn, N times
key=$1 n=$2; shift 2
for i in $(seq "$n"); do
    for p in "$@"; do
        s=$(date +%s%6N)
        timeout 20 ssh -F none -i "$key" -p "$p" -l cmxsafe-gw -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o BatchMode=yes \
            -o IdentitiesOnly=yes -o IdentityAgent=none -o LogLevel=VERBOSE 127.0.0.1 true </dev/null 2>"$key.out"
        us=$(($(date +%s%6N) - s))
        if grep -q '^Authenticated to' "$key.out"; then echo "$p $us"; else echo "no login at $p: $(tail -n 1 "$key.out")" >&2; fi
    done
done
LOGIN
wait_for 10 inside sh -c "ss -Hltn | grep -q ':$PB '" || fail "no sshd for the logins"
inside bash "$TMP/login.sh" "$TMP/a" 5 "$PA" "$PB" >"$TMP/logins"
[ "$(wc -l <"$TMP/logins")" = 10 ] || fail "no logins"
inside bash "$TMP/login.sh" "$TMP/a" "${CMX_LOGINS:-60}" "$PA" "$PB" >"$TMP/logins"
plain=$(awk -v p="$PA" '$1 == p { print $2 / 1000 }' "$TMP/logins" | median)
# Of each pair the difference, so that what else the machine does weighs on both alike.
added=$(awk -v a="$PA" -v b="$PB" '$1 == a { x = $2; have = 1 } $1 == b && have { print ($2 - x) / 1000; have = 0 }' "$TMP/logins" | median)
figure gateway_login_plain_file_ms "$plain" "-" 1
figure gateway_lookup_added_ms "$added" "<=5" "$(holds "$added <= 5")"

# The same without the machine's other work: processor time of the two look-ups that an OpenSSH client's login makes.
cpu=$(inside python3 -c '
import resource, subprocess, sys
for _ in range(100):
    subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True)
u = resource.getrusage(resource.RUSAGE_CHILDREN)
print(f"{(u.ru_utime + u.ru_stime) * 1000 / 100 * 2:.2f}")' /cmxsafe-authkeys /cmxsafe "$(ssh-keygen -lf "$TMP/a.pub" | awk '{print $2}')")
figure gateway_two_lookups_cpu_ms "$cpu" "<=5" "$(holds "$cpu <= 5")"

# A fleet loses its gateway and comes back.
start_fleet "$N"
read -r _ n seconds refusals <<<"$(fleet up)"
wait_for 30 listeners_right || fail "listeners are wrong"
stop "$GW_PID"
fleet lost >/dev/null
serve_gateway
read -r _ n seconds refusals <<<"$(fleet up)"
right=0
wait_for 30 listeners_right && right=1
figure "gateway_fleet_${N}_back" "$n" "=$N" "$(holds "$n == $N && $right == 1")"
serial=$(awk "BEGIN { printf \"%.1f\", $plain * $N / 1000 }")
figure "gateway_fleet_${N}_back_s" "$seconds" "-" 1
figure "gateway_fleet_${N}_serial_logins_s" "$serial" "-" 1
figure "gateway_fleet_${N}_refusals" "$refusals" "-" 1

# Memory of a device's session: all of its processes' proportional share, and the gateway's own growth, against the same number
# of sessions at a bare sshd of the same configuration.
# pss PID: KiB of all its descendants; with "self" its own alone.
pss() {
    python3 - "$@" <<'PY'
import os, sys
parents = {}
for p in filter(str.isdigit, os.listdir("/proc")):
    try:
        parents[int(p)] = int(open(f"/proc/{p}/stat").read().rsplit(")", 1)[1].split()[1])
    except OSError:
        pass
root = int(sys.argv[1])
def below(p):
    while p in parents:
        if p == root:
            return True
        p = parents[p]
    return False
wanted = [root] if sys.argv[2:] else [p for p in parents if p != root and below(p)]
total = 0
for p in wanted:
    try:
        total += next(int(l.split()[1]) for l in open(f"/proc/{p}/smaps_rollup") if l.startswith("Pss:"))
    except (OSError, StopIteration):
        pass
print(total)
PY
}
server=$(gw status --json | jq .pid)
sessions=$(pss "$server")
full=$(pss "$server" self)
printf 'quit\n' >&"$FLEET_IN"
wait "$FLEET_PID" 2>/dev/null
wait_for 60 sh -c "[ \"\$('$BIN/cmxsafe' gateway status --json | jq '.sessions | length')\" = 0 ]" || fail "sessions stay"
empty=$(pss "$server" self)
ours=$((sessions + full - empty))
# The bare sshd has every device's key in its file.
sed -E 's/^([^,]*),([^,]*),.*/\2/; 1d' "$TMP/fleet.csv" >"$GW/plain_keys"
PC=$(free_port)
inside sh -c "cp /cmxsafe/sshd_plain /cmxsafe/sshd_bare; sed -i 's/^MaxStartups.*/MaxStartups 1000/; s/^PerSource.*//' /cmxsafe/sshd_bare"
"$BIN/cmxsafe" gateway exec --uid 1000 -- /usr/sbin/sshd -D -f /cmxsafe/sshd_bare -p "$PC" -o ListenAddress=127.0.0.1 2>/dev/null & PIDS+=("$!")
wait_for 10 inside sh -c "ss -Hltn | grep -q ':$PC '" || fail "no bare sshd"

coproc BARE { exec "$BIN/cmxsafe" gateway exec -- "$FLEET_PYTHON" "$ROOT/tests/tools/gateway_fleet.py" run "$TMP/fleet" "$PC" cmxsafe-gw 81 2>>"$TMP/fleet.log"; }
PIDS+=("$BARE_PID")
printf 'up\n' >&"${BARE[1]}"
IFS= read -r -t 300 -u "${BARE[0]}" _ || fail "the bare sshd's sessions do not come up"
bare_pid=$(pgrep -f "sshd: /usr/sbin/sshd .*sshd_bare" | head -1)
bare=$(pss "$bare_pid")
ratio=$(awk "BEGIN { printf \"%.3f\", $ours / $bare }")
figure gateway_session_kib "$((ours / N))" "-" 1
figure gateway_bare_session_kib "$((bare / N))" "-" 1
figure gateway_session_to_bare "$ratio" "<=1.05" "$(holds "$ratio <= 1.05")"
