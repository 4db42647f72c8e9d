/* Tests device.c: tasks register contexts in the real engine, whose gateway refuses all connections. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "cmxsafe/core/log.h"
#include "cmxsafe/core/mem.h"
#include "cmxsafe/device/device.h"
#include "cmxsafe/device/merge.h"
#include "cmxsafe/port/port.h"

static const char *const pins[] = {"SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"};
static struct cmx_settings settings = {
    .remote_host = "127.0.0.1",
    .host_keys = pins,
    .n_host_keys = 1,
    .username = "user",
    .password = "password",
    .timeout_s = 10,
};
static const TaskParameters stream = {.local_port = 81, .forward_remote_port = 81, .high_bw = true};
static const TaskParameters ota = {.local_port = 8989, .forward_remote_port = 8989};

/* Sets the gateway's port to a port that refuses connections: a socket is bound to it, but does not listen. */
static int refuse(void **state)
{
    static int fd;
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof addr;

    (void)state;
    fd = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(fd, (struct sockaddr *)&addr, len) || getsockname(fd, (struct sockaddr *)&addr, &len))
        return -1;
    settings.remote_port = ntohs(addr.sin_port);
    cmx_log_set_level(CMX_LOG_ERROR);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    cmx_device_stop();
    cmx_device_override(NULL, NULL);
    return 0;
}

/* True if a context with this local port is registered. */
static bool forwards(uint16_t port)
{
    struct cmx_context_status c;

    return cmx_device_find(CMX_REVERSE, port, &c);
}

static void test_nothing_before_the_first(void **state)
{
    (void)state;
    assert_false(forwards(81));
    assert_false(cmx_device_reached());
    cmx_device_stop();
}

static void test_contexts_are_added(void **state)
{
    (void)state;
    assert_int_equal(cmx_device_forward(&settings, &stream), CMX_OK);
    assert_int_equal(cmx_device_forward(&settings, &ota), CMX_OK);
    assert_int_equal(cmx_device_forward(&settings, &stream), CMX_EEXIST);
    assert_true(forwards(81) && forwards(8989));
    assert_false(cmx_device_reached());
}

static void test_refused_contexts_leave_the_others(void **state)
{
    const TaskParameters bad = {.local_port = 0, .forward_remote_port = 1};

    (void)state;
    assert_int_equal(cmx_device_forward(&settings, &bad), CMX_EINVAL);
    assert_int_equal(cmx_device_forward(&settings, &stream), CMX_OK);
    assert_int_equal(cmx_device_forward(&settings, &bad), CMX_EINVAL);
    assert_true(forwards(81) && !forwards(0));
}

static void test_no_pin_no_engine(void **state)
{
    struct cmx_settings open = settings;

    (void)state;
    open.host_keys = NULL;
    open.n_host_keys = 0;
    assert_int_equal(cmx_device_forward(&open, &stream), CMX_EINVAL);
    assert_false(forwards(81));
    cmx_device_override(&settings, NULL); /* the key may also be in the stored settings */
    assert_int_equal(cmx_device_forward(&open, &stream), CMX_OK);
}

static void *finds(void *ended)
{
    while (!atomic_load((atomic_bool *)ended))
        (void)forwards(81);
    return NULL;
}

/* The task that answers an attestation reads the status while the task of an update restarts the device. */
static void test_status_while_it_stops(void **state)
{
    atomic_bool ended = false;
    pthread_t task;

    (void)state;
    assert_int_equal(pthread_create(&task, NULL, finds, &ended), 0);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(cmx_device_forward(&settings, &stream), CMX_OK);
        assert_true(forwards(81));
        cmx_device_stop();
        assert_false(forwards(81));
    }
    atomic_store(&ended, true);
    pthread_join(task, NULL);
}

static void adapt(TaskParameters *context)
{
    static const TaskParameters over = {.local_port = 81, .forward_remote_port = 8081, .name = "camera"};

    cmx_merge_context(context, &over);
}

static void test_overrides(void **state)
{
    struct cmx_context_status c;

    (void)state;
    cmx_device_override(NULL, adapt);
    assert_int_equal(cmx_device_forward(&settings, &stream), CMX_OK);
    assert_true(cmx_device_find(CMX_REVERSE, 81, &c));
    assert_string_equal(c.name, "camera");
    assert_int_equal(c.remote_port, 8081);
}

static void test_allocation_failures(void **state)
{
    struct cmx_mem_stats before, after;
    size_t n = 0;
    cmx_err err = CMX_ENOMEM;

    (void)state;
    cmx_mem_stats(&before);
    while (err != CMX_OK) {
        assert_true(++n < 500);
        cmx_mem_fail_at(n);
        err = cmx_device_forward(&settings, &stream);
        cmx_mem_fail_at(0);
        if (err != CMX_OK) {
            assert_int_equal(err, CMX_ENOMEM);
            assert_false(forwards(81));
        }
    }
    assert_true(n > 3);
    err = CMX_ENOMEM;
    for (n = 1; err != CMX_OK; n++) { /* if a second context fails, the first one keeps running */
        assert_true(n < 500);
        cmx_mem_fail_at(n);
        err = cmx_device_forward(&settings, &ota);
        cmx_mem_fail_at(0);
        assert_true(forwards(81));
        assert_int_equal(forwards(8989), err == CMX_OK);
    }
    cmx_device_stop();
    cmx_mem_stats(&after);
    assert_int_equal(after.live_blocks, before.live_blocks);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_nothing_before_the_first, teardown),
        cmocka_unit_test_teardown(test_contexts_are_added, teardown),
        cmocka_unit_test_teardown(test_refused_contexts_leave_the_others, teardown),
        cmocka_unit_test_teardown(test_no_pin_no_engine, teardown),
        cmocka_unit_test_teardown(test_status_while_it_stops, teardown),
        cmocka_unit_test_teardown(test_overrides, teardown),
        cmocka_unit_test_teardown(test_allocation_failures, teardown),
    };

    return cmocka_run_group_tests(tests, refuse, NULL);
}
