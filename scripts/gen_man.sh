#!/usr/bin/env bash
# Writes the manual pages of commands from what the programs say with --help: scripts/gen_man.sh [BIN-FOLDER [OUTPUT-FOLDER]]. A test
# compares. cmxsafe.1, cmxsafed.8 and the head of cmxsafed.conf.5 are written by hand.
set -eu
. "$(dirname "$0")/lib.sh"
bin=${1:-$CMX_ROOT/build/bin} out=${2:-$CMX_ROOT/packaging/man}
date=$(sed -n '1s/.*"\([0-9-]*\)" "cmxsafe".*/\1/p' "$CMX_ROOT/packaging/man/cmxsafe.1")

# roff DEPTH: the text of one --help as sections (DEPTH 0) or as a subsection's content (1).
roff() {
    awk -v depth="$1" '
        function esc(s) { gsub(/\\/, "\\e", s); gsub(/-/, "\\-", s); sub(/^[.'"'"']/, "\\\\\\&&", s); return s }
        function head(s) { if (!depth) print ".SH " s; else print ".PP" }
        /^usage: / { use = use esc(substr($0, 8)) "\n"; more = 1; next }
        more && /^       / { use = use esc(substr($0, 8)) "\n"; next }
        { more = 0 }
        /^(options|commands):$/ { list = ($0 == "commands:"); next }
        /^$/ { list = 0; if (text != "" && !gap) { text = text ".PP\n"; gap = 1 } next }
        list || /says more of one command[.]$/ { next }
        match($0, /^  (-., )?--?[a-z][-a-z]*( [^ -][^ ]*)?(  +| )/) && !/^  -[^-,]/ {
            # A value stands behind one space; what is said of the option behind two, or behind the value.
            line = substr($0, 3); name = line; sub(/ .*/, "", name); rest = substr(line, length(name) + 1); value = ""
            if (rest ~ /^ [^ ]/) { value = substr(rest, 2); sub(/ .*/, "", value); rest = substr(rest, length(value) + 2) }
            sub(/^ +/, "", rest)
            options = options ".TP\n\\fB" esc(name) "\\fR" (value == "" ? "" : " \\fI" esc(value) "\\fR") "\n" esc(rest) "\n"; next
        }
        /^  / { text = text ".RS 4\n.nf\n" esc(substr($0, 3)) "\n.fi\n.RE\n"; gap = 0; next }
        { text = text esc($0) "\n"; gap = 0 }
        END {
            sub(/(\.PP\n)+$/, "", text)
            head("SYNOPSIS"); printf ".nf\n%s.fi\n", use
            if (text != "") { head("DESCRIPTION"); printf "%s", text }
            if (options != "") { if (!depth) print ".SH OPTIONS"; printf "%s", options }
        }'
}

# commands_of PROGRAM...: the names in its list.
commands_of() { "$@" --help | sed -n '/^commands:/,/^$/s/^  \([a-z]*\) .*/\1/p'; }
summary_of() { local name=$1; shift; "$@" --help | sed -n "/^commands:/,/^\$/s/^  $name  *//p"; }

# page NAME SUMMARY PROGRAM...: standard input is what follows the commands.
page() {
    local name=$1 summary=$2 command
    shift 2
    printf '.\\" Made by scripts/gen_man.sh\n.TH %s 1 "%s" "cmxsafe" "cmxsafe manual"\n' "$(tr '[:lower:]' '[:upper:]' <<<"$name")" "$date"
    printf '.SH NAME\n%s \\- %s\n' "${name//-/\\-}" "${summary//-/\\-}"
    "$@" --help | roff 0
    if [ -n "$(commands_of "$@")" ]; then
        echo '.SH COMMANDS'
        for command in $(commands_of "$@"); do
            printf '.SS %s\n' "$command"
            summary_of "$command" "$@" | sed 's/^./\U&/; s/$/./; s/-/\\-/g'
            [ "$*" = "$bin/cmxsafe-board" ] && [ "$command" = keys ] || "$@" "$command" --help | roff 1
        done
    fi
    printf '.SH EXIT STATUS\n0 on success, 1 when it failed, 2 for a wrong command line.\n'
    cat
}

for command in attest identity image update; do
    page "cmxsafe-$command" "$(summary_of "$command" "$bin/cmxsafe")" "$bin/cmxsafe" "$command" >"$out/cmxsafe-$command.1" <<'END'
.SH SEE ALSO
.BR cmxsafe (1)
END
done
page cmxsafe-gateway "$(summary_of gateway "$bin/cmxsafe")" "$bin/cmxsafe" gateway >"$out/cmxsafe-gateway.1" <<'END'
.SH ENVIRONMENT
.TP
.B CMXSAFE_GATEWAY
The gateway's folder, where \-\-dir does not name it. Default: /var/lib/cmxsafe/gateway for root and
~/.local/share/cmxsafe/gateway for others.
.SH FILES
.TP
.I registry.db
Devices, keys, grants, audit trail: an SQLite database that sshd asks at every login through
.BR cmxsafe\-authkeys .
.TP
.I hostkey_ed25519 hostkey_ecdsa
What devices pin.
.TP
.I sshd_config fleet.nft host.nft hosts
Written from the registry; not to be edited.
.SH SEE ALSO
.BR cmxsafe (1),
.BR sshd (8),
.BR sshd_config (5),
/usr/share/doc/cmxsafe/GATEWAY.md.gz
END
page cmxsafe-board "the virtual board: an ESP32 with flash, eFuse and boot slots in files" "$bin/cmxsafe-board" >"$out/cmxsafe-board.1" <<'END'
.SH SEE ALSO
.BR cmxsafe (1),
/usr/share/doc/cmxsafe\-board/BOARD.md.gz
END
