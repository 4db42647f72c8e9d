#!/usr/bin/env bash
# Measures the gateway relative to the same sshd with a plain authorized_keys file, in the same run; as root also the
# cost of identities and of the packet filter (gateway_system.sh). Prints one line per figure: name value aim ok|short
# [rounds]. CMX_FLEET sets the fleet's size (500), CMX_LOGINS the logins of each round (12), CMX_ROUNDS the rounds (5),
# CMX_SHORT=1 makes fewer rounds, CMX_ONLY=lookup measures the look-up alone.
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../scripts/lib.sh"
export CMX_BUILD=$CMX_ROOT/build CMX_BIN=${CMX_BIN:-$CMX_ROOT/build/bin}
. "$here/../tests/e2e/lib.sh"
. "$here/../tests/e2e/gateway_lib.sh"
. "$here/lib.sh"
install_packages socat jq python3-venv nftables iproute2 >/dev/null
need_namespaces
fleet_python
N=${CMX_FLEET:-500}
DEVICES=10000 ROUNDS=${CMX_ROUNDS:-5} ONLY=${CMX_ONLY:-}
ulimit -n "$(ulimit -Hn)"

now_us() { date +%s%6N; }

start_gateway --fleet fd12:3456:789a::/48
# Measures the enrolment of all devices from ROUNDS files, each with an equal share of the devices. A round's value is the
# time to import its file, multiplied by ROUNDS: the time that all devices would take at this rate.
python3 - "$DEVICES" "$ROUNDS" "$TMP/many" <<'PY'
import base64, os, struct, sys
devices, rounds = int(sys.argv[1]), int(sys.argv[2])
for r in range(rounds):
    with open(f"{sys.argv[3]}.{r}.csv", "w") as f:
        print("name,key,ports", file=f)
        for i in range(r * devices // rounds, (r + 1) * devices // rounds):
            blob = struct.pack(">I", 11) + b"ssh-ed25519" + struct.pack(">I", 32) + os.urandom(32)
            print(f'many-{i},ssh-ed25519 {base64.b64encode(blob).decode()},"81,8989"', file=f)
PY
for ((r = 0; r < ROUNDS; r++)); do
    start=$(now_us)
    gw import "$TMP/many.$r.csv" >/dev/null || fail "import"
    awk "BEGIN { printf \"%.2f\n\", ($(now_us) - $start) / 1e6 * $ROUNDS }" >>"$TMP/enrol"
done
figure gateway_enrol_10000_s "$(awk -v n="$ROUNDS" '{ s += $1 } END { printf "%.2f\n", s / n }' "$TMP/enrol")" "<=" 10 "$(commas <"$TMP/enrol")"

# Measures the time that the registry look-up adds to a login. One port leads to an sshd with the key in a file, the
# other to an sshd that looks the key up in the registry. Logins alternate between the ports; MaxSessions 0 ends each
# login right after authentication.
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
# login.sh KEY N PORT...: logs in to each port in turn, N times, and prints "PORT MICROSECONDS" for each login
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
for _ in $(seq "$ROUNDS"); do
    inside bash "$TMP/login.sh" "$TMP/a" "${CMX_LOGINS:-12}" "$PA" "$PB" >"$TMP/logins"
    awk -v p="$PA" '$1 == p { print $2 / 1000 }' "$TMP/logins" | median >>"$TMP/plain"
    # Takes the difference within each pair of logins, because other load on the machine affects both logins.
    awk -v a="$PA" -v b="$PB" '$1 == a { x = $2; have = 1 } $1 == b && have { print ($2 - x) / 1000; have = 0 }' "$TMP/logins" | median >>"$TMP/added"
done
note_of gateway_login_plain_file_ms "$TMP/plain"
plain=$(median <"$TMP/plain")
figure_of gateway_lookup_added_ms "$TMP/added" "<=" 5

# Measures the look-up without the influence of other load: the processor time of the two look-ups that a login by an
# OpenSSH client causes, and of two starts of a program that does nothing.
cpu_of_two() { # cpu_of_two COMMAND...: prints the processor time of two runs in ms, from the mean of 40 runs
    inside python3 -c '
import resource, subprocess, sys
for _ in range(40):
    subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True)
u = resource.getrusage(resource.RUSAGE_CHILDREN)
print(f"{(u.ru_utime + u.ru_stime) * 1000 / 40 * 2:.2f}")' "$@"
}
for _ in $(seq "$ROUNDS"); do
    cpu_of_two /cmxsafe-authkeys /cmxsafe "$(ssh-keygen -lf "$TMP/a.pub" | awk '{print $2}')" >>"$TMP/two"
    cpu_of_two /bin/true >>"$TMP/nothing"
done
figure_of gateway_two_lookups_cpu_ms "$TMP/two" "<=" 5
note_of gateway_two_starts_cpu_ms "$TMP/nothing"
[ "$ONLY" != lookup ] || exit 0

# Measures how a fleet reconnects after its gateway was stopped and started again.
start_fleet "$N"
read -r _ n seconds refusals <<<"$(fleet up)"
wait_for 30 listeners_right || fail "listeners are wrong"
for _ in 1 2 3; do
    stop "$GW_PID"
    fleet lost >/dev/null
    serve_gateway
    read -r _ n seconds refusals <<<"$(fleet up)"
    wait_for 30 listeners_right || n=0
    echo "$n" >>"$TMP/back"; echo "$seconds" >>"$TMP/back_s"; echo "$refusals" >>"$TMP/refusals"
done
figure "gateway_fleet_${N}_back" "$(sort -n "$TMP/back" | head -n 1)" ">=" "$N" "$(commas <"$TMP/back")"
note_of "gateway_fleet_${N}_back_s" "$TMP/back_s"
note "gateway_fleet_${N}_serial_logins_s" "$(awk "BEGIN { printf \"%.1f\", $plain * $N / 1000 }")"
note_of "gateway_fleet_${N}_refusals" "$TMP/refusals"

stop_gateway
[ "$(id -u)" != 0 ] || bash "$here/gateway_system.sh"
