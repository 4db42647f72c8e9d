# demo_gateway.sh - for demo.sh as root: a gateway set up by `cmxsafe gateway`, in the demo's own network and mount
# namespaces. The machine's accounts, units, /var/lib, /run/netns and packet filter stay as they are. Source it after lib.sh.

# own_namespaces ARGUMENT...: starts demo.sh again inside new namespaces. Returns only if that is impossible.
own_namespaces() {
    [ "$(id -u)" = 0 ] && [ -z "${CMX_DEMO_INSIDE:-}" ] && [ -e /proc/net/if_inet6 ] && unshare --net --mount bash -c "
        $(declare -f private_folders); private_folders" 2>/dev/null || return 0
    exec 8</proc/self/ns/net # publish() enters the machine's network namespace through this descriptor
    CMX_DEMO_INSIDE=1 exec unshare --net --mount --propagation private bash "$0" "$@"
}

private_folders() {
    mount -t tmpfs -o mode=755 none /mnt && mkdir /mnt/upper /mnt/work &&
        mount -t overlay -o lowerdir=/etc,upperdir=/mnt/upper,workdir=/mnt/work overlay /etc &&
        mkdir -p /run/netns && mount -t tmpfs none /run/netns && mount -t tmpfs -o mode=755 none /var/lib &&
        mount -t sysfs sysfs /sys && mount -t cgroup2 cgroup2 /sys/fs/cgroup
}

gw() { "$GW_PROGRAM" gateway "$@"; }

# product_gateway PUBLIC_KEY: sets up the gateway, enrols the board with its public key, and starts the gateway. Sets HOST,
# the ports STREAM, OTA and ATTEST, BOARD_GATEWAY (options of cmxsafe-board) and PIN (the gateway's host key).
product_gateway() {
    local address
    private_folders && ip link set lo up || die "the demo's folders cannot be set up"
    CGROUP=/sys/fs/cgroup/cmxsafe-demo.$$
    mkdir "$CGROUP" && echo $$ >"$CGROUP/cgroup.procs" || die "a control group cannot be created"
    mkdir -p /var/lib/bin "$WORK/units"
    # sshd runs its helper only from folders that root alone may write.
    cp "$BIN/cmxsafe" "$BIN/cmxsafe-authkeys" /var/lib/bin/ && GW_PROGRAM=/var/lib/bin/cmxsafe
    export CMXSAFE_UNIT_DIR=$WORK/units CMXSAFE_GATEWAY=/var/lib/cmxsafe/gateway
    { gw init --listen "127.0.0.1:$SSH_PORT" --host 127.0.0.1 && gw enroll cam-1 --key "$1" --ports 81,8989,8888 &&
        gw enroll cam-2 --key "$WORK/cam-2.pub" --direct gateway.cmx:1883 && gw grant user:root cam-1 && gw net up; } >"$WORK/gateway.out" 2>&1 ||
        { tail -n 10 "$WORK/gateway.out" >&2; die "the gateway cannot be set up"; }
    gw serve 2>>"$WORK/sshd.log" & PIDS+=($!)
    wait_until 30 "waiting for the gateway" gw status || { tail -n 10 "$WORK/sshd.log" >&2; die "the gateway does not start"; }
    address=$(gw show cam-1 --json | jq -r .device.address)
    PIN=$(sed -n 's/^host_key = //p' "$WORK/gateway.out" | head -n 1)
    HOST=cam-1.cmx STREAM=81 OTA=8989 ATTEST=8888
    BOARD_GATEWAY=(--set gateway.user=cmxsafe-gw)
    for c in stream ota attest; do BOARD_GATEWAY+=(--set "context $c.remote_address=$address"); done
}

# Ends the gateway's network and waits for the gateway's processes. Call this after the demo's own processes have ended.
end_product_gateway() {
    gw net down >/dev/null 2>&1
    echo $$ >/sys/fs/cgroup/cgroup.procs
    wait_until 10 "waiting for the last processes" no_cgroup
}
no_cgroup() {
    find "$CGROUP" -depth -type d -exec rmdir {} \;
    [ ! -e "$CGROUP" ]
}

# port_near PORT...: prints the first of these ports that is free, or else a random free one.
port_near() {
    local p
    for p in "$@" $(shuf -i 12000-29999 -n 50); do
        ss -Hltn "sport = :$p" | grep -q . || { echo "$p"; return; }
    done
}

# publish PORT DEVICE_PORT: makes DEVICE_PORT of $HOST reachable as PORT on the machine's loopback.
publish() {
    nsenter --net=/proc/self/fd/8 socat "TCP-LISTEN:$1,bind=127.0.0.1,fork,reuseaddr" \
        "EXEC:nsenter --net=/proc/$$/ns/net socat - ${FAMILY:-TCP6}\:$HOST\:$2" & PIDS+=($!)
}

# Serves the console on the machine's loopback, and sets CONSOLE to its address. Cockpit has no login here, and other
# users of the machine can reach it. It therefore answers only requests below a random path.
start_console() {
    local ws port secret public
    ws=$(ls /usr/lib/cockpit/cockpit-ws /usr/libexec/cockpit-ws 2>/dev/null | head -n 1)
    [ -n "$ws" ] && command -v cockpit-bridge >/dev/null || return 0
    secret=$(openssl rand -hex 16) port=$(port_near 9091 19091)
    mkdir -m 700 -p "$WORK/cockpit/data/cockpit/cmxsafe" "$WORK/cockpit/conf/cockpit"
    cp "$CMX_ROOT"/console/*.* "$WORK/cockpit/data/cockpit/cmxsafe/"
    printf '[WebService]\nUrlRoot=/%s\n' "$secret" >"$WORK/cockpit/conf/cockpit/cockpit.conf"
    env PATH="/var/lib/bin:$PATH" XDG_DATA_HOME="$WORK/cockpit/data" XDG_CONFIG_DIRS="$WORK/cockpit/conf" "$ws" --no-tls --address 127.0.0.1 \
        --port "$port" --local-session=cockpit-bridge >"$WORK/cockpit.log" 2>&1 & PIDS+=($!)
    public=$(nsenter --net=/proc/self/fd/8 bash -c "$(declare -f port_near); port_near 9091 19091")
    FAMILY=TCP4 HOST=127.0.0.1 publish "$public" "$port"
    CONSOLE=http://127.0.0.1:$public/$secret/cockpit/@localhost/cmxsafe/index.html
}

sessions() { gw status --json | jq '.sessions[] | select(.name == "cam-1") | .pid' | grep .; }
new_sessions() { local now; now=$(sessions) && ! grep -qxF "$1" <<<"$now"; }
kill_sessions() {
    local before
    before=$(sessions) || return 1
    # shellcheck disable=SC2086
    kill -KILL $before && wait_until 60 "waiting for new logins" new_sessions "$before"
}

# cam-2 is a stock ssh client. The service answers with the client address that it sees, which must be cam-2's.
who_connected() {
    local peer
    python3 -c '
import socket
s = socket.create_server(("::", 1883), family=socket.AF_INET6)
s.settimeout(60)
c, peer = s.accept()
c.sendall(peer[0].encode())' & PIDS+=($!)
    wait_until 20 "waiting for the service" eval 'ss -Hltn "sport = :1883" | grep -q .' || return 1
    peer=$(: | timeout 30 ssh -F none -i "$WORK/cam-2" -p "$SSH_PORT" -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR \
        -o BatchMode=yes -o IdentitiesOnly=yes -o IdentityAgent=none -l cmxsafe-gw -W gateway.cmx:1883 127.0.0.1)
    echo "the peer is '$peer'"
    [ "$(gw whois "$peer" --json | jq -r '.kind + " " + .name')" = "device cam-2" ]
}

as_nobody() { setpriv --reuid 65534 --regid 65534 --clear-groups curl -sS -m 1 "http://$HOST:$STREAM/frame.jpg" 2>/dev/null; }
noticed() { [ "$(gw status --json | jq .counters.judge_repairs)" -gt "$1" ]; }
flush_opens_nothing() {
    local before i
    before=$(gw status --json | jq .counters.judge_repairs)
    through "$STREAM/frame.jpg" >/dev/null || return 1
    ! as_nobody | grep -q . || { echo "the user nobody has no grant, but reaches the board"; return 1; }
    nft flush ruleset || return 1
    for i in 1 2 3 4 5; do ! as_nobody | grep -q . || { echo "try $i after the flush reaches the board"; return 1; }; done
    wait_until 30 "waiting for the repair" noticed "$before" && wait_until 30 "waiting for the granted access" through "$STREAM/frame.jpg"
}
