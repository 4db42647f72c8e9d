/* linux_port.h - the parts of port.h that a Linux program (agent, virtual board, test) provides: flash, hardware key,
 * restart. */
#pragma once

#include <stdbool.h>

#include "cmxsafe/port/filter.h"
#include "cmxsafe/port/port.h"

/* A NULL function means no flash, no key, no secret, an unknown heap, no restart. Contracts: the functions of the same
 * name in port.h. */
struct cmx_linux_device {
    void *arg;
    bool log_journal;    /* stderr lines carry <priority>, for journald */
    bool no_socket_pair; /* the port behaves like lwIP, which has no socket pairs */
    uint32_t (*flash_size)(void *arg);
    cmx_err (*flash_read)(void *arg, uint32_t offset, void *out, size_t len);
    cmx_err (*flash_write)(void *arg, uint32_t offset, const void *data, size_t len);
    cmx_err (*flash_erase)(void *arg, uint32_t offset, size_t len);
    cmx_key_kind (*hw_key_kind)(void *arg);
    cmx_err (*hw_hmac)(void *arg, const void *msg, size_t len, uint8_t out[CMX_SHA256_LEN]);
    cmx_err (*secret_read)(void *arg, uint8_t out[CMX_PORT_SECRET_LEN]);
    cmx_err (*secret_create)(void *arg, const uint8_t secret[CMX_PORT_SECRET_LEN]);
    size_t (*heap_free)(void *arg);
    /* Reports that the calling task is alive, and may sleep for rest_ms. */
    void (*watchdog_feed)(void *arg, uint32_t rest_ms);
    bool wakes; /* the sockets are the kernel's, so sessions may poll an eventfd or an epoll set too */
    void (*restart)(void *arg);
};

/* Copies *d. Call before any task starts. */
void cmx_linux_set_device(const struct cmx_linux_device *d);

/* Sets the result of cmx_port_filter: the filter of the program's own network stack; NULL (the default): it has none.
 */
void cmx_linux_set_filter(const struct cmx_filter *f);
