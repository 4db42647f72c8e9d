#!/usr/bin/env bash
# Random and mutated frames: the pure verdict and the nftables ruleset of the same policy agree. CMX_LONG=1 compares a million frames.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../isolation_lib.sh"
command -v nft >/dev/null || skip "no nft"

make_link
ip netns del "$NS-nb"
new_host dev $D4 $D6
# CMX_SEED selects the frames; each difference prints its frame.
"$BIN/isolation_diff" "$NS-dev" "$NS-gw" "${CMX_FRAMES:-$([ -n "${CMX_LONG:-}" ] && echo 1000000 || echo 200000)}" "${CMX_SEED:-1}" || fail "pure policy and ruleset differ"
ok "pure policy and ruleset agree"
