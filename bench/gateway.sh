#!/usr/bin/env bash
# Figures of the gateway, against the same sshd with a plain authorized_keys file in the same run, and as root those of identities
# and the judge (gateway_system.sh). One line a figure: name value aim ok|short. CMX_FLEET sets the fleet's size (500), CMX_SHORT=1
# makes fewer rounds.
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
DEVICES=10000
ulimit -n "$(ulimit -Hn)"

now_us() { date +%s%6N; }

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
figure gateway_enrol_10000_s "$seconds" "<=" 10

# The time that the registry look-up adds to a login: two sshds, both started per connection, one with the key in a file and
# one with the registry. Logins alternate; MaxSessions 0 ends each right after authentication.
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
# The difference of each pair, because other load on the machine affects both.
added=$(awk -v a="$PA" -v b="$PB" '$1 == a { x = $2; have = 1 } $1 == b && have { print ($2 - x) / 1000; have = 0 }' "$TMP/logins" | median)
note gateway_login_plain_file_ms "$plain"
figure gateway_lookup_added_ms "$added" "<=" 5

# The same without the influence of other load: processor time of the two look-ups that an OpenSSH client's login causes.
cpu=$(inside python3 -c '
import resource, subprocess, sys
for _ in range(100):
    subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True)
u = resource.getrusage(resource.RUSAGE_CHILDREN)
print(f"{(u.ru_utime + u.ru_stime) * 1000 / 100 * 2:.2f}")' /cmxsafe-authkeys /cmxsafe "$(ssh-keygen -lf "$TMP/a.pub" | awk '{print $2}')")
figure gateway_two_lookups_cpu_ms "$cpu" "<=" 5

# A fleet loses its gateway and reconnects.
start_fleet "$N"
read -r _ n seconds refusals <<<"$(fleet up)"
wait_for 30 listeners_right || fail "listeners are wrong"
stop "$GW_PID"
fleet lost >/dev/null
serve_gateway
read -r _ n seconds refusals <<<"$(fleet up)"
wait_for 30 listeners_right || n=0
figure "gateway_fleet_${N}_back" "$n" ">=" "$N"
serial=$(awk "BEGIN { printf \"%.1f\", $plain * $N / 1000 }")
note "gateway_fleet_${N}_back_s" "$seconds"
note "gateway_fleet_${N}_serial_logins_s" "$serial"
note "gateway_fleet_${N}_refusals" "$refusals"

stop_gateway
[ "$(id -u)" != 0 ] || bash "$here/gateway_system.sh"
