#!/usr/bin/env bash
# For demo.sh: an isolated board on lwIP over a TAP device, and a neighbour that scans all ports of the board while the stream
# continues through the gateway. Everything runs in one new network namespace.
if [ -z "${CMX_IN_NETNS:-}" ]; then
    [ "$(id -u)" = 0 ] || exec sudo bash "$0" # sshd needs more rights than a user namespace gives
    exec env CMX_IN_NETNS=1 unshare -n bash "$0"
fi
set -u
BIN=$(cd "$(dirname "$0")/.." && pwd)/build/bin
WORK=$(mktemp -d "${TMPDIR:-/tmp}/cmxsafe-demo.XXXXXX")
PIDS=()
trap 'for p in "${PIDS[@]+"${PIDS[@]}"}"; do kill "$p" 2>/dev/null; wait "$p" 2>/dev/null; done; rm -rf "$WORK"' EXIT
ip link set lo up && ip tuntap add dev cmx0 mode tap && ip addr add 10.77.0.1/24 dev cmx0 && ip link set cmx0 up || exit 1

ssh-keygen -q -t ed25519 -N '' -f "$WORK/host_key" && ssh-keygen -q -t ed25519 -N '' -f "$WORK/key" || exit 1
cat >"$WORK/sshd_config" <<CONF
Port 2222
HostKey $WORK/host_key
AuthorizedKeysFile $WORK/key.pub
PidFile none
UsePAM no
StrictModes no
CONF
mkdir -p /run/sshd 2>/dev/null
/usr/sbin/sshd -D -e -f "$WORK/sshd_config" 2>"$WORK/sshd.log" & PIDS+=($!)
"$BIN/cmxsafe-board" create "$WORK/board" >/dev/null || exit 1
"$BIN/cmxsafe-board" run "$WORK/board" --net tap:cmx0 --set net.address=10.77.0.2/24 --set net.gateway=10.77.0.1 --gateway 10.77.0.1:2222 \
    --set "gateway.user=$(id -un)" --set "gateway.key_file=$WORK/key" --set "gateway.host_key=$(ssh-keygen -lf "$WORK/host_key.pub" | awk '{print $2}')" \
    2>"$WORK/board.log" & PIDS+=($!)
through() { curl -fsS --max-time 20 "http://127.0.0.1:81$1"; }
for _ in $(seq 200); do through /frame.jpg >"$WORK/frame" 2>/dev/null && break; sleep 0.1; done
[ -s "$WORK/frame" ] || { tail -n 5 "$WORK/board.log"; echo "the board sends no stream"; exit 1; }

through "/stream?frames=100" >"$WORK/stream" & VIEWER=$!
# Checks the scanner first: it must find the neighbour's own open port.
nmap -n -Pn -sT -p 2222 10.77.0.1 | grep -q '2222/tcp open' || { echo "the scanner does not work here"; exit 1; }
nmap -n -Pn --send-ip --disable-arp-ping -sS -p- --min-rate 20000 --max-retries 0 -oG "$WORK/scan" 10.77.0.2 >/dev/null || exit 1
! grep -q '/open/' "$WORK/scan" || { grep -o '[0-9]*/open/[a-z]*' "$WORK/scan"; exit 1; }
! ping -c 1 -W 1 10.77.0.2 >/dev/null || { echo "the board answers pings"; exit 1; }
wait "$VIEWER" || { echo "the stream stopped"; exit 1; }
[ "$(grep -ac '^--cmxsafe-frame' "$WORK/stream")" = 100 ]
