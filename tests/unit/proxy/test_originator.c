#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cmxsafe/proxy/originator.h"

static struct cmx_originator from(const char *text, uint32_t port)
{
    struct cmx_originator o;

    memset(&o, 0x5a, sizeof o);
    cmx_originator_read(&o, text, port);
    return o;
}

static void only_a_plain_unicast_address_is_known(void **state)
{
    static const char *const bad[] = {"",          "localhost",   "UNKNOWN",         "cam-17.cmx",   "::",
                                      "0.0.0.0",   "ff02::1",     "224.0.0.1",       "fe80::1%eth0", "::ffff:10.0.0.1",
                                      "[fd00::1]", "fd00::1\r\n", "::ffff:7f00:1",   "010.0.0.1",    "fd00::1,fd00::2",
                                      "fd00::1 ",  "fd00::1/128", "255.255.255.255", "10.1"};
    char longer[300];

    (void)state;
    assert_true(from("fd00::17", 50000).known);
    assert_true(from("10.0.0.1", 65535).known);
    assert_true(from("127.0.0.1", 0).known);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (from(bad[i], 1).known)
            fail_msg("'%s' is known", bad[i]);
    assert_false(from("fd00::17", 65536).known);
    memset(longer, '1', sizeof longer - 1);
    longer[sizeof longer - 1] = 0;
    assert_false(from(longer, 1).known);
    memcpy(longer, "fd00::17", 8); /* its first 8 characters are an address, but the whole text is not */
    assert_false(from(longer, 1).known);
}

static bool identity(const char *who)
{
    struct cmx_originator o = from(who, 1);

    return cmx_originator_is_identity(&o);
}

static void an_identity_is_a_global_ipv6_address(void **state)
{
    (void)state;
    assert_true(identity("fd00::17"));
    assert_true(identity("2001:db8::1"));
    assert_false(identity("::1"));
    assert_false(identity("fe80::1"));
    assert_false(identity("10.0.0.1"));
    assert_false(identity("::ffff:10.0.0.1"));
    assert_false(identity("ff02::1"));
    assert_false(identity("localhost"));
}

static bool allowed(const char *who, const char *list)
{
    struct cmx_originator o = from(who, 1);

    return cmx_originator_allowed(&o, list);
}

static void a_list_accepts_its_addresses_and_prefixes(void **state)
{
    static const char list[] = "fd00:0:0:0::17, fd00:1::/48,10.0.0.0/8\t192.0.2.1";

    (void)state;
    assert_int_equal(cmx_originator_check_list(list), CMX_OK);
    assert_true(allowed("fd00::17", list));
    assert_true(allowed("fd00:1:0:5::1", list));
    assert_true(allowed("10.255.0.1", list));
    assert_true(allowed("192.0.2.1", list));
    assert_false(allowed("fd00::18", list));
    assert_false(allowed("fd00:2::1", list));
    assert_false(allowed("192.0.2.2", list));
    assert_false(allowed("127.0.0.1", list));
    assert_true(allowed("fd00::18", NULL));
    assert_true(allowed("localhost", NULL));
}

static void an_unknown_originator_is_in_no_list(void **state)
{
    static const char everything[] = "::/0, 0.0.0.0/0";

    (void)state;
    assert_true(allowed("fd00::1", everything));
    assert_true(allowed("10.0.0.1", everything));
    assert_false(allowed("localhost", everything));
    assert_false(allowed("::ffff:10.0.0.1", everything));
    assert_false(allowed("fe80::1%lo", everything));
    assert_false(allowed("", everything));
    assert_false(allowed("10.0.0.1", "::/0"));
    assert_false(allowed("fd00::1", "0.0.0.0/0"));
}

static void a_wrong_list_is_refused_and_accepts_nobody(void **state)
{
    static const char *const bad[] = {"",
                                      " , ",
                                      "fd00::1/129",
                                      "10.0.0.0/33",
                                      "fd00::1/",
                                      "fd00::1/x",
                                      "localhost",
                                      "fd00::/-1",
                                      "/48",
                                      "fd00::1/48/48",
                                      "fd00::%lo",
                                      "10.0.0",
                                      "::ffff:10.0.0.1",
                                      "fd00::/4 8",
                                      "fd00::1; fd00::2",
                                      "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128"};

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (cmx_originator_check_list(bad[i]) != CMX_EINVAL)
            fail_msg("the list '%s' is accepted", bad[i]);
        assert_false(allowed("8.8.8.8", bad[i]));
    }
    assert_false(allowed("fd00::2", "fd00::1, nonsense, fd00::2")); /* an invalid entry ends the list */
}

static void a_list_is_bounded(void **state)
{
    char list[CMX_PROXY_ALLOW_MAX * 8 + 16] = "";

    (void)state;
    for (int i = 0; i < CMX_PROXY_ALLOW_MAX; i++)
        strcat(list, "fd00::1,");
    assert_int_equal(cmx_originator_check_list(list), CMX_OK);
    strcat(list, "fd00::2");
    assert_int_equal(cmx_originator_check_list(list), CMX_ENOSPC);
}

static void header_is(cmx_proxy_peer version, const struct cmx_originator *who, const struct cmx_originator *to,
                      const void *expected, size_t len)
{
    uint8_t bytes[CMX_ORIGINATOR_HEADER_MAX];
    struct cmx_buf out;

    cmx_buf_init(&out, bytes, sizeof bytes);
    assert_int_equal(cmx_originator_header(&out, version, who, to), CMX_OK);
    assert_int_equal(cmx_buf_len(&out), len);
    assert_memory_equal(cmx_buf_data(&out), expected, len);
}

static void v1(const char *who, uint32_t port, const char *to, uint16_t to_port, const char *expected)
{
    struct cmx_originator a = from(who, port), b = from(to, to_port);

    header_is(CMX_PEER_PROXY_V1, &a, &b, expected, strlen(expected));
}

static void version_1_is_text(void **state)
{
    (void)state;
    v1("fd00::17", 50000, "fd00::99", 81, "PROXY TCP6 fd00::17 fd00::99 50000 81\r\n");
    v1("10.0.0.1", 1, "192.0.2.9", 65535, "PROXY TCP4 10.0.0.1 192.0.2.9 1 65535\r\n");
    v1("fd00::17", 50000, "", 81, "PROXY TCP6 fd00::17 ::1 50000 81\r\n");
    v1("fd00::17", 50000, "192.0.2.9", 81, "PROXY TCP6 fd00::17 ::1 50000 81\r\n");
    v1("10.0.0.1", 50000, "fd00::99", 81, "PROXY TCP4 10.0.0.1 127.0.0.1 50000 81\r\n");
    v1("localhost", 50000, "fd00::99", 81, "PROXY UNKNOWN\r\n");
    v1("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 1, "fd00::99", 81, "PROXY UNKNOWN\r\n"); /* a multicast address */
    v1("fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 65535, "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 65535,
       "PROXY TCP6 fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n");
}

static void version_2_is_binary(void **state)
{
    static const uint8_t tcp4[] =
        "\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\x0a\x00\x00\x01\xc0\x00\x02\x09\xc3\x50\x00\x51";
    static const uint8_t tcp6[] = "\r\n\r\n\0\r\nQUIT\n\x21\x21\x00\x24"
                                  "\xfd\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x17"
                                  "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\xc3\x50\x00\x51";
    static const uint8_t unknown[] = "\r\n\r\n\0\r\nQUIT\n\x21\x00\x00\x00";
    struct cmx_originator a = from("10.0.0.1", 50000), b = from("192.0.2.9", 81), none = from("nobody", 1);

    (void)state;
    header_is(CMX_PEER_PROXY_V2, &a, &b, tcp4, sizeof tcp4 - 1);
    header_is(CMX_PEER_PROXY_V2, &none, &b, unknown, sizeof unknown - 1);
    a = from("fd00::17", 50000);
    header_is(CMX_PEER_PROXY_V2, &a, &b, tcp6, sizeof tcp6 - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_a_plain_unicast_address_is_known),
        cmocka_unit_test(an_identity_is_a_global_ipv6_address),
        cmocka_unit_test(a_list_accepts_its_addresses_and_prefixes),
        cmocka_unit_test(an_unknown_originator_is_in_no_list),
        cmocka_unit_test(a_wrong_list_is_refused_and_accepts_nobody),
        cmocka_unit_test(a_list_is_bounded),
        cmocka_unit_test(version_1_is_text),
        cmocka_unit_test(version_2_is_binary),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
