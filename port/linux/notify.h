/* notify.h - reports the state of a service to systemd, by the datagram protocol of sd_notify(3). It does not use
 * libsystemd, which would load a dozen libraries. Outside systemd these functions do nothing. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "cmxsafe/core/err.h"

struct cmx_notify {
    int fd;               /* connected to $NOTIFY_SOCKET; -1: not under systemd */
    uint64_t watchdog_ms; /* the service must send WATCHDOG=1 within this time; 0: there is no watchdog */
};

/* Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID, and removes them from the environment. */
void cmx_notify_open(struct cmx_notify *n);

/* Sends lines such as "READY=1\nSTATUS=...". Does not block: a message that cannot be sent at once is lost. */
void cmx_notify_send(const struct cmx_notify *n, const char *fmt, ...) CMX_PRINTF(2, 3);

void cmx_notify_close(struct cmx_notify *n);

/* True if stderr is the journal's stream (JOURNAL_STREAM, systemd.exec(5)), where a line may begin with its priority.
 */
bool cmx_notify_stderr_is_journal(void);
