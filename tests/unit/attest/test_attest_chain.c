/* The value that /hash returns, the ranges in a request, and measurements. This test computes the expected values
 * without the module under test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cmxsafe/attest/chain.h"
#include "cmxsafe/attest/measure.h"
#include "cmxsafe/core/mem.h"
#include "cmxsafe/core/text.h"
#include "cmxsafe/port/crypto.h"

#define MB (1024u * 1024u)

static uint8_t key[32];
static uint8_t *flash; /* 16 MB */

static int setup(void **state)
{
    uint32_t x = 1;

    (void)state;
    flash = cmx_mem_alloc(16 * MB);
    for (size_t i = 0; i < 16 * MB; i++) {
        x = x * 1664525u + 1013904223u;
        flash[i] = (uint8_t)(x >> 24);
    }
    for (size_t i = 0; i < sizeof key; i++)
        key[i] = (uint8_t)i;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    cmx_mem_free(flash);
    return 0;
}

static void hmac_parts(const uint8_t *h, const uint8_t *chunk, size_t n, const void *challenge, size_t len,
                       uint8_t *out)
{
    struct cmx_hmac m;

    assert_int_equal(cmx_hmac_init(&m, key, sizeof key), CMX_OK);
    assert_int_equal(cmx_hmac_update(&m, h, 32), CMX_OK);
    assert_int_equal(cmx_hmac_update(&m, chunk, n), CMX_OK);
    assert_int_equal(cmx_hmac_update(&m, challenge, len), CMX_OK);
    assert_int_equal(cmx_hmac_finish(&m, out), CMX_OK);
}

/* Computes the value of /hash as docs/ATTESTATION.md defines it, without the module under test. */
static void reference(uint32_t begin, uint32_t end, const void *challenge, size_t len, uint8_t h[32])
{
    for (uint32_t at = begin; at < end; at += 4096)
        hmac_parts(h, flash + at, end - at < 4096 ? end - at : 4096, challenge, len, h);
}

static void run(const struct cmx_ranges *r, const void *challenge, size_t len, uint8_t out[32])
{
    static struct cmx_chain c;
    const uint8_t *msg;
    uint32_t offset;
    uint8_t *dst;
    size_t n;

    assert_int_equal(cmx_chain_init(&c, r, challenge, len), CMX_OK);
    while (cmx_chain_want(&c, &offset, &dst, &n)) {
        struct cmx_hmac m;

        memcpy(dst, flash + offset, n);
        cmx_chain_message(&c, &msg, &n);
        assert_int_equal(cmx_hmac_init(&m, key, sizeof key), CMX_OK);
        assert_int_equal(cmx_hmac_update(&m, msg, n), CMX_OK);
        assert_int_equal(cmx_hmac_finish(&m, c.h), CMX_OK);
    }
    memcpy(out, c.h, 32);
}

static void test_chip_sizes(void **state)
{
    static const uint32_t sizes[] = {4 * MB, 8 * MB, 16 * MB, 4 * MB - 100, 0x10001};
    struct cmx_ranges r;

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        uint8_t want[32] = {0}, have[32];

        assert_int_equal(cmx_ranges_default(&r, sizes[i]), CMX_OK);
        reference(0x10000, sizes[i], "string_to_use_as_challenge", 26, want);
        run(&r, "string_to_use_as_challenge", 26, have);
        assert_memory_equal(want, have, 32);
    }
    assert_int_equal(cmx_ranges_default(&r, 0x10000), CMX_EINVAL);
    assert_int_equal(cmx_ranges_default(&r, 0), CMX_EINVAL);
}

static void test_challenges(void **state)
{
    struct cmx_ranges r = {.r = {{0x10000, 0x12003}}, .n = 1};
    static struct cmx_chain c;
    uint8_t challenge[513];

    (void)state;
    for (size_t i = 0; i < sizeof challenge; i++)
        challenge[i] = (uint8_t)(255 - i); /* every byte value occurs, including NUL */
    for (size_t len = 1; len <= 512; len++) {
        uint8_t want[32] = {0}, have[32];

        reference(0x10000, 0x12003, challenge, len, want);
        run(&r, challenge, len, have);
        assert_memory_equal(want, have, 32);
    }
    for (unsigned v = 0; v < 256; v++) {
        uint8_t want[32] = {0}, have[32], one = (uint8_t)v;

        reference(0x10000, 0x12003, &one, 1, want);
        run(&r, &one, 1, have);
        assert_memory_equal(want, have, 32);
    }
    assert_int_equal(cmx_chain_init(&c, &r, challenge, 0), CMX_EINVAL);
    assert_int_equal(cmx_chain_init(&c, &r, challenge, 513), CMX_EINVAL);
    r.n = 0;
    assert_int_equal(cmx_chain_init(&c, &r, challenge, 1), CMX_EINVAL);
}

/* A vector that docs/ATTESTATION.md publishes; it was computed by Python's hmac. */
static void test_vector(void **state)
{
    struct cmx_ranges r = {.r = {{0x10000, 0x10000 + 2 * 4096 + 100}}, .n = 1};
    uint8_t kept[2 * 4096 + 100], have[32], want[32];

    (void)state;
    memcpy(kept, flash + 0x10000, sizeof kept);
    for (uint32_t i = r.r[0].begin; i < r.r[0].end; i++)
        flash[i] = (uint8_t)(i * 7 + (i >> 8));
    run(&r, "string_to_use_as_challenge", 26, have);
    memcpy(flash + 0x10000, kept, sizeof kept);
    assert_int_equal(cmx_text_hex_decode(want, 32, "32e32d9688ac3352f555afeb4e5984ca046d8eb98e4e53ca35863a15f6257f5c"),
                     CMX_OK);
    assert_memory_equal(want, have, 32);
}

/* In 4 MB of flash, a flipped bit in any 4,096-byte chunk, and in any byte of one chunk, changes the value. */
static void test_every_byte_counts(void **state)
{
    uint32_t end = 4 * MB;
    uint8_t before[32] = {0}, whole[32] = {0};

    (void)state;
    reference(0x10000, end, "c", 1, whole);
    for (uint32_t at = 0x10000; at < end; at += 4096) {
        uint32_t hit = at + (at >> 12) * 13 % 4096;
        uint8_t h[32];

        memcpy(h, before, 32); /* the value of all chunks before this one */
        flash[hit] ^= 1;
        reference(at, end, "c", 1, h);
        flash[hit] ^= 1;
        assert_memory_not_equal(h, whole, 32);
        reference(at, at + 4096, "c", 1, before);
    }
    for (uint32_t i = 0; i < 4096; i++) {
        struct cmx_ranges r = {.r = {{0x10000, 0x11000}}, .n = 1};
        uint8_t one[32] = {0}, have[32];

        reference(0x10000, 0x11000, "c", 1, one);
        flash[0x10000 + i] ^= (uint8_t)(1u << (i & 7));
        run(&r, "c", 1, have);
        flash[0x10000 + i] ^= (uint8_t)(1u << (i & 7));
        assert_memory_not_equal(one, have, 32);
    }
}

static void test_ranges_keep_their_order(void **state)
{
    struct cmx_ranges r;
    struct cmx_why why;
    uint8_t want[32] = {0}, have[32], other[32];
    static const char text[] = "0x10000-0x200000,0x8000-0x9000,0-32768";

    (void)state;
    assert_int_equal(cmx_ranges_parse(&r, text, strlen(text), 4 * MB, &why), CMX_OK);
    assert_int_equal(r.n, 3);
    reference(0x10000, 0x200000, "x", 1, want);
    reference(0x8000, 0x9000, "x", 1, want);
    reference(0, 0x8000, "x", 1, want);
    run(&r, "x", 1, have);
    assert_memory_equal(want, have, 32);
    assert_int_equal(cmx_ranges_parse(&r, "0x8000-0x9000,0x10000-0x200000,0-32768", 38, 4 * MB, &why), CMX_OK);
    run(&r, "x", 1, other);
    assert_memory_not_equal(have, other, 32);
}

static void test_ranges_refused(void **state)
{
    static const struct {
        const char *text;
        cmx_err err;
    } bad[] = {
        {"", CMX_EFORMAT},
        {",", CMX_EFORMAT},
        {"0-1,", CMX_EFORMAT},
        {",0-1", CMX_EFORMAT},
        {"0-1,,2-3", CMX_EFORMAT},
        {"0", CMX_EFORMAT},
        {"-1", CMX_EFORMAT},
        {"1-", CMX_EFORMAT},
        {"0-1-2", CMX_EFORMAT},
        {"0 -1", CMX_EFORMAT},
        {"0x-0x1", CMX_EFORMAT},
        {"0-0x100000000", CMX_EFORMAT},
        {"0-99999999999999999999", CMX_EFORMAT},
        {"5-5", CMX_EINVAL},
        {"0x20000-0x10000", CMX_EINVAL},
        {"0-0x400001", CMX_EINVAL},
        {"0-0xffffffff", CMX_EINVAL},
        {"0-0x2000,0x1fff-0x3000", CMX_EINVAL},
        {"0x1000-0x2000,0x1000-0x2000", CMX_EINVAL},
        {"0x1000-0x2000,0-0x3000", CMX_EINVAL},
        {"0-1,1-2,2-3,3-4,4-5,5-6,6-7,7-8,8-9,9-10,10-11,11-12,12-13,13-14,14-15,15-16,16-17", CMX_ENOSPC},
    };
    struct cmx_ranges r;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct cmx_why why = {""};

        assert_int_equal(cmx_ranges_parse(&r, bad[i].text, strlen(bad[i].text), 4 * MB, &why), bad[i].err);
        assert_int_equal(r.n, 0);
        assert_true(strlen(why.text) > 0);
    }
}

static void test_ranges_print(void **state)
{
    uint8_t mem[CMX_RANGES_TEXT_MAX];
    struct cmx_ranges r, again;
    struct cmx_buf b;
    const char *s;
    struct cmx_why why;

    (void)state;
    assert_int_equal(cmx_ranges_parse(&r, "65536-0x200000,0x8000-0x9000", 28, 4 * MB, &why), CMX_OK);
    cmx_buf_init(&b, mem, sizeof mem);
    cmx_ranges_print(&r, &b);
    assert_int_equal(cmx_buf_error(&b), CMX_OK);
    assert_int_equal(cmx_buf_cstr(&b, &s), CMX_OK);
    assert_string_equal(s, "0x010000-0x200000,0x008000-0x009000");
    assert_int_equal(cmx_ranges_parse(&again, s, strlen(s), 4 * MB, &why), CMX_OK);
    assert_memory_equal(again.r, r.r, 2 * sizeof r.r[0]);
}

static void measure_by(const uint8_t mac_key[32], uint32_t begin, uint32_t end, const void *nonce, size_t n,
                       uint8_t out[32])
{
    const struct cmx_range r = {begin, end};
    struct cmx_walk w;
    struct cmx_sha256 h;
    uint32_t at;
    size_t len;

    cmx_chain_walk_init(&w, &r, 1);
    assert_int_equal(cmx_measure_begin(&h, mac_key, nonce, n, r), CMX_OK);
    while (cmx_chain_walk_next(&w, &at, &len))
        assert_int_equal(cmx_measure_chunk(&h, flash + at, len), CMX_OK);
    assert_int_equal(cmx_sha256_finish(&h, out), CMX_OK);
}

/* The vector that docs/ATTESTATION.md publishes. */
static const uint8_t evidence_key[32] = {0x2b, 0xe6, 0xc9, 0xe9, 0x36, 0x1a, 0x3c, 0x57, 0xcb, 0xf9, 0x6d,
                                         0xbd, 0xc3, 0xbd, 0xc9, 0xd1, 0x20, 0xad, 0x65, 0xb3, 0xd5, 0xe1,
                                         0x4d, 0x27, 0xc5, 0x45, 0xff, 0xaa, 0x92, 0x16, 0x16, 0x1e};

static void measure(uint32_t begin, uint32_t end, const void *nonce, size_t n, uint8_t out[32])
{
    measure_by(evidence_key, begin, end, nonce, n, out);
}

static void test_measurement(void **state)
{
    static const uint8_t nonce[8] = {0, 1, 2, 3, 4, 5, 6, 7};
    uint8_t base[32], have[32], want[32], kept[4196];
    struct cmx_sha256 h;

    (void)state;
    memcpy(kept, flash + 0x20000, sizeof kept);
    memset(flash + 0x20000, 0xff, sizeof kept);
    measure(0x20000, 0x20000 + sizeof kept, nonce, 8, base);
    assert_int_equal(cmx_text_hex_decode(want, 32, "aa372378c84d8065a60adb1f93c11a4f72d73fc28de091b2eca0f1945af81090"),
                     CMX_OK);
    assert_memory_equal(base, want, 32);
    for (size_t i = 0; i < sizeof kept; i++) { /* changes each byte of the erased flash in turn */
        flash[0x20000 + i] = 0xfe;
        measure(0x20000, 0x20000 + sizeof kept, nonce, 8, have);
        flash[0x20000 + i] = 0xff;
        assert_memory_not_equal(base, have, 32);
    }
    measure(0x20000, 0x20000 + sizeof kept, "\0\1\2\3\4\5\6\10", 8, have);
    assert_memory_not_equal(base, have, 32);
    measure_by(flash, 0x20000, 0x20000 + sizeof kept, nonce, 8, have); /* with another key */
    assert_memory_not_equal(base, have, 32);
    measure(0x1ffff, 0x20000 + sizeof kept - 1, nonce, 8, have);
    assert_memory_not_equal(base, have, 32);
    memcpy(flash + 0x20000, kept, sizeof kept);
    assert_int_equal(cmx_measure_begin(&h, evidence_key, nonce, 7, (struct cmx_range){0, 1}), CMX_EINVAL);
    assert_int_equal(cmx_measure_begin(&h, evidence_key, flash, 65, (struct cmx_range){0, 1}), CMX_EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chip_sizes),
        cmocka_unit_test(test_challenges),
        cmocka_unit_test(test_vector),
        cmocka_unit_test(test_every_byte_counts),
        cmocka_unit_test(test_ranges_keep_their_order),
        cmocka_unit_test(test_ranges_refused),
        cmocka_unit_test(test_ranges_print),
        cmocka_unit_test(test_measurement),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
