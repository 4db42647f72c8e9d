/* Removing a context while its session is up also ends its connections, even while its listener is being replaced after
 * a failed probe. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "cmxsafe/core/mem.h"
#include "cmxsafe/proxy/relay_state.h"
#include "cmxsafe/proxy/session_serve.h"

static struct engine engine;
static struct cmx_proxy_config config = {.gateways = {.n = 1, .at = {{.host = "gw", .port = 22}}}};
static struct session session;

static struct run *context_of(struct session *s, bool listening)
{
    static const struct cmx_context web = {.name = "web", .local_port = 80, .remote_port = 8080};
    struct run *r = cmx_mem_alloc(sizeof *r);

    assert_non_null(r);
    assert_int_equal(cmx_proxy_context_copy(&r->cfg, &web), CMX_OK);
    r->session = s;
    r->listener = -1;
    r->listening = listening;
    r->cancelling = !listening;
    s->runs = r;
    return r;
}

/* Returns the service's end of a connection that is open. */
static int connection_of(struct session *s, struct run *r)
{
    struct relay *x = cmx_relay_state_new(s, r, RELAY_OPEN);
    int pair[2];

    assert_non_null(x);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    x->fd = pair[0];
    return pair[1];
}

static void ends_with_its_connections(bool listening)
{
    struct cmx_mem_stats before, after;
    struct run *r;
    uint8_t byte;
    int service;

    cmx_mem_stats(&before);
    cmx_port_mutex_init(&engine.lock);
    session = (struct session){.engine = &engine, .config = &config, .wake = -1, .rest_set = -1};
    r = context_of(&session, listening);
    service = connection_of(&session, r);
    cmx_session_serve_update(&session);
    assert_int_equal(recv(service, &byte, 1, MSG_DONTWAIT), -1); /* the connection is open */
    r->removed = true;
    cmx_session_serve_update(&session);
    assert_int_equal(recv(service, &byte, 1, MSG_DONTWAIT), 0);
    assert_ptr_equal(session.runs, r);
    cmx_session_serve_update(&session);
    assert_true(r->cancelling && !r->listening); /* the gateway still has to close the listener */
    r->cancelling = false;
    cmx_session_serve_end(&session, CMX_ECLOSED);
    cmx_session_serve_update(&session);
    assert_null(session.runs);
    close(service);
    cmx_port_mutex_destroy(&engine.lock);
    cmx_mem_stats(&after);
    assert_int_equal(after.live_blocks, before.live_blocks);
}

static void while_it_listens(void **state)
{
    (void)state;
    ends_with_its_connections(true);
}

static void while_its_listener_is_replaced(void **state)
{
    (void)state;
    ends_with_its_connections(false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(while_it_listens),
        cmocka_unit_test(while_its_listener_is_replaced),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
