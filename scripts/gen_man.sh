#!/usr/bin/env bash
# Writes the manual pages of the commands: scripts/gen_man.sh [BIN-FOLDER [OUTPUT-FOLDER]]. The programs print the text themselves
# (--help=man, from the tables that also make --help); a test compares it with the pages. cmxsafe.1, cmxsafed.8
# and the head of cmxsafed.conf.5 are written by hand.
set -eu
. "$(dirname "$0")/lib.sh"
bin=${1:-$CMX_ROOT/build/bin} out=${2:-$CMX_ROOT/packaging/man}
date=$(sed -n '1s/.*"\([0-9-]*\)" "cmxsafe".*/\1/p' "$CMX_ROOT/packaging/man/cmxsafe.1")

# page NAME SUMMARY COMMAND ...: prints a page; its last part is read from standard input.
page() {
    local name=$1 summary=$2
    shift 2
    printf '.\\" Made by scripts/gen_man.sh\n.TH %s 1 "%s" "cmxsafe" "cmxsafe manual"\n' "$(tr '[:lower:]' '[:upper:]' <<<"$name")" "$date"
    printf '.SH NAME\n%s \\- %s\n' "${name//-/\\-}" "${summary//-/\\-}"
    "$@" --help=man
    printf '.SH EXIT STATUS\n0 on success, 1 if the command failed, 2 for a wrong command line.\n'
    cat
}

summary_of() { "$bin/cmxsafe" --help | sed -n "/^commands:/,/^\$/s/^  $1  *//p"; }
for command in attest identity image update; do
    page "cmxsafe-$command" "$(summary_of "$command")" "$bin/cmxsafe" "$command" >"$out/cmxsafe-$command.1" <<'END'
.SH SEE ALSO
.BR cmxsafe (1)
END
done
page cmxsafe-gateway "$(summary_of gateway)" "$bin/cmxsafe" gateway >"$out/cmxsafe-gateway.1" <<'END'
.SH COMMON OPTIONS
.TP
.B \-\-dir \fIFOLDER\fR
The gateway's folder. Each command has this option. Default: the environment variable CMXSAFE_GATEWAY, or else /var/lib/cmxsafe/gateway
for root and ~/.local/share/cmxsafe/gateway for others.
.SH FILES
In the gateway's folder:
.TP
.I registry.db
Devices, keys, grants, audit trail: an SQLite database, in which
.B cmxsafe\-authkeys
looks up each key that a client offers to sshd.
.TP
.I hostkey_ed25519 hostkey_ecdsa
The host keys, which devices pin.
.TP
.I link.key
The private key of the links to other gateways.
.TP
.I store/
Copies of images and manifests.
.TP
.I hooks.d/
Programs that the gateway runs at events.
.TP
.I run/access/
The access log.
.TP
.I sshd_config fleet.nft host.nft hosts
cmxsafe writes them from the registry: do not edit them.
.SH SEE ALSO
.BR cmxsafe (1),
.BR sshd (8),
.BR sshd_config (5),
/usr/share/doc/cmxsafe/GATEWAY.md.gz, SCALE_OUT.md.gz
END
page cmxsafe-board "the virtual board: an ESP32 with flash, eFuse and boot slots in files" "$bin/cmxsafe-board" >"$out/cmxsafe-board.1" <<'END'
.SH SEE ALSO
.BR cmxsafe (1),
/usr/share/doc/cmxsafe\-board/BOARD.md.gz
END
