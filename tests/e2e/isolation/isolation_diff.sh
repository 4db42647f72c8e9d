#!/usr/bin/env bash
# For random and mutated frames, the verdicts of the policy in C and of its nftables ruleset agree. CMX_LONG=1 compares
# a million frames.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/../isolation_lib.sh"
command -v nft >/dev/null || skip "no nft"

make_link
ip netns del "$NS-nb"
new_host dev $D4 $D6
# CMX_SEED is the seed of the random frames. isolation_diff prints each frame for which the two verdicts differ.
"$BIN/isolation_diff" "$NS-dev" "$NS-gw" "${CMX_FRAMES:-$([ -n "${CMX_LONG:-}" ] && echo 1000000 || echo 200000)}" "${CMX_SEED:-1}" || fail "the policy in C and the ruleset differ"
ok "the policy in C and the ruleset agree"
