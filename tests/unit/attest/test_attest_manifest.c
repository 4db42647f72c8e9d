#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "cmxsafe/core/text.h"
#include "gateway/verify/manifest.h"

#define HEX "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

static const char whole[] = "# reference values\n"
                            "cmxsafe-manifest 1\r\n"
                            "name secure_services   # the project\n"
                            "version 1.4.0\n"
                            "\n"
                            "secure-version 3\n"
                            "hardware ESP32-S3\n"
                            "flash-size 0x400000\n"
                            "require secure-boot\n"
                            "require confirmed\n"
                            "policy " HEX "\n"
                            "gateway " HEX "\n"
                            "region 0x010000 0x12a340 file firmware.bin 0x20 " HEX "\n"
                            "region 0x12a340 0x300000 erased\n"
                            "region 0x300000 0x400000 fill keys/fill.key " HEX "\n"
                            "mask 0x009000 0x00e000 nvs";

static void test_parse_and_print(void **state)
{
    static char text[CMX_MANIFEST_TEXT_MAX];
    static struct cmx_manifest m, again;
    struct cmx_ranges r;
    struct cmx_buf b;
    unsigned line;
    const char *s;
    struct cmx_why why;

    (void)state;
    assert_int_equal(cmx_manifest_parse(&m, whole, strlen(whole), &line, &why), CMX_OK);
    assert_string_equal(m.name, "secure_services");
    assert_int_equal(m.secure_version, 3);
    assert_int_equal(m.require & (CMX_REQUIRE_SECURE_BOOT | CMX_REQUIRE_CONFIRMED | CMX_REQUIRE_ISOLATION),
                     CMX_REQUIRE_SECURE_BOOT | CMX_REQUIRE_CONFIRMED);
    assert_true(m.has_policy && m.policy[1] == 0x11);
    assert_int_equal(m.n_regions, 3);
    assert_int_equal(m.regions[0].file_offset, 0x20);
    assert_int_equal(m.regions[1].kind, CMX_REGION_ERASED);
    assert_string_equal(m.regions[2].file, "keys/fill.key");
    assert_string_equal(m.masks[0].name, "nvs");
    cmx_manifest_ranges(&m, &r);
    assert_int_equal(r.n, 3);
    assert_int_equal(r.r[0].end, 0x12b000); /* the regions meet at 0x12a340, within a chunk */
    assert_int_equal(r.r[1].begin, 0x12b000);
    assert_int_equal(r.r[2].begin, 0x300000);
    cmx_buf_init(&b, text, sizeof text);
    assert_int_equal(cmx_manifest_print(&m, &b), CMX_OK);
    assert_int_equal(cmx_buf_cstr(&b, &s), CMX_OK);
    assert_int_equal(cmx_manifest_parse(&again, s, strlen(s), &line, &why), CMX_OK);
    assert_memory_equal(&m, &again, sizeof m);
}

/* No byte of a region may be left out of the ranges, wherever regions meet. */
static void test_ranges_cover_the_regions(void **state)
{
    static const struct {
        const char *regions, *ranges;
    } cases[] = {
        {"region 0x1000 0x2800 erased\nregion 0x2800 0x5000 erased", "0x001000-0x003000,0x003000-0x005000"},
        {"region 0x2800 0x5000 erased\nregion 0x1000 0x2800 erased", "0x003000-0x005000,0x001000-0x003000"},
        {"region 0 0x10 erased\nregion 0x10 0x20 erased\nregion 0x20 0x3000 erased",
         "0x000000-0x001000,0x001000-0x003000"},
        {"region 0 0x5010 erased\nregion 0x5010 0x5020 erased", "0x000000-0x005020"}, /* 0x5020: the end of flash */
        {"region 0x1000 0x2800 erased\nregion 0x3000 0x4000 erased", "0x001000-0x002800,0x003000-0x004000"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[256], got[128];
        struct cmx_manifest m;
        struct cmx_ranges r;
        struct cmx_buf b;
        struct cmx_why why;
        unsigned line;
        const char *s;

        snprintf(text, sizeof text, "cmxsafe-manifest 1\nflash-size 0x5020\n%s\n", cases[i].regions);
        assert_int_equal(cmx_manifest_parse(&m, text, strlen(text), &line, &why), CMX_OK);
        cmx_manifest_ranges(&m, &r);
        cmx_buf_init(&b, got, sizeof got);
        cmx_ranges_print(&r, &b);
        assert_int_equal(cmx_buf_cstr(&b, &s), CMX_OK);
        assert_string_equal(s, cases[i].ranges);
    }
}

/* Editors on Windows write a byte order mark and CR LF. */
static void test_byte_order_mark(void **state)
{
    static const char utf16[] = "\xff\xfe"
                                "c\0m\0x\0";
    static char text[2 * sizeof whole + 3] = "\xef\xbb\xbf";
    struct cmx_manifest m, marked;
    size_t len = 3;
    unsigned line;
    struct cmx_why why = {0};

    (void)state;
    assert_int_equal(cmx_manifest_parse(&m, whole, strlen(whole), &line, &why), CMX_OK);
    for (const char *p = whole; *p; p++) {
        if (*p == '\n')
            text[len++] = '\r';
        text[len++] = *p;
    }
    if (cmx_manifest_parse(&marked, text, len, &line, &why) != CMX_OK)
        fail_msg("%u: %s", line, why.text);
    assert_memory_equal(&m, &marked, sizeof m);
    assert_int_equal(cmx_manifest_parse(&m, utf16, sizeof utf16 - 1, &line, &why), CMX_EFORMAT);
    assert_string_equal(why.text, "it is UTF-16 text; save it as UTF-8");
}

static void test_refused(void **state)
{
    static const struct {
        const char *body;
        unsigned line;
    } bad[] = {
        {"", 1}, /* flash size and regions are missing */
        {"flash-size 0x1000\n", 2},
        {"flash-size 0x1000\nregion 0 0x1001 erased\n", 3},
        {"flash-size 0x1000\nregion 0x10 0x10 erased\n", 3},
        {"flash-size 0x1000\nregion 0 16 erased\nregion 15 20 erased\n", 4},
        {"flash-size 0x1000\nregion 0 16 erased\nmask 15 20 nvs\n", 4},
        {"flash-size 0x1000\nregion 0 16 file ../../etc/shadow 0 " HEX "\n", 3},
        {"flash-size 0x1000\nregion 0 16 file /etc/shadow 0 " HEX "\n", 3},
        {"flash-size 0x1000\nregion 0 16 file a 0 " HEX "00\n", 3},
        {"flash-size 0x1000\nregion 0 16 file a 0\n", 3},
        {"flash-size 0x1000\nregion 0 16 sparse\n", 3},
        {"flash-size 0x1000\nregion 0 16\n", 3},
        {"require magic\n", 2},
        {"nmae x\n", 2},
        {"name a b\n", 2},
        {"name longer_before\nname short\n", 3}, /* ambiguous: two different values */
        {"version 1   # one\nversion 1\n", 3},
        {"hardware a\nhardware b\n", 3},
        {"flash-size 1\nflash-size 1\n", 3},
        {"secure-version 1\nsecure-version 2\n", 3},
        {"policy " HEX "\npolicy " HEX "\n", 3},
        {"gateway " HEX "\ngateway " HEX "\n", 3},
        {"name \"\"\n", 2},
        {"name \"a\n", 2},
        {"name \"a\\\n", 2},
        {"name \"a\"b\n", 2},
        {"name \"a\tb\"\n", 2},
        {"flash-size 0x1000\nregion 0 16 file \"\" 0 " HEX "\n", 3},
        {"flash-size 0x1000\nregion 0 16 erased\nmask 16 20 \"\"\n", 4},
        {"policy 00\n", 2},
        {"name \x01\n", 2},
        {"secure-version -1\n", 2},
        {"name 0123456789012345678901234567890123456789012345678901234567890123\n", 2},
    };
    static struct cmx_manifest m;
    struct cmx_why why;
    unsigned line;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char text[512] = "cmxsafe-manifest 1\n";

        why.text[0] = '\0';
        strcat(text, bad[i].body);
        assert_int_not_equal(cmx_manifest_parse(&m, text, strlen(text), &line, &why), CMX_OK);
        assert_int_equal(line, bad[i].line);
        assert_true(strlen(why.text) > 0);
    }
    assert_int_not_equal(cmx_manifest_parse(&m, "cmxsafe-manifest 2\n", 19, &line, &why), CMX_OK);
    assert_int_not_equal(cmx_manifest_parse(&m, "", 0, &line, &why), CMX_OK);
}

/* Texts with blanks, comment signs and quotes, as Arduino's cores and users write them. */
static void test_texts_print_as_they_are_read(void **state)
{
    static const char *const texts[] = {"esp-idf: v5.5.1 38eeba213a",
                                        "a   b",
                                        "a#b",
                                        "#",
                                        "\"",
                                        "\"a\"",
                                        "a\"b",
                                        "a\\b",
                                        " ",
                                        " \\\" ",
                                        "\\",
                                        "\\\\",
                                        "e1#\"\\"};
    static struct cmx_manifest m, again;
    static char text[CMX_MANIFEST_TEXT_MAX];
    struct cmx_buf b;
    unsigned line;
    const char *s;
    struct cmx_why why;

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        assert_int_equal(cmx_manifest_parse(&m, whole, strlen(whole), &line, &why), CMX_OK);
        memset(m.name, 0, sizeof m.name);
        strcpy(m.name, texts[i]);
        memset(m.regions[0].file, 0, sizeof m.regions[0].file);
        strcpy(m.regions[0].file, texts[i]);
        memset(m.masks[0].name, 0, sizeof m.masks[0].name);
        strcpy(m.masks[0].name, texts[i]);
        cmx_buf_init(&b, text, sizeof text);
        assert_int_equal(cmx_manifest_print(&m, &b), CMX_OK);
        assert_int_equal(cmx_buf_cstr(&b, &s), CMX_OK);
        assert_int_equal(cmx_manifest_parse(&again, s, strlen(s), &line, &why), CMX_OK);
        assert_memory_equal(&m, &again, sizeof m);
    }
    strcpy(m.name, "caf\xc3\xa9"); /* printing refuses a text that the parser would refuse */
    cmx_buf_init(&b, text, sizeof text);
    assert_int_equal(cmx_manifest_print(&m, &b), CMX_EINVAL);
    strcpy(m.name, "two\nlines");
    cmx_buf_init(&b, text, sizeof text);
    assert_int_equal(cmx_manifest_print(&m, &b), CMX_EINVAL);
}

/* The longest texts, with every character escaped, are printed as lines that can be parsed. */
static void test_longest(void **state)
{
    static struct cmx_manifest m, again;
    static char text[CMX_MANIFEST_TEXT_MAX], comment[1024];
    struct cmx_buf b;
    unsigned line;
    const char *s;
    struct cmx_why why;

    (void)state;
    assert_int_equal(cmx_manifest_parse(&m, whole, strlen(whole), &line, &why), CMX_OK);
    memset(m.name, '"', sizeof m.name - 1);
    memset(m.regions[0].file, '"', sizeof m.regions[0].file - 1);
    m.regions[0].file_offset = UINT32_MAX;
    cmx_buf_init(&b, text, sizeof text);
    assert_int_equal(cmx_manifest_print(&m, &b), CMX_OK);
    assert_int_equal(cmx_buf_cstr(&b, &s), CMX_OK);
    assert_int_equal(cmx_manifest_parse(&again, s, strlen(s), &line, &why), CMX_OK);
    assert_memory_equal(&m, &again, sizeof m);
    memset(comment, 'c', sizeof comment);
    memcpy(comment, "name a #", 8);
    snprintf(text, sizeof text, "cmxsafe-manifest 1\n%.1000s\nflash-size 1\nregion 0 1 erased\n", comment);
    assert_int_equal(cmx_manifest_parse(&m, text, strlen(text), &line, &why), CMX_OK);
    memset(comment, ' ', 8);
    snprintf(text, sizeof text, "cmxsafe-manifest 1\n%.1000s\n", comment);
    assert_int_equal(cmx_manifest_parse(&m, text, strlen(text), &line, &why), CMX_ENOSPC);
}

static void test_gaps(void **state)
{
    static const char text[] = "cmxsafe-manifest 1\nflash-size 0x1000\nregion 0x800 0x900 erased\n"
                               "region 0x10 0x20 erased\nmask 0x20 0x30 nvs\n";
    static const char all[] = "cmxsafe-manifest 1\nflash-size 0x1000\nregion 0x800 0x1000 erased\nmask 0 0x800 nvs\n";
    static struct cmx_manifest m;
    struct cmx_range gaps[CMX_MANIFEST_GAPS_MAX];
    struct cmx_why why;
    unsigned line;

    (void)state;
    assert_int_equal(cmx_manifest_parse(&m, text, sizeof text - 1, &line, &why), CMX_OK);
    assert_int_equal(cmx_manifest_gaps(&m, gaps), 3);
    assert_true(gaps[0].begin == 0 && gaps[0].end == 0x10);
    assert_true(gaps[1].begin == 0x30 && gaps[1].end == 0x800);
    assert_true(gaps[2].begin == 0x900 && gaps[2].end == 0x1000);
    assert_int_equal(cmx_manifest_parse(&m, all, sizeof all - 1, &line, &why), CMX_OK);
    assert_int_equal(cmx_manifest_gaps(&m, gaps), 0);
}

/* The maximum number of gaps: sixteen regions and sixteen masks, none of which are adjacent. */
static void test_most_gaps(void **state)
{
    static struct cmx_manifest m;
    static char text[4096];
    struct cmx_range gaps[CMX_MANIFEST_GAPS_MAX];
    struct cmx_why why;
    unsigned line;

    (void)state;
    strcpy(text, "cmxsafe-manifest 1\nflash-size 0x10000\n");
    for (unsigned i = 0; i < 16; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "region %u %u erased\nmask %u %u m\n", 100 * i + 10,
                 100 * i + 20, 100 * i + 50, 100 * i + 60);
    assert_int_equal(cmx_manifest_parse(&m, text, strlen(text), &line, &why), CMX_OK);
    assert_int_equal(cmx_manifest_gaps(&m, gaps), CMX_MANIFEST_GAPS_MAX);
    assert_int_equal(gaps[CMX_MANIFEST_GAPS_MAX - 1].end, 0x10000);
}

static void test_fill(void **state)
{
    static const char key[] = "0123456789abcdef";
    uint8_t want[64], have[64], part[64];

    (void)state;
    assert_int_equal(cmx_text_hex_decode(want, 64,
                                         "542c078c0f73d37d0ba7b98e3195d335758e10da793e982971ee749ae6e1ad20"
                                         "0c2f9807bcb17fce27dabc5ed68729700e537d0001850c894c6c4b0ab6520154"),
                     CMX_OK);
    assert_int_equal(cmx_fill(key, 16, 0x10000, have, sizeof have), CMX_OK);
    assert_memory_equal(want, have, 64);
    for (size_t from = 0; from < 64; from++) /* the result does not depend on how the bytes are split */
        for (size_t to = from; to <= 64; to++) {
            memset(part, 0xee, sizeof part);
            assert_int_equal(cmx_fill(key, 16, 0x10000 + (uint32_t)from, part, to - from), CMX_OK);
            assert_memory_equal(part, want + from, to - from);
            if (to - from < 64)
                assert_int_equal(part[to - from], 0xee);
        }
    assert_int_equal(cmx_fill(key, 15, 0, have, 1), CMX_EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse_and_print),
        cmocka_unit_test(test_ranges_cover_the_regions),
        cmocka_unit_test(test_byte_order_mark),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_texts_print_as_they_are_read),
        cmocka_unit_test(test_longest),
        cmocka_unit_test(test_gaps),
        cmocka_unit_test(test_most_gaps),
        cmocka_unit_test(test_fill),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
