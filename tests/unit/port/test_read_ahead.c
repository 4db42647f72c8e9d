/* Tests port/linux/libc/read_ahead.c: bytes arrive in the same order as without read-ahead, and poll always reports
 * buffered bytes. */
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "cmxsafe/core/mem.h"
#include "cmxsafe/port/port.h"

#define PIECE 4096
#define TOTAL (5 * PIECE + 100)

static uint8_t sent[TOTAL];

struct pair {
    int near, far;
};

static struct pair connected(bool ahead)
{
    int fd[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
    if (ahead)
        cmx_port_read_ahead(fd[0]);
    return (struct pair){fd[0], fd[1]};
}

static void end(struct pair p)
{
    close(p.near);
    close(p.far);
}

static short polled(int fd, short events)
{
    struct pollfd p = {.fd = fd, .events = events};

    (void)poll(&p, 1, 0);
    return p.revents;
}

static size_t in_kernel(int fd)
{
    int n = 0;

    assert_int_equal(ioctl(fd, FIONREAD, &n), 0);
    return (size_t)n;
}

static void put(int fd, size_t len)
{
    assert_int_equal(write(fd, sent, len), len);
}

static void take(int fd, size_t want, size_t off, size_t expected)
{
    uint8_t got[64 * 1024];

    assert_int_equal(recv(fd, got, want, 0), expected);
    assert_memory_equal(got, sent + off, expected);
}

static void all_bytes_in_order(void **state)
{
    struct pair p = connected(true);

    (void)state;
    put(p.far, TOTAL);
    take(p.near, PIECE, 0, PIECE); /* the read was full, so later reads fetch more */
    assert_int_equal(in_kernel(p.near), TOTAL - PIECE);
    take(p.near, PIECE, PIECE, PIECE);
    assert_int_equal(in_kernel(p.near), 0);
    for (size_t off = 2 * PIECE; off < 5 * PIECE; off += PIECE) {
        assert_int_equal(polled(p.near, POLLIN), POLLIN);
        take(p.near, PIECE, off, PIECE);
    }
    take(p.near, PIECE, 5 * PIECE, 100);
    assert_int_equal(polled(p.near, POLLIN), 0);
    assert_int_equal(recv(p.near, sent, 1, 0), -1);
    assert_int_equal(errno, EAGAIN);
    end(p);
}

static void poll_of_many_does_not_wait(void **state)
{
    struct pair p = connected(true), other = connected(false);
    struct pollfd polls[] = {
        {.fd = other.near, .events = POLLIN | POLLOUT}, {.fd = p.near, .events = POLLIN}, {.fd = -1}};

    (void)state;
    put(p.far, 3 * PIECE);
    take(p.near, PIECE, 0, PIECE);
    take(p.near, PIECE, PIECE, PIECE);
    assert_int_equal(poll(polls, 3, -1), 2);
    assert_int_equal(polls[0].revents, POLLOUT);
    assert_int_equal(polls[1].revents, POLLIN);
    polls[1].events = POLLOUT; /* POLLIN is reported only if requested */
    assert_int_equal(poll(polls, 3, -1), 2);
    assert_int_equal(polls[1].revents, POLLOUT);
    end(p);
    end(other);
}

static void what_comes_later_is_seen(void **state)
{
    struct pair p = connected(true);
    struct pollfd polls[] = {{.fd = p.near, .events = POLLIN}, {.fd = -1}};

    (void)state;
    put(p.far, 10);
    assert_int_equal(polled(p.near, POLLIN), POLLIN);
    assert_int_equal(polled(p.near, POLLIN), POLLIN); /* still readable: nothing was read */
    take(p.near, PIECE, 0, 10);
    put(p.far, 20);
    assert_int_equal(poll(polls, 2, -1), 1);
    take(p.near, PIECE, 0, 20);
    put(p.far, 30);
    assert_int_equal(poll(polls, 1, 1000), 1);
    take(p.near, PIECE, 0, 30);
    assert_int_equal(polled(p.near, POLLIN | POLLOUT), POLLOUT);
    end(p);
}

static void end_of_file_comes_after_the_bytes(void **state)
{
    struct pair p = connected(true);

    (void)state;
    put(p.far, 2 * PIECE);
    take(p.near, PIECE, 0, PIECE);
    take(p.near, 16, PIECE, 16);
    close(p.far);
    assert_int_equal(polled(p.near, POLLIN), POLLIN);
    take(p.near, 64 * 1024, PIECE + 16, PIECE - 16); /* a large read also returns the buffered bytes first */
    assert_true(polled(p.near, POLLIN) & POLLIN);
    assert_int_equal(recv(p.near, sent, 1, 0), 0);
    close(p.near);
}

static void a_closed_descriptor_is_forgotten(void **state)
{
    struct pair p = connected(true), next;
    struct cmx_mem_stats before, after;

    (void)state;
    put(p.far, 2 * PIECE);
    take(p.near, PIECE, 0, PIECE);
    take(p.near, 1, PIECE, 1);
    cmx_mem_stats(&before);
    end(p);
    cmx_mem_stats(&after);
    assert_int_equal(before.live_blocks - after.live_blocks, 2);
    next = connected(false);
    assert_int_equal(next.near, p.near);
    assert_int_equal(polled(next.near, POLLIN), 0);
    put(next.far, 2 * PIECE);
    take(next.near, PIECE, 0, PIECE);
    take(next.near, 1, PIECE, 1);
    assert_int_equal(in_kernel(next.near), PIECE - 1); /* only the requested byte was read from the socket */
    end(next);
}

static void without_memory_it_reads_as_before(void **state)
{
    (void)state;
    for (size_t n = 1; n <= 2; n++) {
        struct pair p;

        cmx_mem_fail_at(n);
        p = connected(true);
        put(p.far, 3 * PIECE);
        take(p.near, PIECE, 0, PIECE);
        cmx_mem_fail_at(0);
        take(p.near, PIECE, PIECE, PIECE);
        assert_int_equal(in_kernel(p.near), PIECE);
        take(p.near, PIECE, 2 * PIECE, PIECE);
        end(p);
    }
}

int __poll_chk(struct pollfd *fds, nfds_t n, int timeout_ms, size_t size);
ssize_t __recv_chk(int fd, void *out, size_t len, size_t size, int flags);

/* With _FORTIFY_SOURCE, the compiler calls __read_chk and __recv_chk instead of read and recv. They must also return
 * buffered bytes. */
static void fortified_callers_see_the_same_bytes(void **state)
{
    struct pair p = connected(true);
    struct pollfd one = {.fd = p.near, .events = POLLIN};
    uint8_t got[PIECE];

    (void)state;
    put(p.far, 3 * PIECE);
    take(p.near, PIECE, 0, PIECE); /* the read was full, so later reads fetch more than requested */
    take(p.near, PIECE, PIECE, PIECE);
    assert_int_equal(in_kernel(p.near), 0);
    assert_int_equal(__poll_chk(&one, 1, 0, sizeof one), 1);
    assert_int_equal(one.revents, POLLIN);
    assert_int_equal(__recv_chk(p.near, got, PIECE, sizeof got, 0), PIECE);
    assert_memory_equal(got, sent + 2 * PIECE, PIECE);
    end(p);
}

static void descriptors_beyond_the_table_pass(void **state)
{
    (void)state;
    cmx_port_read_ahead(-1);
    cmx_port_read_ahead(1 << 20);
    assert_int_equal(recv(-1, sent, 1, 0), -1);
    assert_int_equal(errno, EBADF);
    assert_int_equal(close(-1), -1);
    assert_int_equal(errno, EBADF);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_bytes_in_order),
        cmocka_unit_test(poll_of_many_does_not_wait),
        cmocka_unit_test(what_comes_later_is_seen),
        cmocka_unit_test(end_of_file_comes_after_the_bytes),
        cmocka_unit_test(a_closed_descriptor_is_forgotten),
        cmocka_unit_test(without_memory_it_reads_as_before),
        cmocka_unit_test(fortified_callers_see_the_same_bytes),
        cmocka_unit_test(descriptors_beyond_the_table_pass),
    };

    for (size_t i = 0; i < sizeof sent; i++)
        sent[i] = (uint8_t)(i * 7 + i / 251);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
