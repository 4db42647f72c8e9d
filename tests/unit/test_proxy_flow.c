/* Bytes from the gateway for a local socket that is full: all of them arrive, in order, also those that libssh receives
 * while it is read. Whether it does is a matter of microseconds with a real gateway, so libssh's part is played here.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "cmxsafe/core/mem.h"
#include "cmxsafe/proxy/engine.h"

#define WINDOW 8000

static struct {
    uint8_t bytes[WINDOW]; /* undelivered, as libssh's buffer of the channel */
    size_t len;
    size_t coming; /* arrive during the next read */
    uint8_t next;  /* the stream counts up */
    size_t largest;
} libssh;

static struct run run;
static struct relay relay;
static int client;

static void arrive(size_t n)
{
    size_t taken;

    assert_true(libssh.len + n <= sizeof libssh.bytes);
    for (size_t i = 0; i < n; i++)
        libssh.bytes[libssh.len++] = libssh.next++;
    taken = cmx_relay_handlers.data(&relay, libssh.bytes, libssh.len);
    libssh.len -= taken;
    memmove(libssh.bytes, libssh.bytes + taken, libssh.len);
}

cmx_err cmx_ssh_channel_read(struct cmx_ssh_channel *c, uint8_t *out, size_t len)
{
    size_t coming = libssh.coming;

    (void)c;
    libssh.coming = 0;
    if (coming)
        arrive(coming); /* ssh_channel_poll handles what came in first */
    assert_true(len <= libssh.len);
    memcpy(out, libssh.bytes, len);
    libssh.len -= len;
    memmove(libssh.bytes, libssh.bytes + len, libssh.len);
    libssh.largest = len > libssh.largest ? len : libssh.largest;
    return CMX_OK;
}

size_t cmx_ssh_channel_window(const struct cmx_ssh_channel *c)
{
    (void)c;
    return 0;
}

cmx_err cmx_ssh_channel_write(struct cmx_ssh_channel *c, const uint8_t *data, size_t len, size_t *sent)
{
    (void)c;
    (void)data;
    (void)len;
    *sent = 0;
    return CMX_OK;
}

static int open_relay(void **state)
{
    int fd[2];

    (void)state;
    memset(&libssh, 0, sizeof libssh);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
    assert_int_equal(fcntl(fd[0], F_SETFL, O_NONBLOCK), 0);
    assert_int_equal(fcntl(fd[1], F_SETFL, O_NONBLOCK), 0);
    relay = (struct relay){.run = &run, .state = RELAY_OPEN, .fd = fd[0]};
    client = fd[1];
    return 0;
}

static int close_relay(void **state)
{
    (void)state;
    cmx_relay_drop_bytes(&relay);
    close(relay.fd);
    close(client);
    return 0;
}

/* Reads what is there; it must go on from `from`. */
static size_t take(size_t from)
{
    uint8_t got[4096];
    size_t all = 0;
    ssize_t n;

    while ((n = recv(client, got, sizeof got, 0)) > 0)
        for (ssize_t i = 0; i < n; i++, all++)
            assert_int_equal(got[i], (uint8_t)(from + all));
    return all;
}

/* Fills the socket; returns how much of it counts as sent. */
static size_t fill(void)
{
    size_t n = 0;

    while (!relay.local_blocked) {
        arrive(1000);
        n += 1000;
    }
    return n;
}

static void what_comes_during_a_read_is_delivered(void **state)
{
    size_t sent, got;

    (void)state;
    sent = fill();
    arrive(3000);
    sent += 3000;
    assert_true(relay.backlog >= 3000);
    got = take(0);
    libssh.coming = 500;
    sent += 500;
    for (int i = 0; i < 1000 && relay.local_blocked; i++) {
        cmx_relay_drain(&relay);
        got += take(got);
    }
    assert_false(relay.local_blocked);
    assert_int_equal(relay.backlog, 0);
    assert_null(relay.spill);
    assert_int_equal(got, sent);
}

static void only_pieces_leave_libssh(void **state)
{
    size_t got;

    (void)state;
    (void)fill();
    arrive(3000);
    got = take(0);
    cmx_relay_drain(&relay);
    (void)take(got);
    assert_int_equal(libssh.largest, 1024);
}

static void no_memory_for_a_piece_ends_the_relay(void **state)
{
    (void)state;
    (void)fill();
    cmx_mem_fail_at(1);
    cmx_relay_drain(&relay);
    cmx_mem_fail_at(0);
    assert_int_equal(relay.failed, CMX_ENOMEM);
    assert_null(relay.spill);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_comes_during_a_read_is_delivered, open_relay, close_relay),
        cmocka_unit_test_setup_teardown(only_pieces_leave_libssh, open_relay, close_relay),
        cmocka_unit_test_setup_teardown(no_memory_for_a_piece_ends_the_relay, open_relay, close_relay),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
