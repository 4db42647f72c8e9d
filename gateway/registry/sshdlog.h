/* sshdlog.h - what one line of sshd's log (LogLevel VERBOSE, on stderr) says about its session. Pure. Lines hold what
 * peers chose (user names), so only whole, expected forms count. Forms as of OpenSSH 9.2 to 9.9 (auth.c, serverloop.c,
 * sshd.c). */
#ifndef GW_SSHDLOG_H
#define GW_SSHDLOG_H

#include <stdint.h>

#include "gateway/registry/sshkey.h"

typedef enum {
    GW_LOG_OTHER,
    GW_LOG_ACCEPTED, /* authenticated: fingerprint */
    GW_LOG_CHILD,    /* the process that holds its forwards: number */
    GW_LOG_FAILED,   /* a credential was refused, a user unknown, or the login took too long */
    GW_LOG_DENIED,   /* a forward it may not have was asked for: detail */
    GW_LOG_IN_USE    /* a listener's port is held: number (the port) */
} gw_log_kind;

struct gw_log_line {
    gw_log_kind kind;
    char fingerprint[GW_FINGERPRINT_MAX];
    unsigned long number;
    char detail[128]; /* printable */
};

/* line: NUL-terminated, without the newline. */
void gw_sshdlog_parse(struct gw_log_line *out, const char *line);

#endif
