#!/usr/bin/env bash
# isolation_lib.sh - a link between network namespaces: the device, its gateway and a hostile neighbour. Source it after
# lib.sh. Addresses: 10.77.0.0/24 and fd77::/64; device .5, gateway .1, neighbour .66.
[ "$(id -u)" = 0 ] || skip "needs root for network namespaces"
ip netns add "cmxprobe$$" 2>/dev/null && ip netns del "cmxprobe$$" || skip "no network namespaces here"

NS=cmx$$
D4=10.77.0.5 D6=fd77::5 G4=10.77.0.1 G6=fd77::1 N4=10.77.0.66 N6=fd77::66

# in_ns NAME COMMAND...: runs COMMAND in the namespace.
in_ns() { local n=$1; shift; ip netns exec "$NS-$n" "$@"; }

# bg NAME COMMAND...: runs COMMAND in the background; $! is its process.
bg() { local n=$1; shift; ip netns exec "$NS-$n" "$@" & PIDS+=($!); }

# Ends all processes in the namespaces and removes the namespaces. This scenario started all of these processes.
end_link() {
    local n p
    for n in sw gw nb dev rt far; do
        for p in $(ip netns pids "$NS-$n" 2>/dev/null); do kill "$p" 2>/dev/null; done
        ip netns del "$NS-$n" 2>/dev/null
    done
}

new_host() { # new_host NAME ADDRESS4 ADDRESS6: creates a namespace whose eth0 is connected to the switch
    ip netns add "$NS-$1"
    ip -n "$NS-sw" link add "p-$1" type veth peer name eth0 netns "$NS-$1"
    ip -n "$NS-sw" link set "p-$1" master br0 up
    ip -n "$NS-$1" link set lo up
    in_ns "$1" bash -c "echo 0 >/proc/sys/net/ipv6/conf/eth0/accept_dad"
    [ -z "$2" ] || ip -n "$NS-$1" addr add "$2/24" dev eth0
    [ -z "$3" ] || ip -n "$NS-$1" addr add "$3/64" dev eth0 nodad
    ip -n "$NS-$1" link set eth0 up
}

make_link() {
    CLEANUP+=(end_link)
    ip netns add "$NS-sw"
    ip -n "$NS-sw" link add br0 type bridge mcast_snooping 0
    ip -n "$NS-sw" link set br0 up
    new_host gw $G4 $G6
    new_host nb $N4 $N6
}

# make_path: creates a router `rt` on the link (.254, ::fe) and a host `far` (10.78.0.1, fd78::1) on the router's other
# side. The path MTU is 1,280 bytes, which is less than the MTU of the link at either end.
make_path() {
    new_host rt 10.77.0.254 fd77::fe
    ip netns add "$NS-far"
    ip -n "$NS-rt" link add eth1 mtu 1280 type veth peer name eth0 mtu 1500 netns "$NS-far"
    in_ns rt bash -c 'echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding; echo 0 >/proc/sys/net/ipv4/conf/all/send_redirects'
    ip -n "$NS-rt" addr add 10.78.0.254/24 dev eth1
    ip -n "$NS-rt" addr add fd78::fe/64 dev eth1 nodad
    ip -n "$NS-rt" link set eth1 up
    ip -n "$NS-far" addr add 10.78.0.1/24 dev eth0
    ip -n "$NS-far" addr add fd78::1/64 dev eth0 nodad
    ip -n "$NS-far" link set lo up
    ip -n "$NS-far" link set eth0 up
    # far sends no packet above the MTU, but announces a larger MSS.
    ip -n "$NS-far" route add 10.77.0.0/24 via 10.78.0.254 mtu lock 1280 advmss 1460
    ip -n "$NS-far" route add fd77::/64 via fd78::fe mtu lock 1280 advmss 1440
}

mac_of() { in_ns "$1" cat /sys/class/net/eth0/address; }

# capture FILE FILTER...: records frames on the switch, or on its port CAPTURE_AT, until stop_capture.
capture() {
    local file=$1
    shift
    # tcpdump records both directions of a switch port. For what one host sends, FILTER must match its source address.
    bg sw tcpdump -i "${CAPTURE_AT:-br0}" -p -U -w "$file" "$@" 2>"$file.err"
    CAPTURE=$!
    wait_for 10 grep -q 'listening on' "$file.err" || fail "tcpdump does not start"
}
stop_capture() { sleep 0.2; kill "$CAPTURE" 2>/dev/null; wait "$CAPTURE" 2>/dev/null; return 0; }

frames_in() { tcpdump -nn -e -r "$1" 2>/dev/null | wc -l; }

hostile() { in_ns nb python3 "$ROOT/tests/support/hostile.py" eth0 "$DEVICE_MAC" "$@" >>"$TMP/hostile.out" 2>&1 || { tail -5 "$TMP/hostile.out"; fail "hostile.py $*"; }; }

# scan WHERE ADDRESS [options]: checks that nmap gets no answer from any TCP port or from the 1,000 most common UDP ports.
scan() {
    local where=$1 address=$2 six='' out
    shift 2
    case $address in *:*) six=-6 ;; esac
    # With isolation the device does not answer ARP or neighbour discovery from this host, so the host gets a permanent
    # neighbour entry.
    in_ns "$where" ip neigh replace "$address" lladdr "$DEVICE_MAC" nud permanent dev eth0
    out=$(in_ns "$where" nmap $six -n -Pn --send-ip --disable-arp-ping -sS -p- --min-rate 20000 --max-retries 0 --reason "$@" "$address" 2>&1)
    echo "$out" >>"$TMP/nmap.out"
    echo "$out" | grep -qE '65535 (filtered|scanned)|All 65535' || { echo "$out"; fail "nmap did not scan"; }
    ! echo "$out" | grep -qE '^[0-9]+/tcp +(open|closed|unfiltered)|Not shown: .* closed' || { echo "$out"; fail "TCP from $where: something answers at $address"; }
    out=$(in_ns "$where" nmap $six -n -Pn --send-ip --disable-arp-ping -sU --top-ports 1000 --min-rate 5000 --max-retries 0 --reason "$@" "$address" 2>&1)
    echo "$out" >>"$TMP/nmap.out"
    ! echo "$out" | grep -qE '^[0-9]+/udp +(open |closed|unfiltered)|Not shown: .* closed' || { echo "$out"; fail "UDP from $where: something answers at $address"; }
}

# attack_from_outside OPEN_PORT: sends scans, spoofed segments, fragments, header chains, options, ICMP and garbage. The device
# does not answer and its session stays up: `fetch` still prints hello, `sessions` still prints $S0.
attack_from_outside() {
    local open=$1 leak port
    # The device may send these packets: the session, ARP and neighbour discovery (tested separately), multicast
    # listener reports (MLD), name look-ups.
    leak="ether src $DEVICE_MAC and not (tcp port 22) and not arp and not (icmp6 and (ip6[40] >= 133 and ip6[40] <= 136)) and not (ip6 proto 0) and not (udp port 53)"
    capture "$TMP/leak.pcap" "$leak"
    scan nb $D4
    scan nb $D6
    scan gw $D4
    scan gw $D6
    # Repeats the scan with the gateway's address as the source. Answers would go to the gateway and appear in the capture.
    hostile spoof $G4 40000 $D4 S
    hostile spoof $G6 40000 $D6 S
    hostile spoof_udp $G4 40000 $D4
    hostile spoof_udp $G6 40000 $D6 1 5000
    ok "nmap finds nothing open and gets no answer"
    # A device without isolation would answer a spoofed SYN+ACK or ACK with a reset.
    hostile spoof $G4 22 $D4 S,SA
    hostile spoof $G4 22 $D4 A,R,FA 1 20000
    hostile spoof $G6 22 $D6 S,SA 1 20000
    port=$(in_ns gw ss -Htn state established 'sport = :22' | awk '{print $4}' | sed 's/.*://' | head -1)
    [ -n "$port" ] || fail "no session's port"
    for _ in 1 2 3; do hostile spoof $G4 22 $D4 S,SA,R,RA,FA,A "$port" "$port"; done
    hostile fragments $G4 22 $D4 "$port"
    hostile fragments $G6 22 $D6 "$open"
    hostile extensions $G6 22 $D6 "$open"
    hostile options $G4 22 $D4 "$open"
    hostile icmp $D4
    hostile garbage 20000 7
    stop_capture
    [ "$(frames_in "$TMP/leak.pcap")" = 0 ] || { tcpdump -nn -r "$TMP/leak.pcap" 2>/dev/null | head; fail "the device answered"; }
    [ "$(fetch)" = hello ] && [ "$(sessions)" = "$S0" ] || fail "the session did not survive"
    ok "spoofed segments, fragments, extension headers, options, ICMP, garbage: no answer, and the session lives"
}

# ---- a device on lwIP over the tap of the namespace sw; commands go to its tasks (tests/tools/isolation_board.c) ----

# start_device GATEWAY [open|quick|no-memory]: starts the device with $G4 as its resolver.
start_device() {
    coproc DEVICE { exec ip netns exec "$NS-sw" "$BIN/isolation_board" tap0 "$1" 22 "$SSHD_USER" "$KEY" "$PIN" $G4 ${2:-} 2>>"$TMP/device.log"; }
    DEVICE_RUN=$DEVICE_PID
    PIDS+=("$DEVICE_RUN")
    exec {DEV_OUT}<&"${DEVICE[0]}" {DEV_IN}>&"${DEVICE[1]}"
    [ "$(tell)" = ready ] || fail "the device does not start"
}
tell() { # tell [COMMAND...]: sends the command to the device and prints the answer
    local line
    [ $# = 0 ] || printf '%s\n' "$*" >&"$DEV_IN"
    IFS= read -r -t 30 -u "$DEV_OUT" line || return 1
    printf '%s\n' "$line"
}
end_device() {
    printf 'quit\n' >&"$DEV_IN"
    wait "$DEVICE_RUN" || fail "the device ended with $?"
    no_sanitizer_report "$TMP/device.log" || fail "the device complains"
}
