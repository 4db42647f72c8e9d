#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "cmxsafe/core/backoff.h"
#include "cmxsafe/core/base64.h"
#include "cmxsafe/core/buf.h"
#include "cmxsafe/core/err.h"
#include "cmxsafe/core/mem.h"
#include "cmxsafe/core/nearest.h"
#include "cmxsafe/core/secret.h"
#include "cmxsafe/core/text.h"
#include "cmxsafe/core/why.h"
#include "cmxsafe/http/http.h"
#include "cmxsafe/port/crypto.h"

static void test_err_names(void **state)
{
    (void)state;
    assert_string_equal(cmx_err_name(CMX_EHOSTKEY), "host-key");
    assert_string_equal(cmx_err_name(CMX_EBUSY), "busy");
    assert_string_equal(cmx_err_name(CMX_EEXIST), "exists");
    assert_string_equal(cmx_err_text(CMX_EINTERNAL), "internal error");
    for (int err = CMX_OK; err < CMX_EINTERNAL; err++) { /* each error has its own name and text */
        assert_non_null(cmx_err_name((cmx_err)err));
        assert_string_not_equal(cmx_err_text((cmx_err)err), "internal error");
    }
    assert_string_equal(cmx_err_name((cmx_err)(CMX_EINTERNAL + 1)), "internal");
    assert_string_equal(cmx_err_name((cmx_err)-1), "internal");
    assert_string_equal(cmx_err_name((cmx_err)9999), "internal");
}

static void test_buf_bounds(void **state)
{
    uint8_t mem[8];
    struct cmx_buf b;
    uint32_t v32 = 7;
    uint8_t v8;

    (void)state;
    cmx_buf_init(&b, mem, sizeof mem);
    assert_int_equal(cmx_buf_get_be32(&b, &v32), CMX_ETRUNC);
    assert_int_equal(v32, 7);
    assert_int_equal(cmx_buf_put_be32(&b, 0x01020304), CMX_OK);
    assert_int_equal(cmx_buf_put_be32(&b, 0x05060708), CMX_OK);
    assert_int_equal(cmx_buf_get_u8(&b, &v8), CMX_OK);
    assert_int_equal(v8, 1);
    assert_int_equal(cmx_buf_get_be32(&b, &v32), CMX_OK);
    assert_int_equal(v32, 0x02030405);
    assert_int_equal(cmx_buf_len(&b), 3);
    assert_int_equal(cmx_buf_put_u8(&b, 9), CMX_ENOSPC); /* bytes that have been read still occupy space */
    cmx_buf_clear(&b);
    assert_int_equal(cmx_buf_printf(&b, "%d", 1234567), CMX_OK); /* with its NUL, the text fills the buffer */
    assert_int_equal(cmx_buf_len(&b), 7);
    cmx_buf_clear(&b);
    assert_int_equal(cmx_buf_printf(&b, "%d", 12345678), CMX_ENOSPC);
}

static void test_buf_is_empty_after_a_failure(void **state)
{
    uint8_t mem[8];
    struct cmx_buf b;
    const char *s;

    (void)state;
    cmx_buf_init(&b, mem, sizeof mem);
    cmx_buf_put_str(&b, "ab");
    assert_int_equal(cmx_buf_error(&b), CMX_OK);
    cmx_buf_put_str(&b, "longer than the room");
    assert_int_equal(cmx_buf_put_u8(&b, 'c'), CMX_ENOSPC);
    assert_int_equal(cmx_buf_put(&b, "", 0), CMX_ENOSPC);
    assert_int_equal(cmx_buf_printf(&b, "c"), CMX_ENOSPC);
    assert_int_equal(cmx_buf_error(&b), CMX_ENOSPC);
    assert_int_equal(cmx_buf_cstr(&b, &s), CMX_ENOSPC);
    assert_int_equal(cmx_buf_len(&b), 0);
    assert_int_equal(cmx_buf_get_u8(&b, mem), CMX_ETRUNC);
    cmx_buf_clear(&b);
    assert_int_equal(cmx_buf_error(&b), CMX_OK);
    assert_int_equal(cmx_buf_printf(&b, "c"), CMX_OK);
    assert_int_equal(cmx_buf_cstr(&b, &s), CMX_OK);
    assert_string_equal(s, "c");
}

static void test_buf_cstr(void **state)
{
    uint8_t mem[4];
    struct cmx_buf b;
    const char *s;

    (void)state;
    cmx_buf_init(&b, mem, sizeof mem);
    assert_int_equal(cmx_buf_put_str(&b, "abc"), CMX_OK);
    assert_int_equal(cmx_buf_cstr(&b, &s), CMX_OK);
    assert_string_equal(s, "abc");
    assert_int_equal(cmx_buf_put_u8(&b, 0), CMX_OK);
    assert_int_equal(cmx_buf_cstr(&b, &s), CMX_EFORMAT);
    cmx_buf_init(&b, mem, 3); /* no room for the NUL */
    assert_int_equal(cmx_buf_put_str(&b, "abc"), CMX_OK);
    assert_int_equal(cmx_buf_cstr(&b, &s), CMX_ENOSPC);
    cmx_buf_init_view(&b, mem, 3); /* a view is for reading only, and counts as full */
    assert_int_equal(cmx_buf_put_u8(&b, 'd'), CMX_ENOSPC);
}

static void test_backoff_grows_and_stays_bounded(void **state)
{
    struct cmx_backoff b;

    (void)state;
    cmx_backoff_init(&b, 1000, 60000);
    assert_int_equal(cmx_backoff_next(&b, 0), 250);
    assert_int_equal(cmx_backoff_next(&b, UINT32_MAX), 2000);
    for (int i = 0; i < 1000; i++) {
        uint32_t w = cmx_backoff_next(&b, UINT32_MAX);

        assert_in_range(w, 250, 60000);
    }
    assert_int_equal(cmx_backoff_next(&b, UINT32_MAX), 60000);
    cmx_backoff_reset(&b);
    assert_int_equal(cmx_backoff_next(&b, UINT32_MAX), 1000);
    cmx_backoff_init(&b, 1, UINT32_MAX);
    for (int i = 0; i < 100; i++)
        (void)cmx_backoff_next(&b, UINT32_MAX);
    assert_int_equal(cmx_backoff_next(&b, UINT32_MAX), UINT32_MAX);
}

static void test_text(void **state)
{
    uint8_t out[4];
    uint64_t v = 1;
    size_t n;
    char small[3];

    (void)state;
    assert_int_equal(cmx_text_hex_decode(out, 2, "0aFf"), CMX_OK);
    assert_int_equal(out[1], 0xff);
    assert_int_equal(cmx_text_hex_decode(out, 2, "0aF"), CMX_EFORMAT);
    assert_int_equal(cmx_text_hex_decode(out, 2, "0aFf0"), CMX_EFORMAT);
    assert_int_equal(cmx_text_hex_decode(out, 2, "0aFg"), CMX_EFORMAT);
    assert_int_equal(cmx_text_u64("65535", 1, 65535, &v), CMX_OK);
    assert_int_equal(v, 65535);
    assert_int_equal(cmx_text_u64("65536", 1, 65535, &v), CMX_EINVAL);
    assert_int_equal(cmx_text_u64("18446744073709551616", 0, UINT64_MAX, &v), CMX_EINVAL);
    assert_int_equal(cmx_text_u64("", 0, 9, &v), CMX_EFORMAT);
    assert_int_equal(cmx_text_u64("0x", 0, 9, &v), CMX_EFORMAT);
    assert_int_equal(cmx_text_u64("-1", 0, 9, &v), CMX_EFORMAT);
    assert_int_equal(cmx_text_u64("1 ", 0, 9, &v), CMX_EFORMAT);
    assert_int_equal(cmx_text_copy(small, sizeof small, "abc"), CMX_ENOSPC);
    assert_int_equal(cmx_text_url_decode("a%00+%2b", 8, 1, out, 4, &n), CMX_OK);
    assert_int_equal(n, 4);
    assert_memory_equal(out, "a\0 +", 4);
    assert_int_equal(cmx_text_url_decode("%4", 2, 0, out, 4, &n), CMX_EFORMAT);
    assert_int_equal(cmx_text_url_decode("%zz", 3, 0, out, 4, &n), CMX_EFORMAT);
    assert_int_equal(cmx_text_url_decode("abcde", 5, 0, out, 4, &n), CMX_ENOSPC);
}

static void test_text_clean(void **state)
{
    static const struct {
        const char *in, *want;
    } cases[] = {
        {"a\x1b[2J\n\x7fz", "a?[2J??z"},
        {"\xc2\x9b"
         "2J",
         "\xc2?2J"}, /* CSI in UTF-8 */
        {"\x9b\x9b"
         "2J",
         "??2J"},                                                                         /* CSI as one byte */
        {"\xc3\x89\xe2\x80\x93\xf0\x9f\x94\x92", "\xc3\x89\xe2\x80\x93\xf0\x9f\x94\x92"}, /* other text stays */
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[32];

        snprintf(text, sizeof text, "%s", cases[i].in);
        cmx_text_clean(text);
        assert_string_equal(text, cases[i].want);
    }
}

static void test_nearest(void **state)
{
    struct cmx_nearest n = CMX_NEAREST_INIT("enrol");
    struct cmx_nearest far = CMX_NEAREST_INIT("banana");

    (void)state;
    cmx_nearest_offer(&n, "status");
    cmx_nearest_offer(&n, "enroll");
    assert_string_equal(cmx_nearest_result(&n), "enroll");
    cmx_nearest_offer(&far, "status");
    assert_null(cmx_nearest_result(&far));
}

static void test_mem_counts_and_fails(void **state)
{
    struct cmx_mem_stats before, after;
    void *p;

    (void)state;
    cmx_mem_stats(&before);
    p = cmx_mem_alloc(100);
    assert_non_null(p);
    cmx_mem_stats(&after);
    assert_int_equal(after.live_bytes - before.live_bytes, 100);
    cmx_mem_free_secret(p);
    cmx_mem_stats(&after);
    assert_int_equal(after.live_bytes, before.live_bytes);
    cmx_mem_fail_at(2);
    p = cmx_mem_alloc(1);
    assert_non_null(p);
    assert_null(cmx_mem_alloc(1));
    cmx_mem_free(p);
    p = cmx_mem_alloc(1);
    assert_non_null(p);
    cmx_mem_free(p);
    cmx_mem_fail_at(0);
}

static void test_http_param(void **state)
{
    const char *v;
    size_t n;

    (void)state;
    assert_int_equal(cmx_http_param("a=1&challenge=x%20y&b", "challenge", &v, &n), CMX_OK);
    assert_int_equal(n, 5);
    assert_memory_equal(v, "x%20y", 5);
    assert_int_equal(cmx_http_param("challenge=", "challenge", &v, &n), CMX_OK);
    assert_int_equal(n, 0);
    assert_int_equal(cmx_http_param("challenge", "challenge", &v, &n), CMX_ENOENT);
    assert_int_equal(cmx_http_param("xchallenge=1", "challenge", &v, &n), CMX_ENOENT);
    assert_int_equal(cmx_http_param("c=1&c=2", "c", &v, &n), CMX_EEXIST);
    assert_int_equal(cmx_http_param("", "c", &v, &n), CMX_ENOENT);
}

static void test_secret_equal(void **state)
{
    (void)state;
    assert_true(cmx_secret_equal("abc", "abc", 3));
    assert_false(cmx_secret_equal("abc", "abd", 3));
    assert_true(cmx_secret_equal("x", "y", 0));
}

static void test_text_clean_ascii(void **state)
{
    char out[6];

    (void)state;
    cmx_text_clean_ascii(out, sizeof out, "a\0\x1b\xc3\xa9z", 6);
    assert_string_equal(out, "a????"); /* the text is cut */
    cmx_text_clean_ascii(out, sizeof out, "ab", 2);
    assert_string_equal(out, "ab");
    cmx_text_clean_ascii(out, sizeof out, "", 0);
    assert_string_equal(out, "");
    assert_int_equal(cmx_text_printable('~'), '~');
    assert_int_equal(cmx_text_printable('\x7f'), '?');
}

static void test_why(void **state)
{
    struct cmx_why w = {""};
    char big[2 * CMX_WHY_MAX];

    (void)state;
    assert_string_equal(cmx_why_text(&w, CMX_EIO), cmx_err_text(CMX_EIO));
    cmx_why_set(&w, "%s: %d", "file", 7);
    assert_string_equal(cmx_why_text(&w, CMX_EIO), "file: 7");
    cmx_why_set(&w, "more: %s", w.text); /* the previous text is an argument */
    assert_string_equal(w.text, "more: file: 7");
    assert_int_equal(cmx_why_fail(&w, CMX_EPERM, "a\x1b[2J\n\xc2\x9b%s", "b"), CMX_EPERM);
    assert_string_equal(w.text, "a?[2J?\xc2?b");
    memset(big, 'x', sizeof big - 1);
    big[sizeof big - 1] = 0;
    cmx_why_set(&w, "%s", big);
    assert_int_equal(strlen(w.text), CMX_WHY_MAX - 1);
    assert_string_equal(w.text + CMX_WHY_MAX - 4, "...");
    cmx_why_set(NULL, "%s", big);
    assert_int_equal(cmx_why_fail(NULL, CMX_EBUSY, "%s", big), CMX_EBUSY);
}

/* The fingerprint of a key whose blob is "x" has the form that `ssh-keygen -l` prints. */
static void test_fingerprint(void **state)
{
    static const char want[] = "SHA256:LXEWQrcmsEQBYnyp+6wy9chTD7GQPMTbAiWHF5IaSIE=";
    char text[CMX_FINGERPRINT_LEN];
    uint8_t digest[CMX_SHA256_LEN];

    (void)state;
    assert_int_equal(cmx_sha256_of("x", 1, digest), CMX_OK);
    cmx_base64_fingerprint(text, digest);
    assert_memory_equal(text, want, sizeof text - 1);
    assert_int_equal(strlen(text), 50);
    assert_true(cmx_base64_is_fingerprint(text, 50));
    assert_false(cmx_base64_is_fingerprint(text, 49));
    assert_false(cmx_base64_is_fingerprint(want, 51));
    text[20] = ' ';
    assert_false(cmx_base64_is_fingerprint(text, 50));
    text[20] = want[20];
    text[49]++; /* the unused bits are not zero */
    assert_false(cmx_base64_is_fingerprint(text, 50));
    assert_false(cmx_base64_is_fingerprint("MD5:xxx", 7));
}

static void test_hosts_and_ports(void **state)
{
    static const struct {
        const char *text, *host;
        uint16_t port; /* 1 (the default passed below) if the text has no port */
    } good[] = {
        {"gw.example", "gw.example", 1},
        {"gw.example:22", "gw.example", 22},
        {"10.0.0.1:65535", "10.0.0.1", 65535},
        {"fd00::1", "fd00::1", 1},
        {"[fd00::1]", "fd00::1", 1},
        {"[fd00::1]:2222", "fd00::1", 2222},
        {"", "", 1},
    };
    static const char *const bad[] = {"gw:", "gw:0", "gw:65536", "gw:x", "[fd00::1", "[fd00::1]2", "[fd00::1]:"};
    char text[32];
    const char *host;
    uint16_t port;

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        port = 1;
        assert_int_equal(cmx_text_copy(text, sizeof text, good[i].text), CMX_OK);
        assert_true(cmx_text_split_host(text, &host, &port));
        assert_string_equal(host, good[i].host);
        assert_int_equal(port, good[i].port);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(cmx_text_copy(text, sizeof text, bad[i]), CMX_OK);
        assert_false(cmx_text_split_host(text, &host, &port));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hosts_and_ports),
        cmocka_unit_test(test_text_clean_ascii),
        cmocka_unit_test(test_why),
        cmocka_unit_test(test_err_names),
        cmocka_unit_test(test_buf_bounds),
        cmocka_unit_test(test_buf_is_empty_after_a_failure),
        cmocka_unit_test(test_buf_cstr),
        cmocka_unit_test(test_backoff_grows_and_stays_bounded),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_text_clean),
        cmocka_unit_test(test_nearest),
        cmocka_unit_test(test_mem_counts_and_fails),
        cmocka_unit_test(test_http_param),
        cmocka_unit_test(test_secret_equal),
        cmocka_unit_test(test_fingerprint),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
