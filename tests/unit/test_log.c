/* What is written as a log line: the level, the module's tag, and nothing that could forge a line or drive a terminal.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "cmxsafe/core/log.h"

static int taken[2], saved;

/* Standard error leads into a pipe. */
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

/* What has been logged since the last time; the mark shows that there is an end. */
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

static void each_module_has_its_tag(void **state)
{
    static const struct {
        unsigned module;
        const char *line;
    } lines[] = {
        {CMX_LOG_PROXY, "W proxy: 7\n"},   {CMX_LOG_OTA, "W ota: 7\n"},       {CMX_LOG_ISOLATION, "W isolation: 7\n"},
        {CMX_LOG_ATTEST, "W attest: 7\n"}, {CMX_LOG_DEVICE, "W device: 7\n"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        cmx_module_log(CMX_LOG_WARN | lines[i].module, "%d", 7);
        assert_string_equal(logged(), lines[i].line);
    }
    cmx_module_log(CMX_LOG_ERROR | CMX_LOG_PROXY, "x");
    assert_string_equal(logged(), "E proxy: x\n");
    cmx_log(CMX_LOG_INFO, "mine", "%s", "x");
    assert_string_equal(logged(), "I mine: x\n");
}

static void what_is_above_the_level_is_left_out(void **state)
{
    (void)state;
    cmx_module_log(CMX_LOG_DEBUG | CMX_LOG_OTA, "x");
    assert_string_equal(logged(), "");
    cmx_log_set_level(CMX_LOG_ERROR);
    cmx_log(CMX_LOG_WARN, "mine", "x");
    assert_string_equal(logged(), "");
    cmx_log_set_level(CMX_LOG_DEBUG);
    cmx_module_log(CMX_LOG_DEBUG | CMX_LOG_OTA, "x");
    assert_string_equal(logged(), "D ota: x\n");
}

/* A peer's text: a second line, an escape sequence by C0, and by C1 as a byte and as UTF-8. */
static void a_peer_commands_no_terminal(void **state)
{
    static const char text[] = "a\nE device: all is well\033[2J\x9b"
                               "31m\xc2\x9b"
                               "31m\x7f \xc3\xa9";

    (void)state;
    cmx_log(CMX_LOG_WARN, "mine", "%s", text);
    assert_string_equal(logged(), "W mine: a?E device: all is well?[2J?31m\xc2?31m? \xc3\xa9\n");
    cmx_module_log(CMX_LOG_WARN | CMX_LOG_PROXY, "%s", text);
    assert_string_equal(logged(), "W proxy: a?E device: all is well?[2J?31m\xc2?31m? \xc3\xa9\n");
}

static void a_long_line_says_that_it_was_cut(void **state)
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_module_has_its_tag, take, give_back),
        cmocka_unit_test_setup_teardown(what_is_above_the_level_is_left_out, take, give_back),
        cmocka_unit_test_setup_teardown(a_peer_commands_no_terminal, take, give_back),
        cmocka_unit_test_setup_teardown(a_long_line_says_that_it_was_cut, take, give_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
