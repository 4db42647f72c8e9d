# gateway_system_lib.sh - for scenarios with a system gateway. They run as root in their own network and mount
# namespaces, with their own accounts, units, /var/lib, /run/netns and control groups. Source it instead of lib.sh.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
[ "$(id -u)" = 0 ] || skip "needs root"
unshare --net --mount true 2>/dev/null || skip "no namespaces here"
[ -e /proc/net/if_inet6 ] || skip "no IPv6 here"
if [ -z "${CMX_INSIDE:-}" ]; then
    rm -rf "$TMP"
    [ -z "${NEED_PYTHON:-}" ] || python_with "$NEED_PYTHON" >/dev/null || skip "$NEED_PYTHON cannot be installed" # the namespace has no network
    # The scenario runs again inside the new namespaces. If that run fails, it prints its own logs.
    CMX_INSIDE=1 exec unshare --net --mount --propagation private bash "$0" "$@"
fi
. "$(dirname "${BASH_SOURCE[0]}")/gateway_lib.sh"

mkdir "$TMP/etc" "$TMP/units"
cp -a /etc/passwd /etc/group /etc/shadow /etc/gshadow /etc/hosts "$TMP/etc/" 2>/dev/null
mount -t tmpfs -o mode=755 none /mnt && mkdir /mnt/upper /mnt/work && mount -t overlay overlay -o lowerdir=/etc,upperdir=/mnt/upper,workdir=/mnt/work /etc 2>/dev/null ||
    skip "no overlay file system here"
mkdir -p /run/netns && mount -t tmpfs none /run/netns || skip "no private /run/netns"
mount -t tmpfs -o mode=755 none /var/lib || fail "no private /var/lib"
mount -t sysfs sysfs /sys 2>/dev/null
mount -t cgroup2 cgroup2 /sys/fs/cgroup || skip "no control groups (v2) here"
# The scenario runs in its own control group, so that end_cgroup finds and removes the groups below it.
CGROUP=/sys/fs/cgroup/cmx-e2e.$$
mkdir "$CGROUP" && echo $$ >"$CGROUP/cgroup.procs" || skip "no control group can be made here"
CLEANUP+=('echo $$ >/sys/fs/cgroup/cgroup.procs; end_cgroup "$CGROUP"')
ip link set lo up
export CMXSAFE_UNIT_DIR=$TMP/units CMXSAFE_GATEWAY=/var/lib/cmxsafe/gateway
GW=$CMXSAFE_GATEWAY
# sshd runs its helper only from folders that root alone may write.
mkdir -p /var/lib/bin && cp "$BIN/cmxsafe" "$BIN/cmxsafe-authkeys" /var/lib/bin/ && BIN=/var/lib/bin
CLEANUP+=("'$BIN/cmxsafe' gateway net down >/dev/null 2>&1")
FLEET=fd12:3456:789a::/48
GW_PORT=2222

# system_gateway [init options]: sets up a system gateway with its network namespace.
system_gateway() {
    gw init --fleet "$FLEET" --listen "[::]:$GW_PORT" --host 127.0.0.1 "$@" >"$TMP/init.out" || fail "init"
    gw net up || fail "net up"
}

# Starts the gateway as the units do: it listens in the host's network, and runs in the fleet's namespace under the
# gateway's account.
serve_system() {
    "$BIN/cmxsafe" gateway serve 2>>"$TMP/gateway.log" & GW_PID=$!; PIDS+=("$GW_PID")
    wait_for 20 gw status || fail "the gateway does not come up"
}
server_pid() { gw status --json | jq -r .pid; }
# judged: succeeds if the guard has checked the rules and the network, and found them as configured.
judged() { gw status --json | json_is '.judge == ""'; }

# as UID COMMAND: runs COMMAND as this local user, without supplementary groups.
as() { local uid=$1; shift; setpriv --reuid "$uid" --regid "$uid" --clear-groups "$@"; }
# get UID URL: prints the page that this user gets within 3 s.
get() { as "$1" curl -sS -m 3 "$2" 2>/dev/null; }
gets() { [ "$(get "$1" "$2")" = "$3" ]; }
denied() { [ -z "$(get "$1" "$2")" ]; }
identity() { gw whois "$1" --json | jq -r .address; }
