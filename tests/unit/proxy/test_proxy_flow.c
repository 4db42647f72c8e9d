/* Tests both directions. From the gateway to a local socket that is full: all bytes arrive in order, including those
 * that libssh receives during a read. From a local socket to the gateway: each time the socket is readable, the relay
 * sends several chunks, as many as the gateway accepts. With a real gateway the results depend on timing, so this file
 * replaces libssh. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "cmxsafe/core/mem.h"
#include "cmxsafe/proxy/relay_flow.h"

#define WINDOW 8000

static struct {
    uint8_t bytes[WINDOW]; /* undelivered bytes in libssh's buffer of the channel */
    size_t len;
    size_t coming; /* bytes that arrive during the next read */
    uint8_t next;  /* next byte of the stream, whose bytes count upwards */
    size_t largest;
    size_t window;          /* window of the channel */
    size_t writes, written; /* writes to the gateway, and their bytes */
    size_t takes;           /* bytes that the gateway accepts per write; 0: none */
    size_t full_after;      /* number of writes after which the SSH socket is full; 0: never */
} libssh;

static struct run run = {.cfg = {.name = "test"}};
static struct relay relay;
static int client;

static void arrive(size_t n)
{
    size_t taken;

    assert_true(libssh.len + n <= sizeof libssh.bytes);
    for (size_t i = 0; i < n; i++)
        libssh.bytes[libssh.len++] = libssh.next++;
    taken = cmx_relay_flow_handlers.data(&relay, libssh.bytes, libssh.len);
    libssh.len -= taken;
    memmove(libssh.bytes, libssh.bytes + taken, libssh.len);
}

cmx_err cmx_ssh_channel_read(struct cmx_ssh_channel *c, uint8_t *out, size_t len)
{
    size_t coming = libssh.coming;

    (void)c;
    libssh.coming = 0;
    if (coming)
        arrive(coming); /* as in libssh, reading first handles incoming packets */
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
    return libssh.window;
}

cmx_err cmx_ssh_channel_write(struct cmx_ssh_channel *c, const uint8_t *data, size_t len, size_t *sent)
{
    (void)c;
    *sent = len < libssh.takes ? len : libssh.takes;
    for (size_t i = 0; i < *sent; i++)
        assert_int_equal(data[i], (uint8_t)(libssh.written + i));
    libssh.writes++;
    libssh.written += *sent;
    libssh.window -= *sent;
    return CMX_OK;
}

/* Replacements of the other libssh functions that the relay calls. */
void cmx_ssh_channel_free(struct cmx_ssh_channel *c)
{
    (void)c;
}

bool cmx_ssh_wants_write(const struct cmx_ssh *s)
{
    (void)s;
    return libssh.full_after && libssh.writes >= libssh.full_after;
}

cmx_err cmx_ssh_channel_new(struct cmx_ssh *s, const struct cmx_ssh_handlers *handlers, void *arg,
                            struct cmx_ssh_channel **out)
{
    (void)s;
    (void)handlers;
    (void)arg;
    *out = NULL;
    return CMX_ENOMEM;
}

cmx_err cmx_ssh_channel_connect(struct cmx_ssh_channel *c, const char *host, uint16_t port)
{
    (void)c;
    (void)host;
    (void)port;
    return CMX_EAGAIN;
}

static int open_relay(void **state)
{
    int fd[2];

    (void)state;
    memset(&libssh, 0, sizeof libssh);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
    assert_int_equal(fcntl(fd[0], F_SETFL, O_NONBLOCK), 0);
    assert_int_equal(fcntl(fd[1], F_SETFL, O_NONBLOCK), 0);
    relay = (struct relay){.run = &run, .phase = RELAY_OPEN, .fd = fd[0]};
    client = fd[1];
    return 0;
}

static int close_relay(void **state)
{
    (void)state;
    cmx_relay_flow_drop(&relay);
    run.live.relays_open = 0;
    close(relay.fd);
    close(client);
    return 0;
}

/* Reads the available bytes from the local socket and returns their number. They must continue the stream at `from`. */
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

/* Fills the local socket until the relay has a backlog. Returns the number of bytes written. */
static size_t fill(void)
{
    size_t n = 0;

    while (!cmx_relay_state_has_backlog(&relay)) {
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
    for (int i = 0; i < 1000 && cmx_relay_state_has_backlog(&relay); i++) {
        cmx_relay_flow_drain(&relay);
        got += take(got);
    }
    assert_false(cmx_relay_state_has_backlog(&relay));
    assert_int_equal(relay.backlog, 0);
    assert_null(relay.spill.data);
    assert_int_equal(got, sent);
}

static void only_pieces_leave_libssh(void **state)
{
    size_t got;

    (void)state;
    (void)fill();
    arrive(3000);
    got = take(0);
    cmx_relay_flow_drain(&relay);
    (void)take(got);
    assert_int_equal(libssh.largest, 1024);
}

static void no_memory_for_a_piece_ends_the_relay(void **state)
{
    (void)state;
    (void)fill();
    cmx_mem_fail_at(1);
    cmx_relay_flow_drain(&relay);
    cmx_mem_fail_at(0);
    assert_int_equal(relay.failed, CMX_ENOMEM);
    assert_null(relay.spill.data);
}

/* Checks the states of both directions after the gateway's EOF and after its CLOSE. */
static void the_gateways_end_drains_what_waits(void **state)
{
    (void)state;
    (void)fill();
    cmx_relay_flow_handlers.eof(&relay);
    assert_int_equal(relay.to_local, HALF_DRAIN);
    assert_int_equal(relay.to_gateway, HALF_OPEN);
    cmx_relay_flow_handlers.closed(&relay);
    assert_int_equal(relay.to_gateway, HALF_SHUT);
    assert_int_equal(relay.end, END_CUT); /* CLOSE before the device's own EOF */
    assert_true(relay.close_received);
    cmx_relay_state_set_to_local(&relay, HALF_SHUT, "drained");
    cmx_relay_flow_handlers.eof(&relay);
    assert_int_equal(relay.to_local, HALF_SHUT); /* a late EOF does not reopen it */
}

static void a_close_without_eof_is_a_broken_connection(void **state)
{
    (void)state;
    cmx_relay_state_set_to_gateway(&relay, HALF_SHUT, "drained");
    cmx_relay_flow_handlers.closed(&relay);
    assert_int_equal(relay.to_local, HALF_DRAIN);
    assert_int_equal(relay.end, END_BROKEN);
}

static void a_close_after_both_ends_is_in_order(void **state)
{
    (void)state;
    cmx_relay_state_set_to_gateway(&relay, HALF_SHUT, "drained");
    cmx_relay_flow_handlers.eof(&relay);
    cmx_relay_flow_handlers.closed(&relay);
    assert_int_equal(relay.end, END_IN_ORDER);
}

/* After our CLOSE the relay must not read: libssh would send a window adjustment, and strict gateways then disconnect.
 */
static void nothing_is_taken_after_the_end(void **state)
{
    static const relay_phase phases[] = {RELAY_CLOSING, RELAY_DEAD, RELAY_UNWANTED};

    (void)state;
    for (size_t i = 0; i < sizeof phases / sizeof phases[0]; i++) {
        relay.phase = phases[i];
        assert_int_equal(cmx_relay_flow_handlers.data(&relay, (const uint8_t *)"abc", 3), 0);
    }
}

static void phases_count_the_open_relays(void **state)
{
    (void)state;
    run.live.relays_open = 1;
    cmx_relay_state_set_phase(&relay, RELAY_CLOSING, "test");
    assert_int_equal(run.live.relays_open, 0);
    cmx_relay_state_set_phase(&relay, RELAY_DEAD, "test");
    assert_int_equal(run.live.relays_open, 0);
}

/* ---- from a local socket to the gateway ---- */

#define CHUNKS (CMX_RELAY_BURST / CMX_RELAY_CHUNK)

static uint8_t scratch[CMX_RELAY_CHUNK];
static struct session session = {.scratch = scratch, .scratch_len = sizeof scratch};

/* The service sends `chunks` chunks and 100 further bytes; all byte values count upwards. The simulated gateway accepts
 * them all. */
static void service_sends(size_t chunks)
{
    const size_t n = chunks * CMX_RELAY_CHUNK + 100;
    uint8_t *data = malloc(n);

    assert_non_null(data);
    for (size_t i = 0; i < n; i++)
        data[i] = (uint8_t)i;
    assert_int_equal(send(client, data, n, 0), (ssize_t)n);
    free(data);
    libssh.window = libssh.takes = SIZE_MAX / 2;
}

static void a_wait_moves_a_burst(void **state)
{
    (void)state;
    service_sends(CHUNKS + 1);
    assert_int_equal(cmx_relay_flow_pump(&relay, &session), CMX_OK);
    assert_int_equal(libssh.written, CMX_RELAY_BURST);
    assert_int_equal(libssh.writes, CHUNKS);
    assert_int_equal(cmx_relay_flow_pump(&relay, &session), CMX_OK);
    assert_int_equal(libssh.written, CMX_RELAY_BURST + CMX_RELAY_CHUNK + 100);
    assert_int_equal(libssh.writes, CHUNKS + 2);
}

static void a_burst_ends_with_the_ssh_socket_full(void **state)
{
    (void)state;
    service_sends(CHUNKS);
    libssh.full_after = 2;
    assert_int_equal(cmx_relay_flow_pump(&relay, &session), CMX_OK);
    assert_int_equal(libssh.writes, 2);
}

static void a_burst_ends_with_the_window(void **state)
{
    (void)state;
    service_sends(CHUNKS);
    libssh.window = CMX_RELAY_CHUNK + 10;
    assert_int_equal(cmx_relay_flow_pump(&relay, &session), CMX_OK);
    assert_int_equal(libssh.written, CMX_RELAY_CHUNK + 10);
    assert_null(relay.held.data);
}

static void a_burst_ends_with_bytes_that_are_not_taken(void **state)
{
    (void)state;
    service_sends(CHUNKS);
    libssh.takes = 1000;
    assert_int_equal(cmx_relay_flow_pump(&relay, &session), CMX_OK);
    assert_int_equal(libssh.writes, 1);
    assert_int_equal(relay.held.len, CMX_RELAY_CHUNK - 1000);
}

static void a_burst_ends_with_the_end_of_file(void **state)
{
    (void)state;
    service_sends(1);
    assert_int_equal(shutdown(client, SHUT_WR), 0);
    assert_int_equal(cmx_relay_flow_pump(&relay, &session), CMX_OK);
    assert_int_equal(libssh.written, CMX_RELAY_CHUNK + 100);
    assert_int_equal(relay.to_gateway, HALF_OPEN); /* a short read ended the burst; the next read finds EOF */
    assert_int_equal(cmx_relay_flow_pump(&relay, &session), CMX_OK);
    assert_int_equal(relay.to_gateway, HALF_DRAIN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_comes_during_a_read_is_delivered, open_relay, close_relay),
        cmocka_unit_test_setup_teardown(only_pieces_leave_libssh, open_relay, close_relay),
        cmocka_unit_test_setup_teardown(no_memory_for_a_piece_ends_the_relay, open_relay, close_relay),
        cmocka_unit_test_setup_teardown(the_gateways_end_drains_what_waits, open_relay, close_relay),
        cmocka_unit_test_setup_teardown(a_close_without_eof_is_a_broken_connection, open_relay, close_relay),
        cmocka_unit_test_setup_teardown(a_close_after_both_ends_is_in_order, open_relay, close_relay),
        cmocka_unit_test_setup_teardown(nothing_is_taken_after_the_end, open_relay, close_relay),
        cmocka_unit_test_setup_teardown(phases_count_the_open_relays, open_relay, close_relay),
        cmocka_unit_test_setup_teardown(a_wait_moves_a_burst, open_relay, close_relay),
        cmocka_unit_test_setup_teardown(a_burst_ends_with_the_ssh_socket_full, open_relay, close_relay),
        cmocka_unit_test_setup_teardown(a_burst_ends_with_the_window, open_relay, close_relay),
        cmocka_unit_test_setup_teardown(a_burst_ends_with_bytes_that_are_not_taken, open_relay, close_relay),
        cmocka_unit_test_setup_teardown(a_burst_ends_with_the_end_of_file, open_relay, close_relay),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
