/* linux_port.h - what a Linux program (agent, virtual board, test) puts behind port.h: flash, hardware key, restart. */
#ifndef CMX_LINUX_PORT_H
#define CMX_LINUX_PORT_H

#include <stdbool.h>

#include "cmxsafe/port/filter.h"
#include "cmxsafe/port/port.h"

/* Any function may be NULL: there is then no flash, no key, no restart. Each has the contract of its port.h namesake. */
struct cmx_linux_device {
    void *arg;
    bool log_journal;    /* stderr lines carry <priority>, for journald */
    bool no_socket_pair; /* as a device whose stack is lwIP */
    uint32_t (*flash_size)(void *arg);
    cmx_err (*flash_read)(void *arg, uint32_t offset, void *out, size_t len);
    cmx_err (*flash_write)(void *arg, uint32_t offset, const void *data, size_t len);
    cmx_err (*flash_erase)(void *arg, uint32_t offset, size_t len);
    cmx_key_kind (*hw_key_kind)(void *arg);
    cmx_err (*hw_hmac)(void *arg, const void *msg, size_t len, uint8_t out[32]);
    void (*watchdog_feed)(void *arg);
    void (*restart)(void *arg);
};

/* Copies *d. Call before any task starts. */
void cmx_linux_set_device(const struct cmx_linux_device *d);

/* What cmx_port_filter answers: the filter of a network stack within the program; NULL (the default): it has none. */
void cmx_linux_set_filter(const struct cmx_filter *f);

#endif
