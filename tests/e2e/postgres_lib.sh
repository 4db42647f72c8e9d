# postgres_lib.sh - for scenarios that run their own PostgreSQL server, as an unprivileged user, in the temporary folder
# and on the loopback. Source it after lib.sh.
PG_BIN=$(find /usr/lib/postgresql -maxdepth 2 -name bin 2>/dev/null | sort -V | tail -n 1)
PG_USER=postgres # the package's account, used only when root runs the scenario

need_postgres() {
    [ -x "${PG_BIN:-/none}/initdb" ] || skip "PostgreSQL's server is needed (package postgresql)"
    "$BIN/cmxsafe" gateway migrate --help >/dev/null || fail "the command has no migrate"
}

# as_pg COMMAND...: runs COMMAND as the user that owns the server's folder.
as_pg() {
    if [ "$(id -u)" = 0 ]; then setpriv --reuid="$PG_USER" --regid="$PG_USER" --clear-groups -- "$@"
    else "$@"
    fi
}

# pg_create NAME: creates the server's folder, $TMP/NAME, and sets PG_PORT_NAME to a free port for it.
pg_create() {
    local dir=$TMP/$1
    mkdir -p "$dir"
    [ "$(id -u)" != 0 ] || chown "$PG_USER" "$dir"
    as_pg "$PG_BIN/initdb" -D "$dir/data" -U cmxsafe --auth=trust -E UTF8 --no-sync --no-locale >"$TMP/initdb-$1.log" || fail "initdb"
    [ -n "$(eval "echo \${PG_PORT_$1:-}")" ] || eval "PG_PORT_$1=$(free_port)"
    CLEANUP+=("pg_stop $1 immediate")
}
# pg_start NAME [server options]: starts the server and waits until it answers.
pg_start() {
    local dir=$TMP/$1 port
    port=$(eval "echo \$PG_PORT_$1")
    shift
    as_pg "$PG_BIN/pg_ctl" -D "$dir/data" -l "$dir/server.out" -w -t 60 \
        -o "-p $port -c listen_addresses=127.0.0.1 -c unix_socket_directories=$dir -c fsync=off $*" start >"$TMP/pg_ctl.log" ||
        { cat "$dir/server.out"; fail "PostgreSQL does not start"; }
}
# pg_stop NAME [MODE]: stops the server.
pg_stop() {
    kill -0 "$(head -n 1 "$TMP/$1/data/postmaster.pid" 2>/dev/null)" 2>/dev/null || return 0 # the server has ended already
    as_pg "$PG_BIN/pg_ctl" -D "$TMP/$1/data" -m "${2:-fast}" -w -t 60 stop >"$TMP/pg_ctl.log"
}
pg_url() { echo "postgresql://cmxsafe@127.0.0.1:$(eval "echo \$PG_PORT_$1")/postgres"; }
# pg_sql NAME SQL: prints the rows.
pg_sql() { "$PG_BIN/psql" -X -q -A -t -v ON_ERROR_STOP=1 "$(pg_url "$1")" -c "$2"; }

# on NODE COMMAND...: runs a gateway command, or a function that runs gateway commands, for the gateway in $TMP/NODE.
on() {
    local node=$1
    shift
    CMXSAFE_GATEWAY=$TMP/$node "$@"
}
# start_node NODE [init options]: sets up a gateway in $TMP/NODE and runs it. Its log is $TMP/NODE.log, its port GW_PORT_NODE.
start_node() {
    local node=$1
    shift
    [ -n "$(eval "echo \${GW_PORT_$node:-}")" ] || eval "GW_PORT_$node=$(free_port)"
    on "$node" gw init --user --listen "127.0.0.1:$(eval "echo \$GW_PORT_$node")" --host 127.0.0.1 "$@" >"$TMP/init.out" || fail "init of $node"
    serve_node "$node"
}
serve_node() {
    CMXSAFE_GATEWAY=$TMP/$1 "$BIN/cmxsafe" gateway serve 2>>"$TMP/$1.log" &
    eval "GW_PID_$1=$!"
    PIDS+=("$!")
    wait_for 20 on "$1" gw status || fail "$1 does not come up"
}
node_logged() { grep -q -- "$2" "$TMP/$1.log"; }
