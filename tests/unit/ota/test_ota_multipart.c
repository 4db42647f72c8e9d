#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "cmxsafe/ota/multipart.h"

/* Parses body in pieces of `piece` bytes. Writes "[name]data;" for each part to out, and "." at the end. */
static cmx_err run(const char *type, const void *body, size_t len, size_t piece, char *out, size_t cap)
{
    struct cmx_multipart m;
    cmx_err err = cmx_multipart_init(&m, type);
    size_t n = 0;
    bool ended = false;

    out[0] = '\0';
    for (size_t at = 0; at < len && !err; at += piece) {
        size_t k = len - at < piece ? len - at : piece;
        uint8_t *copy = malloc(k); /* exact size, so that a sanitizer detects a read beyond the end */
        struct cmx_buf in;
        struct cmx_multipart_event ev;

        memcpy(copy, (const uint8_t *)body + at, k);
        cmx_buf_init_view(&in, copy, k);
        do {
            err = cmx_multipart_next(&m, &in, &ev);
            if (err)
                break;
            assert_true(n + ev.len + 40 < cap);
            if (ev.kind == CMX_MULTIPART_PART)
                n += (size_t)snprintf(out + n, cap - n, "[%s]", m.name);
            if (ev.kind == CMX_MULTIPART_DATA) {
                assert_true(ev.len > 0);
                memcpy(out + n, ev.data, ev.len);
                n += ev.len;
            }
            if (ev.kind == CMX_MULTIPART_DONE)
                out[n++] = ';';
            if (ev.kind == CMX_MULTIPART_END) {
                out[n++] = '.';
                ended = true;
            }
            out[n] = '\0';
        } while (ev.kind != CMX_MULTIPART_MORE);
        free(copy);
    }
    if (!err && ended != cmx_multipart_complete(&m))
        fail_msg("END and complete() differ");
    return err;
}

static const char type_x[] = "multipart/form-data; boundary=X";

static void same_at_every_split(const char *type, const char *body, const char *expected)
{
    char out[512];

    for (size_t piece = 1; piece <= strlen(body) + 1; piece++) {
        assert_int_equal(run(type, body, strlen(body), piece, out, sizeof out), CMX_OK);
        assert_string_equal(out, expected);
    }
}

static void test_splits(void **state)
{
    (void)state;
    same_at_every_split(type_x,
                        "--X\r\nContent-Disposition: form-data; name=\"update\"; filename=\"f\"\r\n"
                        "Content-Type: application/octet-stream\r\n\r\nhello\r\n--X--\r\n",
                        "[update]hello;.");
    /* The body has a preamble, padding, two parts (one is empty), and an epilogue that resembles a delimiter. */
    same_at_every_split(
        type_x,
        "preamble --X \r\n-\r\n--X \t\r\ncontent-disposition:form-data;name=a\r\n\r\n1\r\n--X\r\n"
        "Content-Disposition: form-data; filename=\"name=\\\"u\"; name=\"b\"\r\n\r\n\r\n--X--junk\r\n--X\r\n",
        "[a]1;[b];.");
    /* The data contain long prefixes of the delimiter. */
    same_at_every_split(
        "multipart/form-data; boundary=\"-x-\"",
        "---x-\r\nContent-Disposition: form-data; name=\"u\"\r\n\r\n\r\n---x\r\r\n--\r\n\r\n---\r\n---x-\r\n"
        "Content-Disposition: form-data; name=\"v\"\r\n\r\n--\r\n---x---",
        "[u]\r\n---x\r\r\n--\r\n\r\n---;[v]--;.");
    /* The CRLF that ends the header and the first bytes of the data together resemble a delimiter. */
    same_at_every_split(type_x, "--X\r\nContent-Disposition: form-data; name=\"u\"\r\n\r\n--Y\r\n--X--", "[u]--Y;.");
    same_at_every_split(type_x, "--X\r\nContent-Disposition: form-data; name=\"u\"\r\n\r\n\r\r\r\n\r\n--X--",
                        "[u]\r\r\r\n;.");
}

static void test_binary_body(void **state)
{
    static const char head[] = "--X\r\nContent-Disposition: form-data; name=\"update\"\r\n\r\n";
    static uint8_t body[3000];
    static char out[4000];
    size_t n = sizeof head - 1;

    (void)state;
    memcpy(body, head, n);
    for (size_t i = 0; i < 2048; i++)
        body[n + i] = (uint8_t)(i * 7 % 251);
    memcpy(body + n + 2048, "\r\n--X--\r\n", 9);
    for (size_t piece = 1; piece < 300; piece += 7) {
        assert_int_equal(run(type_x, body, n + 2048 + 9, piece, out, sizeof out), CMX_OK);
        assert_memory_equal(out + 8, body + n, 2048);
        assert_string_equal(out + 8 + 2048, ";.");
    }
}

static void test_content_types(void **state)
{
    static const struct {
        const char *type;
        cmx_err err;
    } t[] = {
        {"multipart/form-data; boundary=abc", CMX_OK},
        {"MULTIPART/FORM-DATA;charset=utf-8; Boundary=\"a b c\"", CMX_OK},
        {"multipart/form-data;boundary=\"x; boundary=y\"", CMX_EFORMAT}, /* ';' is not allowed in a boundary */
        {"multipart/form-data", CMX_EFORMAT},
        {"multipart/form-data; boundary=", CMX_EFORMAT},
        {"multipart/form-data; boundary=\"\"", CMX_EFORMAT},
        {"multipart/form-data; boundary=\"open", CMX_EFORMAT},
        {"multipart/form-data; boundary=a\x01", CMX_EFORMAT},
        {"multipart/form-data; xboundary=abc", CMX_EFORMAT},
        {"multipart/form-data; boundary=1234567890123456789012345678901234567890123456789012345678901234567890",
         CMX_OK},
        {"multipart/form-data; boundary=12345678901234567890123456789012345678901234567890123456789012345678901",
         CMX_EFORMAT},
        {"multipart/form-dataX; boundary=abc", CMX_EINVAL},
        {"application/octet-stream", CMX_EINVAL},
        {"", CMX_EINVAL},
    };
    struct cmx_multipart m;

    (void)state;
    for (size_t i = 0; i < sizeof t / sizeof t[0]; i++)
        assert_int_equal(cmx_multipart_init(&m, t[i].type), t[i].err);
    assert_int_equal(cmx_multipart_init(&m, NULL), CMX_EINVAL);
}

static void test_broken(void **state)
{
    static const char *bodies[] = {
        "--X\r\nContent-Type: text/plain\r\n\r\nno name\r\n--X--",             /* a part without a name */
        "--X\r\nContent-Disposition: form-data; name=\"open\r\n\r\n\r\n--X--", /* the quote is not closed */
        "--Xgarbage\r\n",
        "--X\rgarbage\r\n",
        "--X-garbage\r\n",
        "--X --\r\n",                                        /* no closing delimiter: a space precedes the dashes */
        "--X\r\nContent-Disposition: form-data; name=a\n\n", /* the line ends with a bare LF */
    };
    char out[512], many[2000] = "--X\r\n";

    (void)state;
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++)
        for (size_t piece = 1; piece < 9; piece++)
            assert_int_equal(run(type_x, bodies[i], strlen(bodies[i]), piece, out, sizeof out), CMX_EFORMAT);
    assert_int_equal(run(type_x, "--X\r\nA\0B", 8, 3, out, sizeof out), CMX_EFORMAT);
    for (int i = 0; i < CMX_MULTIPART_HEADERS_MAX + 1; i++)
        strcat(many, "a: b\r\n");
    assert_int_equal(run(type_x, many, strlen(many), 7, out, sizeof out), CMX_ENOSPC);
    memset(many + 5, 'a', 600);
    assert_int_equal(run(type_x, many, 605, 7, out, sizeof out), CMX_ENOSPC);
}

static void test_truncated_is_not_complete(void **state)
{
    static const char body[] = "--X\r\nContent-Disposition: form-data; name=\"update\"\r\n\r\nhello\r\n--X--";
    char out[512];

    (void)state;
    for (size_t n = 0; n < sizeof body - 1; n++) {
        assert_int_equal(run(type_x, body, n, 5, out, sizeof out), CMX_OK);
        assert_null(strchr(out, '.'));
    }
}

static void test_refusal_sticks(void **state)
{
    struct cmx_multipart m;
    struct cmx_multipart_event ev;
    struct cmx_buf in;

    (void)state;
    assert_int_equal(cmx_multipart_init(&m, type_x), CMX_OK);
    cmx_buf_init_view(&in, "--Xgarbage\r\n", 12);
    assert_int_equal(cmx_multipart_next(&m, &in, &ev), CMX_EFORMAT);
    cmx_buf_init_view(&in, "\r\n--X--", 7);
    assert_int_equal(cmx_multipart_next(&m, &in, &ev), CMX_EFORMAT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_splits),
        cmocka_unit_test(test_binary_body),
        cmocka_unit_test(test_content_types),
        cmocka_unit_test(test_broken),
        cmocka_unit_test(test_truncated_is_not_complete),
        cmocka_unit_test(test_refusal_sticks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
