#!/usr/bin/env bash
# Tests identities from end to end: devices, a platform, local users and groups connect to a service that prints its
# peer. Each has its own identity, and none can use another's: neither by binding, nor with other socket types, nor from
# inside a session's control group.
. "$(dirname "$0")/../gateway_system_lib.sh"
# IPv6 is disabled for new interfaces of this host and for all interfaces of the namespace. 'net up' must enable it
# where it is needed.
echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6
system_gateway
nsenter --net=/run/netns/cmxsafe sh -c 'echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6 && echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6' || fail "IPv6 can't be switched off"
gw net up || fail "net up fails while IPv6 is off"
for i in all default lo nowhere cmxsafe1; do
    [ "$(nsenter --net=/run/netns/cmxsafe cat "/proc/sys/net/ipv6/conf/$i/disable_ipv6")" = 0 ] || fail "IPv6 is off in the namespace: $i"
done
[ "$(cat /proc/sys/net/ipv6/conf/cmxsafe0/disable_ipv6)" = 0 ] || fail "IPv6 is off on the link"
for k in a b p svc stranger; do key $k; done

# This service prints its peer. On a device its peer would be the device's own ssh, so the service runs on the gateway,
# where devices reach it through direct contexts, and platforms reach it in place of a device's session. The access log
# shows the clients of devices.
cat >"$TMP/peers.py" <<'PY'
import socket, sys, threading
s = socket.socket(socket.AF_INET6)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind((sys.argv[2] if len(sys.argv) > 2 else "::", int(sys.argv[1])))
s.listen(64)
def talk(c, peer):
    try:
        c.sendall(("peer %s\n" % peer[0]).encode())
        while c.recv(4096):
            pass
    except OSError:
        pass
    c.close()
while True:
    c, peer = s.accept()
    threading.Thread(target=talk, args=(c, peer), daemon=True).start()
PY
chmod 644 "$TMP/peers.py"
python3 "$TMP/peers.py" 1883 & PIDS+=("$!")
wait_for 10 listening 1883 || fail "no service"
web one
gw enroll cam-17 --key "$TMP/a.pub" --ports 81 --direct gateway.cmx:1883 >/dev/null && gw enroll cam-18 --key "$TMP/b.pub" --ports 81,8080 --direct gateway.cmx:1883,cam-17.cmx:81 >/dev/null || fail "enroll"
gw platform vms --key "$TMP/p.pub" >/dev/null || fail "platform"
A=$(address_of cam-17) B=$(address_of cam-18)
serve_system
keep_client a -N -R "[$A]:81:127.0.0.1:$WEB" # on a busy machine, a login below may take over the session
keep_client b -N -R "[$B]:81:127.0.0.1:$WEB"
wait_for 20 connected cam-17 && wait_for 20 connected cam-18 || fail "the devices do not connect"

# Small packets of a session are not delayed: its connection has TCP_NODELAY, which the accepted socket inherits from serve's listener.
cat >"$TMP/nodelay.py" <<'PY'
import ctypes, os, socket, sys
SYS_pidfd_getfd = 438
libc = ctypes.CDLL(None, use_errno=True)
pidfd = os.pidfd_open(int(sys.argv[1]))
for fd in os.listdir("/proc/%s/fd" % sys.argv[1]):
    if not os.readlink("/proc/%s/fd/%s" % (sys.argv[1], fd)).startswith("socket:"):
        continue
    copy = libc.syscall(SYS_pidfd_getfd, pidfd, int(fd), 0)
    if copy < 0:
        sys.exit(os.strerror(ctypes.get_errno()))
    s = socket.socket(fileno=copy)
    if s.family in (socket.AF_INET, socket.AF_INET6) and s.getsockname()[1] == int(sys.argv[2]):
        print(s.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0)
PY
session=$(gw status --json | jq '.sessions[] | select(.name == "cam-17") | .pid')
[ "$(python3 "$TMP/nodelay.py" "$session" "$GW_PORT" | sort -u)" = True ] || fail "a session's connection lacks TCP_NODELAY: $(python3 "$TMP/nodelay.py" "$session" "$GW_PORT" 2>&1)"
ok "a session's small packets are sent at once"

# The service behind the gateway sees each device's address.
for pair in "a $A" "b $B"; do
    set -- $pair
    [ "$(: | try_client "$1" -W gateway.cmx:1883 2>/dev/null)" = "peer $2" ] || fail "the service does not see $2: $(: | try_client "$1" -W gateway.cmx:1883 2>&1)"
done
ok "a service behind the gateway sees each device's identity"

# sshd asks the gateway for the identity of each key that a client offers. If the gateway does not answer for the key that
# signs, the session would keep the identity of an offered key.
ssh-keygen -q -t ecdsa -m PEM -N phrase -C '' -f "$TMP/slow" || fail "ssh-keygen"
gw enroll cam-16 --key "$TMP/slow.pub" --ports 81 --direct gateway.cmx:1883 >/dev/null || fail "enroll"
rm "$TMP/slow.pub" # ssh then offers this key only with a signature
cp "$TMP/b.pub" "$TMP/offered.pub"
server=$(server_pid)
printf '#!/bin/sh\nkill -STOP %s\necho phrase\n' "$server" >"$TMP/askpass" && chmod 700 "$TMP/askpass"
rc=0; SSH_ASKPASS=$TMP/askpass SSH_ASKPASS_REQUIRE=force timeout 120 ssh -o IdentityFile="$TMP/offered" -i "$TMP/slow" -p "$GW_PORT" -o StrictHostKeyChecking=no \
    -o UserKnownHostsFile=/dev/null -o IdentitiesOnly=yes -o IdentityAgent=none -F none -l cmxsafe-gw 127.0.0.1 -W gateway.cmx:1883 \
    </dev/null >"$TMP/slow.out" 2>"$TMP/slow.err" || rc=$?
kill -CONT "$server"
[ $rc = 255 ] && grep -q 'Permission denied (publickey)' "$TMP/slow.err" && lacks peer "$TMP/slow.out" || { cat "$TMP/slow.out" "$TMP/slow.err"; fail "a login is not refused although the gateway did not answer: $rc"; }
ok "a login is refused if the gateway does not give it its identity"

# The access log names users, a group, a platform and another device.
gw access --follow --json >"$TMP/followed" 2>/dev/null & FOLLOW=$!; PIDS+=("$FOLLOW")
gw grant user:1234 cam-17:81 >/dev/null && gw grant group:4321 cam-17:81 >/dev/null && gw grant vms cam-17:81 >/dev/null || fail "grant"
wait_for 10 gets 1234 http://cam-17.cmx:81/ one || fail "a user with a grant does not reach the device"
denied 1235 http://cam-17.cmx:81/ || fail "a user without a grant reaches the device"
[ "$(setpriv --reuid 1235 --regid 4321 --clear-groups curl -sS -m 3 http://cam-17.cmx:81/)" = one ] || fail "a member of a group with a grant does not reach the device"
through() { printf 'GET / HTTP/1.0\r\n\r\n' | try_client "$1" -W "$2" 2>/dev/null | grep -q one; }
through p cam-17.cmx:81 || fail "a platform with a grant does not reach the device"
through b cam-17.cmx:81 || fail "a device does not reach another device by its direct context"
! through a cam-18.cmx:81 || fail "a device without a direct context reaches another device"
! through p cam-18.cmx:81 || fail "a platform without a grant reaches the device"
accessed() { # accessed CONSUMER DEVICE: succeeds if the access log has a closed connection between them that carried data
    gw access --json | jq -s . | json_is 'any(.[]; .event == "close" and .consumer == $c and .device == $d and .bytes_out > 0)' --arg c "$1" --arg d "$2"
}
for c in user:1234 group:4321 platform:vms cam-18; do wait_for 10 accessed "$c" cam-17 || fail "the access log has no $c: $(gw access)"; done
followed() { jq -s . "$TMP/followed" | json_is 'any(.[]; .event == $e and .consumer == "platform:vms" and .device == "cam-17")' --arg e "$1"; }
wait_for 10 followed open && wait_for 10 followed close || fail "access --follow does not print a connection's begin and end: $(cat "$TMP/followed")"
refused() { gw access --json --consumer "$1" | jq -s . | json_is 'any(.[]; .event == "denied")'; }
denied 1234 http://cam-18.cmx:81/ || fail "a user reaches a port without a grant"
wait_for 10 refused user:1234 || fail "the access log has no refusal: $(gw access)"
gw access --device CAM-18 --since 1h | grep -q 'denied  user:1234 -> cam-18:81' || fail "access --device: $(gw access --device cam-18)"
for name in cam-99 user:no-such-user cgroup:system.slice/no-such.service; do
    for option in --device --consumer; do
        status=0; gw access $option $name >"$TMP/unknown.out" 2>"$TMP/unknown.err" || status=$?
        [ "$status" = 1 ] && [ ! -s "$TMP/unknown.out" ] && grep -q "access failed: .* '*${name#*:}'; for a device that was renamed or deleted, 'cmxsafe gateway log $name' shows" "$TMP/unknown.err" ||
            fail "access $option $name: exit status $status or a wrong message: $(cat "$TMP/unknown.out" "$TMP/unknown.err")"
    done
done
gw access --device "${B^^}" | grep -q 'denied  user:1234 -> cam-18:81' || fail "access --device with an address finds no refusal: $(gw access --device "${B^^}")"
for consumer in 1234 user:1234 "$(gw whois user:1234 --json | jq -r .address)"; do gw access --consumer "$consumer" | grep -q 'denied  user:1234 -> cam-18:81' || fail "access --consumer $consumer finds no refusal: $(gw access)"; done
[ -z "$(gw access --device fd00::1)" ] || fail "access prints connections of an address that nobody has"
gw access --json | jq -s . | json_is 'length > 0 and all(.[]; .event != "start")' && prints_no '  start ' gw access || fail "access shows the start of the gateway: $(gw access)"
wait_for 10 grep -q '"denied"' "$TMP/followed" || fail "access --follow does not print a refusal: $(cat "$TMP/followed")"
# The access log also has the connections that sshd refuses, which the packet filter never sees: those to a port without a
# grant, even if the client gives the device's address instead of its name.
wait_for 10 refused platform:vms && wait_for 10 refused cam-17 || fail "the access log has no connection that sshd refused: $(gw access)"
! through p "[$B]:8080" || fail "a platform without a grant reaches the device"
named() { gw access --device cam-18 | grep -q 'denied  platform:vms -> cam-18:8080 '; }
wait_for 10 named || fail "the log does not name the device of a refused connection to its address: $(gw access --device cam-18)"
before=$(gw access --json --consumer platform:vms | wc -l)
! through p 192.0.2.1:81 && ! through p nothing.example:81 || fail "a platform reaches other hosts"
wait_for 10 logged "vms from .*: refused connect to host nothing.example port 81" || fail "no refusal in the log"
equal "$before" "$(gw access --json --consumer platform:vms | wc -l)" || fail "a host that is no device is in the access log"
stop "$FOLLOW"
ok "the access log names users, groups, platforms and devices, and who was refused"

# The services that a platform reaches by -W, -L and -D see the platform's identity. The listener is at cam-18's address
# and runs under the gateway's account, as cam-18's session would.
nsenter --net=/run/netns/cmxsafe setpriv --reuid cmxsafe-gw --regid cmxsafe-gw --clear-groups /usr/bin/python3 "$TMP/peers.py" 8080 "$B" & PEERS=$!; PIDS+=("$PEERS")
inside_listens() { nsenter --net=/run/netns/cmxsafe ss -Htln 'sport = :8080' | grep -q .; }
wait_for 10 inside_listens || fail "no service in the fleet's namespace"
gw grant vms cam-18:8080 >/dev/null || fail "grant"
LOCAL=$(free_port) SOCKS=$(free_port)
client p -N -L "127.0.0.1:$LOCAL:cam-18.cmx:8080" -D "127.0.0.1:$SOCKS" & FORWARDS=$!; PIDS+=("$FORWARDS")
wait_for 20 listening "$LOCAL" && wait_for 10 listening "$SOCKS" || fail "the platform's forwards"
VMS=$(identity platform:vms)
[ "$(: | try_client p -W cam-18.cmx:8080 2>/dev/null)" = "peer $VMS" ] || fail "-W: the service does not see $VMS"
[ "$(timeout 20 nc -N 127.0.0.1 "$LOCAL" </dev/null)" = "peer $VMS" ] || fail "-L: the service does not see $VMS"
[ "$(timeout 20 nc -N -X 5 -x "127.0.0.1:$SOCKS" cam-18.cmx 8080 </dev/null)" = "peer $VMS" ] || fail "-D: the service does not see $VMS"
stop "$FORWARDS"; stop "$PEERS"
gw grant --remove vms cam-18:8080 >/dev/null || fail "grant --remove"
ok "a service sees the platform's identity by -W, -L and -D"

# whois translates in both directions.
for party in cam-17 platform:vms user:1234 group:4321 cgroup:system.slice/nvr.service user:root; do
    address=$(identity "$party")
    [ -n "$address" ] || fail "whois $party"
    [ "$party" = cgroup:system.slice/nvr.service ] || [ "$(gw whois "$address" --json | jq -r '.name')" = "${party#*:}" ] || fail "whois $address: $(gw whois "$address")"
done
[ "$(identity cam-17)" = "$A" ] && [ "$(gw whois CAM-17 --json | jq -r .kind)" = device ] || fail "whois does not find a device by its name"
! gw whois fd12:3456:789a::99 2>/dev/null && ! gw whois nobody-there 2>/dev/null || fail "whois finds an address or a name that nobody has"
root=$(identity root)
[ "$(identity user:0)" = "$root" ] && [ "$(identity user:root)" = "$root" ] || fail "a user's name and number are different consumers"
ok "whois translates in both directions"

# This process in cam-18's session behaves like a compromised sshd: it has the same account, control group and network,
# but does not follow sshd's configuration.
session=$(gw status --json | jq -r '.sessions[] | select(.name == "cam-18") | .pid')
cgroup=/sys/fs/cgroup$(sed -n 's/^0:://p' "/proc/$session/cgroup")
case $cgroup in */sessions/[0-9]*) ;; *) fail "the session has no control group: $cgroup" ;; esac
cat >"$TMP/taken.py" <<'PY'
import errno, os, socket, struct, sys, time
"x".encode("idna")  # imports the codec while its file can still be read
own, other, cgroup = sys.argv[1:4]
open(cgroup + "/cgroup.procs", "w").write("0")
os.setgid(int(sys.argv[5])); os.setgroups([]); os.setuid(int(sys.argv[4]))
bad = []
def forbidden(what, f):
    try:
        f()
    except OSError as e:
        return
    bad.append(what)
def tcp(): return socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
def freebind(s):
    s.setsockopt(socket.IPPROTO_IPV6, 78, 1)  # IPV6_FREEBIND
    return s
forbidden("bind to another's identity", lambda: tcp().bind((other, 8081)))
forbidden("bind to another's port", lambda: tcp().bind((other, 81)))
forbidden("bind with IPV6_FREEBIND", lambda: freebind(tcp()).bind((other, 8081)))
forbidden("bind to all addresses", lambda: tcp().bind(("::", 8080)))
forbidden("bind to a port that is not enrolled", lambda: tcp().bind((own, 9999)))
forbidden("bind to a free port", lambda: tcp().bind((own, 0)))
forbidden("bind to an IPv4-mapped address", lambda: tcp().bind(("::ffff:127.0.0.1", 8080)))
forbidden("bind to IPv4", lambda: socket.socket(socket.AF_INET).bind(("127.0.0.1", 8080)))
forbidden("connect by IPv4", lambda: socket.create_connection(("127.0.0.1", 1883), 2))
forbidden("connect to the loopback", lambda: socket.create_connection(("::1", 7777), 2))
forbidden("connect to an IPv4-mapped address", lambda: tcp().connect(("::ffff:127.0.0.1", 1883)))
for name, kind, protocol in (("raw", socket.SOCK_RAW, 6), ("raw, any", socket.SOCK_RAW, 255), ("datagram", socket.SOCK_DGRAM, 0), ("ping", socket.SOCK_DGRAM, 58), ("seqpacket", socket.SOCK_SEQPACKET, 0), ("MPTCP", socket.SOCK_STREAM, 262), ("SCTP", socket.SOCK_STREAM, 132)):
    forbidden("a %s socket" % name, lambda: socket.socket(socket.AF_INET6, kind, protocol))
forbidden("a packet socket", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0))
def routed(via, address, port):  # a segment routing header (RFC 8754) with a segment at the address `via`
    s = tcp(); s.settimeout(1.5)
    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RTHDR, struct.pack("!BBBBBBH", 0, 4, 4, 1, 1, 0, 0) + bytes(16) + socket.inet_pton(socket.AF_INET6, via))
    s.connect((address, port))
forbidden("source routing over a permitted port's address", lambda: routed(other, other, 8080))
forbidden("source routing to a permitted port", lambda: routed(own, other, 81))
def fast_open():
    s = tcp(); s.sendto(b"x", 0x20000000, (other, 8080))  # MSG_FASTOPEN
forbidden("TCP fast open past the judge", fast_open)
# The session's own ports work, and its connections carry only its own identity.
s = tcp(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind((own, 8080)); s.listen(1)
forbidden("connect from a socket that listens on its own port", lambda: (lambda t: (t.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1), t.bind((own, 81)), t.connect((other, 8080))))(tcp()))
c = tcp(); c.settimeout(3); c.connect((other, 81))
if c.getsockname()[0] != own: bad.append("connects as " + c.getsockname()[0])
# No connection reaches a listener that is bound to all addresses and whose port the kernel chose.
w = tcp(); w.listen(1)
port = w.getsockname()[1]
t = tcp(); t.settimeout(1)
try:
    t.connect((other, port)); bad.append("a wildcard listener takes another's port %d" % port)
except OSError:
    pass
# The gateway closes all but a few of this process's connections to the control socket.
held = [socket.socket(socket.AF_UNIX) for i in range(20)]
for h in held: h.connect(sys.argv[6])
time.sleep(1)
def is_open(h):
    try:
        return h.recv(1, socket.MSG_DONTWAIT) != b""
    except BlockingIOError:
        return True
n = sum(is_open(h) for h in held)
if not 1 <= n <= 4: bad.append("holds %d connections to the control socket" % n)
print("\n".join(bad))
PY
nsenter --net=/run/netns/cmxsafe socat TCP6-LISTEN:7777,bind=[::1],fork,reuseaddr - >/dev/null & PIDS+=("$!")
loopback() { nsenter --net=/run/netns/cmxsafe socat -u OPEN:/dev/null "TCP6:[::1]:7777" 2>/dev/null; }
wait_for 10 loopback || fail "no program in the namespace can use its loopback"
nsenter --net=/run/netns/cmxsafe python3 "$TMP/taken.py" "$B" "$A" "$cgroup" "$(id -u cmxsafe-gw)" "$(id -g cmxsafe-gw)" "$GW/run/control" >"$TMP/taken.log" 2>&1 || fail "the process in the session could do something forbidden: $(cat "$TMP/taken.log")"
[ -z "$(tr -d '\n' <"$TMP/taken.log")" ] || fail "a session may: $(cat "$TMP/taken.log")"
ok "a process in a session's control group has the session's identity and ports, and nothing else"

# Checks the restrictions of a session's sshd process.
[ "$(awk '/^NoNewPrivs/ {print $2}' "/proc/$session/status")" = 1 ] || fail "a session's sshd may gain privileges"
gw status --json | json_is .confined || skip_part "confined sessions: the kernel has no Landlock"
# A process whose cgroup has no identity in the eBPF map cannot connect at all.
orphan=$(dirname "$cgroup")/999999
CLEANUP+=("rmdir $orphan 2>/dev/null")
cat >"$TMP/orphan.py" <<'PY'
import os, socket, sys
try:
    os.mkdir(sys.argv[1])
    open(sys.argv[1] + "/cgroup.procs", "w").write("0")
except (FileExistsError, FileNotFoundError):
    sys.exit(4)
try:
    socket.create_connection((sys.argv[2], 81), 2)
except PermissionError:
    sys.exit(3)
PY
# The gateway removes control groups that it does not know, and kills their processes. If this happens before the connection, try
# again.
for _ in $(seq 50); do
    nsenter --net=/run/netns/cmxsafe python3 "$TMP/orphan.py" "$orphan" "$A"
    rc=$?
    case $rc in 4 | 137) ;; *) break ;; esac
done
[ "$rc" = 3 ] || fail "a process without an identity: exit status $rc instead of 3 (not permitted)"
ok "a process without an identity cannot connect"

# A local user cannot choose another's identity as its source.
cat >"$TMP/forge.py" <<'PY'
import socket, sys
s = socket.socket(socket.AF_INET6); s.settimeout(3)
s.setsockopt(socket.IPPROTO_IPV6, 78, 1)
try:
    s.bind((sys.argv[1], 0)); s.connect((sys.argv[2], 81)); s.sendall(b"GET / HTTP/1.0\r\n\r\n")
    print(s.makefile("rb").read())
except OSError:
    sys.exit(1)
PY
[ -x /usr/bin/python3 ] || skip "no /usr/bin/python3, which every user may run"
as 1234 /usr/bin/python3 "$TMP/forge.py" :: "$A" | grep -q one || fail "the forger's program does not work without forging"
cat >"$TMP/routed.py" <<'PY'
import socket, struct, sys
s = socket.socket(socket.AF_INET6); s.settimeout(3)
try:
    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RTHDR, struct.pack("!BBBBBBH", 0, 4, 4, 1, 1, 0, 0) + bytes(16) + socket.inet_pton(socket.AF_INET6, sys.argv[1]))
    s.connect((sys.argv[2], 81)); s.sendall(b"GET / HTTP/1.0\r\n\r\n")
    print(s.makefile("rb").read())
except OSError:
    sys.exit(1)
PY
! as 1234 /usr/bin/python3 "$TMP/routed.py" "$A" "$B" && ! as 1235 /usr/bin/python3 "$TMP/routed.py" "$B" "$A" || fail "a packet with source routing reaches a device without a grant"
user=$(identity user:1234)
! as 1235 /usr/bin/python3 "$TMP/forge.py" "$user" "$A" || fail "a local user took another user's identity"
! as 1235 /usr/bin/python3 "$TMP/forge.py" "$B" "$A" || fail "a local user took a device's identity"
nft flush ruleset
! as 1235 /usr/bin/python3 "$TMP/forge.py" "$user" "$A" || fail "a local user took another user's identity while the host had no rules"
ok "a local user cannot take another's identity, with the host's rules or without"

# If the session of a device ends abruptly, its sshd's sockets reset their connections. The host's connection tracking then keeps
# the entry of a user's connection, with the user's identity, for 10 s. Another user must not reuse the entry.
cat >"$TMP/reset.py" <<'PY'
import socket, sys
s = socket.create_connection((sys.argv[1], 81), 5)
s.sendall(b"GET")
print(s.getsockname()[1], flush=True)
s.settimeout(20)
try:
    s.recv(1)
except ConnectionResetError:
    print("reset")
PY
cat >"$TMP/reuse.py" <<'PY'
import socket, sys
s = socket.socket(socket.AF_INET6); s.settimeout(1.5)
s.bind(("::", int(sys.argv[2])))
try:
    s.connect((sys.argv[1], 81)); s.sendall(b"GET / HTTP/1.0\r\n\r\n")
    print(s.makefile("rb").read())
except OSError:
    sys.exit(1)
PY
wait_for 10 gets 1234 http://cam-17.cmx:81/ one || fail "the host's rules are not restored"
session=$(gw status --json | jq -r '.sessions[] | select(.name == "cam-17") | .pid')
kill -STOP -- "-$session" || fail "the session can't be stopped"
as 1234 /usr/bin/python3 "$TMP/reset.py" "$A" >"$TMP/reset" & RESET=$!; PIDS+=("$RESET")
wait_for 10 test -s "$TMP/reset" || fail "a user can't connect to a stopped session"
kill -KILL -- "-$session"
wait "$RESET"
grep -q reset "$TMP/reset" || fail "the connection was not reset: $(cat "$TMP/reset")"
wait_for 20 connected cam-17 || fail "cam-17 does not connect again"
for _ in 1 2 3; do
    ! as 1235 /usr/bin/python3 "$TMP/reuse.py" "$A" "$(head -n 1 "$TMP/reset")" || fail "a local user reused another's connection: $(gw access | tail -n 3)"
done
wait_for 20 as 1234 /usr/bin/python3 "$TMP/reuse.py" "$A" "$(head -n 1 "$TMP/reset")" || fail "the first user can't use the port again"
ok "a local user cannot reuse the entry of another's connection"

# A user's program that root starts inside the fleet's namespace cannot choose an identity either.
inside_as() { nsenter --net=/run/netns/cmxsafe setpriv --reuid "$1" --regid "$1" --clear-groups /usr/bin/python3 "$TMP/forge.py" "$2" "$A"; }
inside_as 1234 :: | grep -q one || fail "the forger's program does not work in the namespace without forging"
! inside_as 1235 "$user" && ! inside_as 1235 "$B" && ! inside_as 65534 "$user" || fail "a program in the namespace took another's identity"
ok "a program that root started in the fleet's namespace cannot take another's identity either"

# attest and update connect with the operator's identity, and need no grant.
openssl rand -out "$TMP/hwkey.bin" 32 && echo image >"$TMP/image.bin"
attests() { gw attest cam-17 --port 81 -- --key "$TMP/hwkey.bin" --image "$TMP/image.bin" --timeout 5 >"$TMP/attest.log" 2>&1; grep -q 'answers 404' "$TMP/attest.log"; }
SUDO_UID=1300 attests || fail "attest with sudo fails: $(cat "$TMP/attest.log")"
attests || fail "attest fails for root: $(cat "$TMP/attest.log")"
for c in user:1300 user:root; do wait_for 10 accessed "$c" cam-17 || fail "the access log has no request of $c: $(gw access)"; done
denied 1300 http://cam-17.cmx:81/ || fail "a rollout gave its operator a grant"
gw show cam-17 | grep -q "user:1234 (port 81) as $user" && gw show cam-17 --json | json_is 'any(.grants[]; .consumer == "user:1234" and .identity == $i)' --arg i "$user" || fail "show prints no identities"
ok "attest and update connect as the operator"

# Loading the rules does not cut an operator off from a device that answers later.
cat >"$TMP/later.py" <<'PY'
import os, socket, sys, time
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
connection = listener.accept()[0]
connection.recv(4096)
open(sys.argv[2], "w").close()
while not os.path.exists(sys.argv[3]):
    time.sleep(0.1)
connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
time.sleep(600)
PY
LATER=$(free_port)
/usr/bin/python3 "$TMP/later.py" "$LATER" "$TMP/asked" "$TMP/answer" & PIDS+=("$!")
wait_for 10 listening "$LATER" || fail "the slow service does not start"
key patient && gw enroll cam-20 --key "$TMP/patient.pub" --ports 81 >/dev/null || fail "enroll"
client patient -N -R "[$(address_of cam-20)]:81:127.0.0.1:$LATER" & PIDS+=("$!")
wait_for 20 connected cam-20 || fail "cam-20 does not connect"
gw attest cam-20 --port 81 -- --key "$TMP/hwkey.bin" --image "$TMP/image.bin" --timeout 30 >"$TMP/attest.log" 2>&1 & ATTEST=$!; PIDS+=("$ATTEST")
wait_for 20 test -e "$TMP/asked" || fail "attest sends no request"
gw grant user:1236 cam-17:81 >/dev/null && gw grant --remove user:1236 cam-17:81 >/dev/null || fail "grant"
touch "$TMP/answer"
! wait "$ATTEST" && grep -q 'answers 404' "$TMP/attest.log" || fail "an operator's connection ends when the rules are loaded: $(cat "$TMP/attest.log")"
ok "an operator waits for a slow device while other commands load the rules"

# A second login with the same key has the same identity and no other.
[ "$(: | try_client a -W gateway.cmx:1883 2>/dev/null)" = "peer $A" ] || fail "a second login with the same key has another identity"
gw list --json | json_is 'any(.[]; .name == "cam-17" and .address == $a)' --arg a "$A" || fail "list prints no identity"

# With ssh -J a platform logs in to an SSH service of a device, by name.
start_sshd </dev/null
gw enroll cam-19 --key "$TMP/svc.pub" --ports 8022 >/dev/null && gw grant vms cam-19:8022 >/dev/null || fail "enroll"
client svc -N -R "[$(address_of cam-19)]:8022:127.0.0.1:$SSHD_PORT" & PIDS+=("$!")
wait_for 20 connected cam-19 || fail "cam-19 does not connect"
cat >"$TMP/ssh_config" <<CONF
Host gw
    HostName 127.0.0.1
    Port $GW_PORT
    User cmxsafe-gw
    IdentityFile $TMP/p
Host cam-19.cmx
    Port 8022
    User $SSHD_USER
    IdentityFile $KEY
Host *
    BatchMode yes
    IdentitiesOnly yes
    StrictHostKeyChecking no
    UserKnownHostsFile /dev/null
    LogLevel ERROR
CONF
[ "$(timeout 60 ssh -F "$TMP/ssh_config" -J gw cam-19.cmx echo inside)" = inside ] || fail "ssh -J"
wait_for 10 accessed platform:vms cam-19 || fail "the access log has no ssh -J: $(gw access)"
ok "ssh -J reaches a device by its name, with the platform's identity"

# All refusals are counted, but at most 120 a minute are written to the access log. The log survives a restart, and it
# is rotated when its file is full.
cat >"$TMP/many.py" <<'PY'
import socket, sys
for port in range(10000, 10400):
    try:
        socket.create_connection((sys.argv[1], port), 20)
        sys.exit("port %d is open" % port)
    except ConnectionRefusedError:
        pass
PY
chmod 644 "$TMP/many.py"
packets() { gw status --json | json_is '.counters.denied_packets >= $n' --argjson n "$1"; }
before=$(gw status --json | jq .counters.denied_packets)
as 1235 /usr/bin/python3 "$TMP/many.py" "$A" || fail "the 400 connections were not all refused"
wait_for 20 packets $((before + 400)) || fail "not all refusals are counted: $before, $(gw status --json | jq .counters.denied_packets)"
# Refusals are also counted if a command loads the rules before the guard has reported them.
before=$(gw status --json | jq .counters.denied_packets)
pause "$GW_PID" || fail "the guard can't be stopped"
for options in "" --remove; do
    denied 1235 "http://[$A]:9999/" || fail "a user reaches a port without a grant"
    gw grant $options user:1236 cam-17:81 >/dev/null || fail "grant $options"
done
wait_for 10 packets $((before + 2)) || fail "a refusal is lost when the rules are loaded: $before, $(gw status --json | jq .counters.denied_packets)"
kill -CONT "$GW_PID"
many() { gw access --json | jq -s '[.[] | select(.event == "denied" and .port >= 10000)] | length'; }
# There may be 240 lines, because a new minute may begin meanwhile.
[ "$(many)" -ge 1 ] && [ "$(many)" -le 240 ] || fail "of 400 refusals, $(many) are in the access log"
gw access --json >"$TMP/access.before"
stop_gateway
serve_system
gw access --json >"$TMP/access.after"
counted() { jq -s '[.[] | select((.event == "denied" and .port >= 10000) or .event == "denied-more") | .count] | add' "$TMP/access.after"; }
[ "$(counted)" -ge 400 ] || fail "of 400 refusals, the access log counts $(counted)"
gw access | grep -Eq 'denied  [0-9]+ more packets' || fail "access does not print the refusals without lines: $(gw access | tail -n 3)"
prints_no 'more packets' gw access --device cam-17 || fail "access --device prints the number of refusals that were not logged, which other devices may have caused"
equal "$(head -n 20 "$TMP/access.before")" "$(head -n 20 "$TMP/access.after")" || fail "the access log is lost with a restart"
log=$GW/run/access/log
[ ! -e "$log.1" ] || fail "the log is already in two files"
line=$(grep -m 1 '"close"' "$log") || fail "no closed connection in the log"
python3 -c 'import sys; open(sys.argv[1], "a").write((sys.argv[2] + "\n") * (int(sys.argv[3]) // len(sys.argv[2])))' "$log" "$line" $((8 << 20))
# The guard would not see a refusal that happens while it loads the rules at its start.
wait_for 20 judged || fail "the guard has not checked the rules: $(gw status --json | jq .judge)"
denied 1235 http://cam-17.cmx:81/ || fail "a user without a grant reaches the device"
rotated() { [ -s "$log.1" ] && [ "$(stat -c %s "$log" 2>/dev/null || echo 0)" -lt 1000000 ]; }
wait_for 20 rotated || fail "the access log is not rotated: $(ls -l "$GW/run/access")"
gw access --json | tail -n 1 | json_is '.at_ms > 0' || fail "no access log after its rotation"
ok "the access log is bounded, and survives a restart"

# Another program renames, truncates or removes the log: no later line is lost, not even for `access --follow`.
refused_at() { gw access --json | jq -s . | json_is "any(.[]; .event == \"denied\" and .port == $1)"; }
gw access --follow --json >"$TMP/followed" 2>/dev/null & FOLLOW=$!; PIDS+=("$FOLLOW")
followed_at() { grep -q "\"port\":$1[,}]" "$TMP/followed"; }
denied 1235 http://cam-17.cmx:84/ && wait_for 20 followed_at 84 || fail "access --follow: $(tail -n 2 "$TMP/followed")"
: >"$log" && denied 1235 http://cam-17.cmx:85/ && wait_for 20 refused_at 85 && wait_for 20 followed_at 85 || fail "a truncated log: $(cat "$log")"
mv "$log" "$log-20261201" && denied 1235 http://cam-17.cmx:86/ && wait_for 20 refused_at 86 && wait_for 20 followed_at 86 || fail "a renamed log: $(ls -l "$GW/run/access")"
rm -r "$GW/run/access" && denied 1235 http://cam-17.cmx:87/ && wait_for 20 refused_at 87 || fail "a removed folder: $(ls -l "$GW/run")"
stop "$FOLLOW"
ok "an access log that another program changes"

# When the guard loads the rules again, the set of refused connections becomes empty. Before that, the guard must
# report the refusals in the set. Here the guard has to repair the network, but waits while the scenario holds the
# folder's lock. A user is refused meanwhile.
exec 9>>"$GW/apply.lock" && flock 9 || fail "the folder can't be locked"
ip -6 rule delete pref 1129 || fail "the routing rule can't be removed"
guard_waits() { ls -l "/proc/$GW_PID/fd" | grep -q apply.lock; }
wait_for 20 guard_waits || fail "the guard does not wait for the lock"
denied 1235 http://cam-17.cmx:83/ || fail "a user without a grant reaches the device"
flock -u 9 && exec 9>&-
refused_there() { gw access --json | jq -s . | json_is 'any(.[]; .event == "denied" and .port == 83)'; }
wait_for 20 refused_there || fail "a refusal is lost when the rules are loaded: $(gw access | tail -n 3)"
ok "no refusal is lost when the guard loads the rules again"

# Before the account of the user `late` is created, a device gets the address that is this user's identity. Neither the
# user nor the device gets the grant of the user's group.
key late
LATE=$(gw whois user:late --json | jq -r .address)
gw enroll late --key "$TMP/late.pub" --ports 81 --address "$LATE" >/dev/null || fail "a device with an address that nobody has"
echo 'late:x:1777:1777::/nonexistent:/bin/false' >>/etc/passwd && echo 'staff2:x:4777:late,other' >>/etc/group || fail "no private /etc"
gw grant group:staff2 cam-17:81 >/dev/null || fail "grant"
OTHER=$(identity user:other) TARGET=$(address_of cam-17)
has() { nsenter --net=/run/netns/cmxsafe nft -j list set inet cmxsafe "$1" | jq -c '.nftables[].set.elem? // empty | .[]' | grep -qF "$2"; }
has grants "[\"$OTHER\",\"$TARGET\",81]" && has locals "\"$OTHER\"" || fail "another member of the group has no grant"
! has grants "[\"$LATE\"," || fail "a device has the grant of a group's member: $(nsenter --net=/run/netns/cmxsafe nft list set inet cmxsafe grants)"
! has locals "\"$LATE\"" || fail "a local user may send from a device's address"
denied 1777 http://cam-17.cmx:81/ || fail "a user with the address of a device has a grant"
ok "a consumer whose identity is a device's address has no grant"

# A session whose sshd was taken over locks the registry: the gateway ends the session, and changes continue.
client late -N & PIDS+=("$!")
wait_for 20 connected late || fail "late does not connect"
session=$(gw status --json | jq -r '.sessions[] | select(.name == "late") | .pid')
cat >"$TMP/lock.py" <<'PY'
import fcntl, os, sys, time
open(sys.argv[1] + "/cgroup.procs", "w").write("0")
os.setgid(int(sys.argv[3])); os.setgroups([]); os.setuid(int(sys.argv[2]))
fd = os.open(sys.argv[4], os.O_RDONLY)
fcntl.lockf(fd, fcntl.LOCK_SH, 510, 0x40000002)  # SQLite's shared lock
print("locked", flush=True)
time.sleep(600)
PY
python3 "$TMP/lock.py" "/sys/fs/cgroup$(sed -n 's/^0:://p' "/proc/$session/cgroup")" "$(id -u cmxsafe-gw)" "$(id -g cmxsafe-gw)" "$GW/registry.db" >"$TMP/lock.out" 2>&1 & LOCK=$!; PIDS+=("$LOCK")
wait_for 10 grep -q locked "$TMP/lock.out" || fail "the lock: $(cat "$TMP/lock.out")"
wait_for 20 logged "late from .*: ended: its sshd locks the registry" || fail "a session that locks the registry is not ended"
ended() { ! kill -0 "$LOCK" 2>/dev/null; }
wait_for 20 ended || fail "the process that locks the registry continues"
gw grant user:1299 cam-17:81 >/dev/null || fail "no change after a session locked the registry"
ok "a session that locks the registry ends"

stop_gateway
no_cgroups_left() { ! find "$CGROUP" -mindepth 1 -type d -name 'cmxsafe-gateway' | grep -q .; }
no_cgroups_left || fail "control groups still exist: $(find "$CGROUP" -type d)"
ok "stopped, with no control groups left"
