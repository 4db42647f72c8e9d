/* A gateway asks another gateway about a session (gw_peer.c), over a socket pair: answers in several parts, unknown
 * answers, and no answer. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "cmxsafe/port/port.h"
#include "gateway/server/gw_hold.h"
#include "gateway/server/gw_peer.h"

#define OTHER 7 /* the other gateway's number */

static struct gw_session session;
static struct gw_server server;
static struct gw_client client;
static int other; /* the other gateway's end of the socket pair */

static void says(const char *text)
{
    assert_int_equal(write(other, text, strlen(text)), (ssize_t)strlen(text));
}

/* Sends the question. */
static void asks(uint64_t deadline_ms)
{
    char line[80] = "";
    int pair[2];

    memset(&session, 0, sizeof session);
    session.number = 3;
    snprintf(session.address, sizeof session.address, "fd12::5");
    server.sessions = &session;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    assert_int_equal(fcntl(pair[0], F_SETFL, O_NONBLOCK), 0);
    other = pair[1];
    client.question = (struct gw_question){.fd = pair[0], .session = 3, .node = OTHER, .deadline_ms = deadline_ms};
    (void)gw_peer_tick(&server, &client);
    assert_true(read(other, line, sizeof line - 1) > 0);
    assert_string_equal(line, "takeover fd12::5\n");
}

static void ends(unsigned held_by)
{
    assert_false(gw_peer_tick(&server, &client));
    assert_int_equal(client.question.fd, -1);
    assert_int_equal(session.held_by, held_by);
    close(other);
}

static void test_answers(void **state)
{
    const uint64_t later = cmx_port_now_ms() + 3600 * 1000;

    (void)state;
    asks(later);
    assert_true(gw_peer_tick(&server, &client)); /* no answer yet */
    says("he");
    assert_true(gw_peer_tick(&server, &client)); /* part of an answer */
    says("ld\n");
    ends(OTHER);
    asks(later);
    says("free\n");
    ends(0);
    asks(later);
    says("take care\n");
    ends(0);
    asks(later);
    says("held");
    shutdown(other, SHUT_WR); /* the answer is incomplete */
    client.question.deadline_ms = 0;
    ends(0);
}

static void test_deadline(void **state)
{
    (void)state;
    asks(cmx_port_now_ms() + 3600 * 1000);
    client.question.deadline_ms = 0;
    ends(0);
    asks(cmx_port_now_ms() + 3600 * 1000);
    says("t");
    client.question.deadline_ms = 0;
    ends(0);
    asks(cmx_port_now_ms() + 3600 * 1000);
    server.sessions = NULL; /* the login has ended */
    says("held\n");
    ends(0);
}

/* A reader of the claims asks for the changes from a given number on. After a restart, a gateway gives its changes
 * larger numbers than before the restart. */
static void test_numbers_after_a_restart(void **state)
{
    struct gw_server first = {.epoll = epoll_create1(0)}, second = {.epoll = epoll_create1(0)};

    (void)state;
    assert_true(gw_hold_open(&first));
    cmx_port_sleep_ms(2);
    assert_true(gw_hold_open(&second));
    assert_true(second.hold_changes >= first.hold_changes + 1000);
    close(first.routes.fd);
    close(second.routes.fd);
    close(first.epoll);
    close(second.epoll);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_answers), cmocka_unit_test(test_deadline),
                                       cmocka_unit_test(test_numbers_after_a_restart)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
