# checks.sh - checks and bounded waits for scenarios; also used inside a booted copy of this machine (systemd_lib.sh).
# These checks fail on missing input. The plain commands succeed on it: `jq -e` of jq 1.6 on empty input, `! grep`
# on a missing file, and `[ "$(a)" = "$(b)" ]` when both commands fail.

# json_is FILTER [JQ-OPTION...] [FILE]: succeeds if the input is one JSON value and the last result of FILTER is neither
# false nor null.
json_is() {
    local filter=$1
    shift
    [ "$(jq -s "length == 1 and ([.[0] | ($filter)] | length > 0 and (last | . != null and . != false))" "$@" 2>&1)" = true ]
}
# lacks [GREP-OPTION...] PATTERN FILE...: succeeds if every file exists and no line matches.
lacks() { grep "$@" >/dev/null 2>&1; [ $? = 1 ]; }
# prints_no PATTERN COMMAND...: succeeds if the command succeeds and none of its output lines matches the extended regular expression.
prints_no() {
    local pattern=$1 out
    shift
    out=$("$@") && ! grep -qE -- "$pattern" <<<"$out"
}
# equal A B: succeeds if the texts are equal and not empty. differ A B: succeeds if they differ and neither is empty.
equal() { [ -n "$1" ] && [ "$1" = "$2" ]; }
differ() { [ -n "$1" ] && [ -n "$2" ] && [ "$1" != "$2" ]; }
# no_sanitizer_report FILE...: succeeds if every log exists and holds no report of a sanitizer or of assert().
no_sanitizer_report() { lacks -E 'ERROR: (Address|Leak|Thread)Sanitizer|WARNING: ThreadSanitizer|runtime error:|Assertion .* failed' "$@"; }

# wait_for SECONDS COMMAND...: polls until the command succeeds. SECONDS is the limit on an idle machine. It is
# multiplied by CMX_WAIT_FACTOR (default: 3), because other tests run at the same time.
wait_for() {
    local end=$((SECONDS + $1 * ${CMX_WAIT_FACTOR:-3}))
    shift
    while [ "$SECONDS" -lt "$end" ]; do "$@" >/dev/null 2>&1 && return 0; sleep 0.05; done
    "$@" >/dev/null 2>&1
}
