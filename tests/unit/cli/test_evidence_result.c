/* A child process checks evidence. The parent trusts neither the length nor the texts of the result that the child
 * sends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/gateway/gw_evidence_check.h"

static void pass(const void *data, size_t len, struct gw_check_result *out)
{
    int fd[2];

    assert_int_equal(pipe(fd), 0);
    assert_int_equal(write(fd[1], data, len), (ssize_t)len);
    close(fd[1]);
    gw_check_read(fd[0], out);
    close(fd[0]);
}

static void test_texts_are_printable(void **state)
{
    struct gw_check_result sent = {.verdict = GW_CHECK_TRUSTED,
                                   .reason = "a\x1b[2Jb",
                                   .firmware = "1\n2",
                                   .claims = "ok x \x7f\xc2\x9b\nok y \x9b",
                                   .manifest = "\x1b"};
    struct gw_check_result got;

    (void)state;
    memset(sent.claims + 15, 'z', sizeof sent.claims - 15); /* the text has no NUL */
    pass(&sent, sizeof sent, &got);
    assert_int_equal(got.verdict, GW_CHECK_TRUSTED);
    assert_string_equal(got.reason, "a?[2Jb");
    assert_string_equal(got.firmware, "1?2");
    assert_string_equal(got.manifest, "?");
    assert_memory_equal(got.claims, "ok x ?\xc2?\nok y ?z", 16);
    assert_int_equal(strlen(got.claims), sizeof got.claims - 1);
}

static void test_a_cut_result_proves_nothing(void **state)
{
    struct gw_check_result sent = {.verdict = GW_CHECK_TRUSTED}, got;

    (void)state;
    pass(&sent, sizeof sent - 1, &got);
    assert_int_equal(got.verdict, GW_CHECK_UNKNOWN);
    sent.verdict = GW_CHECK_UNTRUSTED + 1;
    pass(&sent, sizeof sent, &got);
    assert_int_equal(got.verdict, GW_CHECK_UNKNOWN);
}

/* A child that a device has taken over may keep the pipe open and write nothing. */
static void test_reading_does_not_wait(void **state)
{
    struct gw_check_result got = {.verdict = GW_CHECK_TRUSTED};
    int fd[2];

    (void)state;
    assert_int_equal(pipe(fd), 0);
    alarm(10); /* ends the test if the read waits */
    gw_check_read(fd[0], &got);
    alarm(0);
    assert_int_equal(got.verdict, GW_CHECK_UNKNOWN);
    close(fd[0]);
    close(fd[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_texts_are_printable),
        cmocka_unit_test(test_reading_does_not_wait),
        cmocka_unit_test(test_a_cut_result_proves_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
