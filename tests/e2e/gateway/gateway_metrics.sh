#!/usr/bin/env bash
# Tests the metrics of every enrolled device, of the gateway and of its worker, from a file and from a UNIX socket; the
# traffic of the last hour; the alert rules with promtool; and, with a real Prometheus, the queries of each panel of the
# dashboard.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../gateway_lib.sh"
need_namespaces
for tool in prometheus promtool socat jq; do command -v "$tool" >/dev/null || skip "$tool is not installed"; done
MONITORING=$ROOT/packaging/monitoring

cp "$MONITORING/cmxsafe.rules.yml" "$ROOT/tests/e2e/gateway/gateway_metrics.rules.yml" "$TMP/"
promtool check rules "$TMP/cmxsafe.rules.yml" >"$TMP/rules.log" 2>&1 || fail "the alert rules are wrong"
promtool test rules "$TMP/gateway_metrics.rules.yml" >"$TMP/rules.log" 2>&1 || fail "the alert rules do not pass their tests"
for rule in $(sed -n 's/^ *- alert: //p' "$TMP/cmxsafe.rules.yml"); do
    grep -q "alertname: $rule$" "$TMP/gateway_metrics.rules.yml" || fail "no test of the alert $rule"
done
ok "alert rules"

[ "$(id -u)" = 0 ] && WHO=user:0 || WHO=user:$(id -un)
start_gateway
key a; key b; key c
gw enroll cam-17 --key "$TMP/a.pub" --ports 81 --group cameras >/dev/null && gw enroll cam-18 --key "$TMP/b.pub" --ports 81 >/dev/null || fail "enroll"
gw platform vms --key "$TMP/c.pub" >/dev/null && gw grant "$WHO" cam-17:81 --for 2h >/dev/null && gw grant vms cam-18:81 >/dev/null || fail "grant"
web one
A=$(address_of cam-17)
client b -N & OTHER=$!; PIDS+=("$OTHER")
wait_for 20 connected cam-18 || fail "cam-18 does not connect"
stop "$OTHER"; wait_for 20 gone cam-18 || fail "cam-18 is still connected"
client a -N -R "[$A]:81:127.0.0.1:$WEB" & DEVICE=$!; PIDS+=("$DEVICE")
wait_for 20 connected cam-17 || fail "cam-17 does not connect"
wait_for 10 answers "http://[$A]:81/" one || fail "the device is not reached"

value() { gw metrics | sed -n "s/^$1 //p"; }
is() { [ "$(value "$1")" = "$2" ]; }
gw metrics | promtool check metrics >"$TMP/check.log" 2>&1 || fail "promtool finds fault with the metrics"
for row in 'gateway_up 1' 'gateway_registry_ok 1' 'gateway_sessions 1' 'gateway_devices 2' 'gateway_devices_omitted 0' 'gateway_grants 2' \
    'gateway_grants_ending_soon 1' 'device_up{name="cam-17"} 1' 'device_up{name="cam-18"} 0' 'device_verdict{name="cam-18",verdict="never"} 1' \
    'device_info{name="cam-17",group="cameras",firmware=""} 1'; do
    gw metrics | grep -qxF "cmxsafe_$row" || fail "no line cmxsafe_$row in: $(gw metrics | grep -v '^#')"
done
wait_for 30 is cmxsafe_gateway_worker_up 1 || fail "the worker does not report"
seen() { [ -n "$(value 'cmxsafe_device_last_seen_timestamp_seconds{name="cam-18"}')" ]; }
wait_for 30 seen || fail "no time at which cam-18 was last seen"
prints_no vms gw metrics || fail "a platform is not a device"
ok "metrics of devices, gateway and worker"

# The bytes of ended sessions still count. A refused forward is counted for the device that requested it.
before=$(value 'cmxsafe_device_bytes_total{name="cam-17",direction="in"}')
[ "$before" -gt 1000 ] || fail "no bytes"
[ "$(value 'cmxsafe_device_bytes_total{name="cam-18",direction="in"}')" -gt 1000 ] || fail "the bytes of a session that ended are lost"
refused_listen b -N -R "[$A]:81:127.0.0.1:$WEB" || fail "a device listens at another's address"
wait_for 10 is 'cmxsafe_device_refused_forwards_total{name="cam-18"}' 1 || fail "a refused forward is not counted"
ok "counters of a device outlive its sessions"

# The metrics are served on a UNIX socket that only its owner and group can use; a second program cannot take over the
# socket.
SOCKET=$TMP/metrics.sock
"$BIN/cmxsafe" gateway metrics --listen "$SOCKET" 2>>"$TMP/listen.log" & LISTEN=$!; PIDS+=("$LISTEN")
scrape() { curl -sS -m 10 --unix-socket "$SOCKET" "$@"; }
wait_for 20 scrape -o /dev/null http://localhost/metrics 2>/dev/null || fail "no answer at the socket"
[ "$(stat -c %a "$SOCKET")" = 660 ] || fail "the socket's mode is $(stat -c %a "$SOCKET")"
scrape -i http://localhost/metrics | grep -qi '^content-type: text/plain; version=0.0.4' || fail "the answer has a wrong type"
scrape http://localhost/metrics | grep -qx 'cmxsafe_device_up{name="cam-17"} 1' || fail "the socket does not serve the metrics"
[ "$(scrape -o /dev/null -w '%{http_code}' http://localhost/)" = 404 ] || fail "a request for another path is not refused"
[ "$(scrape -o /dev/null -w '%{http_code}' -X POST -d x http://localhost/metrics)" = 405 ] || fail "POST is not refused"
! gw metrics --listen "$SOCKET" 2>"$TMP/err" || fail "a second program listens on the socket"
grep -q "cmxsafe: metrics failed: can't listen at" "$TMP/err" || fail "wrong message: $(cat "$TMP/err")"
! gw metrics --listen relative.sock 2>"$TMP/err" || fail "--listen accepts a relative path"
! gw metrics --listen "$SOCKET.2" --file "$TMP/x" 2>"$TMP/err" || fail "--listen is accepted together with --file"
ok "metrics at a UNIX socket"

# A real Prometheus reads the metrics from the socket, through socat, and from the file, over HTTP. The file is written
# with the command that the timer unit uses.
gw metrics --file "$TMP/www-$WEB/cmxsafe.prom" || fail "metrics --file fails"
(umask 077; gw metrics --file "$TMP/mode.prom") && equal 644 "$(stat -c %a "$TMP/mode.prom")" || fail "other users can't read the metrics"
mkfifo "$TMP/pipe.prom"; ln -s "$TMP/mode.prom" "$TMP/link.prom"; ln -s "$TMP/nothing" "$TMP/dangling.prom"
for name in pipe link dangling; do
    kind=$(stat -c %F "$TMP/$name.prom")
    ! gw metrics --file "$TMP/$name.prom" 2>"$TMP/err" && grep -q "$name.prom is not a regular file; give the path of one, or leave out --file" "$TMP/err" && equal "$kind" "$(stat -c %F "$TMP/$name.prom")" || fail "--file accepts or replaces a $kind: $(cat "$TMP/err")"
done
[ ! -e "$TMP/nothing" ] || fail "--file wrote through a link"
SCRAPED=$(free_port); PROMETHEUS=$(free_port)
socat "TCP-LISTEN:$SCRAPED,bind=127.0.0.1,fork,reuseaddr" "UNIX-CONNECT:$SOCKET" 2>>"$TMP/socat.log" & PIDS+=("$!")
cat >"$TMP/prometheus.yml" <<CONFIG
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [$MONITORING/cmxsafe.rules.yml]
scrape_configs:
  - {job_name: cmxsafe, static_configs: [{targets: ['127.0.0.1:$SCRAPED']}]}
  - {job_name: file, metrics_path: /cmxsafe.prom, static_configs: [{targets: ['127.0.0.1:$WEB']}]}
CONFIG
promtool check config "$TMP/prometheus.yml" >"$TMP/check.log" 2>&1 || fail "Prometheus does not accept the configuration"
prometheus --config.file="$TMP/prometheus.yml" --storage.tsdb.path="$TMP/tsdb" --web.listen-address="127.0.0.1:$PROMETHEUS" >"$TMP/prometheus.log" 2>&1 & PIDS+=("$!")
ask() { curl -sS -m 10 --noproxy '*' "http://127.0.0.1:$PROMETHEUS/api/v1/query" --data-urlencode "query=$1"; }
answered() { ask "$1" 2>/dev/null | json_is '.status == "success" and (.data.result | length) > 0' >/dev/null; }
wait_for 60 answered 'count(up == 1) == 2' || fail "Prometheus does not read the metrics"
wait_for 30 answered 'rate(cmxsafe_device_bytes_total{job="cmxsafe"}[10s])' || fail "Prometheus has no second sample"
panels=0
while IFS=$'\t' read -r title query; do
    query=${query//\$__rate_interval/10s}
    query=${query//\$device/.*}
    wait_for 10 answered "$query" || fail "the panel '$title' is empty: $query: $(ask "$query")"
    panels=$((panels + 1))
done < <(jq -r '.panels[] | select(.targets) | .title as $t | .targets[] | [$t, .expr] | join("\t")' "$MONITORING/cmxsafe.dashboard.json")
[ "$panels" -ge 20 ] || fail "only $panels queries in the dashboard"
ok "each of $panels panel queries of the dashboard is answered by Prometheus"
# Each metric that a rule or a panel names exists. The metrics of a shared registry are tested in gateway_postgres.sh,
# and those of several gateways in console_nodes.sh.
for name in $(grep -ohE 'cmxsafe_[a-z_]+' "$MONITORING"/* | grep -v '_registry_\(followed\|left_seconds\)\|_node_' | sort -u); do
    gw metrics | grep -q "^# TYPE $name " || fail "no metric $name"
done
rules() { curl -sS -m 10 --noproxy '*' "http://127.0.0.1:$PROMETHEUS/api/v1/rules" | json_is "$@" >/dev/null; }
rules '[.data.groups[].rules[] | select(.health == "err")] == []' || fail "a rule fails"
away() { rules '[.data.groups[].rules[].alerts[]? | select(.labels.alertname == "CmxsafeDeviceOffline" and .labels.name == "cam-18")] | length == 1'; }
wait_for 30 away || fail "there is no alert for the device that is away"
ok "alerts in Prometheus"

# At the end of each minute the gateway adds a sample to the history of the last hour.
minute() { gw status --traffic --json | json_is 'any(.minutes[]; .sessions == 1 and .bytes_in > 1000 and .at % 60 == 0 and .length_ms > 0)' >/dev/null; }
wait_for 90 minute || fail "no minute in the history: $(gw status --traffic --json)"
gw status --traffic | grep -qE '^20[0-9-]+ [0-9:]+Z +1 ' || fail "the history as text has no minute: $(gw status --traffic)"
gw status --traffic --json | json_is '.minutes | length <= 60' >/dev/null || fail "the history is not bounded"
ok "the last hour"

# The metrics report a gateway that is not running and a registry that cannot be read. Without the registry the command
# also fails.
stop "$DEVICE"
stop_gateway
is cmxsafe_gateway_up 0 && is 'cmxsafe_device_up{name="cam-17"}' 0 || fail "the metrics report a stopped gateway as up"
mv "$GW/registry.db" "$GW/away.db"
! gw metrics >"$TMP/out" 2>"$TMP/err" || fail "metrics without a registry do not fail"
grep -qx 'cmxsafe_gateway_registry_ok 0' "$TMP/out" && grep -q '^cmxsafe: metrics failed: ' "$TMP/err" || fail "the metrics do not report that the registry cannot be read: $(cat "$TMP/out" "$TMP/err")"
scrape http://localhost/metrics | grep -qx 'cmxsafe_gateway_registry_ok 0' || fail "the socket does not report that the registry cannot be read"
mv "$GW/away.db" "$GW/registry.db"
stop "$LISTEN"
[ ! -e "$SOCKET" ] || fail "the socket is left over"
no_sanitizer_report "$TMP/listen.log" || fail "a sanitizer complains"
ok "the metrics report a gateway that is stopped and a registry that is gone"
