/* Reconfigures a running engine: if any step fails, the engine stays unchanged; a session ends when its last context is
 * removed. Also: a session whose task is not running is reported as stuck. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cmxsafe/core/log.h"
#include "cmxsafe/core/mem.h"
#include "cmxsafe/port/port.h"
#include "cmxsafe/proxy/proxy.h"
#include "cmxsafe/proxy/proxy_limits.h"

static const char *const pins[] = {"SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"};
static const char *const other_pins[] = {"SHA256:BAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"};

static const struct cmx_gateway gateway = {.host = "127.0.0.1",
                                           .port = 1,
                                           .user = "device",
                                           .password = "none",
                                           .host_keys = pins,
                                           .n_host_keys = 1,
                                           .backoff_base_ms = 60000,
                                           .backoff_max_ms = 60000};

static const struct cmx_context before[] = {
    {.name = "web", .local_port = 80, .remote_port = 8080, .session = "one"},
    {.name = "stream", .local_port = 81, .remote_port = 8081, .session = "one"},
    {.name = "mail", .local_port = 25, .remote_port = 8025},
};

/* Compared with `before`: one context stays, two are removed, and three are added, two of them in new sessions. */
static const struct cmx_context after[] = {
    {.name = "web", .local_port = 80, .remote_port = 8080, .session = "one"},
    {.name = "more", .local_port = 82, .remote_port = 8082, .session = "one"},
    {.name = "fresh", .local_port = 83, .remote_port = 8083, .session = "two"},
    {.name = "single", .local_port = 84, .remote_port = 8084},
};

static int quiet(void **state)
{
    (void)state;
    cmx_log_set_level(CMX_LOG_ERROR);
    return 0;
}

static struct cmx_proxy *engine(const struct cmx_proxy_hooks *hooks)
{
    struct cmx_proxy *p = NULL;
    struct cmx_why why = {{0}};

    assert_int_equal(cmx_proxy_create(&p, &gateway, before, 3, hooks, 0, &why), CMX_OK);
    return p;
}

static void has(struct cmx_proxy *p, const struct cmx_context *contexts, size_t n)
{
    struct cmx_context_status st[8];

    assert_int_equal(cmx_proxy_status(p, st, 8), n);
    for (size_t i = 0; i < n; i++)
        assert_string_equal(st[i].name, contexts[i].name);
}

/* Waits until all sessions wait for their second attempt (60 s). Then only the caller allocates memory, so that a
 * failure of the n-th allocation hits the same step in every run. */
static void until_waiting(struct cmx_proxy *p, size_t n)
{
    struct cmx_context_status st[8];

    for (int i = 0; i < 2000; i++) {
        size_t waiting = 0;

        assert_int_equal(cmx_proxy_status(p, st, 8), n);
        for (size_t k = 0; k < n; k++)
            waiting += st[k].state == CMX_STATE_WAITING;
        if (waiting == n)
            return;
        cmx_port_sleep_ms(5);
    }
    fail_msg("the sessions do not reach the state waiting");
}

static void fails_at_every_step(const struct cmx_gateway *g)
{
    struct cmx_proxy *p = engine(NULL);
    struct cmx_mem_stats was, is;
    struct cmx_why why = {{0}};
    unsigned failed = 0;

    until_waiting(p, 3);
    cmx_mem_stats(&was);
    for (size_t n = 1; n < 1000; n++) {
        cmx_err err;

        cmx_mem_fail_at(n);
        err = cmx_proxy_reconfigure(p, g, after, 4, &why);
        cmx_mem_fail_at(0);
        if (!err)
            break;
        assert_int_equal(err, CMX_ENOMEM);
        failed++;
        has(p, before, 3);
        until_waiting(p, 3); /* the contexts are still running and were not restarted */
        cmx_mem_stats(&is);
        assert_int_equal(is.live_blocks, was.live_blocks);
    }
    assert_true(failed > 10);
    has(p, after, 4);
    cmx_proxy_destroy(p);
}

static void a_failed_change_of_contexts_changes_nothing(void **state)
{
    (void)state;
    fails_at_every_step(&gateway);
}

static void a_failed_change_of_the_gateway_changes_nothing(void **state)
{
    struct cmx_gateway other = gateway;

    (void)state;
    other.host_keys = other_pins;
    fails_at_every_step(&other);
}

/* ---- a context that is added and removed while its session waits ---- */

static void set(struct cmx_proxy *p, const struct cmx_context *contexts, size_t n)
{
    struct cmx_why why = {""};

    assert_int_equal(cmx_proxy_set_contexts(p, &gateway, contexts, n, &why), CMX_OK);
}

/* Removes all contexts but "mail", and waits until the memory of their session is free. Returns the number of live
 * blocks, or 0 if the session does not end. */
static size_t blocks_of_mail(struct cmx_proxy *p, size_t at_most)
{
    struct cmx_mem_stats is = {0};

    set(p, &before[2], 1);
    for (int i = 0; i < 400; i++) {
        set(p, &before[2], 1); /* frees sessions that have ended */
        cmx_mem_stats(&is);
        if (is.live_blocks <= at_most)
            return is.live_blocks;
        cmx_port_sleep_ms(5);
    }
    return 0;
}

static void a_session_without_contexts_ends(void **state)
{
    const struct cmx_context more[] = {before[0], after[1], before[2]}; /* adds after[1] to the session "one" */
    struct cmx_proxy *p = engine(NULL);
    struct cmx_mem_stats all;
    size_t alone;

    (void)state;
    until_waiting(p, 3);
    cmx_mem_stats(&all);
    alone = blocks_of_mail(p, all.live_blocks - 1);
    assert_int_not_equal(alone, 0);
    cmx_proxy_destroy(p);

    p = engine(NULL);
    until_waiting(p, 3);
    set(p, more, 3);
    assert_int_equal(blocks_of_mail(p, alone), alone);
    cmx_proxy_destroy(p);
}

/* ---- a task that does not run ---- */

static atomic_bool block, blocked;

static cmx_err blocking_open(void *arg, cmx_socket_kind kind, const struct sockaddr *local, const struct sockaddr *peer,
                             bool opens)
{
    (void)arg;
    (void)kind;
    (void)local;
    (void)peer;
    atomic_store(&blocked, true);
    while (opens && atomic_load(&block))
        cmx_port_sleep_ms(5);
    return CMX_OK;
}

static cmx_context_state state_of_first(struct cmx_proxy *p)
{
    struct cmx_context_status st[8];

    cmx_proxy_watch(p);
    assert_int_equal(cmx_proxy_status(p, st, 8), 3);
    return st[0].state;
}

static void a_stuck_session_is_reported(void **state)
{
    static const struct cmx_proxy_hooks hooks = {.socket_change = blocking_open};
    struct cmx_context_status found;
    struct cmx_proxy *p;

    (void)state;
    atomic_store(&block, true);
    p = engine(&hooks);
    for (int i = 0; i < 2000 && !atomic_load(&blocked); i++)
        cmx_port_sleep_ms(5);
    assert_int_not_equal(state_of_first(p), CMX_STATE_STUCK);
    for (int i = 0; i < 2 * CMX_SESSION_STUCK_MS / 5 && state_of_first(p) != CMX_STATE_STUCK; i++)
        cmx_port_sleep_ms(5);
    assert_int_equal(state_of_first(p), CMX_STATE_STUCK);
    assert_true(cmx_proxy_find(p, CMX_REVERSE, 80, &found));
    assert_int_equal(found.state, CMX_STATE_STUCK);
    assert_false(cmx_proxy_reached(p));
    atomic_store(&block, false);
    for (int i = 0; i < 2000 && state_of_first(p) == CMX_STATE_STUCK; i++)
        cmx_port_sleep_ms(5);
    assert_int_not_equal(state_of_first(p), CMX_STATE_STUCK);
    cmx_proxy_destroy(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failed_change_of_contexts_changes_nothing),
        cmocka_unit_test(a_failed_change_of_the_gateway_changes_nothing),
        cmocka_unit_test(a_session_without_contexts_ends),
        cmocka_unit_test(a_stuck_session_is_reported),
    };

    return cmocka_run_group_tests(tests, quiet, NULL);
}
