#!/usr/bin/env bash
# Causes faults of a system gateway by hand. For each one the doctor reports `bad` and the command that repairs it, and
# this command does repair it.
. "$(dirname "$0")/../gateway_system_lib.sh"
system_gateway
key a
gw enroll cam-17 --key "$TMP/a.pub" --ports 81 >/dev/null || fail "enroll"
gw doctor >"$TMP/doctor.out" || fail "a sound gateway: $(grep ^bad "$TMP/doctor.out")"
inside_ns() { nsenter --net=/run/netns/cmxsafe "$@"; }
# no_sessions WHY: expects that the gateway reports WHY and does not start, and that `status` reports that the gateway
# does not answer.
no_sessions() {
    local status=0
    timeout 60 "$BIN/cmxsafe" gateway serve 2>"$TMP/serve.log" || status=$?
    [ "$status" = 1 ] || fail "a gateway without identity programs ended with status $status: $(cat "$TMP/serve.log")"
    grep -q "sessions would have no identity: $1" "$TMP/serve.log" || fail "the server does not say '$1': $(cat "$TMP/serve.log")"
    ! gw status >"$TMP/status.out" 2>&1 && grep -q "no gateway is running here" "$TMP/status.out" || fail "status: $(cat "$TMP/status.out")"
}
# exclusive.py attach|detach GROUP: attaches or detaches a BPF program that permits no other program in the control
# groups below GROUP.
cat >"$TMP/exclusive.py" <<'PY'
import ctypes, os, struct, sys
PROG_LOAD, PROG_ATTACH, PROG_DETACH, SOCK_ADDR, INET6_CONNECT = 5, 8, 9, 18, 11
number = {"x86_64": 321, "aarch64": 280}[os.uname().machine]
libc = ctypes.CDLL(None, use_errno=True)
def bpf(command, attr):
    result = libc.syscall(number, command, attr, len(attr))
    if result < 0:
        sys.exit("bpf command %d: %s" % (command, os.strerror(ctypes.get_errno())))
    return result
group = os.open(sys.argv[2], os.O_RDONLY)
if sys.argv[1] == "detach":
    bpf(PROG_DETACH, struct.pack("IIII", group, 0, INET6_CONNECT, 0))
else:
    permit = ctypes.create_string_buffer(bytes.fromhex("b700000001000000" "9500000000000000"))  # r0 = 1; exit
    license = ctypes.create_string_buffer(b"GPL")
    program = bpf(PROG_LOAD, struct.pack("IIQQ44xI", SOCK_ADDR, 2, ctypes.addressof(permit), ctypes.addressof(license), INET6_CONNECT))
    bpf(PROG_ATTACH, struct.pack("IIII", group, program, INET6_CONNECT, 0))
PY
# fault FINDING REPAIR COMMAND...: causes a fault with COMMAND, expects that doctor reports FINDING with REPAIR, and
# repairs the fault. The gateway is not running, so the guard cannot repair the fault first.
fault() {
    local finding=$1 repair=$2
    shift 2
    "$@" || fail "the fault can't be made: $*"
    ! gw doctor >"$TMP/doctor.out" || fail "the doctor does not find: $finding"
    grep "^bad .*$finding" "$TMP/doctor.out" | grep -q -- "$repair" || fail "$finding: $(grep ^bad "$TMP/doctor.out")"
    [[ $finding != identity* ]] || no_sessions "${finding#*: }"
    case $repair in
    *'net up'*) gw net up || fail "net up" ;;
    restore) cp -p "$TMP/hostkey_ecdsa" "$GW/" ;;
    *'init --listen'*) gw init --listen "[::]:2223" >/dev/null || fail "init --listen" ;;
    *init*) gw init >/dev/null || fail "init" ;;
    *mount*) mount -t cgroup2 cgroup2 /sys/fs/cgroup || fail "mount" ;;
    *bpftool*) python3 "$TMP/exclusive.py" detach "$CGROUP" || fail "detach" ;;
    esac
    gw doctor >"$TMP/doctor.out" || fail "$finding: not repaired: $(grep ^bad "$TMP/doctor.out")"
}
fault "the host's rules are loaded" "net up" nft delete table inet cmxsafe_host
fault "the link into the namespace is up" "net up" ip link set cmxsafe0 down
fault "the host has the fleet's route" "net up" ip -6 route del "$FLEET"
fault "local users are kept from using the fleet's addresses" "net up" ip -6 rule del pref 1129
fault "the fleet's rules are loaded" "net up" inside_ns nft flush ruleset
fault "the namespace has the fleet's routes" "net up" inside_ns ip -6 route del "$FLEET" dev nowhere
fault "the namespace has the fleet's routing rules" "net up" inside_ns ip -6 rule del pref 1129
fault "the account can read the folder" "init" chmod 600 "$GW/registry.db"
fault "the account can write to the run folder" "init" chmod 700 "$GW/run"
owners="only the gateway's owner can change its files: "
fault "$owners$GW/registry.db" "init" chmod 666 "$GW/registry.db"
fault "$owners$GW/registry.db" "init" chown 1234 "$GW/registry.db"
fault "$owners$GW/\." "init" chmod 777 "$GW"
fault "$owners$GW/\." "init" chown 1234 "$GW"
fault "$owners$GW/run" "init" chmod 777 "$GW/run"
fault "$owners$GW/hosts" "init" chown 1234 "$GW/hosts"
fault "$owners$GW/bird" "init" chown 1234 "$GW/bird"
fault "$owners$GW/fleet.nft" "init" chmod 666 "$GW/fleet.nft"
fault "/etc/hosts has the devices' names" "init" sed -i '/cam-17/d' /etc/hosts
cp -p "$GW/hostkey_ecdsa" "$TMP/hostkey_ecdsa"
fault "hostkey_ecdsa is valid and private: its .pub file is missing" "init" rm "$GW/hostkey_ecdsa.pub"
fault "hostkey_ecdsa is valid and private: its .pub file is missing" "init" cp "$GW/hostkey_ed25519.pub" "$GW/hostkey_ecdsa.pub"
fault "hostkey_ecdsa is valid and private: ssh-keygen can't read it" "restore" truncate -s 100 "$GW/hostkey_ecdsa"
fault "sshd, run as the account, accepts its configuration" "init" sh -c "echo Nonsense yes >>'$GW/sshd_config'"
fault "identity programs.*: control groups (v2) are not mounted" "run 'mount -t cgroup2" umount /sys/fs/cgroup
fault "identity programs.*: an identity program can't be attached" "run 'bpftool cgroup tree'" python3 "$TMP/exclusive.py" attach "$CGROUP"
python3 -c 'import socket, time; s = socket.create_server(("127.0.0.1", 2222)); print(flush=True); time.sleep(600)' >"$TMP/other.out" & PIDS+=($!)
wait_for 10 test -s "$TMP/other.out" || fail "the other program does not listen on the gateway's port"
fault "the gateway can listen on its port.*: can't listen on .*2222 (Address already in use)" "init --listen" true
ok "the doctor finds each fault, and the command that it names repairs it"
