/* Merging a sketch's settings and contexts into the engine's configuration (merge.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cmxsafe/core/log.h"
#include "cmxsafe/device/context_list.h"
#include "cmxsafe/device/merge.h"

static const char *const no_pins[] = {""};
static const char *const pins[] = {"SHA256:a", "SHA256:b"};

static const struct cmx_settings plain = {
    .remote_host = "gw",
    .remote_port = 2233,
    .host_keys = no_pins,
    .n_host_keys = 1,
    .username = "user",
    .password = "",
    .client_key = "",
    .local_host = "127.0.0.1",
    .remote_address = "",
    .timeout_s = 10,
    .verbosity = "SSH_LOG_NOLOG;",
};

static void test_gateway(void **state)
{
    struct cmx_gateway g;

    (void)state;
    cmx_settings_gateway(&plain, &g);
    assert_string_equal(g.host, "gw");
    assert_int_equal(g.port, 2233);
    assert_null(g.password);
    assert_null(g.key_pem);
    assert_int_equal(g.login_timeout_s, 10);
    assert_null(g.key_load);
}

static void test_pin(void **state)
{
    struct cmx_settings s = plain;
    struct cmx_gateway g;

    (void)state;
    cmx_settings_gateway(&s, &g);
    assert_int_equal(g.n_host_keys, 0);
    s.host_keys = NULL;
    s.n_host_keys = 0;
    cmx_settings_gateway(&s, &g);
    assert_int_equal(g.n_host_keys, 0);
    s.host_keys = pins;
    s.n_host_keys = 2;
    cmx_settings_gateway(&s, &g);
    assert_int_equal(g.n_host_keys, 2);
}

static void test_merge(void **state)
{
    struct cmx_settings s = plain;
    const struct cmx_settings over = {
        .remote_host = "other", .host_keys = pins, .n_host_keys = 2, .client_key_file = "k", .require_pq = true};
    struct cmx_gateway g;

    (void)state;
    cmx_settings_merge(&s, NULL);
    assert_string_equal(s.remote_host, "gw");
    cmx_settings_gateway(&s, &g);
    assert_false(g.require_pq);
    cmx_settings_merge(&s, &over);
    cmx_settings_gateway(&s, &g);
    assert_true(g.require_pq);
    assert_string_equal(s.remote_host, "other");
    assert_int_equal(s.remote_port, 2233);
    assert_string_equal(s.username, "user");
    assert_int_equal(s.n_host_keys, 2);
    assert_string_equal(s.client_key_file, "k");
}

static void test_merge_context(void **state)
{
    TaskParameters t = {.local_port = 81, .forward_remote_port = 81};
    const TaskParameters other = {.local_port = 82, .forward_remote_port = 8082};
    const TaskParameters direct = {.local_port = 81, .forward_remote_port = 8083, .direction = CMX_TASK_DIRECT};
    const TaskParameters same = {.local_port = 81, .forward_remote_port = 8081, .name = "stream"};

    (void)state;
    cmx_merge_context(&t, &other);
    cmx_merge_context(&t, &direct);
    assert_int_equal(t.forward_remote_port, 81);
    cmx_merge_context(&t, &same);
    assert_int_equal(t.forward_remote_port, 8081);
    assert_string_equal(t.name, "stream");
}

static void test_context_defaults(void **state)
{
    const TaskParameters t = {.local_port = 81, .forward_remote_port = 8081, .high_bw = true};
    struct cmx_settings s = plain;
    struct cmx_context c;
    char name[CMX_PROXY_NAME_MAX];

    (void)state;
    assert_int_equal(cmx_settings_context(&s, &t, &c, name, sizeof name), CMX_OK);
    assert_string_equal(c.name, "port-81");
    assert_int_equal(c.direction, CMX_REVERSE);
    assert_string_equal(c.local_host, "127.0.0.1");
    assert_int_equal(c.local_port, 81);
    assert_int_equal(c.remote_port, 8081);
    assert_null(c.remote_address);
    assert_null(c.session);
    assert_true(c.high_bw);

    s.multichannel = true;
    s.remote_address = "fd00::1";
    assert_int_equal(cmx_settings_context(&s, &t, &c, name, sizeof name), CMX_OK);
    assert_string_equal(c.session, "shared");
    assert_string_equal(c.remote_address, "fd00::1");
}

static void test_context_refused(void **state)
{
    const TaskParameters bad[] = {
        {.local_port = 0, .forward_remote_port = 81},
        {.local_port = 81, .forward_remote_port = 0},
        {.local_port = 65536, .forward_remote_port = 81},
        {.local_port = 81, .forward_remote_port = -1},
        {.local_port = 81, .forward_remote_port = 81, .direction = 2},
        {.local_port = 81, .forward_remote_port = 81, .direction = CMX_TASK_DIRECT},
        {.local_port = 81, .forward_remote_port = 81, .max_connections = -1},
        {.local_port = 81, .forward_remote_port = 81, .max_connections = CMX_PROXY_CONNECTIONS_MAX + 1},
        {.local_port = 81, .forward_remote_port = 81, .idle_timeout_s = -1},
        {.local_port = 81, .forward_remote_port = 65536 + 81},
        {.local_port = 81, .forward_remote_port = 81, .connect_timeout_s = 301},
        {.local_port = 81, .forward_remote_port = 81, .probe_interval_s = 86401},
        {.local_port = 81, .forward_remote_port = 81, .direction = -1},
    };
    struct cmx_context c;
    char name[CMX_PROXY_NAME_MAX];

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(cmx_settings_context(&plain, &bad[i], &c, name, sizeof name), CMX_EINVAL);
}

static void test_direct(void **state)
{
    const TaskParameters t = {.local_port = 1883,
                              .forward_remote_port = 1883,
                              .direction = CMX_TASK_DIRECT,
                              .remote_host = "broker",
                              .session = "mqtt",
                              .name = "broker"};
    struct cmx_context c;
    char name[CMX_PROXY_NAME_MAX];

    (void)state;
    assert_int_equal(cmx_settings_context(&plain, &t, &c, name, sizeof name), CMX_OK);
    assert_int_equal(c.direction, CMX_DIRECT);
    assert_string_equal(c.remote_host, "broker");
    assert_string_equal(c.session, "mqtt");
    assert_string_equal(c.name, "broker");
}

static void test_context_list(void **state)
{
    static const char *const bad[] = {
        "0",        "65536",     "81:",           ":81",         "81:0", "81:65536", "81:1:2", "81x",
        "+high_bw", "81+high_b", "81+high_bw:80", "81 +high_bw", "-1",   "000081",   "81,82",  "81:80+high_bw+high_bw"};
    const char *at = "  81+high_bw 8080:80  554:8554+high_bw 65535 ";
    TaskParameters t;

    (void)state;
    assert_int_equal(cmx_context_list_next(&at, &t), CMX_OK);
    assert_true(t.local_port == 81 && t.forward_remote_port == 81 && t.high_bw);
    assert_int_equal(t.direction, CMX_TASK_REVERSE);
    assert_int_equal(cmx_context_list_next(&at, &t), CMX_OK);
    assert_true(t.local_port == 8080 && t.forward_remote_port == 80 && !t.high_bw);
    assert_int_equal(cmx_context_list_next(&at, &t), CMX_OK);
    assert_true(t.local_port == 554 && t.forward_remote_port == 8554 && t.high_bw);
    assert_int_equal(cmx_context_list_next(&at, &t), CMX_OK);
    assert_int_equal(t.local_port, 65535);
    assert_int_equal(cmx_context_list_next(&at, &t), CMX_ENOENT);
    at = "";
    assert_int_equal(cmx_context_list_next(&at, &t), CMX_ENOENT);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        cmx_err err = CMX_OK;

        at = bad[i];
        while (err == CMX_OK)
            err = cmx_context_list_next(&at, &t);
        assert_int_equal(err, CMX_EFORMAT);
    }
}

static void test_log_level(void **state)
{
    struct cmx_settings s = plain;

    (void)state;
    assert_int_equal(cmx_settings_log_level(&s), CMX_LOG_INFO);
    s.verbosity = "SSH_LOG_FUNCTIONS;";
    assert_int_equal(cmx_settings_log_level(&s), CMX_LOG_DEBUG);
    s.verbosity = "3";
    assert_int_equal(cmx_settings_log_level(&s), CMX_LOG_DEBUG);
    s.verbosity = "33";
    assert_int_equal(cmx_settings_log_level(&s), CMX_LOG_INFO);
    s.verbosity = NULL;
    assert_int_equal(cmx_settings_log_level(&s), CMX_LOG_INFO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gateway),
        cmocka_unit_test(test_pin),
        cmocka_unit_test(test_merge),
        cmocka_unit_test(test_merge_context),
        cmocka_unit_test(test_context_defaults),
        cmocka_unit_test(test_context_refused),
        cmocka_unit_test(test_direct),
        cmocka_unit_test(test_context_list),
        cmocka_unit_test(test_log_level),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
