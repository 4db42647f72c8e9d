/* Runs the system's programs: a command line whose values contain blanks, and one that lacks a value. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "gateway/folder/gw_program.h"

static void test_line(void **state)
{
    char longer[20000];

    (void)state;
    assert_true(gw_program_runf(true, "test a = a"));
    assert_false(gw_program_runf(true, "test a = b"));
    assert_false(gw_program_runf(true, "/nonexistent/program"));
    /* A value never becomes several words. */
    assert_true(gw_program_runf(true, "test %s = %s", "a b", "a b"));
    assert_true(gw_program_runf(true, "test %s/%u = %s", "a -o b", 64, "a -o b/64"));
    assert_true(gw_program_runf(true, "test %s = %s", "$(false) ; x", "$(false) ; x"));
    assert_false(gw_program_runf(true, "test a = a%s",
                                 "\x1f-o\x1f"
                                 "a"));
    /* If a word is empty, the program is not run. */
    assert_false(gw_program_runf(true, "test a = a%s -o %s", "", ""));
    assert_false(gw_program_runf(true, "true %s", ""));
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    assert_false(gw_program_runf(true, "true %s", longer));
    assert_true(gw_program_runf(true, "true 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26"));
    assert_false(gw_program_runf(true, "true 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 "
                                       "29 30 31 32 33"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_line)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
