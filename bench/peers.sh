#!/usr/bin/env bash
# Measures cmxsafe beside the programs that it can replace: autossh with ssh -R, dbclient, rathole (Noise, TLS), stunnel
# and WireGuard. Prints one line per figure: ours divided by the peer's, in the same run. bench/peers.py has the set-up,
# docs/BENCHMARKS.md the results; bench/report.py makes that page from bench/peers.json.
#   CMX_ROUNDS: rounds of rates and latencies on each link (3). CMX_RETURNS: rounds of kills and of a lost link, only on the link
#   `local` (1). CMX_MB: megabytes per bulk measurement on `local` (64). CMX_LINKS (local,rtt20,rtt200loss), CMX_PEERS (all)
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../scripts/lib.sh"
. "$here/lib.sh"
cd "$CMX_ROOT" || exit 1
RATHOLE=0.5.0
install_packages "${BUILD_PACKAGES[@]}" "${RUN_PACKAGES[@]}" iproute2 openssh-client openssh-server autossh dropbear-bin stunnel4 wireguard-tools wireguard-go openssl python3
[ "$(id -u)" = 0 ] || die "bench/peers.sh needs root: it makes network namespaces"
tools=$CMX_ROOT/build/peers
[ -x "$tools/bin/rathole" ] || {
    command -v cargo >/dev/null || install_packages cargo
    # Not --locked: current compilers refuse the version of a library in rathole's lock file.
    cargo install --quiet --root "$tools" --version "$RATHOLE" rathole || die "rathole cannot be built: its crate needs cargo"
}
build build
mkdir -p /run/sshd
python3 bench/peers.py --bin build/bin --tools "$tools/bin" --out bench/peers.json --rounds "${CMX_ROUNDS:-3}" --returns "${CMX_RETURNS:-1}" --megabytes "${CMX_MB:-64}" \
    --links "${CMX_LINKS:-local,rtt20,rtt200loss}" --only "${CMX_PEERS:-}" | sed "s/^ */# /"; [ "${PIPESTATUS[0]}" = 0 ] || exit 2
python3 bench/report.py figures bench/peers.json
