/* port_linux.c - implements port.h for Linux: clock, tasks, locks, log. The program provides flash, hardware key and
 * restart (linux_port.h), because these differ between the agent and the virtual board. */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/crypto.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "cmxsafe/core/log.h"
#include "cmxsafe/core/mem.h"
#include "cmxsafe/port/port.h"
#include "port/linux/linux_port.h"
#include "port/linux/stderr_line.h"

static struct cmx_linux_device device;

void cmx_linux_set_device(const struct cmx_linux_device *d)
{
    device = *d;
}

static const struct cmx_filter *filter;

void cmx_linux_set_filter(const struct cmx_filter *f)
{
    filter = f;
}

const struct cmx_filter *cmx_port_filter(void)
{
    return filter;
}

uint64_t cmx_port_now_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

void cmx_port_sleep_ms(uint32_t ms)
{
    struct timespec ts = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

    while (nanosleep(&ts, &ts) != 0)
        ;
}

struct start {
    cmx_task_fn fn;
    void *arg;
    char name[CMX_PORT_TASK_NAME];
};

static void *run(void *p)
{
    struct start s = *(struct start *)p;

    cmx_mem_free(p);
    pthread_setname_np(pthread_self(), s.name);
    s.fn(s.arg);
    return NULL;
}

cmx_err cmx_port_task_start(const char *name, size_t stack_bytes, cmx_task_fn fn, void *arg)
{
    const size_t stack_min = 256 * 1024; /* glibc and OpenSSL need more than a device's stack */
    struct start *s = cmx_mem_alloc(sizeof *s);
    pthread_attr_t attr;
    pthread_t thread;
    int rc;

    if (!s)
        return CMX_ENOMEM;
    s->fn = fn;
    s->arg = arg;
    snprintf(s->name, sizeof s->name, "%.15s", name);
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, stack_bytes > stack_min ? stack_bytes : stack_min);
    rc = pthread_create(&thread, &attr, run, s);
    pthread_attr_destroy(&attr);
    if (rc) {
        cmx_mem_free(s);
        return CMX_ENOMEM;
    }
    return CMX_OK;
}

void cmx_port_task_name(char out[CMX_PORT_TASK_NAME])
{
    if (pthread_getname_np(pthread_self(), out, CMX_PORT_TASK_NAME) != 0)
        out[0] = '\0';
}

/* Frees OpenSSL's random generators of this thread. OpenSSL would free them only after the thread's function has
 * returned, and nothing waits for a detached thread. */
void cmx_port_task_done(void)
{
    OPENSSL_thread_stop();
}

/* Lowers the priority of the calling thread only: on Linux each thread has a nice value of its own (setpriority(2), "C
 * library/kernel differences"). */
void cmx_port_background(void)
{
    const int nice = 10; /* gives the thread about a tenth of the default share of a busy processor */

    if (setpriority(PRIO_PROCESS, (id_t)gettid(), nice) != 0)
        return; /* some systems do not permit this call; the contract permits doing nothing */
}

size_t cmx_port_heap_free(void)
{
    return device.heap_free ? device.heap_free(device.arg) : SIZE_MAX;
}

_Static_assert(sizeof(pthread_mutex_t) <= sizeof(struct cmx_mutex), "a cmx_mutex holds a pthread_mutex_t");

void cmx_port_mutex_init(struct cmx_mutex *m)
{
    /* In glibc and musl this call allocates nothing and returns 0. */
    (void)pthread_mutex_init((pthread_mutex_t *)m->opaque, NULL);
}

void cmx_port_mutex_lock(struct cmx_mutex *m)
{
    pthread_mutex_lock((pthread_mutex_t *)m->opaque);
}

void cmx_port_mutex_unlock(struct cmx_mutex *m)
{
    pthread_mutex_unlock((pthread_mutex_t *)m->opaque);
}

void cmx_port_mutex_destroy(struct cmx_mutex *m)
{
    pthread_mutex_destroy((pthread_mutex_t *)m->opaque);
}

void cmx_port_watchdog_feed(uint32_t rest_ms)
{
    if (device.watchdog_feed)
        device.watchdog_feed(device.arg, rest_ms);
}

int cmx_port_wake_open(void)
{
    return device.wakes ? eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC) : -1;
}

void cmx_port_wake(int fd)
{
    const uint64_t one = 1;

    if (fd >= 0 && write(fd, &one, sizeof one) < 0)
        return; /* the eventfd's counter is full, so fd is readable already */
}

void cmx_port_wake_clear(int fd)
{
    uint64_t drained;

    if (fd >= 0 && read(fd, &drained, sizeof drained) < 0)
        return; /* fd is not readable, because another call has read it */
}

int cmx_port_set_open(void)
{
    return device.wakes ? epoll_create1(EPOLL_CLOEXEC) : -1;
}

cmx_err cmx_port_set_add(int set, int fd, void *arg)
{
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = arg};

    return epoll_ctl(set, EPOLL_CTL_ADD, fd, &e) == 0 ? CMX_OK : CMX_ENOMEM;
}

void cmx_port_set_remove(int set, int fd)
{
    (void)epoll_ctl(set, EPOLL_CTL_DEL, fd, NULL);
}

size_t cmx_port_set_ready(int set, void **args, size_t cap)
{
    struct epoll_event e[16];
    int n = epoll_wait(set, e, cap < 16 ? (int)cap : 16, 0);

    for (int i = 0; i < n; i++)
        args[i] = e[i].data.ptr;
    return n > 0 ? (size_t)n : 0;
}

void cmx_port_acknowledge(int fd)
{
    int yes = 1;

    (void)setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &yes, sizeof yes);
}

cmx_err cmx_port_socket_pair(int fd[2])
{
    if (device.no_socket_pair)
        return CMX_ENOTSUP;
    return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd) == 0 ? CMX_OK : CMX_ENOMEM;
}

void cmx_port_log(cmx_log_level level, const char *tag, const char *line)
{
    static const char letters[] = "EWID";
    /* journald reads <N> at the start of a line as its priority (sd-daemon(3)). */
    static const char priorities[] = "3467";
    char prefix[64];

    if (device.log_journal)
        snprintf(prefix, sizeof prefix, "<%c>%s: ", priorities[level], tag);
    else
        snprintf(prefix, sizeof prefix, "%c %s: ", letters[level], tag);
    cmx_stderr_line(prefix, line);
}

uint32_t cmx_port_flash_size(void)
{
    return device.flash_size ? device.flash_size(device.arg) : 0;
}

cmx_err cmx_port_flash_read(uint32_t offset, void *out, size_t len)
{
    return device.flash_read ? device.flash_read(device.arg, offset, out, len) : CMX_ENOTSUP;
}

cmx_err cmx_port_flash_write(uint32_t offset, const void *data, size_t len)
{
    return device.flash_write ? device.flash_write(device.arg, offset, data, len) : CMX_ENOTSUP;
}

cmx_err cmx_port_flash_erase(uint32_t offset, size_t len)
{
    return device.flash_erase ? device.flash_erase(device.arg, offset, len) : CMX_ENOTSUP;
}

cmx_key_kind cmx_port_hw_key_kind(void)
{
    return device.hw_key_kind ? device.hw_key_kind(device.arg) : CMX_KEY_NONE;
}

cmx_err cmx_port_hw_hmac(const void *msg, size_t len, uint8_t out[CMX_SHA256_LEN])
{
    return device.hw_hmac ? device.hw_hmac(device.arg, msg, len, out) : CMX_ENOKEY;
}

cmx_err cmx_port_secret_read(uint8_t out[CMX_PORT_SECRET_LEN])
{
    memset(out, 0, CMX_PORT_SECRET_LEN);
    return device.secret_read ? device.secret_read(device.arg, out) : CMX_ENOTSUP;
}

cmx_err cmx_port_secret_create(const uint8_t secret[CMX_PORT_SECRET_LEN])
{
    return device.secret_create ? device.secret_create(device.arg, secret) : CMX_ENOTSUP;
}

bool cmx_port_secret_is_encrypted(void)
{
    return false;
}

cmx_err cmx_port_device_start(void)
{
    return CMX_OK; /* the program's main function has prepared the platform */
}

void cmx_port_restart(void)
{
    if (device.restart)
        device.restart(device.arg);
}
