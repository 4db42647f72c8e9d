/* sshdlog.h - parses one line of sshd's log (LogLevel VERBOSE, on stderr). Pure. Lines contain text that peers choose
 * (user names), so only complete lines in an expected form are accepted. The forms are those of OpenSSH 9.2 to 10.0
 * (auth.c, serverloop.c, sshd.c). */
#pragma once

#include <stdint.h>

#include "gateway/registry/sshkey.h"

#define GW_LOG_DETAIL_MAX 128

typedef enum {
    GW_LOG_OTHER,
    GW_LOG_ACCEPTED, /* a peer logged in. Sets fingerprint; for a certificate also authority and serial */
    GW_LOG_CHILD,    /* sshd started the process that serves the session's forwards. number: its pid */
    GW_LOG_FAILED,   /* wrong key or user, or the login took too long. fingerprint: the key's fingerprint, or "" */
    GW_LOG_DENIED,   /* sshd refused a forward that the key does not permit. detail: the forward */
    GW_LOG_IN_USE,   /* another process listens on the requested port. number: the port */
    GW_LOG_FATAL,    /* sshd exits after a fatal error. detail: its message */
    GW_LOG_REFUSED,  /* sshd refused a certificate, or a key because of the KRL. detail: its message */
    GW_LOG_CLIENT    /* the peer sent its version string. detail: its SSH software */
} gw_log_kind;

struct gw_log_line {
    gw_log_kind kind;
    char fingerprint[GW_FINGERPRINT_MAX];
    char authority[GW_FINGERPRINT_MAX]; /* fingerprint of the certificate's CA; "": a key without a certificate */
    uint64_t serial;
    unsigned long number;
    char detail[GW_LOG_DETAIL_MAX]; /* printable */
};

/* Parses one line: NUL-terminated, without the newline. */
void gw_sshdlog_parse(struct gw_log_line *out, const char *line);
