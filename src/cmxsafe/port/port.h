/* port.h - the functions that a platform must provide, besides POSIX sockets (which ESP-IDF, lwIP and Linux all have),
 * crypto.h, and core/platform.h (the clock and the log; this header includes it). To bring cmxsafe to another
 * RTOS, implement these functions in one folder and run tests/port_conformance against it. Implementations: port/linux,
 * src/cmxsafe/port/esp.
 *
 * Unless said otherwise a function may be called from any task, may block, and is not called from an interrupt or from
 * the network stack's own thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cmxsafe/core/err.h"
#include "cmxsafe/core/hash_len.h"
#include "cmxsafe/core/ip.h"
#include "cmxsafe/core/platform.h"

CMX_C_BEGIN

/* ---- time ---- */

/* Sleeps for at least ms milliseconds. */
void cmx_port_sleep_ms(uint32_t ms);

/* ---- tasks ---- */

typedef void (*cmx_task_fn)(void *arg);

/* Starts a detached task that ends when fn returns. stack_bytes: 0 for the platform's default; Linux treats it as a
 * lower bound. name: cut to 15 chars. CMX_ENOMEM: out of memory. Implementations call xTaskCreatePinnedToCore or
 * pthread_create. */
CMX_MUST_USE cmx_err cmx_port_task_start(const char *name, size_t stack_bytes, cmx_task_fn fn, void *arg);

#define CMX_PORT_TASK_NAME 16

/* Writes the calling task's name, at most 15 characters; "" if it has none. */
void cmx_port_task_name(char out[CMX_PORT_TASK_NAME]);

/* Returns the free bytes of the heap; SIZE_MAX if the platform does not know the number. */
size_t cmx_port_heap_free(void);

/* Lowers the priority of the calling task for the rest of its life, for long work that must not delay other tasks. Does
 * nothing where the platform does not permit it. */
void cmx_port_background(void);

/* A task calls this last, before it signals that it has ended. Frees thread-local library state (e.g. OpenSSL's), so
 * that a leak check at exit does not report it. May do nothing. */
void cmx_port_task_done(void);

/* Machine words. The largest lock is FreeRTOS's, 88 to 96 bytes on a 32-bit CPU: a StaticSemaphore_t and a handle. */
#define CMX_MUTEX_WORDS 24

/* A lock; not recursive. The object contains its storage, so that cmx_port_mutex_init cannot fail. */
struct cmx_mutex {
    uintptr_t opaque[CMX_MUTEX_WORDS];
};
void cmx_port_mutex_init(struct cmx_mutex *m);
void cmx_port_mutex_lock(struct cmx_mutex *m);
void cmx_port_mutex_unlock(struct cmx_mutex *m);
void cmx_port_mutex_destroy(struct cmx_mutex *m);

/* Feeds the platform's watchdog for the calling task, and lets other tasks run. Cheap. rest_ms: how long the task may
 * now wait without feeding it, in milliseconds. */
void cmx_port_watchdog_feed(uint32_t rest_ms);

/* Opens a descriptor that ends the poll of one task when another task calls cmx_port_wake. -1: the platform's poll
 * accepts only sockets, so a waiting task must check for work at intervals. close() closes it. */
int cmx_port_wake_open(void);
/* Makes fd readable. Any task. Does nothing for -1. */
void cmx_port_wake(int fd);
/* Makes fd no longer readable. Call in the task that polls fd, after poll reported it. Does nothing for -1. */
void cmx_port_wake_clear(int fd);

/* ---- sets of descriptors, such as epoll(7) ---- */

/* Opens a set of descriptors, which is itself a descriptor: poll reports it as readable while any member is readable or
 * hung up. -1: the platform has no such sets. close() closes it. Closing a member removes it from the set. */
int cmx_port_set_open(void);
/* Adds fd to a set. arg: what cmx_port_set_ready returns for fd. CMX_ENOTSUP: the platform has no such sets.
 * CMX_ENOMEM: out of memory. */
CMX_MUST_USE cmx_err cmx_port_set_add(int set, int fd, void *arg);
void cmx_port_set_remove(int set, int fd);
/* Writes the args of at most cap members that are readable or hung up, and returns how many. */
size_t cmx_port_set_ready(int set, void **args, size_t cap);

/* ---- sockets: POSIX calls that a device may lack, and hints ---- */

/* Creates two connected local stream sockets. CMX_ENOTSUP: the platform has no socketpair. CMX_ENOMEM: out of memory or
 * sockets. */
CMX_MUST_USE cmx_err cmx_port_socket_pair(int fd[2]);

/* Creates a non-blocking IPv6 TCP socket with TCP_NODELAY and binds it to the address `source`, which need not be one
 * of the device's. local: the address and port of the socket are written here. CMX_ENOTSUP: the stack has no such
 * sockets. CMX_EUNREACH: answers to `source` would leave the device. CMX_EIO: binding failed. CMX_ENOMEM: out of memory
 * or sockets. */
struct sockaddr_storage;
CMX_MUST_USE cmx_err cmx_port_mirror_socket(const uint8_t source[CMX_IPV6_LEN], int *fd,
                                            struct sockaddr_storage *local);

/* A hint: only one task reads fd, a connected stream socket, and it reads small pieces. A platform where system calls
 * are expensive may read more in one call and serve later recv and poll calls from memory until fd is closed. May do
 * nothing. */
void cmx_port_read_ahead(int fd);

/* Acknowledges at once the data that fd, a TCP socket, has received. Stock SSH servers leave Nagle's algorithm on for
 * forwards, so with delayed acknowledgements a small packet that follows another would wait up to 40 ms (lwIP: 250 ms).
 * Best effort. */
void cmx_port_acknowledge(int fd);

/* ---- flash: the whole chip, as esp_flash_* sees it ---- */

/* Returns the size of the flash in bytes; 0 without flash (a Linux agent). */
uint32_t cmx_port_flash_size(void);
/* Errors of cmx_port_flash_read, _write and _erase: CMX_EINVAL beyond the end of the chip, CMX_ENOTSUP without flash,
 * CMX_EIO if the flash fails, and CMX_EPERM if the platform refuses the write or erase, as ESP-IDF does outside
 * partitions. */
CMX_MUST_USE cmx_err cmx_port_flash_read(uint32_t offset, void *out, size_t len);
/* NOR flash: a write only clears bits; an erase sets whole sectors (CMX_FLASH_SECTOR) to 0xff. */
CMX_MUST_USE cmx_err cmx_port_flash_write(uint32_t offset, const void *data, size_t len);
CMX_MUST_USE cmx_err cmx_port_flash_erase(uint32_t offset, size_t len);
#define CMX_FLASH_SECTOR 4096u

/* ---- the hardware key ---- */

/* The kind of storage that holds the hardware key. */
typedef enum { CMX_KEY_NONE, CMX_KEY_EFUSE, CMX_KEY_TPM, CMX_KEY_SOFTWARE } cmx_key_kind;
cmx_key_kind cmx_port_hw_key_kind(void);

/* Computes HMAC-SHA256 with the hardware key. An ESP32 calls esp_hmac_calculate with eFuse HMAC_KEY3 (the default),
 * whose purpose must be HMAC_UP. len is bounded only by memory. CMX_ENOKEY: there is no key, or it has another purpose
 * or no read protection. CMX_EIO: the hardware failed. Any thread may call this; the function serialises the
 * calls. */
CMX_MUST_USE cmx_err cmx_port_hw_hmac(const void *msg, size_t len, uint8_t out[CMX_SHA256_LEN]);

/* ---- a secret of the device's own, for a device without a hardware key ---- */

#define CMX_PORT_SECRET_LEN 32

/* Reads the stored secret. CMX_ENOENT: no secret is stored; CMX_ENOTSUP: the platform cannot store one; CMX_EIO:
 * reading failed. out is zero after an error. */
CMX_MUST_USE cmx_err cmx_port_secret_read(uint8_t out[CMX_PORT_SECRET_LEN]);

/* Stores the secret atomically, so that it survives a restart. CMX_EEXIST: there is a secret already, which is kept;
 * CMX_ENOTSUP: the platform cannot store one; CMX_EIO: storing failed. One caller at a time. */
CMX_MUST_USE cmx_err cmx_port_secret_create(const uint8_t secret[CMX_PORT_SECRET_LEN]);

/* True if reading the flash does not reveal the secret (NVS encryption). */
bool cmx_port_secret_is_encrypted(void);

/* ---- the device ---- */

/* Prepares the platform for the device module: storage, network interfaces, stored settings. The device module calls
 * it first in each of its entry points. Idempotent; any task. Errors are logged. A platform whose program
 * does this itself returns CMX_OK. */
CMX_MUST_USE cmx_err cmx_port_device_start(void);

/* Restarts the device; does not return on a device. On Linux it calls the handler that the program set;
 * without a handler it does nothing. */
void cmx_port_restart(void);

CMX_C_END
