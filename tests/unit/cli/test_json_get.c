#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cli/common/json_get.h"

static void test_values(void **state)
{
    static const char text[] =
        " { \"a\" : \"x\\\"\\u0041\\n\" , \"b\": { \"c\" : -1.5e3 , \"d\":[1,{\"e\":2}], \"e\":true },"
        "\"n\":null, \"b.c\": 1, \"last\":\"y\"} ";
    char out[16];

    (void)state;
    assert_int_equal(json_get(text, "a", out, sizeof out), CMX_OK);
    assert_string_equal(out, "x\"??");
    assert_int_equal(json_get(text, "b.c", out, sizeof out), CMX_OK);
    assert_string_equal(out, "-1.5e3");
    assert_int_equal(json_get(text, "b.e", out, sizeof out), CMX_OK);
    assert_string_equal(out, "true");
    assert_int_equal(json_get(text, "n", out, sizeof out), CMX_OK);
    assert_string_equal(out, "null");
    assert_int_equal(json_get(text, "last", out, sizeof out), CMX_OK);
    assert_string_equal(out, "y");
    assert_int_equal(json_get(text, "b", out, sizeof out), CMX_ENOENT);
    assert_int_equal(json_get(text, "b.d", out, sizeof out), CMX_ENOENT);
    assert_int_equal(json_get(text, "c", out, sizeof out), CMX_ENOENT);
    assert_int_equal(json_get(text, "a.b", out, sizeof out), CMX_ENOENT);
    assert_int_equal(json_get(text, "b.c", out, 3), CMX_ENOSPC);
    assert_string_equal(out, "");
    assert_int_equal(json_get(text, "a", out, 3), CMX_ENOSPC);
    assert_string_equal(out, "x\"");
    assert_int_equal(json_get("{\"a\":\"a\\\"bcd\"}", "a", out, 2), CMX_ENOSPC); /* cut at an escaped quote */
    assert_int_equal(json_get("{\"a\":\"ab\"}", "a", out, 2), CMX_ENOSPC);       /* cut before the last character */
    assert_string_equal(out, "a");
}

static void test_members(void **state)
{
    static const char text[] =
        "{\"n\":{\"i\":42},\"t\":true,\"w\":\"true\",\"s\":\"7\",\"l\":[{\"a\":\"]}\"}, [2],3 ],\"e\":[]}x";
    char out[8];
    const char *x;

    (void)state;
    assert_int_equal(json_number(text, "n.i"), 42);
    assert_int_equal(json_number(text, "i"), 0); /* "i" exists only in another object */
    assert_int_equal(json_number(text, "n"), 0);
    assert_int_equal(json_number(text, "l"), 0);
    assert_true(json_is_true(text, "t"));
    assert_false(json_is_true(text, "w") || json_is_true(text, "n.t") || json_is_true(text, "n") ||
                 json_is_true(text, "missing"));
    assert_false(json_text(text, "missing", out, sizeof out));
    assert_string_equal(out, "");
    x = json_first(text, "l");
    assert_true(x && json_text(x, "a", out, sizeof out));
    assert_string_equal(out, "]}");
    assert_int_equal(json_length(x), strlen("{\"a\":\"]}\"}"));
    x = json_next(x);
    assert_non_null(x);
    assert_int_equal(json_number(json_first(x, ""), ""), 2);
    x = json_next(x);
    assert_non_null(x);
    assert_int_equal(json_number(x, ""), 3);
    assert_null(json_next(x));
    assert_null(json_first(text, "e"));
    assert_null(json_first(text, "n"));
    assert_null(json_first(text, "missing"));
    assert_int_equal(json_length("{\"a\""), 0);
}

static void test_every_cut(void **state)
{
    static const char text[] = "{\"a\":{\"b\":[1,\"\\\\\",{}]},\"z\":\"end\"}";
    char cut[sizeof text], out[16], deep[64];

    (void)state;
    for (size_t n = 0; n + 1 < sizeof text; n++) {
        memcpy(cut, text, n);
        cut[n] = '\0';
        if (n + 2 < sizeof text)
            assert_int_not_equal(json_get(cut, "z", out, sizeof out), CMX_OK);
    }
    assert_int_equal(json_get(text, "z", out, sizeof out), CMX_OK);
    memset(deep, '[', sizeof deep - 1); /* nesting is bounded */
    memcpy(deep, "{\"a\":", 5);
    deep[sizeof deep - 1] = '\0';
    assert_int_equal(json_get(deep, "z", out, sizeof out), CMX_EFORMAT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_values), cmocka_unit_test(test_members),
                                       cmocka_unit_test(test_every_cut)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
