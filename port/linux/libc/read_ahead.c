/* read_ahead.c - cmx_port_read_ahead for programs that use the kernel's sockets. Replaces recv, poll and close for the
 * program and its libraries. libssh 0.10 reads 4 KB at a time and calls poll before and after each read. This file
 * reads a registered socket READ_AHEAD bytes at a time into a buffer, and serves later recv and poll calls from the
 * buffer without a system call. Calls for other descriptors go to the kernel unchanged.
 *
 * A descriptor's entry belongs to the task that uses the descriptor. Any close() of the descriptor drops the entry, so
 * that a new socket with the same number never gets old data. To reach the kernel, this file uses other calls, which it
 * does not replace: recvfrom, ppoll and SYS_close. */
#include <poll.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "cmxsafe/core/mem.h"
#include "cmxsafe/port/port.h"

#define READ_AHEAD (32 * 1024)
#define REST_MS 100      /* an empty buffer is freed when a poll of at least this long times out */
#define DESCRIPTORS 1024 /* descriptors from this number on are not read ahead */

struct ahead {
    uint8_t *data; /* NULL at first and after `rest`; allocated once a read fills all the caller's memory */
    size_t off, len;
    bool readable; /* the last poll reported POLLIN, and nothing has been read since */
};

static _Atomic(struct ahead *) table[DESCRIPTORS];

static struct ahead *find(int fd)
{
    return fd >= 0 && fd < DESCRIPTORS ? atomic_load_explicit(&table[fd], memory_order_acquire) : NULL;
}

void cmx_port_read_ahead(int fd)
{
    struct ahead *a;

    if (fd < 0 || fd >= DESCRIPTORS || find(fd))
        return;
    a = cmx_mem_alloc(sizeof *a);
    if (a)
        atomic_store_explicit(&table[fd], a, memory_order_release);
}

static ssize_t receive(struct ahead *a, int fd, void *out, size_t len, int flags)
{
    ssize_t n = recvfrom(fd, out, len, flags, NULL, NULL);

    if (a)
        a->readable = false;
    return n;
}

/* Call when the buffer is empty. If the buffer is allocated, an ordinary read (no flags, less than READ_AHEAD bytes)
 * reads into it. Any other read reads into `out`, the caller's memory; if the data fills `out`, the buffer is allocated
 * for the next read. Returns recv's result. The data is in the buffer if a->len > 0. */
static ssize_t fetch(struct ahead *a, int fd, void *out, size_t len, int flags)
{
    ssize_t n;

    a->off = 0;
    a->len = 0;
    if (a->data && flags == 0 && len < READ_AHEAD) {
        n = receive(a, fd, a->data, READ_AHEAD, 0);
        a->len = n > 0 ? (size_t)n : 0;
        return n;
    }
    n = receive(a, fd, out, len, flags);
    if (n == (ssize_t)len && !a->data)
        a->data = cmx_mem_alloc(READ_AHEAD); /* NULL: continue without read-ahead */
    return n;
}

ssize_t recv(int fd, void *out, size_t len, int flags)
{
    struct ahead *a = find(fd);
    ssize_t n;

    if (!a)
        return receive(NULL, fd, out, len, flags);
    if (a->off == a->len) {
        n = fetch(a, fd, out, len, flags);
        if (a->len == 0)
            return n;
    }
    if (len > a->len - a->off)
        len = a->len - a->off;
    memcpy(out, a->data + a->off, len);
    a->off += len;
    return (ssize_t)len;
}

static bool has_bytes(const struct pollfd *p)
{
    const struct ahead *a = p->events & POLLIN ? find(p->fd) : NULL;

    return a && a->off < a->len;
}

/* Frees the buffer if it is empty. Called when a poll of at least REST_MS timed out. */
static void rest(struct ahead *a)
{
    if (!a || a->off < a->len)
        return;
    cmx_mem_free(a->data);
    a->data = NULL;
}

/* Calls the kernel's poll. Buffered bytes count as readable; if there are any, the call does not wait. */
static int ask(struct pollfd *fds, nfds_t n, int timeout_ms)
{
    struct timespec t = {timeout_ms / 1000, timeout_ms % 1000 * 1000000L};
    bool wait_for_ever = timeout_ms < 0;
    int rc;

    for (nfds_t i = 0; i < n; i++)
        if (has_bytes(&fds[i])) {
            wait_for_ever = false;
            t = (struct timespec){0, 0};
        }
    rc = ppoll(fds, n, wait_for_ever ? NULL : &t, NULL);
    for (nfds_t i = 0; i < n && rc == 0 && timeout_ms >= REST_MS; i++)
        rest(find(fds[i].fd));
    for (nfds_t i = 0; i < n && rc >= 0; i++) {
        struct ahead *a = find(fds[i].fd);

        if (!a)
            continue;
        a->readable = (fds[i].revents & ~POLLOUT) == POLLIN;
        if (!has_bytes(&fds[i]) || fds[i].revents & POLLIN)
            continue;
        rc += fds[i].revents == 0;
        fds[i].revents |= POLLIN;
    }
    return rc;
}

/* Answers a poll of a single socket without a system call if the socket is readable. libssh polls a single socket, and
 * asks for POLLOUT too while it receives; POLLOUT is not reported before the buffered bytes have been read. Not
 * inlined: glibc declares that poll only writes *fds, so gcc would warn that *fds is read. */
static __attribute__((noinline)) int answer(struct pollfd *fds, nfds_t n, int timeout_ms)
{
    const struct ahead *a = n == 1 && fds[0].events & POLLIN ? find(fds[0].fd) : NULL;

    if (!a || (a->off == a->len && !a->readable))
        return ask(fds, n, timeout_ms);
    fds[0].revents = POLLIN;
    return 1;
}

int poll(struct pollfd *fds, nfds_t n, int timeout_ms)
{
    return answer(fds, n, timeout_ms);
}

int close(int fd)
{
    struct ahead *a =
        fd >= 0 && fd < DESCRIPTORS ? atomic_exchange_explicit(&table[fd], NULL, memory_order_acq_rel) : NULL;

    if (a) {
        cmx_mem_free(a->data);
        cmx_mem_free(a);
    }
    return (int)syscall(SYS_close, fd);
}

/* ---- functions that code compiled with _FORTIFY_SOURCE calls if the buffer's size is known (glibc's debug/) ---- */

int __poll_chk(struct pollfd *fds, nfds_t n, int timeout_ms, size_t size);
ssize_t __recv_chk(int fd, void *out, size_t len, size_t size, int flags);

int __poll_chk(struct pollfd *fds, nfds_t n, int timeout_ms, size_t size)
{
    if (size / sizeof *fds < n)
        abort();
    return poll(fds, n, timeout_ms);
}

ssize_t __recv_chk(int fd, void *out, size_t len, size_t size, int flags)
{
    if (size < len)
        abort();
    return recv(fd, out, len, flags);
}
