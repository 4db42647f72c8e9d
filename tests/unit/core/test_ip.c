#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cmxsafe/core/ip.h"

static void reads_what_it_writes(void **state)
{
    static const char *const same[] = {"0.0.0.0",
                                       "10.0.0.1",
                                       "255.255.255.255",
                                       "::",
                                       "::1",
                                       "1::",
                                       "fd00::17",
                                       "fd00:1:2:3:4:5:6:7",
                                       "1:0:0:2::3",
                                       "1::2:0:0:3",
                                       "1::2:0:0:3:4", /* "::" stands for the first of two runs of zeros */
                                       "1:0:2:0:3:0:4:0",
                                       "::1:d",
                                       "::ffff:0:a00:1",
                                       "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"};
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

/* ip[1] stays zero: an inet_ntop that reads beyond ip[0] would take other bytes for a part of the address. */
static void check_round_trip(const uint8_t *bytes, bool v4)
{
    struct cmx_ip ip[2] = {0}, again;
    char text[CMX_IP_TEXT_MAX];

    if (v4)
        cmx_ip_v4(&ip[0], bytes);
    else
        cmx_ip_v6(&ip[0], bytes);
    cmx_ip_text(&ip[0], text);
    if (!cmx_ip_parse(&again, text) || !cmx_ip_equal(&ip[0], &again))
        fail_msg("'%s' was not read as the address that it was written for", text);
}

/* Each address that cmx_ip_text writes is one that cmx_ip_parse reads: addresses with zeros in all possible places, and
 * random ones. */
static void every_text_is_read(void **state)
{
    static const uint16_t groups[] = {1, 0xd, 0xa0, 0x100, 0xabcd, 0xffff};
    uint32_t random = 1;

    (void)state;
    for (unsigned i = 0; i < 256 * sizeof groups / sizeof groups[0]; i++) {
        const uint16_t group = groups[i / 256];
        uint8_t b[16];

        for (unsigned k = 0; k < 8; k++) {
            b[2 * k] = (uint8_t)((i >> k & 1) * (group >> 8));
            b[2 * k + 1] = (uint8_t)((i >> k & 1) * (group & 0xff));
        }
        check_round_trip(b, false);
        check_round_trip(b, true);
    }
    for (unsigned i = 0; i < 20000; i++) {
        uint8_t b[16];

        for (unsigned k = 0; k < sizeof b; k++) {
            random = random * 1664525 + 1013904223;
            b[k] = (uint8_t)(random >> 31 ? random >> 16 : 0);
        }
        check_round_trip(b, i & 1);
    }
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
                                      "1:2:3:4:5:6:7:8:9:0:1:2:3:4:5:6:7:8:9:0:1:2:3:4:5:6:7:8:9:0:1:2:3:4:5:6:7:8:9:0",
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
    assert_false(in("10.1.2.3", "10.9.9.9", UINT_MAX - 95)); /* plus IPv4's 96 bits, this would wrap around to 0 */
    assert_false(in("::1", "::1", 129));
}

static void knows_special_addresses(void **state)
{
    enum { HOST, ANY, LOOPBACK, LINK_LOCAL, MULTICAST };
    static const struct {
        const char *text;
        int kind;
    } all[] = {{"::", ANY},
               {"0.0.0.0", ANY},
               {"::1:0:0", HOST},
               {"1::", HOST},
               {"0.0.0.1", HOST},
               {"::1", LOOPBACK},
               {"::2", HOST},
               {"1::1", HOST},
               {"127.255.255.255", LOOPBACK},
               {"126.0.0.1", HOST},
               {"128.0.0.1", HOST},
               {"fe80::1", LINK_LOCAL},
               {"febf::1", LINK_LOCAL},
               {"fec0::1", HOST},
               {"fd80::1", HOST},
               {"ff02::1", MULTICAST},
               {"feff::1", HOST},
               {"224.0.0.0", MULTICAST},
               {"255.255.255.255", MULTICAST},
               {"223.255.255.255", HOST}};

    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        struct cmx_ip ip;

        assert_true(cmx_ip_parse(&ip, all[i].text));
        assert_int_equal(cmx_ip_is_any(&ip), all[i].kind == ANY);
        assert_int_equal(cmx_ip_is_loopback(&ip), all[i].kind == LOOPBACK);
        assert_int_equal(cmx_ip_is_link_local6(&ip), all[i].kind == LINK_LOCAL);
        assert_int_equal(cmx_ip_is_multicast(&ip), all[i].kind == MULTICAST);
        assert_int_equal(cmx_ip_is_host(&ip), all[i].kind != ANY && all[i].kind != MULTICAST);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_it_writes),    cmocka_unit_test(every_text_is_read),
        cmocka_unit_test(refuses_all_other_text),  cmocka_unit_test(compares_prefixes_of_one_family),
        cmocka_unit_test(knows_special_addresses),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
