/* Log lines have a level and the module's tag, and no byte that could forge a line or control a terminal. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cmocka.h>

#include "cmxsafe/core/log.h"

static int taken[2], saved;

/* Redirects standard error into a pipe. */
static int take(void **state)
{
    (void)state;
    saved = dup(STDERR_FILENO);
    return saved < 0 || pipe(taken) || dup2(taken[1], STDERR_FILENO) < 0;
}

static int give_back(void **state)
{
    (void)state;
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(taken[0]);
    close(taken[1]);
    cmx_log_set_level(CMX_LOG_INFO);
    return 0;
}

/* Returns the text logged since the last call. Writes a mark into the pipe to find the end of the text. */
static const char *logged(void)
{
    static char text[2048];
    size_t n = 0;

    assert_int_equal(write(taken[1], "\004", 1), 1);
    while (n == 0 || text[n - 1] != '\004') {
        ssize_t more = read(taken[0], text + n, sizeof text - 1 - n);

        assert_true(more > 0);
        n += (size_t)more;
    }
    text[n - 1] = 0;
    return text;
}

static void a_line_has_its_level_and_tag(void **state)
{
    (void)state;
    cmx_log(CMX_LOG_WARN, "proxy", "%d", 7);
    assert_string_equal(logged(), "W proxy: 7\n");
    cmx_log(CMX_LOG_ERROR, "ota", "x");
    assert_string_equal(logged(), "E ota: x\n");
    cmx_log(CMX_LOG_INFO, "mine", "%s", "x");
    assert_string_equal(logged(), "I mine: x\n");
}

static void lines_above_the_level_are_dropped(void **state)
{
    (void)state;
    cmx_log(CMX_LOG_DEBUG, "ota", "x");
    assert_string_equal(logged(), "");
    cmx_log_set_level(CMX_LOG_ERROR);
    cmx_log(CMX_LOG_WARN, "mine", "x");
    assert_string_equal(logged(), "");
    cmx_log_set_level(CMX_LOG_DEBUG);
    cmx_log(CMX_LOG_DEBUG, "ota", "x");
    assert_string_equal(logged(), "D ota: x\n");
}

/* Text from a peer contains a second line and three escape sequences: one with ESC, two with the C1 character CSI (as a
 * byte and as UTF-8). */
static void control_characters_are_replaced(void **state)
{
    static const char text[] = "a\nE device: all is well\033[2J\x9b"
                               "31m\xc2\x9b"
                               "31m\x7f \xc3\xa9";

    (void)state;
    cmx_log(CMX_LOG_WARN, "mine", "%s", text);
    assert_string_equal(logged(), "W mine: a?E device: all is well?[2J?31m\xc2?31m? \xc3\xa9\n");
}

static void a_long_line_ends_in_dots(void **state)
{
    char text[2 * CMX_LOG_LINE_MAX];
    const char *line;

    (void)state;
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    cmx_log(CMX_LOG_WARN, "mine", "%s", text);
    line = logged();
    assert_int_equal(strlen(line), strlen("W mine: \n") + CMX_LOG_LINE_MAX - 1);
    assert_string_equal(line + strlen(line) - 4, "...\n");
}

static void a_call_site_is_limited_in_each_period(void **state)
{
    struct cmx_log_limit l = {0, 0};
    uint32_t left_out;

    (void)state;
    for (unsigned i = 0; i < 30000; i++)
        assert_int_equal(cmx_log_limit_count(&l, 1, &left_out), i < CMX_LOG_LIMITED_LINES);
    assert_int_equal(left_out, 0);
    assert_true(cmx_log_limit_count(&l, 2, &left_out));
    assert_int_equal(left_out, 30000 - CMX_LOG_LIMITED_LINES);
    assert_true(cmx_log_limit_count(&l, 3, &left_out));
    assert_int_equal(left_out, 0);
}

static void a_flood_writes_few_lines(void **state)
{
    const char *text;
    unsigned lines = 0;

    (void)state;
    for (unsigned i = 0; i < 10000; i++)
        cmx_log_limited(CMX_LOG_WARN, "proxy", "%d", 7);
    for (text = logged(); *text; text++)
        lines += *text == '\n';
    assert_true(lines >= 1 && lines <= 3 * CMX_LOG_LIMITED_LINES); /* a period may end while the test runs */
}

static void a_limited_line_above_the_level_is_not_counted(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 100; i++) {
        cmx_log_set_level(i == 99 ? CMX_LOG_DEBUG : CMX_LOG_INFO);
        cmx_log_limited(CMX_LOG_DEBUG, "proxy", "x");
    }
    assert_string_equal(logged(), "D proxy: x\n");
}

/* Logs more lines than fit into the pipe. If the log waited, the alarm would end the test. */
static void a_full_pipe_does_not_block(void **state)
{
    static char text[1 << 20];
    const char *lost;
    unsigned n;
    int room;
    int fits;

    (void)state;
    alarm(30);
    assert_true(fcntl(taken[1], F_SETPIPE_SZ, 16384) > 0);
    for (unsigned i = 0; i < 1000; i++)
        cmx_log(CMX_LOG_INFO, "proxy", "%058u", i);
    assert_int_equal(ioctl(taken[0], FIONREAD, &room), 0);
    fits = room / 68; /* the length of each line */
    assert_int_equal(room % 68, 0);
    assert_true(fits > 0 && fits < 1000);
    assert_int_equal(read(taken[0], text, sizeof text), room);
    cmx_log(CMX_LOG_INFO, "proxy", "y");
    lost = logged();
    assert_int_equal(sscanf(lost, "I proxy: %u lines were lost", &n), 1);
    assert_int_equal(n, 1000 - fits);
    assert_non_null(strstr(lost, "\nI proxy: y\n"));
    cmx_log(CMX_LOG_INFO, "proxy", "z");
    assert_string_equal(logged(), "I proxy: z\n");
    alarm(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_full_pipe_does_not_block, take, give_back),
        cmocka_unit_test_setup_teardown(a_line_has_its_level_and_tag, take, give_back),
        cmocka_unit_test_setup_teardown(lines_above_the_level_are_dropped, take, give_back),
        cmocka_unit_test_setup_teardown(control_characters_are_replaced, take, give_back),
        cmocka_unit_test_setup_teardown(a_long_line_ends_in_dots, take, give_back),
        cmocka_unit_test(a_call_site_is_limited_in_each_period),
        cmocka_unit_test_setup_teardown(a_flood_writes_few_lines, take, give_back),
        cmocka_unit_test_setup_teardown(a_limited_line_above_the_level_is_not_counted, take, give_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
