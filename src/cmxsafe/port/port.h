/* port.h - the whole contract with a platform, besides POSIX sockets (which ESP-IDF, lwIP and Linux all have) and
 * crypto.h. Bringing cmxsafe to another RTOS is implementing these functions in one folder and running
 * tests/port_conformance against it. Implementations: port/linux, src/cmxsafe/port/esp.
 *
 * Unless said otherwise a function may be called from any task, may block, and is not called from an interrupt or from
 * the network stack's own thread. */
#ifndef CMX_PORT_PORT_H
#define CMX_PORT_PORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cmxsafe/core/err.h"
#include "cmxsafe/core/log.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- time ---- */

/* Milliseconds since an arbitrary start; never goes back; does not block. (esp_timer_get_time, CLOCK_MONOTONIC) */
uint64_t cmx_port_now_ms(void);

/* Seconds since 1970-01-01 UTC, or 0 while the clock has not been set. Does not block. */
uint64_t cmx_port_unix_time(void);

/* Sleeps at least ms milliseconds. */
void cmx_port_sleep_ms(uint32_t ms);

/* ---- tasks ---- */

typedef void (*cmx_task_fn)(void *arg);

/* A detached task that ends when fn returns. stack_bytes: 0 for the platform's default; Linux treats it as a lower
 * bound. name: at most 15 chars are kept. CMX_ENOMEM. (xTaskCreatePinnedToCore, pthread_create) */
CMX_MUST_USE cmx_err cmx_port_task_start(const char *name, size_t stack_bytes, cmx_task_fn fn, void *arg);

#define CMX_PORT_TASK_NAME 16

/* The calling task's name, at most 15 characters; "" where it has none. */
void cmx_port_task_name(char out[CMX_PORT_TASK_NAME]);

/* Bytes of the calling task's stack that were never used; SIZE_MAX where the platform can't tell. */
size_t cmx_port_stack_free_min(void);

/* The calling task does long work from now on that must not hold up the others: its priority is lowered for the rest of
 * its life. Where the platform does not permit that, nothing happens. */
void cmx_port_background(void);

/* The last call of a task before it tells others that it has ended: what libraries keep for the task alone is released, so
 * that who then ends the program, or looks for leaks, finds nothing. May do nothing. */
void cmx_port_task_done(void);

/* A lock; not recursive. Storage is in the object, so that a static one needs no allocation. */
struct cmx_mutex {
    uintptr_t opaque[24]; /* FreeRTOS's StaticSemaphore_t is the largest: 84 to 92 bytes on 32 bits */
};
CMX_MUST_USE cmx_err cmx_port_mutex_init(struct cmx_mutex *m);
void cmx_port_mutex_lock(struct cmx_mutex *m);
void cmx_port_mutex_unlock(struct cmx_mutex *m);
void cmx_port_mutex_destroy(struct cmx_mutex *m);

/* Tells the platform's watchdog that the calling task is alive, and lets other tasks run. Cheap. */
void cmx_port_watchdog_feed(void);

/* ---- sockets: those that POSIX has and a device may not ---- */

/* Two connected local stream sockets. CMX_ENOTSUP where the platform has none; CMX_ENOMEM. */
CMX_MUST_USE cmx_err cmx_port_socket_pair(int fd[2]);

/* A hint: fd, a connected stream socket that one task uses, is read in small pieces by recv. A platform where a system
 * call costs much may fetch more at once and hand it out, until fd is closed; poll then knows of it. May do nothing. */
void cmx_port_read_ahead(int fd);

/* Acknowledges at once what fd, a TCP socket, has received. Stock SSH servers leave Nagle's algorithm on for forwards;
 * with delayed acknowledgements on our side every second small packet then waits 40 ms (lwIP: 250). Best effort. */
void cmx_port_acknowledge(int fd);

/* ---- log ---- */

/* Writes one line, already formatted and clean. Never blocks for long; must work from any task. */
void cmx_port_log(cmx_log_level level, const char *tag, const char *line);

/* ---- flash: the whole chip, as esp_flash_* sees it ---- */

/* Bytes; 0 where there is none (a Linux agent). */
uint32_t cmx_port_flash_size(void);
CMX_MUST_USE cmx_err cmx_port_flash_read(uint32_t offset, void *out, size_t len);
/* NOR rules: a write only clears bits; an erase works on whole sectors (CMX_FLASH_SECTOR) and sets all to 0xff. */
CMX_MUST_USE cmx_err cmx_port_flash_write(uint32_t offset, const void *data, size_t len);
CMX_MUST_USE cmx_err cmx_port_flash_erase(uint32_t offset, size_t len);
#define CMX_FLASH_SECTOR 4096u

/* ---- the hardware key ---- */

/* Where the key that answers comes from. */
typedef enum { CMX_KEY_NONE, CMX_KEY_EFUSE, CMX_KEY_TPM, CMX_KEY_SOFTWARE } cmx_key_kind;
cmx_key_kind cmx_port_hw_key_kind(void);

/* HMAC-SHA256 by the hardware key (eFuse HMAC_KEY3, purpose HMAC_UP; esp_hmac_calculate). len is bounded by memory
 * alone. CMX_ENOKEY: none, wrong purpose or not read-protected. CMX_EIO. One caller at a time is served, others wait.
 */
CMX_MUST_USE cmx_err cmx_port_hw_hmac(const void *msg, size_t len, uint8_t out[32]);

/* ---- the device ---- */

/* Restarts the device; does not return on a device. On Linux the agent's handler decides. */
void cmx_port_restart(void);

#ifdef __cplusplus
}
#endif
#endif
