#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cmxsafe/core/ip.h"

static void reads_what_it_writes(void **state)
{
    static const char *const same[] = {
        "0.0.0.0", "10.0.0.1", "255.255.255.255",    "::",         "::1",
        "1::",     "fd00::17", "fd00:1:2:3:4:5:6:7", "1:0:0:2::3", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"};
    char text[CMX_IP_TEXT_MAX];
    struct cmx_ip ip;

    (void)state;
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
        assert_true(cmx_ip_parse(&ip, same[i]));
        cmx_ip_text(&ip, text);
        assert_string_equal(text, same[i]);
    }
    assert_true(cmx_ip_parse(&ip, "FD00:0:00:000:0000::0017"));
    cmx_ip_text(&ip, text);
    assert_string_equal(text, "fd00::17");
}

static void refuses_all_other_text(void **state)
{
    static const char *const bad[] = {"",
                                      " ",
                                      "localhost",
                                      "UNKNOWN",
                                      "10.0.0",
                                      "10.0.0.1.2",
                                      "10.0.0.256",
                                      "10.0.0.01",
                                      "010.0.0.1",
                                      "0x0a.0.0.1",
                                      "167772161",
                                      "10.0.0.1 ",
                                      " 10.0.0.1",
                                      "10.0.0.1:80",
                                      "10.0.0.1\n",
                                      "10..0.1",
                                      "-1.0.0.1",
                                      ":",
                                      ":::",
                                      ":1",
                                      "1:",
                                      "1:2:3:4:5:6:7",
                                      "1:2:3:4:5:6:7:8:9",
                                      "1:2:3:4:5:6:7:8:",
                                      "1:2:3:4:5:6:7:8::",
                                      "::1:2:3:4:5:6:7:8",
                                      "1::2::3",
                                      "1:::2",
                                      "12345::",
                                      "fd00::g",
                                      "fd00::1%lo",
                                      "[fd00::1]",
                                      "fd00::1/64",
                                      "fd00::1 fd00::2",
                                      "::ffff:10.0.0.1",
                                      "::ffff:a00:1",
                                      "::10.0.0.1",
                                      "0000:0000:0000:0000:0000:0000:0000:00001"};
    struct cmx_ip ip;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        memset(&ip, 0x5a, sizeof ip);
        if (cmx_ip_parse(&ip, bad[i]))
            fail_msg("'%s' was read as an address", bad[i]);
        assert_int_equal(((const uint8_t *)&ip)[0], 0x5a);
    }
}

static bool in(const char *address, const char *prefix, unsigned bits)
{
    struct cmx_ip a, p;

    assert_true(cmx_ip_parse(&a, address));
    assert_true(cmx_ip_parse(&p, prefix));
    return cmx_ip_in_prefix(&a, &p, bits);
}

static void compares_prefixes_of_one_family(void **state)
{
    (void)state;
    assert_true(in("fd00:1::17", "fd00:1::", 48));
    assert_false(in("fd00:2::17", "fd00:1::", 48));
    assert_true(in("fd00:1:0:8000::", "fd00:1::", 48));
    assert_true(in("fd00:1:7fff::", "fd00:1::", 33));
    assert_false(in("fd00:1:8000::", "fd00:1::", 33));
    assert_true(in("fd00::1", "fd00::1", 128));
    assert_false(in("fd00::1", "fd00::0", 128));
    assert_true(in("1::", "::", 0));
    assert_true(in("10.1.2.3", "10.0.0.0", 8));
    assert_true(in("10.1.2.3", "0.0.0.0", 0));
    assert_false(in("10.1.2.3", "::", 0));
    assert_false(in("::1", "0.0.0.0", 0));
    assert_false(in("10.1.2.3", "10.1.2.3", 33));
    assert_false(in("::1", "::1", 129));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_it_writes),
        cmocka_unit_test(refuses_all_other_text),
        cmocka_unit_test(compares_prefixes_of_one_family),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
