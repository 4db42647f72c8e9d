/* Which lines of /etc/resolv.conf name a name server. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "agent/isolation/resolvers.h"

static char file[512]; /* the text of /etc/resolv.conf */

FILE *__wrap_fopen(const char *path, const char *mode);
FILE *__wrap_fopen(const char *path, const char *mode)
{
    assert_string_equal(path, "/etc/resolv.conf");
    (void)mode;
    return fmemopen(file, strlen(file), "r");
}

/* Checks that the file has these name servers, separated by blanks. */
static void check(const char *expected)
{
    struct agent_config c = {.gateways = {.n = 1, .at = {{.host = "gateway.example.org"}}}};
    struct resolvers r;
    struct cmx_why why = {0};
    char found[CMX_ISO_ADDRESSES_MAX * (CMX_IP_TEXT_MAX + 1)] = "";

    assert_int_equal(resolvers_find(&c, &r, &why), CMX_OK);
    for (size_t i = 0; i < r.n; i++) {
        cmx_ip_text(&r.ip[i], found + strlen(found));
        strcat(found, i + 1 < r.n ? " " : "");
    }
    assert_string_equal(found, expected);
}

static void test_lines(void **state)
{
    (void)state;
    strcpy(file, "# nameserver 192.0.2.1\nnameserver \t192.0.2.2 \nnameserver fe80::1%eth0\nnameserver 192.0.2.2\n"
                 "nameserver192.0.2.3\nnameservers 192.0.2.4\nnameserver name\nnameserver 192.0.2.5");
    check("192.0.2.2 fe80::1 192.0.2.5");
}

static void test_long_line(void **state)
{
    (void)state;
    for (size_t len = 240; len < 270; len++) { /* the end of the long comment must not be read as a line */
        snprintf(file, sizeof file, "#%0*dnameserver 192.0.2.1\nnameserver 192.0.2.2\n", (int)len, 0);
        check("192.0.2.2");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_lines), cmocka_unit_test(test_long_line)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
