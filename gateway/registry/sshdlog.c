#include "gateway/registry/sshdlog.h"

#include <stdio.h>
#include <string.h>

#include "cmxsafe/core/text.h"

static bool starts(const char *line, const char *with)
{
    return strncmp(line, with, strlen(with)) == 0;
}

/* "Accepted publickey for USER from ADDRESS port N ssh2: TYPE SHA256:..." The fingerprint is the last word; sshd writes
 * it after everything that a peer could choose. */
static void parse_accepted(struct gw_log_line *out, const char *line)
{
    const char *fp = strrchr(line, ' ');

    if (!fp || !starts(fp + 1, "SHA256:") || strlen(fp + 1) != 50 || !strstr(line, " ssh2: "))
        return;
    snprintf(out->fingerprint, sizeof out->fingerprint, "%s", fp + 1);
    out->kind = GW_LOG_ACCEPTED;
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

/* "Received request from A port N to remote forward to host H port P, but the request was denied." (and "connect to
 * host") */
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
    snprintf(out->detail, sizeof out->detail, "%.*s", (int)(tail - what - 4 < 120 ? tail - what - 4 : 120), what + 4);
    for (char *p = out->detail; *p; p++)
        if (*p < 0x20 || *p > 0x7e)
            *p = '?';
    out->kind = GW_LOG_DENIED;
}

void gw_sshdlog_parse(struct gw_log_line *out, const char *line)
{
    static const char in_use[] = "channel_setup_fwd_listener_tcpip: cannot listen to port: ";
    const char *at;

    memset(out, 0, sizeof *out);
    if (starts(line, "error: "))
        line += strlen("error: ");
    if (starts(line, "Accepted publickey for "))
        parse_accepted(out, line);
    else if (starts(line, "User child is on pid "))
        parse_number(out, line + strlen("User child is on pid "), GW_LOG_CHILD);
    else if (starts(line, "Failed publickey for ") || starts(line, "Invalid user ") ||
             starts(line, "fatal: Timeout before authentication") || starts(line, "Timeout before authentication"))
        out->kind = GW_LOG_FAILED;
    else if (starts(line, "Received request "))
        parse_denied(out, line);
    else if ((at = strstr(line, in_use)) == line)
        parse_number(out, at + strlen(in_use), GW_LOG_IN_USE);
}
