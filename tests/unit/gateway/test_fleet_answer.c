/* An answer from another gateway is not trusted: its text is checked before it reaches the operator's terminal or JSON.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/common/json_get.h"
#include "cli/gateway/gw_fleet_answer.h"
#define KEY "SHA256:tVXWcL9S3Ky/zBicfhJIhj3F6/Vy5yniJFS33QG2/Bo"
#define SESSION                                                                                                        \
    "{\"name\":\"cam-1\",\"identity\":\"fd00::17\",\"from\":\"[2001:db8::7]:50412\",\"key\":\"" KEY "\","              \
    "\"client\":\"OpenSSH_9.2p1\",\"since\":1795911283,\"pid\":17,\"bytes_in\":1,\"bytes_out\":2,\"rtt_us\":3,"        \
    "\"refused\":0,\"forwards\":[\"[fd00::17]:8888\",\"[fd00::17]:81\"]}"
#define STATUS(sessions) "{\"pid\":5,\"judge\":\"\",\"counters\":{\"logins\":1},\"sessions\":[" sessions "]}\n"

static char *made;
static size_t made_len, malformed;

static cmx_err reads(cmx_err (*reader)(const char *text, FILE *out, size_t *malformed), const char *text)
{
    FILE *f;
    cmx_err err;

    free(made);
    f = open_memstream(&made, &made_len);
    malformed = 0;
    err = reader(text, f, &malformed);
    fclose(f);
    for (size_t i = 0; i < made_len; i++)
        assert_true(made[i] == '\n' || (made[i] >= 0x20 && made[i] < 0x7f));
    return err;
}

static void expect_status(const char *text, const char *want, size_t left_out)
{
    assert_int_equal(reads(gw_fleet_answer_status, text), CMX_OK);
    assert_string_equal(made, want);
    assert_int_equal(malformed, left_out);
    assert_true(json_is_whole(made));
}

static void sessions_are_read(void **state)
{
    (void)state;
    expect_status(STATUS(""), "{\"sessions\":[]}\n", 0);
    expect_status(STATUS(SESSION), "{\"sessions\":[" SESSION "]}\n", 0);
    expect_status(STATUS(SESSION "," SESSION), "{\"sessions\":[" SESSION "," SESSION "]}\n", 0);
    /* A newer gateway may send members that this version does not know. */
    expect_status(STATUS("{\"new\":{\"a\":[1]},\"name\":\"alice@corp\",\"since\":1,\"ca\":\"corp\",\"serial\":\"7\"}"),
                  "{\"sessions\":[{\"name\":\"alice@corp\",\"ca\":\"corp\",\"serial\":\"7\",\"since\":1,"
                  "\"forwards\":[]}]}\n",
                  0);
}

static void no_text_controls_the_terminal(void **state)
{
    (void)state;
    expect_status(STATUS("{\"name\":\"cam-1\",\"since\":1,\"client\":\"\x1b]0;x\x07\x7f\xc2\x9b\x9b\r\\u001b\xff\"}"),
                  "{\"sessions\":[{\"name\":\"cam-1\",\"client\":\"?]0;x????????\",\"since\":1,\"forwards\":[]}]}\n",
                  0);
    /* Quotes and braces in a text cannot end a string or an object in our JSON. */
    expect_status(STATUS("{\"name\":\"cam-1\",\"since\":1,\"client\":\"\\\"}],{\\\\\"}"),
                  "{\"sessions\":[{\"name\":\"cam-1\",\"client\":\"\\\"}],{\\\\\",\"since\":1,\"forwards\":[]}]}\n", 0);
}

static void a_malformed_session_is_left_out(void **state)
{
    static const char *const bad[] = {
        "{}",
        "17",
        "[]",
        "null",
        "{\"name\":\"cam-1\"}",
        "{\"since\":1}",
        "{\"name\":17,\"since\":1}",
        "{\"name\":null,\"since\":1}",
        "{\"name\":[\"cam-1\"],\"since\":1}",
        "{\"name\":\"cam 1\",\"since\":1}",
        "{\"name\":\"user:root\",\"since\":1}",
        "{\"name\":\"\",\"since\":1}",
        "{\"name\":\"cam-1\\u001b\",\"since\":1}",
        "{\"name\":\"cam-1\",\"since\":\"1\"}",
        "{\"name\":\"cam-1\",\"since\":-1}",
        "{\"name\":\"cam-1\",\"since\":1.5}",
        "{\"name\":\"cam-1\",\"since\":253402300800}",
        "{\"name\":\"cam-1\",\"since\":99999999999999999999999}",
        "{\"name\":\"cam-1\",\"since\":1,\"identity\":\"10.0.0.1\"}",
        "{\"name\":\"cam-1\",\"since\":1,\"from\":\"evil host\"}",
        "{\"name\":\"cam-1\",\"since\":1,\"key\":\"SHA256:x\"}",
        "{\"name\":\"cam-1\",\"since\":1,\"client\":{\"a\":1}}",
        "{\"name\":\"cam-1\",\"since\":1,\"bytes_in\":true}",
        "{\"name\":\"cam-1\",\"since\":1,\"forwards\":\"x\"}",
        "{\"name\":\"cam-1\",\"since\":1,\"forwards\":[17]}",
        "{\"name\":\"cam-1\",\"since\":1,\"forwards\":[\"\\\"}]\"]}",
    };
    char text[4096];

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        snprintf(text, sizeof text, STATUS("%s," SESSION ",%s"), bad[i], bad[i]);
        expect_status(text, "{\"sessions\":[" SESSION "]}\n", 2);
    }
}

static void a_list_without_an_end_is_bounded(void **state)
{
    static char text[1 << 20];
    size_t n = 0;

    (void)state;
    n += (size_t)snprintf(text, sizeof text, "%s", "{\"sessions\":[{\"name\":\"cam-1\",\"since\":1,\"forwards\":[");
    while (n + 32 < sizeof text)
        n += (size_t)snprintf(text + n, sizeof text - n, "\"1:1\",");
    snprintf(text + n, sizeof text - n, "%s", "\"1:1\"]}]}\n");
    expect_status(text, "{\"sessions\":[]}\n", 1);
    memset(text, 'x', sizeof text - 1); /* a name that is too long */
    memcpy(text, "{\"sessions\":[{\"since\":1,\"name\":\"", 32);
    memcpy(text + sizeof text - 8, "\"}]}\n", 6);
    expect_status(text, "{\"sessions\":[]}\n", 1);
}

static void what_is_no_status_is_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "\n",
        "]}\n",
        "nonsense]}\n",
        "[]\n",
        "{}\n",
        "{\"sessions\":{}}\n",
        "{\"sessions\":\"[]}\n",
        "{\"sessions\":[]}}\n",
        "{\"sessions\":[]}{\"sessions\":[]}\n",
        "{\"sessions\":[" SESSION "}\n",
        "{\"sessions\":[" SESSION " " SESSION "]}\n",
        "{\"a\":[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]],\"sessions\":[]}\n",
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(reads(gw_fleet_answer_status, bad[i]), CMX_EFORMAT);
}

static cmx_err reads_record(const char *line)
{
    FILE *f;
    cmx_err err;

    free(made);
    f = open_memstream(&made, &made_len);
    err = gw_fleet_answer_record(line, f);
    fclose(f);
    return err;
}

static void records_are_read(void **state)
{
    static const char *const good[] = {
        "{\"event\":\"close\",\"at\":1795911283123,\"since\":1795911283000,\"consumer\":\"fd00::1\","
        "\"target\":\"fd00::17\",\"port\":8888,\"bytes_in\":1,\"bytes_out\":2}",
        "{\"event\":\"denied-more\",\"at\":5,\"count\":7}",
        "{\"event\":\"denied\",\"at\":5,\"consumer\":\"fd00::1\",\"target\":\"fd00::2\",\"port\":81,\"count\":7}",
    };

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_int_equal(reads_record(good[i]), CMX_OK);
        assert_int_equal(strlen(made), strlen(good[i]) + 1);
        assert_memory_equal(made, good[i], strlen(good[i]));
    }
}

static void malformed_records_are_left_out(void **state)
{
    static const char *const bad[] = {
        "",
        "\r",
        "\x1b[2J",
        "{}",
        "{\"event\":\"open\"}",
        "{\"at\":1}",
        "{\"event\":\"\x1b[2J\",\"at\":1}",
        "{\"event\":\"an event of far too many letters\",\"at\":1}",
        "{\"event\":\"open\",\"at\":-1}",
        "{\"event\":\"open\",\"at\":9999999999999999}",
        "{\"event\":\"open\",\"at\":1,\"port\":65536}",
        "{\"event\":\"open\",\"at\":1,\"consumer\":\"vms\"}",
        "{\"event\":\"open\",\"at\":1,\"consumer\":17}",
        "{\"event\":\"open\",\"at\":1}{\"event\":\"open\",\"at\":1}",
        "{\"event\":\"open\",\"at\":1",
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(reads_record(bad[i]), CMX_EFORMAT);
        assert_string_equal(made, "");
    }
}

static void a_line_without_an_end_is_left_out(void **state)
{
    static const char head[] = "{\"event\":\"open\",\"at\":1,\"x\":\"";
    static char line[1 << 20];

    (void)state;
    memset(line, ' ', sizeof line - 1);
    assert_int_equal(reads_record(line), CMX_EFORMAT);
    memset(line, 'x', sizeof line - 1);
    memcpy(line, head, sizeof head - 1);
    assert_int_equal(reads_record(line), CMX_EFORMAT);
    assert_string_equal(made, "");
    memcpy(line + sizeof line - 3, "\"}", 2); /* now the record is complete, and has an unknown member */
    assert_int_equal(reads_record(line), CMX_OK);
    assert_string_equal(made, "{\"event\":\"open\",\"at\":1}\n");
}

#define MINUTE "{\"at\":1795911300,\"length_ms\":60001,\"sessions\":2,\"bytes_in\":1,\"bytes_out\":2,\"denied\":0}"
#define PARTY                                                                                                          \
    "{\"name\":\"cam-1\",\"sessions\":1,\"bytes_in\":1,\"bytes_out\":2,\"refused\":0,\"denied\":0,"                    \
    "\"takeovers_refused\":0}"

static void traffic_is_read(void **state)
{
    static const char good[] = "{\"minutes\":[" MINUTE "," MINUTE "],\"parties\":[" PARTY "]}\n";
    static const char *const bad[] = {"",
                                      "{}\n",
                                      "{\"minutes\":[]}\n",
                                      "{\"parties\":[]}\n",
                                      "{\"minutes\":[],\"parties\":{}}\n",
                                      "{\"minutes\":[],\"parties\":[]\n"};

    (void)state;
    assert_int_equal(reads(gw_fleet_answer_traffic, "{\"minutes\":[],\"parties\":[]}\n"), CMX_OK);
    assert_string_equal(made, "{\"minutes\":[],\"parties\":[]}\n");
    assert_int_equal(reads(gw_fleet_answer_traffic, good), CMX_OK);
    assert_string_equal(made, good);
    assert_int_equal(malformed, 0);
    assert_int_equal(reads(gw_fleet_answer_traffic,
                           "{\"minutes\":[{},{\"at\":-1},{\"at\":1,\"sessions\":\"x\"}," MINUTE "," MINUTE "],"
                           "\"parties\":[{\"name\":\"\x1b[2J\"},17,{\"bytes_in\":1}," PARTY "]}\n"),
                     CMX_OK);
    assert_string_equal(made, good);
    assert_int_equal(malformed, 6);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(reads(gw_fleet_answer_traffic, bad[i]), CMX_EFORMAT);
}

/* This gateway's own answer contains the names of the devices' SSH software, which may contain braces. */
static void braces_in_a_text_end_no_object(void **state)
{
    static const char text[] = "{\"sessions\":[{\"client\":\"}{\\\"\x1b\",\"name\":\"cam-1\"},{\"name\":\"cam-2\"}]}";
    const char *object = json_first(text, "sessions");
    char name[16];

    (void)state;
    assert_non_null(object);
    assert_true(json_text(object, "name", name, sizeof name));
    assert_string_equal(name, "cam-1");
    assert_true(json_text(object, "client", name, sizeof name));
    assert_string_equal(name, "}{\"?");
    object = json_next(object);
    assert_non_null(object);
    assert_true(json_text(object, "name", name, sizeof name));
    assert_string_equal(name, "cam-2");
    assert_null(json_next(object));
}

static int free_made(void **state)
{
    (void)state;
    free(made); /* allocated by open_memstream */
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sessions_are_read),
        cmocka_unit_test(no_text_controls_the_terminal),
        cmocka_unit_test(a_malformed_session_is_left_out),
        cmocka_unit_test(a_list_without_an_end_is_bounded),
        cmocka_unit_test(what_is_no_status_is_refused),
        cmocka_unit_test(records_are_read),
        cmocka_unit_test(malformed_records_are_left_out),
        cmocka_unit_test(a_line_without_an_end_is_left_out),
        cmocka_unit_test(traffic_is_read),
        cmocka_unit_test(braces_in_a_text_end_no_object),
    };

    return cmocka_run_group_tests(tests, NULL, free_made);
}
