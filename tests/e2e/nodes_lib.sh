# nodes_lib.sh - for scenarios with several system gateways. Each is a node with its own network, mount and control
# group namespaces, like a machine. Source it instead of lib.sh.
#
# A cable connects each pair of nodes (cable_cut A B, cable_repair A B). Other nodes reach node N at 10.9.0.N. Clients,
# which run in the scenario's own namespace, reach it at 10.9.1.N.
. "$(dirname "${BASH_SOURCE[0]}")/gateway_system_lib.sh"
. "$(dirname "${BASH_SOURCE[0]}")/postgres_lib.sh"
for p in bird birdc wg; do command -v $p >/dev/null || skip "no $p"; done
need_postgres
declare -A NODE_PID SERVE_PID BIRD_PID
REGISTRY_ADDRESS=10.9.3.1

# machine N: creates the namespaces of node N, which exist until the scenario ends.
machine() {
    local n=$1
    mkdir -p "$CGROUP/node$n" "/var/lib/node$n"
    unshare --net --mount --uts --propagation private bash -c '
        hostname "gw$2" && mount -t tmpfs none /run/netns && mkdir -p /run/wireguard && mount -t tmpfs none /run/wireguard &&
        mount -t sysfs sysfs /sys && mount -t cgroup2 cgroup2 /sys/fs/cgroup && ip link set lo up && touch "$1" && exec sleep infinity' \
        - "$TMP/machine$n" "$n" >"$TMP/machine$n.log" 2>&1 &
    NODE_PID[$n]=$!
    PIDS+=("$!")
    wait_for 10 test -e "$TMP/machine$n" || fail "no namespaces for node $n"
}

# on N COMMAND: runs COMMAND on node N.
on() {
    local n=$1
    shift
    nsenter -t "${NODE_PID[$n]}" --net --mount --uts env CMXSAFE_GATEWAY="/var/lib/node$n/gateway" CMXSAFE_UNIT_DIR="$TMP/units" \
        sh -c 'echo $$ >"$0/cgroup.procs"; exec "$@"' "$CGROUP/node$n" "$@"
}
gwn() { local n=$1; shift; on "$n" "$BIN/cmxsafe" gateway "$@"; }

# cable A B: connects two nodes.
cable() {
    on "$1" ip link add "to$2" type veth peer name "to$1" netns "/proc/${NODE_PID[$2]}/ns/net" || fail "no cable"
    local a b
    for a in "$1 $2" "$2 $1"; do
        b=${a#* } a=${a% *}
        on "$a" ip address replace "10.9.0.$a/32" dev lo && on "$a" ip link set "to$b" up && on "$a" ip route replace "10.9.0.$b" dev "to$b" src "10.9.0.$a" || fail "no route over the cable"
    done
}
cable_cut() { on "$1" ip link set "to$2" down && on "$2" ip link set "to$1" down; }
cable_repair() {
    on "$1" ip link set "to$2" up && on "$2" ip link set "to$1" up &&
        on "$1" ip route replace "10.9.0.$2" dev "to$2" src "10.9.0.$1" && on "$2" ip route replace "10.9.0.$1" dev "to$1" src "10.9.0.$2"
}
# entry N: connects the scenario's namespace to node N.
entry() {
    ip link add "node$1" type veth peer name eth0 netns "/proc/${NODE_PID[$1]}/ns/net" && ip address add "10.9.2.$1/32" dev "node$1" &&
        ip link set "node$1" up && on "$1" ip address add "10.9.1.$1/32" dev eth0 && on "$1" ip link set eth0 up &&
        ip route add "10.9.1.$1" dev "node$1" src "10.9.2.$1" && on "$1" ip route add "10.9.2.$1" dev eth0 src "10.9.1.$1" &&
        on "$1" ip route add "$REGISTRY_ADDRESS" via "10.9.2.$1" dev eth0 onlink src "10.9.1.$1" || fail "no way to node $1"
}

# registry: starts PostgreSQL in the scenario's namespace, where every node reaches it at REGISTRY_ADDRESS; sets
# REGISTRY to its URL.
registry() {
    ip address add "$REGISTRY_ADDRESS/32" dev lo && pg_create shared || fail "no registry"
    echo "host all all 10.9.0.0/16 trust" >>"$TMP/shared/data/pg_hba.conf"
    pg_start shared -c listen_addresses=127.0.0.1,$REGISTRY_ADDRESS
    REGISTRY="postgresql://cmxsafe@$REGISTRY_ADDRESS:$PG_PORT_shared/postgres?connect_timeout=3&sslmode=disable"
    CLEANUP=("pg_stop shared immediate" "${CLEANUP[@]}") # at the front of the list, because it must run before end_cgroup
}

# fleet_of N...: creates these nodes with their cables and entries, and a gateway on each. The first gateway is set up
# with init; the others join it over SSH, with the options JOIN_OPTIONS.
fleet_of() {
    local first=$1 n m
    for n in "$@"; do machine "$n"; done
    for n in "$@"; do for m in "$@"; do [ "$n" -ge "$m" ] || cable "$n" "$m"; done; entry "$n"; done
    registry
    gwn "$first" init --fleet "$FLEET" --listen "[::]:$GW_PORT" --host "10.9.1.$first" --no-etc-hosts --registry "$REGISTRY" >"$TMP/init.log" 2>&1 || fail "init"
    # An sshd on the first node, through which the other nodes join.
    SSHD_PREFIX="on $first" SSHD_ADDRESS=10.9.0.$first SSHD_PORT=2022
    start_sshd <<CONF
SetEnv PATH=$BIN:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin CMXSAFE_GATEWAY=/var/lib/node$first/gateway CMXSAFE_UNIT_DIR=$TMP/units
CONF
    mkdir -p "$TMP/ssh"
    printf '#!/bin/sh\nexec /usr/bin/ssh -F "%s" "$@"\n' "$TMP/ssh_config" >"$TMP/ssh/ssh" && chmod 755 "$TMP/ssh/ssh"
    printf 'Host 10.9.0.%s\nPort 2022\nUser root\nIdentityFile %s\nStrictHostKeyChecking no\nUserKnownHostsFile /dev/null\nLogLevel ERROR\n' "$first" "$KEY" >"$TMP/ssh_config"
    wait_for 10 grep -q "listening on" "$TMP/sshd.log" || fail "no sshd"
    for n in "${@:2}"; do join_node "$n" "$first" ${JOIN_OPTIONS:-}; done
    for n in "$@"; do gwn "$n" net up || fail "net up fails at node $n"; serve_node "$n"; done
    for n in "$@"; do wait_for 30 neighbours "$n" $(($# - 1)) || fail "node $n has no neighbours: $(bird "$n" show protocols)"; done
}
# join_node N FIRST [options]: makes node N join the fleet of node FIRST.
join_node() {
    local n=$1 first=$2
    shift 2
    on "$n" env PATH="$TMP/ssh:$PATH" "$BIN/cmxsafe" gateway join --from "10.9.0.$first" --name "gw$n" --listen "[::]:$GW_PORT" --host "10.9.1.$n" "$@" >>"$TMP/join.log" 2>&1 || fail "node $n can't join"
}

# serve_node N: runs the gateway's units as systemd would.
serve_node() {
    local n=$1
    on "$n" "$BIN/cmxsafe" gateway serve 2>>"$TMP/node$n.log" & SERVE_PID[$n]=$!; PIDS+=("$!")
    on "$n" ip netns exec cmxsafe bird -f -u bird -g bird -c "/var/lib/node$n/gateway/bird.conf" -s "/var/lib/node$n/gateway/bird/ctl" 2>>"$TMP/bird$n.log" & BIRD_PID[$n]=$!; PIDS+=("$!")
    wait_for 20 gwn "$n" status --here >/dev/null || fail "node $n does not come up"
}
# end_node N: ends the gateway on node N, that is, the shell that serve_node started and its descendants, and waits for them.
end_node() {
    local pids
    pids=$(descendants "${SERVE_PID[$1]}")
    kill -TERM $pids "${SERVE_PID[$1]}"
    wait "${SERVE_PID[$1]}" 2>/dev/null
    wait_for 20 none_runs $pids || fail "node $1's gateway does not end"
}
none_runs() { ! ps -o stat= -p "$(tr ' ' , <<<"$*")" | grep -qv '^Z'; }
bird() { local n=$1; shift; on "$n" birdc -s "/var/lib/node$n/gateway/bird/ctl" "$@"; }
neighbours() { [ "$(bird "$1" show protocols | grep -c Established)" = "$2" ]; }
# route_of N ADDRESS: prints the number of the node to which node N sends packets for this address, or nothing if node N
# delivers them itself.
route_of() { on "$1" ip -n cmxsafe -6 route show table 1129142 "$2" | sed -nE 's/.* dev cmxlink([0-9]+) .*/\1/p'; }
route_is() { [ "$(route_of "$1" "$2")" = "$3" ]; }

# client_at N KEY [ssh arguments]: like client of gateway_lib.sh, but connects to node N.
client_at() {
    local n=$1 key=$2
    shift 2
    exec ssh -i "$TMP/$key" -p "$GW_PORT" -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR \
        -o BatchMode=yes -o IdentitiesOnly=yes -o IdentityAgent=none -o ExitOnForwardFailure=yes -o ConnectTimeout=20 \
        -F none -l cmxsafe-gw "$@" "10.9.1.$n"
}
connected_at() { gwn "$1" status --here --json | json_is '[.sessions[] | select(.name == $n)] | length > 0' --arg n "$2" >/dev/null; }
gone_at() { ! connected_at "$1" "$2"; }
