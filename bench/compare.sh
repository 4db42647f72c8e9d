#!/usr/bin/env bash
# Compares two commits: bench/compare.sh A B [NAME]... Builds both in folders of their own and runs bench/NAME.sh of each
# alternately, CMX_PAIRS times (3); without a NAME it runs bench/proxy.sh. Prints for each figure the medians of A and B,
# and B divided by A: the median, the lowest and the highest ratio of the pairs.
set -u
. "$(dirname "$0")/../scripts/lib.sh"
cd "$CMX_ROOT" || exit 1
[ $# -ge 2 ] || { sed -n '2,4s/^# //p' bench/compare.sh; exit 2; }
A=$(git rev-parse --verify --quiet "$1^{commit}") || die "$1 is not a commit"
B=$(git rev-parse --verify --quiet "$2^{commit}") || die "$2 is not a commit"
shift 2
[ $# -gt 0 ] || set -- proxy
work=$(mktemp -d)
trap 'for side in a b; do git worktree remove --force "$work/$side" 2>/dev/null; done; rm -rf "$work"' EXIT
git worktree add --quiet --detach "$work/a" "$A" && git worktree add --quiet --detach "$work/b" "$B" || die "git worktree"
for pair in $(seq "${CMX_PAIRS:-3}"); do
    for name in "$@"; do
        for side in a b; do
            say "pair $pair: $name of $side"
            (cd "$work/$side" && bash "bench/$name.sh") | tee -a "$work/log" |
                awk -v side="$side" -v pair="$pair" '(NF == 4 || NF == 5) && ($4 == "ok" || $4 == "short") && $2 ~ /^[0-9.]+$/ { print $1, side, pair, $2 }' >>"$work/values"
        done
    done
done
[ -s "$work/values" ] || die "no figure was measured: $(tail -n 5 "$work/log")"
python3 - "$work/values" <<'PY'
import collections, statistics, sys
values = collections.defaultdict(dict)
for line in open(sys.argv[1]):
    name, side, pair, value = line.split()
    values[name][side, pair] = float(value)
print(f'{"figure":44} {"A":>12} {"B":>12} {"B over A":>9}  pairs')
for name, by in values.items():
    of = {side: [v for (s, _), v in by.items() if s == side] for side in 'ab'}
    pairs = [by['b', p] / by['a', p] for s, p in by if s == 'a' and ('b', p) in by and by['a', p]]
    if of['a'] and of['b']:
        ratio = f'{statistics.median(pairs):9.3f}  {min(pairs):.3f} to {max(pairs):.3f}' if pairs else f'{"":9}  not a ratio: A is 0'
        print(f'{name:44} {statistics.median(of["a"]):12.6g} {statistics.median(of["b"]):12.6g} {ratio}')
PY
