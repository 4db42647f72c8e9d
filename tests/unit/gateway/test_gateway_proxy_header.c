/* Reads the PROXY header of a load balancer. Headers from HAProxy and from cmxsafe's own writer are accepted. All
 * others are refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>

#include "cmxsafe/proxy/originator.h"
#include "cmxsafe/proxy/proxy_v2.h"
#include "gateway/registry/proxy_header.h"

static uint8_t header[GW_PROXY_HEADER_MAX + 64];
static size_t len;
static struct sockaddr_storage client;

/* Writes a header as the device's engine does. */
static void write_header(const char *from, const char *to)
{
    struct cmx_originator a, b;
    struct cmx_buf out;

    cmx_originator_read(&a, from, 50000);
    cmx_originator_read(&b, to, 2222);
    memset(header, 0, sizeof header);
    cmx_buf_init(&out, header, sizeof header);
    assert_int_equal(cmx_originator_header(&out, CMX_PEER_PROXY_V2, &a, &b), CMX_OK);
    len = cmx_buf_len(&out);
}

static void expect_client(const char *want, int family)
{
    char text[INET6_ADDRSTRLEN];
    const struct sockaddr_in *v4 = (const void *)&client;
    const struct sockaddr_in6 *v6 = (const void *)&client;

    assert_int_equal(gw_proxy_header_read(header, len, &client), CMX_OK);
    assert_int_equal(client.ss_family, family);
    inet_ntop(family, family == AF_INET ? (const void *)&v4->sin_addr : (const void *)&v6->sin6_addr, text,
              sizeof text);
    assert_string_equal(text, want);
    assert_int_equal(ntohs(family == AF_INET ? v4->sin_port : v6->sin6_port), 50000);
}

static void both_families_are_read(void **state)
{
    (void)state;
    write_header("192.0.2.7", "10.0.0.1");
    expect_client("192.0.2.7", AF_INET);
    write_header("2001:db8::7", "2001:db8::1");
    expect_client("2001:db8::7", AF_INET6);
    len += 7; /* an extension follows */
    header[CMX_V2_LENGTH + 1] += 7;
    expect_client("2001:db8::7", AF_INET6);
}

static void a_health_check_is_the_load_balancers_own(void **state)
{
    (void)state;
    write_header("192.0.2.7", "10.0.0.1");
    header[CMX_V2_COMMAND] = CMX_V2_LOCAL;
    assert_int_equal(gw_proxy_header_read(header, len, &client), CMX_OK);
    assert_int_equal(client.ss_family, AF_UNSPEC);
}

/* While a header arrives byte by byte, the reader never requests bytes beyond the end of the header. */
static void no_byte_behind_the_header_is_wanted(void **state)
{
    size_t more;

    (void)state;
    write_header("2001:db8::7", "2001:db8::1");
    for (size_t n = 0; n <= len; n++) {
        assert_int_equal(gw_proxy_header_more(header, n, &more), CMX_OK);
        assert_true(n + more <= len);
        assert_int_equal(more == 0, n == len);
        if (n < len)
            assert_int_equal(gw_proxy_header_read(header, n, &client), CMX_EFORMAT);
    }
    assert_int_equal(gw_proxy_header_more(header, len + 1, &more), CMX_EFORMAT);
}

static void refused(size_t at, uint8_t value)
{
    write_header("192.0.2.7", "10.0.0.1");
    header[at] = value;
    assert_int_equal(gw_proxy_header_read(header, len, &client), CMX_EFORMAT);
}

static void everything_else_is_refused(void **state)
{
    static const char version1[] = "PROXY TCP4 192.0.2.7 10.0.0.1 1 2\r\n", ssh[] = "SSH-2.0-x\r\n";
    size_t more;

    (void)state;
    for (size_t i = 0; i < CMX_V2_SIGNATURE_LEN; i++)
        refused(i, 'x');
    refused(CMX_V2_COMMAND, 0x11);       /* the header's version is 1 */
    refused(CMX_V2_COMMAND, 0x22);       /* a command that does not exist */
    refused(CMX_V2_FAMILY, 0x00);        /* a client without an address */
    refused(CMX_V2_FAMILY, 0x12);        /* the protocol is UDP */
    refused(CMX_V2_FAMILY, 0x31);        /* a UNIX socket */
    refused(CMX_V2_FAMILY, CMX_V2_TCP6); /* the length is too short for the family */
    refused(CMX_V2_LENGTH + 1, CMX_V2_TCP4_LEN - 1);
    refused(CMX_V2_LENGTH, 0xff); /* longer than any header */
    assert_int_equal(gw_proxy_header_more((const uint8_t *)version1, 5, &more), CMX_EFORMAT);
    assert_int_equal(gw_proxy_header_more((const uint8_t *)ssh, 1, &more), CMX_EFORMAT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_families_are_read),
        cmocka_unit_test(a_health_check_is_the_load_balancers_own),
        cmocka_unit_test(no_byte_behind_the_header_is_wanted),
        cmocka_unit_test(everything_else_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
