/* If the task of one session cannot be started, starting the engine fails. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cmxsafe/core/mem.h"
#include "cmxsafe/core/why.h"
#include "cmxsafe/proxy/proxy.h"

static const char *const pins[] = {"SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"};

static const struct cmx_gateway gateway = {
    .host = "127.0.0.1", .port = 1, .user = "device", .password = "none", .host_keys = pins, .n_host_keys = 1};
static const struct cmx_context contexts[] = {
    {.name = "web", .local_port = 80, .remote_port = 8080},
    {.name = "stream", .local_port = 81, .remote_port = 8081},
};

static void start_fails_without_a_task(void **state)
{
    struct cmx_mem_stats before, after;
    struct cmx_proxy *p;
    struct cmx_why why = {""};

    (void)state;
    cmx_mem_stats(&before);
    assert_int_equal(cmx_proxy_create(&p, &gateway, contexts, 2, NULL, &why), CMX_OK);
    cmx_mem_fail_at(1);
    assert_int_equal(cmx_proxy_start(p, 0), CMX_ENOMEM);
    cmx_mem_fail_at(0);
    cmx_proxy_destroy(p);
    cmx_mem_stats(&after);
    assert_int_equal(after.live_blocks, before.live_blocks);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(start_fails_without_a_task)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
