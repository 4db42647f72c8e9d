#!/usr/bin/env bash
# A million random and mutated frames: the pure verdict and the nftables ruleset of the same policy agree.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/isolation_lib.sh"
command -v nft >/dev/null || skip "no nft"

make_link
ip netns del "$NS-nb"
new_host dev $D4 $D6
# CMX_SEED tells one run from another; each difference names its frame.
"$BIN/isolation_diff" "$NS-dev" "$NS-gw" "${CMX_FRAMES:-1000000}" "${CMX_SEED:-1}" || fail "pure policy and ruleset differ"
ok "pure policy and ruleset agree"
