#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cmxsafe/core/json.h"

static char mem[512];
static struct cmx_buf out;
static struct cmx_json j;

static int start(void **state)
{
    (void)state;
    cmx_buf_init(&out, mem, sizeof mem);
    cmx_json_init(&j, &out);
    return 0;
}

static const char *text(void)
{
    const char *s = NULL;

    assert_int_equal(cmx_buf_cstr(&out, &s), CMX_OK);
    return s;
}

static void test_document(void **state)
{
    (void)state;
    cmx_json_object(&j, NULL);
    cmx_json_str(&j, "state", "up");
    cmx_json_str(&j, "none", NULL);
    cmx_json_array(&j, "list");
    cmx_json_u64(&j, NULL, UINT64_MAX);
    cmx_json_i64(&j, NULL, INT64_MIN);
    cmx_json_bool(&j, NULL, true);
    cmx_json_object(&j, NULL);
    cmx_json_end(&j);
    cmx_json_end(&j);
    cmx_json_hex(&j, "hex", "\x01\xfe", 2);
    cmx_json_base64url(&j, "b64", "\xfb\xff\x00\x01", 4);
    cmx_json_bool(&j, "no", false);
    cmx_json_end(&j);
    assert_int_equal(cmx_json_finish(&j), CMX_OK);
    assert_string_equal(text(), "{\"state\":\"up\",\"none\":null,\"list\":[18446744073709551615,-9223372036854775808,"
                                "true,{}],\"hex\":\"01fe\",\"b64\":\"-_8AAQ\",\"no\":false}");
}

static void test_escapes(void **state)
{
    (void)state;
    cmx_json_strn(&j, NULL, "a\"\\\n\x1b\x7f\0z", 8);
    assert_int_equal(cmx_json_finish(&j), CMX_OK);
    assert_string_equal(text(), "\"a\\\"\\\\\\u000a\\u001b\\u007f\\u0000z\"");
}

static void test_utf8(void **state)
{
    static const struct {
        const char *in, *want;
    } cases[] = {
        {"\xc3\xa9\xe2\x82\xac\xf0\x9f\x94\x92", "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x94\x92\""},
        {"\xff", "\"\\ufffd\""},
        {"\xc2\x9b\xc2\xa0", "\"\\u009b\xc2\xa0\""},              /* U+009B is a control character */
        {"\xc0\xaf", "\"\\ufffd\\ufffd\""},                       /* an overlong form */
        {"\xed\xa0\x80", "\"\\ufffd\\ufffd\\ufffd\""},            /* a surrogate */
        {"\xf4\x90\x80\x80", "\"\\ufffd\\ufffd\\ufffd\\ufffd\""}, /* above U+10FFFF */
        {"\xe2\x82", "\"\\ufffd\\ufffd\""},                       /* truncated */
        {"\xc3x", "\"\\ufffdx\""},
        {"\xe0\xa2x", "\"\\ufffd\\ufffdx\""},                         /* the bits so far are 0x22, a quote */
        {"\xf0\x8f\xbf\xbf", "\"\\ufffd\\ufffd\\ufffd\\ufffd\""},     /* an overlong form */
        {"\xed\x9f\xbf\xee\x80\x80", "\"\xed\x9f\xbf\xee\x80\x80\""}, /* U+D7FF and U+E000 */
        {"\xf4\x8f\xbf\xbf", "\"\xf4\x8f\xbf\xbf\""},                 /* U+10FFFF */
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        start(state);
        cmx_json_str(&j, NULL, cases[i].in);
        assert_int_equal(cmx_json_finish(&j), CMX_OK);
        assert_string_equal(text(), cases[i].want);
    }
}

static void test_too_small_at_every_size(void **state)
{
    cmx_err err;

    (void)state;
    for (size_t cap = 0; cap <= 17; cap++) {
        cmx_buf_init(&out, mem, cap);
        cmx_json_init(&j, &out);
        cmx_json_object(&j, NULL);
        cmx_json_u64(&j, "abcd", 12345678);
        cmx_json_end(&j);
        err = cmx_json_finish(&j);
        assert_int_equal(err, cap < 17 ? CMX_ENOSPC : CMX_OK);
        assert_true(cmx_buf_len(&out) <= cap);
    }
}

static void test_misuse(void **state)
{
    cmx_json_object(&j, NULL);
    cmx_json_u64(&j, NULL, 1); /* a member without a key */
    assert_int_equal(cmx_json_finish(&j), CMX_EINTERNAL);
    start(state);
    cmx_json_array(&j, NULL);
    cmx_json_u64(&j, "key", 1); /* an array element with a key */
    assert_int_equal(cmx_json_finish(&j), CMX_EINTERNAL);
    start(state);
    cmx_json_u64(&j, NULL, 1);
    cmx_json_u64(&j, NULL, 2); /* a second document */
    assert_int_equal(cmx_json_finish(&j), CMX_EINTERNAL);
    start(state);
    cmx_json_object(&j, NULL); /* the object is not closed */
    assert_int_equal(cmx_json_finish(&j), CMX_EINTERNAL);
    start(state);
    cmx_json_end(&j); /* nothing is open */
    assert_int_equal(cmx_json_finish(&j), CMX_EINTERNAL);
    start(state);
    for (int i = 0; i <= CMX_JSON_DEPTH_MAX; i++)
        cmx_json_array(&j, NULL);
    assert_int_equal(cmx_json_finish(&j), CMX_EINTERNAL);
    start(state);
    assert_int_equal(cmx_json_finish(&j), CMX_EINTERNAL); /* nothing was written */
}

static char whole[512];
static size_t whole_len;

static cmx_err append(void *arg, struct cmx_buf *b)
{
    size_t len = cmx_buf_len(b);

    if (arg)
        return CMX_EIO;
    assert_true(whole_len + len < sizeof whole);
    memcpy(whole + whole_len, cmx_buf_data(b), len);
    whole_len += len;
    cmx_buf_clear(b);
    return CMX_OK;
}

static void put_some(void)
{
    cmx_json_array(&j, NULL);
    for (unsigned i = 0; i < 5; i++) {
        cmx_json_object(&j, NULL);
        cmx_json_str(&j, "n", "a \"long\" text with \x01 in it");
        cmx_json_u64(&j, "u", UINT64_MAX);
        cmx_json_i64(&j, "i", INT64_MIN);
        cmx_json_end(&j);
    }
    cmx_json_end(&j);
}

/* A sink receives the same document whatever the size of the buffer, if the longest single piece fits in the buffer. */
static void test_sink(void **state)
{
    put_some();
    assert_int_equal(cmx_json_finish(&j), CMX_OK);
    for (size_t cap = 20; cap < 64; cap++) {
        static char small[64];
        struct cmx_buf b;

        whole_len = 0;
        cmx_buf_init(&b, small, cap);
        cmx_json_init_sink(&j, &b, append, NULL);
        put_some();
        assert_int_equal(cmx_json_finish(&j), CMX_OK);
        assert_int_equal(append(NULL, &b), CMX_OK);
        whole[whole_len] = '\0';
        assert_string_equal(whole, text());
    }
    cmx_json_init_sink(&j, &out, append, &j);
    cmx_buf_init(&out, mem, 20);
    put_some();
    assert_int_equal(cmx_json_finish(&j), CMX_EIO);
    start(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_document, start), cmocka_unit_test_setup(test_escapes, start),
        cmocka_unit_test_setup(test_utf8, start),     cmocka_unit_test_setup(test_too_small_at_every_size, start),
        cmocka_unit_test_setup(test_misuse, start),   cmocka_unit_test_setup(test_sink, start),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
