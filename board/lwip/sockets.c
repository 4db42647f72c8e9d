/* sockets.c - descriptors from LWIP_FD on are lwIP's; all others stay the kernel's.
 *
 * Debian's liblwip uses glibc's structures and constants, so only descriptors are translated.
 *
 * This file is compiled without _FILE_OFFSET_BITS and _TIME_BITS, so that it defines the functions under their plain
 * names. Where time_t has 32 bits, code that was compiled with a time_t of 64 bits calls the same functions under other
 * names, such as __fcntl_time64. These names are defined at the end. */
#include "board/lwip/sockets.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "board/lwip/quickack.h"
#include "board/lwip/resolve.h"
#include "cmxsafe/device/claim.h"
#include "lwip/sockets.h"

/* The lowest descriptor that stands for an lwIP socket. libssh keeps only 16 bits of a descriptor (SSH_OPTIONS_FD in
 * options.c), so both stacks share that range: the kernel's descriptors are in the lower half. */
#define LWIP_FD 0x8000
#define POLLS_MAX 512     /* maximum number of descriptors in one poll */
#define MIXED_SLICE_MS 10 /* maximum delay of an event if poll waits for both stacks */
#define NAMES_MAX 8
/* Maximum number of lwIP sockets that are open at the same time. Debian's lwIP grows its socket table while other
 * threads read it without a lock. So this program grows the table to this size before a second thread uses it. After
 * that, the table never grows. */
#define SOCKETS_MAX 512

static atomic_bool active;
static atomic_int sockets_open;
static const char *dns;

static void grow_socket_table(void)
{
    int s[SOCKETS_MAX];
    int n = 0;

    while (n < SOCKETS_MAX && (s[n] = lwip_socket(AF_INET, SOCK_STREAM, 0)) >= 0)
        n++;
    while (n)
        lwip_close(s[--n]);
}

void board_sockets_use_lwip(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur > LWIP_FD) {
        limit.rlim_cur = LWIP_FD;               /* the kernel's descriptors stay below lwIP's */
        (void)setrlimit(RLIMIT_NOFILE, &limit); /* lowering a soft limit can't fail */
    }
    grow_socket_table();
    atomic_store(&active, true);
}

void board_sockets_set_dns(const char *server)
{
    dns = server;
}

static bool is_ours(int fd)
{
    return fd >= LWIP_FD;
}

static int to_lwip(int fd)
{
    return fd - LWIP_FD;
}

static int from_lwip(int s)
{
    return s < 0 ? s : s + LWIP_FD;
}

/* Counts the socket that lwIP is about to create. False: SOCKETS_MAX sockets are open. */
static bool reserve_socket(void)
{
    if (atomic_fetch_add(&sockets_open, 1) < SOCKETS_MAX)
        return true;
    atomic_fetch_sub(&sockets_open, 1);
    errno = EMFILE;
    return false;
}

/* Converts s, the result of lwip_socket or lwip_accept, to a descriptor of the program. s < 0: no socket was
 * created. */
static int socket_created(int s, int flags)
{
    if (s < 0)
        atomic_fetch_sub(&sockets_open, 1);
    else if (flags & SOCK_NONBLOCK)
        lwip_fcntl(s, F_SETFL, O_NONBLOCK);
    return from_lwip(s);
}

/* Returns the C library's function `name`: the one that follows ours in the dynamic linker's search order. Caches it in
 * *known. Any thread may call this. */
static void *next_of(_Atomic(void *) *known, const char *name)
{
    void *f = atomic_load(known);

    if (!f) {
        f = dlsym(RTLD_NEXT, name);
        atomic_store(known, f);
    }
    return f;
}

#define REAL(name)                                                                                                     \
    static _Atomic(void *) known;                                                                                      \
    __typeof__(&name) real = (__typeof__(&name))next_of(&known, #name)

/* Defines the function `name`, whose first parameter is the descriptor fd: it returns the value of `ours` for a
 * descriptor of lwIP, and otherwise calls the C library's function with the arguments `theirs`. */
#define DISPATCH(type, name, parameters, ours, theirs)                                                                 \
    type name parameters                                                                                               \
    {                                                                                                                  \
        REAL(name);                                                                                                    \
        return is_ours(fd) ? ours : real theirs;                                                                       \
    }

/* ---- opening and closing ---- */

int socket(int family, int type, int protocol)
{
    REAL(socket);
    if (!atomic_load(&active) || (family != AF_INET && family != AF_INET6))
        return real(family, type, protocol);
    if (!reserve_socket())
        return -1;
    return socket_created(lwip_socket(family, type & ~(SOCK_CLOEXEC | SOCK_NONBLOCK), protocol), type);
}

int close(int fd)
{
    int rc;

    REAL(close);
    if (!is_ours(fd))
        return real(fd);
    cmx_claim_close(fd);
    rc = lwip_close(to_lwip(fd));
    if (rc == 0)
        atomic_fetch_sub(&sockets_open, 1);
    return rc;
}

DISPATCH(int, shutdown, (int fd, int how), lwip_shutdown(to_lwip(fd), how), (fd, how))

static int connect_by_lwip(int fd, const struct sockaddr *address, socklen_t len)
{
    return lwip_connect(to_lwip(fd), address, len);
}

DISPATCH(int, connect, (int fd, const struct sockaddr *address, socklen_t len),
         cmx_claim_connect(fd, address, len, connect_by_lwip), (fd, address, len))
DISPATCH(int, bind, (int fd, const struct sockaddr *address, socklen_t len), lwip_bind(to_lwip(fd), address, len),
         (fd, address, len))
DISPATCH(int, listen, (int fd, int backlog), lwip_listen(to_lwip(fd), backlog), (fd, backlog))

static int accept_by_lwip(int fd, struct sockaddr *address, socklen_t *len, int flags)
{
    if (!reserve_socket())
        return -1;
    return socket_created(lwip_accept(to_lwip(fd), address, len), flags);
}

DISPATCH(int, accept, (int fd, struct sockaddr *address, socklen_t *len), accept_by_lwip(fd, address, len, 0),
         (fd, address, len))
DISPATCH(int, accept4, (int fd, struct sockaddr *address, socklen_t *len, int flags),
         accept_by_lwip(fd, address, len, flags), (fd, address, len, flags))

/* ---- addresses and options ---- */

DISPATCH(int, getsockname, (int fd, struct sockaddr *address, socklen_t *len),
         lwip_getsockname(to_lwip(fd), address, len), (fd, address, len))
DISPATCH(int, getpeername, (int fd, struct sockaddr *address, socklen_t *len),
         lwip_getpeername(to_lwip(fd), address, len), (fd, address, len))

int setsockopt(int fd, int level, int option, const void *value, socklen_t len)
{
    REAL(setsockopt);
    if (is_ours(fd) && level == IPPROTO_TCP && option == TCP_QUICKACK) {
        board_quickack(to_lwip(fd));
        return 0;
    }
    return is_ours(fd) ? lwip_setsockopt(to_lwip(fd), level, option, value, len) : real(fd, level, option, value, len);
}

DISPATCH(int, getsockopt, (int fd, int level, int option, void *value, socklen_t *len),
         lwip_getsockopt(to_lwip(fd), level, option, value, len), (fd, level, option, value, len))

static int lwip_fcntl_like_kernel(int fd, int command, long argument)
{
    switch (command) {
    case F_GETFD:
    case F_SETFD: /* lwIP's descriptors do not survive exec anyway */
        return 0;
    case F_GETFL:
    case F_SETFL:
        return lwip_fcntl(to_lwip(fd), command, (int)argument & O_NONBLOCK);
    default:
        errno = EINVAL;
        return -1;
    }
}

/* Like DISPATCH, for a function with one optional argument: an int, a long or a pointer, which all fit in one
 * register. */
#define DISPATCH_OPTIONAL(name, request_type, type, ours)                                                              \
    int name(int fd, request_type request, ...)                                                                        \
    {                                                                                                                  \
        type argument;                                                                                                 \
        va_list ap;                                                                                                    \
                                                                                                                       \
        REAL(name);                                                                                                    \
        va_start(ap, request);                                                                                         \
        argument = va_arg(ap, type);                                                                                   \
        va_end(ap);                                                                                                    \
        return is_ours(fd) ? ours : real(fd, request, argument);                                                       \
    }

DISPATCH_OPTIONAL(fcntl, int, long, lwip_fcntl_like_kernel(fd, request, argument))
DISPATCH_OPTIONAL(fcntl64, int, long, lwip_fcntl_like_kernel(fd, request, argument))
DISPATCH_OPTIONAL(ioctl, unsigned long, void *, lwip_ioctl(to_lwip(fd), (long)request, argument))

/* ---- bytes ---- */

DISPATCH(ssize_t, send, (int fd, const void *data, size_t len, int flags),
         lwip_send(to_lwip(fd), data, len, flags & ~MSG_NOSIGNAL), (fd, data, len, flags))
DISPATCH(ssize_t, sendto,
         (int fd, const void *data, size_t len, int flags, const struct sockaddr *to, socklen_t to_len),
         lwip_sendto(to_lwip(fd), data, len, flags & ~MSG_NOSIGNAL, to, to_len), (fd, data, len, flags, to, to_len))
DISPATCH(ssize_t, sendmsg, (int fd, const struct msghdr *message, int flags),
         lwip_sendmsg(to_lwip(fd), message, flags & ~MSG_NOSIGNAL), (fd, message, flags))
DISPATCH(ssize_t, recv, (int fd, void *out, size_t cap, int flags), lwip_recv(to_lwip(fd), out, cap, flags),
         (fd, out, cap, flags))
DISPATCH(ssize_t, recvfrom, (int fd, void *out, size_t cap, int flags, struct sockaddr *from, socklen_t *from_len),
         lwip_recvfrom(to_lwip(fd), out, cap, flags, from, from_len), (fd, out, cap, flags, from, from_len))
DISPATCH(ssize_t, recvmsg, (int fd, struct msghdr *message, int flags), lwip_recvmsg(to_lwip(fd), message, flags),
         (fd, message, flags))
DISPATCH(ssize_t, read, (int fd, void *out, size_t cap), lwip_read(to_lwip(fd), out, cap), (fd, out, cap))
DISPATCH(ssize_t, write, (int fd, const void *data, size_t len), lwip_write(to_lwip(fd), data, len), (fd, data, len))
DISPATCH(ssize_t, readv, (int fd, const struct iovec *parts, int n), lwip_readv(to_lwip(fd), parts, n), (fd, parts, n))
DISPATCH(ssize_t, writev, (int fd, const struct iovec *parts, int n), lwip_writev(to_lwip(fd), parts, n),
         (fd, parts, n))

/* ---- waiting ---- */

/* Both arrays have n entries. An entry whose descriptor belongs to the other stack is -1, which poll ignores. */
struct split {
    struct pollfd kernel[POLLS_MAX];
    struct pollfd lwip[POLLS_MAX];
    nfds_t n;
    bool has_kernel, has_lwip;
};

static void split(struct split *s, const struct pollfd *fds, nfds_t n)
{
    *s = (struct split){.n = n};
    for (nfds_t i = 0; i < n; i++) {
        bool ours = is_ours(fds[i].fd);

        s->kernel[i] = (struct pollfd){.fd = ours ? -1 : fds[i].fd, .events = fds[i].events};
        s->lwip[i] = (struct pollfd){.fd = ours ? to_lwip(fds[i].fd) : -1, .events = fds[i].events};
        s->has_lwip = s->has_lwip || ours;
        s->has_kernel = s->has_kernel || (!ours && fds[i].fd >= 0);
    }
}

static int merge(const struct split *s, struct pollfd *fds)
{
    int ready = 0;

    for (nfds_t i = 0; i < s->n; i++) {
        fds[i].revents = is_ours(fds[i].fd) ? s->lwip[i].revents : s->kernel[i].revents;
        ready += fds[i].revents != 0;
    }
    return ready;
}

/* lwIP's poll can't wait for the kernel's descriptors, so the two stacks are polled alternately. */
static int poll_both(struct split *s, int (*kernel_poll)(struct pollfd *, nfds_t, int), struct pollfd *fds, int timeout)
{
    for (;;) {
        int slice = timeout < 0 || timeout > MIXED_SLICE_MS ? MIXED_SLICE_MS : timeout;
        int ready;

        if (kernel_poll(s->kernel, s->n, 0) < 0 || lwip_poll(s->lwip, s->n, 0) < 0)
            return -1;
        ready = merge(s, fds);
        if (ready || timeout == 0)
            return ready;
        if (lwip_poll(s->lwip, s->n, slice) < 0)
            return -1;
        if (timeout > 0)
            timeout -= slice;
    }
}

int poll(struct pollfd *fds, nfds_t n, int timeout)
{
    struct split s;

    REAL(poll);
    if (!atomic_load(&active) || n > POLLS_MAX)
        return real(fds, n, timeout);
    split(&s, fds, n);
    if (!s.has_lwip)
        return real(fds, n, timeout);
    if (s.has_kernel)
        return poll_both(&s, real, fds, timeout);
    if (lwip_poll(s.lwip, n, timeout) < 0)
        return -1;
    return merge(&s, fds);
}

/* ---- the functions that code compiled with _FORTIFY_SOURCE calls (glibc's debug/) ---- */

int __poll_chk(struct pollfd *fds, nfds_t n, int timeout, size_t size);
ssize_t __recv_chk(int fd, void *out, size_t cap, size_t size, int flags);
ssize_t __read_chk(int fd, void *out, size_t cap, size_t size);

static void check(bool fits)
{
    if (!fits)
        abort();
}

int __poll_chk(struct pollfd *fds, nfds_t n, int timeout, size_t size)
{
    check(size / sizeof *fds >= n);
    return poll(fds, n, timeout);
}

ssize_t __recv_chk(int fd, void *out, size_t cap, size_t size, int flags)
{
    check(size >= cap);
    return recv(fd, out, cap, flags);
}

ssize_t __read_chk(int fd, void *out, size_t cap, size_t size)
{
    check(size >= cap);
    return read(fd, out, cap);
}

/* ---- host names ---- */

int getaddrinfo(const char *host, const char *service, const struct addrinfo *hints, struct addrinfo **out)
{
    struct cmx_ip addresses[NAMES_MAX];
    char text[CMX_IP_TEXT_MAX];
    struct addrinfo numeric = hints ? *hints : (struct addrinfo){0};
    struct addrinfo **end = out;
    size_t n;

    REAL(getaddrinfo);
    if (!atomic_load(&active) || !dns || !host)
        return real(host, service, hints, out);
    numeric.ai_flags |= AI_NUMERICHOST;
    if (real(host, service, &numeric, out) == 0)
        return 0;
    *out = NULL;
    n = board_resolve(dns, host, addresses, NAMES_MAX);
    for (size_t i = 0; i < n; i++) {
        cmx_ip_text(&addresses[i], text);
        if (real(text, service, &numeric, end) != 0)
            continue; /* an address family that was not requested */
        while (*end)
            end = &(*end)->ai_next;
    }
    return *out ? 0 : EAI_NONAME;
}

#if __TIMESIZE == 32 && defined(__GLIBC__)
int __fcntl_time64(int fd, int command, ...) __attribute__((alias("fcntl64")));
int __ioctl_time64(int fd, unsigned long request, ...) __THROW __attribute__((alias("ioctl")));
int __setsockopt64(int fd, int level, int option, const void *value, socklen_t len) __THROW
    __attribute__((alias("setsockopt")));
int __getsockopt64(int fd, int level, int option, void *value, socklen_t *len) __THROW
    __attribute__((alias("getsockopt")));
ssize_t __sendmsg64(int fd, const struct msghdr *message, int flags) __attribute__((alias("sendmsg")));
ssize_t __recvmsg64(int fd, struct msghdr *message, int flags) __attribute__((alias("recvmsg")));
#endif
