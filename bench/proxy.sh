#!/usr/bin/env bash
# Measures the proxy relative to stock clients of the same stock sshd, in the same run. Prints one line per figure: name
# value aim ok|short rounds; lines that begin with # are the measured values behind them. Because other programs may use
# the machine, peers are measured alternately, and ratios are medians over all rounds.
#
#   down: from the gateway to the device, up: from the device to the gateway. aes: aes128-gcm@openssh.com on both sides,
#   chacha: chacha20-poly1305@openssh.com, default: each side's own choice. 1, 8: simultaneous connections.
#   CMX_ROUNDS: the number of rounds (5). CMX_MB: megabytes per measurement (128). CMX_ONLY (some of: bulk dbclient latency memory mqtt mqtt_link)
#   CMX_SSHD_ROOT (only as root: a folder with another Debian release, whose sshd is measured too, with MQTT over a round trip of 20 ms.
#   `debootstrap --include=openssh-server sid FOLDER` creates it)
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../scripts/lib.sh"
. "$here/lib.sh"
cd "$CMX_ROOT" || exit 1
install_packages "${BUILD_PACKAGES[@]}" "${RUN_PACKAGES[@]}" iproute2 dropbear-bin mosquitto openssl socat
build build
export CMX_BUILD=$CMX_ROOT/build CMX_BIN=$CMX_ROOT/build/bin
. "$here/../tests/e2e/lib.sh"
. "$here/../tests/e2e/agent_lib.sh"

ROUNDS=${CMX_ROUNDS:-5}
MB=${CMX_MB:-128}
ONLY=${CMX_ONLY:-bulk dbclient latency memory mqtt mqtt_link}
AES=aes128-gcm@openssh.com
CHACHA=chacha20-poly1305@openssh.com
LOADGEN=$BIN/loadgen
OURS=$(free_port) THEIRS=$(free_port) SERVICE=$(free_port)

wanted() { case " $ONLY " in *" $1 "*) ;; *) return 1 ;; esac; }
start_sshd </dev/null
"$LOADGEN" serve "$SERVICE" & PIDS+=($!)
wait_for 10 listening "$SERVICE" || fail "the service does not listen"

# start_ssh PORT [OPTION ...]: starts `ssh -R` with the remote port PORT; sets SSH_RUN to its process.
start_ssh() {
    local port=$1
    shift
    ssh -N -F none -i "$KEY" -p "$SSHD_PORT" -o StrictHostKeyChecking=no -o UserKnownHostsFile="$TMP/known" -o LogLevel=ERROR \
        -o ExitOnForwardFailure=yes -R "localhost:$port:127.0.0.1:$SERVICE" "$@" "$SSHD_USER@127.0.0.1" &
    SSH_RUN=$!
    PIDS+=("$SSH_RUN")
    wait_for 20 listening "$port" || fail "ssh -R does not listen"
}
free_of() { ! listening "$1"; }
# both CIPHER|default: starts our proxy on port OURS and ssh -R on port THEIRS.
both() {
    local ours=() theirs=()
    [ "$1" = default ] || { ours=("ciphers=$1"); theirs=(-c "$1"); }
    start_proxy "${ours[@]+"${ours[@]}"}" -- "bench,$SERVICE,$OURS,high=1,max=64"
    up
    start_ssh "$THEIRS" "${theirs[@]+"${theirs[@]}"}"
}
both_end() {
    quit_proxy >/dev/null
    stop "$SSH_RUN"
    wait_for 20 free_of "$OURS" && wait_for 20 free_of "$THEIRS" || fail "a listener stays"
}
# bulk PORT to|from MEGABYTES CONNECTIONS: prints the rate in MB/s
bulk() { timeout 120 "$LOADGEN" bulk "$1" "$2" $(($3 << 20)) "$4"; }

# ---- bulk and CPU ----

bulk_case() { # bulk_case CIPHER NAME AIM: measures transfers both ways, with 1 and 8 connections
    local direction conns round a b way c0 c1 c2 c3
    both "$1"
    bulk "$OURS" to 16 1 >/dev/null; bulk "$THEIRS" to 16 1 >/dev/null
    : >"$TMP/cpu_ratios"
    for direction in to from; do
        way=down; [ $direction = to ] || way=up
        for conns in 1 8; do
            : >"$TMP/ratios"; : >"$TMP/cpu"
            for round in $(seq "$ROUNDS"); do
                c0=$(cpu_us "$PROXY_RUN"); a=$(bulk "$OURS" $direction "$MB" $conns) || fail "bulk over ours"; c1=$(cpu_us "$PROXY_RUN")
                c2=$(cpu_us "$SSH_RUN"); b=$(bulk "$THEIRS" $direction "$MB" $conns) || fail "bulk over ssh -R"; c3=$(cpu_us "$SSH_RUN")
                ratio "$a" "$b" >>"$TMP/ratios"
                ratio $((c1 - c0)) $((c3 - c2)) >>"$TMP/cpu_ratios"
                echo "$a $b $((c1 - c0)) $((c3 - c2))" >>"$TMP/cpu"
            done
            awk -v n="$2 $way $conns" -v per="$(awk "BEGIN { print 1024 / $MB / 1e6 / $ROUNDS }")" '{ a = a " " $1; b = b " " $2; c += $3; d += $4 }
                END { printf "# bulk %s: ours%s MB/s, ssh -R%s MB/s; CPU s/GB %.2f, %.2f\n", n, a, b, c * per, d * per }' "$TMP/cpu"
            figure_of "proxy_bulk_${way}_${conns}_$2" "$TMP/ratios" '>=' "$3"
        done
    done
    figure_of "proxy_cpu_per_gb_$2" "$TMP/cpu_ratios" '<=' 1.0
    both_end
}

if wanted bulk; then
    bulk_case $AES aes 1.0
    bulk_case $CHACHA chacha 1.0
    bulk_case default default 1.2
fi

if wanted dbclient; then
    dropbearconvert openssh dropbear "$KEY" "$TMP/dropbear_client" >/dev/null 2>&1 || fail "dropbearconvert"
    start_proxy -- "bench,$SERVICE,$OURS,high=1,max=64"
    up
    HOME=$TMP dbclient -N -y -y -i "$TMP/dropbear_client" -p "$SSHD_PORT" -R "127.0.0.1:$THEIRS:127.0.0.1:$SERVICE" "$SSHD_USER@127.0.0.1" >/dev/null 2>"$TMP/dbclient.log" &
    SSH_RUN=$!
    PIDS+=("$SSH_RUN")
    wait_for 20 listening "$THEIRS" || fail "dbclient -R does not listen"
    for direction in to from; do
        way=down; [ $direction = to ] || way=up
        for conns in 1 8; do
            : >"$TMP/ratios"; : >"$TMP/values"
            for round in 1 2 3; do
                a=$(bulk "$OURS" $direction "$MB" $conns) || fail "bulk over ours"
                b=$(bulk "$THEIRS" $direction 16 $conns) || fail "bulk over dbclient"
                ratio "$a" "$b" >>"$TMP/ratios"
                echo "$a $b" >>"$TMP/values"
            done
            awk -v n="$way $conns" '{ a = a " " $1; b = b " " $2 } END { printf "# dbclient %s: ours%s MB/s, dbclient -R%s MB/s\n", n, a, b }' "$TMP/values"
            figure_of "proxy_dbclient_${way}_$conns" "$TMP/ratios" '>=' 10
        done
    done
    both_end
fi

# ---- latency ----

latency_case() { # latency_case conn|echo COUNT NAME CIPHER-NAME: measures COUNT connections or echoes
    local round a50 a99 b50 b99
    : >"$TMP/p50"; : >"$TMP/p99"; : >"$TMP/values"
    for round in $(seq $((2 * ROUNDS))); do
        read -r a50 a99 <<<"$("$LOADGEN" "$1" "$OURS" "$2")"
        read -r b50 b99 <<<"$("$LOADGEN" "$1" "$THEIRS" "$2")"
        ratio "$a50" "$b50" >>"$TMP/p50"; ratio "$a99" "$b99" >>"$TMP/p99"
        echo "$a50 $b50 $a99 $b99" >>"$TMP/values"
    done
    printf '# %s: ours %s us, ssh -R %s us; 99th %s, %s\n' "$3" "$(awk '{print $1}' "$TMP/values" | median)" "$(awk '{print $2}' "$TMP/values" | median)" \
        "$(awk '{print $3}' "$TMP/values" | median)" "$(awk '{print $4}' "$TMP/values" | median)"
    figure_of "proxy_$3_median" "$TMP/p50" '<=' 0.9
    figure_of "proxy_$3_p99" "$TMP/p99" '<=' 0.9
}

if wanted latency; then
    both default
    latency_case conn 300 new_connection
    latency_case echo 2000 echo64
    both_end
fi

# ---- memory ----

private_kb() { awk '/^Private_(Clean|Dirty):/ { n += $2 } END { print n }' "/proc/$1/smaps_rollup"; }
live() { ask mem | sed -nE "s/.*$1=([0-9]+).*/\1/p"; }
# hold PORT COUNT: opens COUNT connections, which stay open until close_held.
hold() {
    local i fd
    HELD=()
    for i in $(seq "$2"); do
        exec {fd}<>"/dev/tcp/127.0.0.1/$1" || fail "connection"
        printf E >&"$fd"
        read -r -N 1 -u "$fd" || fail "no echo"
        HELD+=("$fd")
    done
}
close_held() { local fd; for fd in "${HELD[@]}"; do exec {fd}>&-; done; HELD=(); }

if wanted memory; then
    P=($(free_port) $(free_port) $(free_port)) Q=($(free_port) $(free_port) $(free_port))
    { gateway_section; for i in 0 1 2; do reverse "c$i" "$SERVICE" "${P[i]}"; done; } >"$CONF"
    : >"$TMP/ratios"
    for round in 1 2 3; do
        start_agent
        for i in 0 1 2; do wait_for 30 listening "${P[i]}" || fail "cmxsafed does not come up"; done
        theirs=()
        for i in 0 1 2; do start_ssh "${Q[i]}"; theirs+=("$SSH_RUN"); done
        # cmxsafed and ssh -R carry data first, so that the measurement includes what they allocate for their first
        # connection.
        for i in 0 1 2; do bulk "${P[i]}" to 4 2 >/dev/null; bulk "${P[i]}" from 4 2 >/dev/null; bulk "${Q[i]}" to 4 2 >/dev/null; bulk "${Q[i]}" from 4 2 >/dev/null; done
        sleep 4 # until both are idle again
        a=$(private_kb "$AGENT") b=0
        for p in "${theirs[@]}"; do b=$((b + $(private_kb "$p"))); done
        printf '# private memory with 3 contexts: cmxsafed %s KB, three ssh -R %s KB\n' "$a" "$b"
        ratio "$a" "$b" >>"$TMP/ratios"
        for p in "${theirs[@]}"; do stop "$p"; done
        end_agent
        for i in 0 1 2; do wait_for 20 free_of "${P[i]}" && wait_for 20 free_of "${Q[i]}" || fail "a listener stays"; done
    done
    figure_of proxy_private_memory "$TMP/ratios" '<=' 0.5

    # Measures the heap of the device profile with our allocator. Only the engine is built with this profile.
    mkdir -p "$TMP/device"
    cc -O2 -D_GNU_SOURCE -DCMX_DEVICE_PROFILE -Isrc -I. $(pkg-config --cflags libssh) -o "$TMP/device/proxy_run" tests/tools/proxy_run.c \
        src/cmxsafe/proxy/*.c build/libcmxsafe_linux.a $(pkg-config --libs libssh libcrypto) -lpthread ||
        fail "the device profile does not compile"
    plain=$BIN BIN=$TMP/device
    start_proxy -- "one,$SERVICE,${P[0]},max=64"
    up; one=$(live live); quit_proxy >/dev/null
    wait_for 20 free_of "${P[0]}"
    start_proxy -- "one,$SERVICE,${P[0]},max=64" "two,$SERVICE,${P[1]}" "three,$SERVICE,${P[2]}"
    up; three=$(live live)
    hold "${P[0]}" 32; close_held; wait_for 20 status_is one open 0
    before=$(live live)
    hold "${P[0]}" 32; open=$(live live)
    close_held; wait_for 20 status_is one open 0
    ask peak >/dev/null
    bulk "${P[0]}" to "$MB" 16 >/dev/null; bulk "${P[0]}" from "$MB" 16 >/dev/null
    wait_for 20 status_is one open 0
    loaded=$(live peak)
    # Ended connections wait for the gateway's CLOSE, which takes time on a busy machine.
    gone() { [ "$(live live)" -le "$before" ]; }
    wait_for 20 gone
    after=$(live live)
    printf '# device profile, bytes: 1 session %s, 3 sessions %s, idle %s, 32 relays open %s, peak with 16 in bulk %s, after load %s\n' "$one" "$three" "$before" "$open" "$loaded" "$after"
    figure proxy_heap_session_bytes $(((three - one) / 2)) '<=' 16384
    figure proxy_heap_relay_bytes $(((open - before) / 32)) '<=' 8192
    figure proxy_heap_relay_bulk_bytes $(((loaded - before) / 16)) '<=' 8192
    figure proxy_heap_growth_bytes $((after - before)) '<=' 0
    quit_proxy >/dev/null
    BIN=$plain
fi

# ---- MQTT ----

# With one connection per message, MQTT through the proxy needs no TLS handshake (key exchange, certificate), because the
# SSH session is already established. This saves processor time on the loopback, and one of four round trips over a network.
# On a kept connection there is no handshake to save, and each message passes through two more processes than with TLS. The
# cost of these processes is visible on the loopback but not over a network.
#
# Debian 12's sshd uses Nagle's algorithm for sessions that only forward; OpenSSH 10.1 and later do not. With this
# algorithm, sshd does not send a small piece of data until everything that it sent before is acknowledged, which takes
# a round trip. Over a network, messages that follow each other without a pause therefore lose the round trip that the
# proxy saved.

# broker ADDRESS [PREFIX...]: starts Mosquitto, with the words of PREFIX before its command, on ports B (plain,
# loopback) and T (TLS 1.3 on ADDRESS).
broker() {
    local address=$1
    shift
    cat >"$TMP/mosquitto.conf" <<C
user $(id -un)
allow_anonymous true
set_tcp_nodelay true
log_type error
listener $B 127.0.0.1
listener $T $address
certfile $TMP/tls.pem
keyfile $TMP/tls.key
tls_version tlsv1.3
C
    "$@" /usr/sbin/mosquitto -c "$TMP/mosquitto.conf" >"$TMP/mosquitto.log" 2>&1 &
    PIDS+=($!)
    wait_for 10 eval "$* ss -Hltn 'sport = :$T' | grep -q ." || fail "mosquitto does not listen"
}
# mqtt_case NAME each|spaced|kept ROUNDS COUNT ADDRESS-OF-TLS [PREFIX...]: measures MQTT through cmxsafe relative to
# MQTT over TLS, with the words of PREFIX before the command of mqtt_load. FLOORS lists paths without cmxsafe, each as
# "NAME PUBLISH-PORT SUBSCRIBE-PORT". They are measured in the same rounds, as lower bounds. STOCK=1: the sshd delays
# data (Nagle's algorithm), so the figures are printed without an aim.
FLOORS=() STOCK=''
mqtt_figure() { [ -z "$STOCK" ] || set -- "$1" "$2"; if [ $# = 2 ]; then note_of "$@"; else figure_of "$@"; fi; }
mqtt_case() {
    local name=$1 mode=$2 rounds=$3 count=$4 address=$5 round ways way who pub sub p50 p99 rate tls50 tls_rate
    shift 5
    ways=("ours $PUB $SUB" "${FLOORS[@]+"${FLOORS[@]}"}")
    rm -f "$TMP"/mqtt.*
    for round in $(seq "$rounds"); do
        read -r tls50 p99 tls_rate <<<"$("$@" "$TMP/mqtt_load" "$T" "$T" "$TMP/tls.pem" "$mode" "$count" "$address")"
        echo "$tls50 us $tls_rate/s" >>"$TMP/mqtt.TLS"
        for way in "${ways[@]}"; do
            read -r who pub sub <<<"$way"
            read -r p50 p99 rate <<<"$("$@" "$TMP/mqtt_load" "$pub" "$sub" - "$mode" "$count")"
            echo "$p50 us $rate/s" >>"$TMP/mqtt.$who"
            ratio "$p50" "$tls50" >>"$TMP/mqtt.latency.$who"; ratio "$rate" "$tls_rate" >>"$TMP/mqtt.rate.$who"
        done
    done
    for way in "${ways[@]}" TLS; do printf '# %s: %s: %s\n' "$name" "${way%% *}" "$(paste -sd, "$TMP/mqtt.${way%% *}")"; done
    mqtt_figure "proxy_${name}_latency" "$TMP/mqtt.latency.ours" '<=' 0.75
    [ "$mode" = spaced ] || mqtt_figure "proxy_${name}_rate" "$TMP/mqtt.rate.ours" '>=' 1.22
    for way in "${FLOORS[@]+"${FLOORS[@]}"}"; do
        note_of "proxy_${name}_${way%% *}_latency" "$TMP/mqtt.latency.${way%% *}"
        note_of "proxy_${name}_${way%% *}_rate" "$TMP/mqtt.rate.${way%% *}"
    done
}
# start_floors: starts `ssh -L` to the same sshd, and two plain relays in a row, like the two processes of a tunnel.
start_floors() {
    local pub sub near far
    pub=$(free_port) sub=$(free_port) near=$(free_port) far=$(free_port)
    ssh -N -F none -i "$KEY" -p "$SSHD_PORT" -o StrictHostKeyChecking=no -o UserKnownHostsFile="$TMP/known" -o LogLevel=ERROR \
        -o ExitOnForwardFailure=yes -L "127.0.0.1:$pub:127.0.0.1:$B" -L "127.0.0.1:$sub:127.0.0.1:$B" "$SSHD_USER@127.0.0.1" & PIDS+=($!)
    socat "TCP-LISTEN:$far,bind=127.0.0.1,fork,nodelay" "TCP:127.0.0.1:$B,nodelay" 2>>"$TMP/socat.log" & PIDS+=($!)
    socat "TCP-LISTEN:$near,bind=127.0.0.1,fork,nodelay" "TCP:127.0.0.1:$far,nodelay" 2>>"$TMP/socat.log" & PIDS+=($!)
    for port in "$sub" "$far" "$near"; do wait_for 20 listening "$port" || fail "no listener at $port"; done
    FLOORS=("ssh_L $pub $sub" "two_relays $near $near")
}
# start_legs ADDRESS PORT USER: starts proxy_run, with the forwards in `legs`, on the device's side of the slow link.
start_legs() {
    coproc PROXY { exec ip netns exec "cmxd$$" "$BIN/proxy_run" "$1" "$2" "$3" "$KEY" "$PIN" base=100 max=1000 -- "${legs[@]}" 2>>"$TMP/proxy.log"; }
    PROXY_RUN=$PROXY_PID; PIDS+=("$PROXY_RUN")
    exec {PROXY_OUT}<&"${PROXY[0]}" {PROXY_IN}>&"${PROXY[1]}"
    answer >/dev/null || fail "proxy_run does not start"
    up
}
# stock_holds_back: prints 1 if this machine's sshd is older than OpenSSH 10.1 and therefore uses Nagle's algorithm.
stock_holds_back() { /usr/sbin/sshd -V 2>&1 | awk 'match($0, /OpenSSH_[0-9]+\.[0-9]+/) { v = substr($0, 9, RLENGTH - 8); exit } END { split(v, n, "."); if (n[1] < 10 || (n[1] == 10 && n[2] < 1)) print 1 }'; }
# release_sshd COMMAND...: runs the command on the gateway's side of the slow link, with CMX_SSHD_ROOT as its root and
# mounts of its own.
release_sshd() {
    exec ip netns exec "cmxg$$" unshare --mount --propagation private bash -c 'root=$1 tmp=$2; shift 2
        mount --bind /dev "$root/dev" && mount -t proc proc "$root/proc" && mkdir -p "$root/run/sshd" "$root$tmp" && mount --bind "$tmp" "$root$tmp" &&
        exec chroot "$root" "$@"' - "$CMX_SSHD_ROOT" "$TMP" "$@"
}

if wanted mqtt || wanted mqtt_link; then
    B=$(free_port) T=$(free_port) PUB=$(free_port) SUB=$(free_port)
    cc -O2 -D_GNU_SOURCE -o "$TMP/mqtt_load" bench/mqtt_load.c -lssl -lcrypto || fail "mqtt_load"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost \
        -keyout "$TMP/tls.key" -out "$TMP/tls.pem" 2>/dev/null || fail "certificate"
    legs=("publish,$PUB,$B,direct=127.0.0.1,max=64" "subscribe,$SUB,$B,direct=127.0.0.1,max=64")
fi
if wanted mqtt; then
    broker 127.0.0.1
    start_proxy -- "${legs[@]}"
    up
    mqtt_case mqtt_each each "$ROUNDS" 500 127.0.0.1
    start_floors
    mqtt_case mqtt_kept kept "$ROUNDS" 2000 127.0.0.1
    FLOORS=()
    quit_proxy >/dev/null
fi

# Repeats the MQTT cases with a round-trip time of 20 ms between device and gateway: two network namespaces connected by a
# link that delays frames.
if wanted mqtt_link && [ "$(id -u)" = 0 ] && ip netns add "cmxg$$" 2>/dev/null; then
    CLEANUP+=("ip netns del cmxg$$; ip netns del cmxd$$")
    ip netns add "cmxd$$" || fail "network namespace"
    python3 tests/e2e/netem.py "cmxg$$" t0 "cmxd$$" t0 10 0 >"$TMP/netem.out" 2>"$TMP/netem.log" & PIDS+=($!)
    wait_for 10 grep -q ready "$TMP/netem.out" || fail "the slow wire"
    ip -n "cmxg$$" addr add 192.0.2.1/24 dev t0; ip -n "cmxd$$" addr add 192.0.2.2/24 dev t0
    for side in g d; do ip -n "cmx$side$$" link set lo up; ip -n "cmx$side$$" link set t0 up; done
    SSHD_PORT=2222 SSHD_ADDRESS=192.0.2.1 SSHD_PREFIX="ip netns exec cmxg$$" start_sshd </dev/null
    broker 192.0.2.1 ip netns exec "cmxg$$"
    start_legs 192.0.2.1 2222 "$SSHD_USER"
    mqtt_case mqtt_rtt20_spaced spaced 3 20 192.0.2.1 ip netns exec "cmxd$$"
    STOCK=$(stock_holds_back)
    mqtt_case mqtt_rtt20_each each 3 40 192.0.2.1 ip netns exec "cmxd$$"
    mqtt_case mqtt_rtt20_kept kept 3 200 192.0.2.1 ip netns exec "cmxd$$"
    STOCK=''
    quit_proxy >/dev/null

    # Repeats the MQTT cases through the sshd of another release.
    if [ -n "${CMX_SSHD_ROOT:-}" ]; then
        [ -x "$CMX_SSHD_ROOT/usr/sbin/sshd" ] || fail "CMX_SSHD_ROOT: $CMX_SSHD_ROOT has no sshd"
        printf '# CMX_SSHD_ROOT: %s\n' "$(chroot "$CMX_SSHD_ROOT" /usr/sbin/sshd -V 2>&1)"
        SSHD_PORT=2224 SSHD_ADDRESS=192.0.2.1 SSHD_PREFIX="release_sshd" start_sshd </dev/null
        start_legs 192.0.2.1 2224 "$SSHD_USER"
        mqtt_case mqtt_rtt20_release_each each 3 40 192.0.2.1 ip netns exec "cmxd$$"
        mqtt_case mqtt_rtt20_release_kept kept 3 200 192.0.2.1 ip netns exec "cmxd$$"
        quit_proxy >/dev/null
    fi

    # Repeats the MQTT cases through `cmxsafe gateway serve`, which switches Nagle's algorithm off for its sessions. The
    # broker runs in the gateway's network namespace.
    . tests/e2e/gateway_lib.sh
    if unshare --user --net --mount true 2>/dev/null; then
        gw init --user --listen 192.0.2.1:2223 --host 192.0.2.1 >"$TMP/init.out" || fail "gateway init"
        gw enroll bench --key "$KEY.pub" --direct "127.0.0.1:$B" >/dev/null || fail "enroll"
        ip netns exec "cmxg$$" "$BIN/cmxsafe" gateway serve 2>>"$TMP/gateway.log" & PIDS+=($!)
        wait_for 20 gw status || fail "the gateway does not come up"
        sed "/^listener $T /,\$d" "$TMP/mosquitto.conf" >"$TMP/inside.conf"
        inside /usr/sbin/mosquitto -c "$TMP/inside.conf" >"$TMP/inside.log" 2>&1 & PIDS+=($!)
        wait_for 20 eval "inside ss -Hltn 'sport = :$B' | grep -q ." || fail "mosquitto does not listen inside the gateway"
        wait_for 20 eval "ip netns exec cmxd$$ ssh-keyscan -T 5 -p 2223 -t ed25519 192.0.2.1 >$TMP/scan 2>/dev/null && test -s $TMP/scan" || fail "the gateway has no key"
        PIN=$(ssh-keygen -lf "$TMP/scan" | awk '{ print $2 }')
        start_legs 192.0.2.1 2223 cmxsafe-gw
        mqtt_case mqtt_rtt20_gateway_each each 3 40 192.0.2.1 ip netns exec "cmxd$$"
        mqtt_case mqtt_rtt20_gateway_kept kept 3 200 192.0.2.1 ip netns exec "cmxd$$"
        quit_proxy >/dev/null
    fi
fi
exit 0
