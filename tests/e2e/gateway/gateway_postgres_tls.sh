#!/usr/bin/env bash
# The registry in a real PostgreSQL over TLS with a password: the certificate and its name are verified, the password is
# in a passfile, and neither the password nor a private key is stored in the gateway's folder.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../gateway_lib.sh"
. "$(dirname "$0")/../postgres_lib.sh"
need_namespaces
need_postgres
command -v openssl >/dev/null || skip "openssl is needed"

# authority NAME: creates a CA. certificate NAME CA: creates a key and a certificate for the host NAME, signed by CA.
authority() { openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$TMP/$1.key" -out "$TMP/$1.pem" -subj "/CN=$1" -days 2 2>/dev/null || fail "openssl"; }
certificate() {
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$TMP/$1.key" -out "$TMP/$1.csr" -subj "/CN=$1" 2>/dev/null &&
        openssl x509 -req -in "$TMP/$1.csr" -CA "$TMP/$2.pem" -CAkey "$TMP/$2.key" -CAcreateserial -days 2 -out "$TMP/$1.pem" \
            -extfile <(echo "subjectAltName = DNS:$1") 2>/dev/null || fail "openssl"
}
authority ca
authority other
certificate localhost ca
pg_create db
SECRET=$(openssl rand -hex 16)
pg_start db
pg_sql db "ALTER ROLE cmxsafe PASSWORD '$SECRET'" || fail "ALTER ROLE"
pg_stop db
# The server accepts only TLS with a password.
echo "hostssl all all 127.0.0.1/32 scram-sha-256" >"$TMP/db/data/pg_hba.conf"
cp "$TMP/localhost.pem" "$TMP/localhost.key" "$TMP/db/data/" && chmod 600 "$TMP/db/data/localhost.key" || fail "cp"
[ "$(id -u)" != 0 ] || chown "$PG_USER" "$TMP/db/data/localhost.key" "$TMP/db/data/localhost.pem"
as_pg "$PG_BIN/pg_ctl" -D "$TMP/db/data" -l "$TMP/db/server.out" -W -t 60 \
    -o "-p $PG_PORT_db -c listen_addresses=127.0.0.1 -c unix_socket_directories=$TMP/db -c fsync=off -c ssl=on -c ssl_cert_file=localhost.pem -c ssl_key_file=localhost.key" \
    start >"$TMP/pg_ctl.log" || fail "PostgreSQL does not start"
wait_for 60 listening "$PG_PORT_db" || { cat "$TMP/db/server.out"; fail "PostgreSQL does not listen"; }
printf '%s\n' "localhost:$PG_PORT_db:*:cmxsafe:$SECRET" "127.0.0.1:$PG_PORT_db:*:cmxsafe:$SECRET" >"$TMP/pgpass" && chmod 600 "$TMP/pgpass"
sed "s/$SECRET/wrong/" "$TMP/pgpass" >"$TMP/badpass" && chmod 600 "$TMP/badpass"
cp "$TMP/pgpass" "$TMP/openpass" && chmod 644 "$TMP/openpass"
url() { echo "postgresql://cmxsafe@$1:$PG_PORT_db/postgres?sslmode=verify-full&sslrootcert=$TMP/$2.pem&passfile=$TMP/$3"; }

# refused NAME CA PASSFILE TEXT: checks that init with the URL of these three values fails, prints TEXT, and leaves no
# registry.
refused() {
    ! on one gw init --user --listen "127.0.0.1:$(free_port)" --host 127.0.0.1 --registry "$(url "$1" "$2" "$3")" >"$TMP/err" 2>&1 || fail "init succeeds: $*"
    grep -q -- "$4" "$TMP/err" || fail "the message is not clear: $(cat "$TMP/err")"
    lacks "$SECRET" "$TMP/err" || fail "the password is printed"
    [ ! -e "$TMP/one/registry.db" ] || fail "a failed init leaves a registry"
}
refused localhost other pgpass "certificate verify failed"
refused 127.0.0.1 ca pgpass "does not match host name"
refused localhost ca badpass "password authentication failed"
refused localhost ca openpass "password"
ok "another authority, another name, a wrong password and a passfile that others can read are refused"

start_node one --registry "$(url localhost ca pgpass)"
start_node two --registry "$(url localhost ca pgpass)"
key a
on one gw enroll cam-1 --key "$TMP/a.pub" --ports 81 >/dev/null || fail "enroll"
has() { on "$1" gw show "$2" --json >/dev/null 2>&1; }
wait_for 20 has two cam-1 || fail "the other gateway does not know the device"
encrypted() { PGPASSFILE=$TMP/pgpass "$PG_BIN/psql" -X -q -A -t "$(url localhost ca pgpass)" -c "SELECT count(*), bool_and(s.ssl) FROM pg_stat_activity a JOIN pg_stat_ssl s USING(pid) WHERE application_name = 'cmxsafe'"; }
[[ "$(encrypted)" =~ ^[1-9][0-9]*\|t$ ]] || fail "connections without TLS: $(encrypted)"
lacks -rF "$SECRET" "$TMP/one" "$TMP/two" "$TMP/one.log" "$TMP/two.log" || fail "the password is in a gateway's folder or log"
ok "TLS with verify-full and a passfile"

# The server gets a certificate from another authority, so the gateways reject it.
certificate localhost other
cp "$TMP/localhost.pem" "$TMP/localhost.key" "$TMP/db/data/" || fail "cp"
as_pg "$PG_BIN/pg_ctl" -D "$TMP/db/data" reload >/dev/null && as_pg "$PG_BIN/pg_ctl" -D "$TMP/db/data" -m fast -w restart >"$TMP/pg_ctl.log" 2>&1
wait_for 60 listening "$PG_PORT_db" || fail "PostgreSQL does not start again"
distrusts() { on "$1" gw metrics | grep -q "^cmxsafe_gateway_registry_followed 0"; }
for n in one two; do wait_for 40 distrusts $n || fail "$n follows a server with another authority's certificate"; done
! on one gw revoke cam-1 2>"$TMP/err" || fail "a change succeeds over an unverified connection"
grep -q "certificate verify failed.*nothing was changed" "$TMP/err" || fail "the message is not clear: $(cat "$TMP/err")"
stop "$GW_PID_one"; stop "$GW_PID_two"
for n in one two; do no_sanitizer_report "$TMP/$n.log" || fail "a sanitizer complains"; done
ok "a server that can't prove its name is not used"
