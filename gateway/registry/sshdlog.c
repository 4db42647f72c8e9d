#include "gateway/registry/sshdlog.h"

#include <stdio.h>
#include <string.h>

#include "cmxsafe/core/text.h"

static bool starts(const char *line, const char *with)
{
    return strncmp(line, with, strlen(with)) == 0;
}

static bool take_fingerprint(char out[GW_FINGERPRINT_MAX], const char *text, size_t len)
{
    if (!cmx_base64_is_fingerprint(text, len))
        return false;
    snprintf(out, GW_FINGERPRINT_MAX, "%.50s", text);
    return true;
}

/* Parses "... ssh2: TYPE SHA256:...". sshd writes the fingerprint last, after all text that a peer can choose, so only
 * the last word counts as the fingerprint. It stays "" if the line has none. */
static void parse_fingerprint(struct gw_log_line *out, const char *line)
{
    const char *fp =
        strrchr(line, ' ') + 1; /* the line begins with "Failed publickey for ", so strrchr finds a space */

    if (strstr(line, " ssh2: "))
        (void)take_fingerprint(out->fingerprint, fp, strlen(fp));
}

/* Parses "Accepted publickey for ACCOUNT from ADDRESS port N ssh2: TYPE SHA256:...", followed, for a certificate, by
 * " ID KEY-ID (serial N) CA TYPE SHA256:...". A CA chooses the key ID. */
static bool parse_accepted(struct gw_log_line *out, const char *line)
{
    static const char serial[] = " (serial ";
    const char *type = strstr(line, " ssh2: ");
    const char *fp = type ? strchr(type + strlen(" ssh2: "), ' ') : NULL;
    const char *rest = fp ? fp + 1 + strcspn(fp + 1, " ") : NULL;
    const char *at = NULL;
    const char *ca;
    char digits[24];
    size_t n;

    if (!rest || !take_fingerprint(out->fingerprint, fp + 1, (size_t)(rest - fp - 1)))
        return false;
    if (*rest == '\0')
        return true;
    for (const char *p = strstr(rest, serial); p; p = strstr(p + 1, serial))
        at = p; /* the key ID may contain this text, too; sshd writes the last match */
    ca = strrchr(line, ' ');
    if (!starts(rest, " ID ") || !at || !take_fingerprint(out->authority, ca + 1, strlen(ca + 1)))
        return false;
    at += strlen(serial);
    n = strspn(at, "0123456789");
    if (n == 0 || n >= sizeof digits || !starts(at + n, ") CA "))
        return false;
    memcpy(digits, at, n);
    digits[n] = '\0';
    return cmx_text_u64(digits, 0, UINT64_MAX, &out->serial) == CMX_OK;
}

static void parse_number(struct gw_log_line *out, const char *text, gw_log_kind kind)
{
    char digits[12];
    size_t n = strspn(text, "0123456789");
    uint64_t v;

    if (n == 0 || n >= sizeof digits)
        return;
    memcpy(digits, text, n);
    digits[n] = '\0';
    if (cmx_text_u64(digits, 1, 0x7fffffff, &v))
        return;
    out->number = (unsigned long)v;
    out->kind = kind;
}

static void set_detail(struct gw_log_line *out, const char *text, size_t len)
{
    cmx_text_clean_ascii(out->detail, sizeof out->detail, text, len < 120 ? len : 120);
}

/* Parses "Received request from A port N to remote forward to host H port P, but the request was denied.", and the same
 * line with "to connect to host" instead of "to remote forward to host". */
static void parse_denied(struct gw_log_line *out, const char *line)
{
    static const char end[] = ", but the request was denied.";
    const char *what = strstr(line, " to remote forward to host ");
    const char *tail;

    if (!what)
        what = strstr(line, " to connect to host ");
    tail = what ? strstr(what, end) : NULL;
    if (!tail)
        return;
    set_detail(out, what + 4, (size_t)(tail - what - 4));
    out->kind = GW_LOG_DENIED;
}

/* True for a message after which sshd exits: "fatal: ...", or an error in its configuration file ("/DIR/sshd_config:
 * ..."). */
static bool is_fatal(const char *line)
{
    return starts(line, "fatal: ") || (line[0] == '/' && strstr(line, "/sshd_config: "));
}

static const char tried[] = ": Authentication tried for ";

/* True if sshd refused a certificate that its helper accepted, or a key because of the KRL. sshd writes `tried` only in
 * lines that begin with the path of the helper; in other lines a peer may have written it. */
static bool is_refusal(const char *line)
{
    return starts(line, "Refusing certificate ID ") || starts(line, "Certificate ") ||
           (line[0] == '/' && strstr(line, tried)) ||
           (starts(line, "Authentication key ") && strstr(line, " revoked by file ")) ||
           starts(line, "Error checking authentication key ");
}

/* A peer chooses the text, so all characters but these, which are harmless in logs and tables, are replaced. */
static const char client_chars[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-+/~:() ";

/* Parses "debug1: kex.c:kex_exchange_identification():1456 (pid=29262): Remote protocol version 2.0, remote software
 * version TEXT", which sshd logs because of LogVerbose in its configuration. */
static bool parse_client(struct gw_log_line *out, const char *line)
{
    static const char before[] = "Remote protocol version 2.0, remote software version ";
    const char *at = starts(line, "debug1: kex.c:kex_exchange_identification():") ? strstr(line, before) : NULL;

    if (!at)
        return false;
    at += strlen(before);
    set_detail(out, at, strlen(at));
    for (char *c = out->detail; *c; c++)
        if (!strchr(client_chars, *c))
            *c = '?';
    out->kind = GW_LOG_CLIENT;
    return true;
}

void gw_sshdlog_parse(struct gw_log_line *out, const char *line)
{
    static const char in_use[] = "channel_setup_fwd_listener_tcpip: cannot listen to port: ";
    const char *at;

    memset(out, 0, sizeof *out);
    if (starts(line, "error: "))
        line += strlen("error: ");
    if (parse_client(out, line))
        return;
    if (starts(line, "Accepted publickey for "))
        out->kind = parse_accepted(out, line) ? GW_LOG_ACCEPTED : GW_LOG_OTHER;
    else if (starts(line, "User child is on pid "))
        parse_number(out, line + strlen("User child is on pid "), GW_LOG_CHILD);
    else if (starts(line, "Failed publickey for ")) {
        parse_fingerprint(out, line);
        out->kind = GW_LOG_FAILED;
    } else if (starts(line, "Invalid user ") || starts(line, "fatal: Timeout before authentication") ||
               starts(line, "Timeout before authentication")) {
        out->kind = GW_LOG_FAILED;
    } else if (is_refusal(line)) {
        at = strstr(line, tried); /* skips the path of the helper, which sshd writes first */
        line = at ? at + 2 : line;
        set_detail(out, line, strlen(line));
        out->kind = GW_LOG_REFUSED;
    } else if (is_fatal(line)) {
        if (starts(line, "fatal: "))
            line += strlen("fatal: ");
        set_detail(out, line, strlen(line));
        out->kind = GW_LOG_FATAL;
    } else if (starts(line, "Received request "))
        parse_denied(out, line);
    else if ((at = strstr(line, in_use)) == line)
        parse_number(out, at + strlen(in_use), GW_LOG_IN_USE);
}
