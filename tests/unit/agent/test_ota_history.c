/* The history of uploads survives restarts, is bounded, and tolerates any content of its file. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/ota/ota_history.h"
#include "cmxsafe/port/port.h"

#define NAME "spool.history"

static int folder;
static char path[64];

static int setup(void **state)
{
    (void)state;
    snprintf(path, sizeof path, "/tmp/test_ota_history.XXXXXX");
    if (!mkdtemp(path))
        return -1;
    folder = open(path, O_RDONLY | O_DIRECTORY);
    return folder < 0;
}

static int teardown(void **state)
{
    (void)state;
    (void)unlinkat(folder, NAME, 0);
    close(folder);
    return rmdir(path);
}

static void write_text(const char *text)
{
    int fd = openat(folder, NAME, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static uint64_t age_s(const struct cmx_ota_past *p)
{
    return (cmx_port_now_ms() - p->at_ms) / 1000;
}

static void test_kept(void **state)
{
    struct ota_history h;
    struct cmx_ota_past p = {.at_ms = cmx_port_now_ms(), .received = 7, .ok = false, .what = "bad\nline"};

    (void)state;
    ota_history_read(&h, folder, NAME);
    assert_int_equal(h.n, 0);
    assert_int_equal(ota_history_add(&h, &p), CMX_OK);
    for (int i = 0; i < CMX_OTA_PAST; i++) {
        p = (struct cmx_ota_past){.at_ms = cmx_port_now_ms(), .received = 100 + (uint32_t)i, .ok = true};
        snprintf(p.from, sizeof p.from, "fd00::%d", i);
        snprintf(p.what, sizeof p.what, i ? "2.0 of today" : "");
        assert_int_equal(ota_history_add(&h, &p), CMX_OK);
    }
    ota_history_read(&h, folder, NAME); /* the agent starts again */
    assert_int_equal(h.n, CMX_OTA_PAST);
    assert_int_equal(h.past[0].received, 100); /* the oldest upload, which was refused, is dropped */
    assert_string_equal(h.past[0].what, "");
    assert_string_equal(h.past[CMX_OTA_PAST - 1].from, "fd00::3");
    assert_string_equal(h.past[CMX_OTA_PAST - 1].what, "2.0 of today");
    assert_true(h.past[CMX_OTA_PAST - 1].ok);
    assert_true(age_s(&h.past[0]) < 60);
}

static void test_refused(void **state)
{
    struct ota_history h;
    struct cmx_ota_past p = {.at_ms = cmx_port_now_ms(), .received = 7, .ok = false, .what = "bad\nline"};

    (void)state;
    (void)unlinkat(folder, NAME, 0);
    ota_history_read(&h, folder, NAME);
    assert_int_equal(ota_history_add(&h, &p), CMX_OK);
    ota_history_read(&h, folder, NAME);
    assert_int_equal(h.n, 1);
    assert_false(h.past[0].ok);
    assert_string_equal(h.past[0].from, "");
    assert_string_equal(h.past[0].what, "bad?line");
}

static void test_ages(void **state)
{
    struct ota_history h;
    char text[200];

    (void)state;
    snprintf(text, sizeof text, "%lld 5 ok ::1 old\n%lld 6 ok ::1 future\n", (long long)time(NULL) - 1000000,
             (long long)time(NULL) + 1000000);
    write_text(text);
    ota_history_read(&h, folder, NAME);
    assert_int_equal(h.n, 2);
    assert_in_range(age_s(&h.past[0]), 1000000, 1000060); /* an upload may be older than the machine's boot */
    assert_in_range(age_s(&h.past[1]), 0, 60);
}

static void test_damaged(void **state)
{
    static const char *const texts[] = {"",
                                        "\n\n\n",
                                        "x",
                                        "1 2 ok",
                                        "-1 -2 -3\n",
                                        "-9223372036854775808 1 ok ::1 v\n",
                                        "9223372036854775807 1 ok ::1 v\n",
                                        "1 99999999999999 ok ::1 v\n"};
    struct ota_history h;
    char big[4000];

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        write_text(texts[i]);
        ota_history_read(&h, folder, NAME);
        assert_true(h.n <= 1);
    }
    memset(big, '1', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    write_text(big);
    ota_history_read(&h, folder, NAME);
    assert_int_equal(h.n, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kept),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_ages),
        cmocka_unit_test(test_damaged),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
