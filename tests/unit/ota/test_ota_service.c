/* The update service, run in this process with simulated flash: permissions, ranges, and a failure of each allocation.
 */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <sys/socket.h>
#include <unistd.h>

#include "board/idf/slots_flash.h"
#include "cmxsafe/core/log.h"
#include "cmxsafe/core/mem.h"
#include "cmxsafe/ota/origin.h"
#include "cmxsafe/ota/range.h"
#include "cmxsafe/ota/service.h"
#include "tests/sim/flash_sim.h"
#include "tests/support/ota_image.h"
#include "tests/support/partition_entry.h"

static void test_hosts(void **state)
{
    static const char *const names[] = {"Camera.example"};
    static const char *good[] = {"127.0.0.1",
                                 "127.0.0.1:8989",
                                 "10.1.2.3:1",
                                 "[::1]:8989",
                                 "[fd00::1]",
                                 "localhost:8989",
                                 "LOCALHOST",
                                 "cam-17.cmx",
                                 "camera.EXAMPLE:8989",
                                 "cam.cmx:80",
                                 "[::ffff:127.0.0.1]:80"};
    static const char *bad[] = {"",
                                "evil.example",
                                "127.0.0.1.evil.example",
                                "1.2.3",
                                "1.2.3.4.5",
                                "127.0.0.1:",
                                "127.0.0.1:x",
                                "127.0.0.1:123456",
                                "[::1",
                                "[]:80",
                                ".cmx",
                                "[::1]evil",
                                "localhost.evil.example",
                                "xcmx",
                                "1234.1.1.1",
                                "[evil]",
                                "127.0.0.1:80:80",
                                "evil.cmx.example",
                                "camera.example.",
                                "[localhost]",
                                "[cam.cmx]:80",
                                "[127.0.0.1]",
                                "fd00::1"};

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        if (!cmx_origin_host_ok(good[i], names, 1))
            fail_msg("%s is refused", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (cmx_origin_host_ok(bad[i], names, 1))
            fail_msg("%s is accepted", bad[i]);
    assert_false(cmx_origin_host_ok(NULL, names, 1));
    assert_false(cmx_origin_host_ok("camera.example", NULL, 0));
}

static void test_origins(void **state)
{
    (void)state;
    assert_true(cmx_origin_same(NULL, NULL, "h:1"));
    assert_true(cmx_origin_same("http://h:1", NULL, "h:1"));
    assert_true(cmx_origin_same("http://h:1", "same-origin", "h:1"));
    assert_true(cmx_origin_same(NULL, "none", "h:1"));
    assert_false(cmx_origin_same("http://h:2", NULL, "h:1"));
    assert_false(cmx_origin_same("http://h", NULL, "h:1"));
    assert_false(cmx_origin_same("null", NULL, "h:1"));
    assert_false(cmx_origin_same("", NULL, "h:1"));
    assert_false(cmx_origin_same("http://h:1.evil", NULL, "h:1"));
    assert_false(cmx_origin_same("http://h:1", "cross-site", "h:1"));
    assert_false(cmx_origin_same(NULL, "same-site", "h:1"));
    assert_false(cmx_origin_same("http://h:1", NULL, NULL));
}

static void test_ranges(void **state)
{
    static const char *bad[] = {
        "bytes 0-9/*",  "bytes */10", "bytes 9-0/10",  "bytes 0-10/10",         "bytes 0-9/10 ",  "bytes -9/10",
        "bytes 0-/10",  "bytes 0-9/", "octets 0-9/10", "bytes 0-9/99999999999", "bytes 0x0-9/10", "",
        "bytes  0-9/10"};
    struct cmx_range r = {7, 7, 7};

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(cmx_range_parse(&r, bad[i]), CMX_EFORMAT);
        assert_int_equal(r.total, 7);
    }
    assert_int_equal(cmx_range_parse(&r, "Bytes 5-9/4294967295"), CMX_OK);
    assert_true(r.first == 5 && r.last == 9 && r.total == UINT32_MAX);
}

/* ---- a service with simulated flash ---- */

enum { FLASH = 0x20000 };

static struct cmx_slots_flash slots;
static struct test_image v1, v2;

static cmx_err restart_never(struct cmx_why *why)
{
    cmx_why_set(why, "no_restart");
    return CMX_EINTERNAL;
}

static struct cmx_ota_config board(void)
{
    struct cmx_ota_config config = {.policy = {.chip_id = TEST_CHIP}, .restart = restart_never, .no_restart = true};
    struct cmx_boot_report report;

    memset(flash_sim.mem, 0xff, FLASH);
    partition_entry(flash_sim.mem, 0, 1, 0, 0xe000, 0x2000);
    partition_entry(flash_sim.mem, 1, 0, 0x10, 0x10000, 0x8000);
    partition_entry(flash_sim.mem, 2, 0, 0x11, 0x18000, 0x8000);
    memcpy(flash_sim.mem + 0x10000, v1.data, v1.len);
    assert_int_equal(cmx_slots_flash_open(&slots), CMX_OK);
    assert_int_equal(cmx_slots_flash_boot(&slots, TEST_CHIP, &report), CMX_OK);
    cmx_slots_flash_interface(&slots, &config.slots);
    return config;
}

/* Sends one request and returns the status, or 0 if the connection ended without an answer. */
static int ask(uint16_t port, const char *head, const void *body, size_t len)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port)};
    struct timeval patience = {.tv_sec = 60};
    int fd = socket(AF_INET, SOCK_STREAM, 0), status = 0;
    char text[512];
    size_t have = 0;
    ssize_t n;

    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    n = snprintf(text, sizeof text, "%s\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n", head,
                 len);
    (void)!send(fd, text, (size_t)n, MSG_NOSIGNAL);
    (void)!send(fd, body, len, MSG_NOSIGNAL);
    while (have < sizeof text - 1 && (n = recv(fd, text + have, sizeof text - 1 - have, 0)) > 0)
        have += (size_t)n;
    text[have] = '\0';
    close(fd);
    if (strncmp(text, "HTTP/1.1 ", 9) == 0)
        status = (int)strtol(text + 9, NULL, 10);
    return status;
}

static bool idle_at(size_t live)
{
    struct cmx_mem_stats m;

    for (int i = 0; i < 500; i++) { /* the server releases a request after its answer */
        cmx_mem_stats(&m);
        if (m.live_bytes <= live)
            return true;
        usleep(10000);
    }
    return false;
}

static void test_every_allocation_fails_once(void **state)
{
    struct cmx_ota_config config = board();
    struct cmx_ota_service *s = NULL;
    struct cmx_mem_stats before, after;
    size_t failed = 0, n;

    (void)state;
    assert_int_equal(cmx_ota_start(&s, &config), CMX_OK);
    assert_int_equal(ask(cmx_ota_port(s), "GET /update HTTP/1.1", "", 0), 200);
    assert_true(idle_at(SIZE_MAX));
    cmx_mem_stats(&before);
    for (n = 1; n < 200; n++) {
        int status;
        size_t calls;

        cmx_mem_stats(&after);
        calls = after.calls;
        cmx_mem_fail_at(n);
        status = ask(cmx_ota_port(s), "POST /update HTTP/1.1", v2.data, v2.len);
        cmx_mem_fail_at(0);
        failed += status != 200;
        if (status != 0 && status != 200 && status != 500 && status != 503)
            fail_msg("allocation %zu: status %d", n, status);
        if (!idle_at(before.live_bytes))
            fail_msg("allocation %zu: not released", n);
        assert_int_equal(ask(cmx_ota_port(s), "POST /update HTTP/1.1", v2.data, v2.len), 200);
        cmx_mem_stats(&after);
        if (status == 200 && after.calls - calls < n)
            break; /* all allocations of an update have failed once */
    }
    assert_true(failed >= 2);
    assert_true(n < 200);
    for (n = 1; n < 20; n++) {
        cmx_mem_fail_at(n);
        (void)ask(cmx_ota_port(s), "GET /update HTTP/1.1", "", 0);
        (void)ask(cmx_ota_port(s), "GET / HTTP/1.1", "", 0);
        cmx_mem_fail_at(0);
    }
    assert_int_equal(ask(cmx_ota_port(s), "GET /update HTTP/1.1", "", 0), 200);
    cmx_ota_stop(s);
    for (n = 1; n < 10; n++) { /* allocations may also fail while the service starts */
        cmx_err err;

        cmx_mem_fail_at(n);
        err = cmx_ota_start(&s, &config);
        cmx_mem_fail_at(0);
        if (err == CMX_OK)
            cmx_ota_stop(s);
        else
            assert_int_equal(err, CMX_ENOMEM);
    }
}

static void test_heap_is_bounded(void **state)
{
    struct cmx_ota_config config = board();
    struct cmx_ota_service *s = NULL;
    struct cmx_mem_stats before, after;

    (void)state;
    cmx_mem_stats(&before);
    cmx_mem_reset_peak();
    assert_int_equal(cmx_ota_start(&s, &config), CMX_OK);
    assert_int_equal(ask(cmx_ota_port(s), "POST /update HTTP/1.1", v2.data, v2.len), 200);
    cmx_ota_stop(s);
    cmx_mem_stats(&after);
    assert_true(after.peak_bytes - before.live_bytes <= CMX_OTA_HEAP_MAX);
    assert_int_equal(after.live_bytes, before.live_bytes);
}

static int setup(void **state)
{
    (void)state;
    cmx_log_set_level(CMX_LOG_ERROR);
    v1 = test_image_make("1", 6000, TEST_CHIP, 0);
    v2 = test_image_make("2", 6000, TEST_CHIP, 0);
    flash_sim_init(FLASH);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    test_image_free(&v1);
    test_image_free(&v2);
    free(flash_sim.mem);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hosts),           cmocka_unit_test(test_origins),
        cmocka_unit_test(test_ranges),          cmocka_unit_test(test_every_allocation_fails_once),
        cmocka_unit_test(test_heap_is_bounded),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
