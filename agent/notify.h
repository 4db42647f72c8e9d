/* notify.h - tells systemd what the service is doing, by the datagram protocol of sd_notify(3). Written here rather
 * than taken from libsystemd, which would bring a dozen libraries into the process for one sendmsg. Does nothing
 * outside systemd. */
#ifndef CMX_AGENT_NOTIFY_H
#define CMX_AGENT_NOTIFY_H

#include <stdbool.h>
#include <stdint.h>

#include "cmxsafe/core/err.h"

struct notify {
    int fd;               /* connected to $NOTIFY_SOCKET; -1: not under systemd */
    uint64_t watchdog_ms; /* 0: none asked for */
};

/* Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID, and takes them out of the environment. */
void notify_open(struct notify *n);

/* Lines such as "READY=1\nSTATUS=...". Never blocks for long; a failure is no matter for the service. */
void notify_send(const struct notify *n, const char *fmt, ...) CMX_PRINTF(2, 3);

void notify_close(struct notify *n);

/* True when stderr is the journal's stream (JOURNAL_STREAM, systemd.exec(5)): lines then carry their priority. */
bool notify_stderr_is_journal(void);

#endif
