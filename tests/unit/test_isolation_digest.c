/* The digest of a policy: the same rules give the same, any change another. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cmxsafe/core/text.h"
#include "cmxsafe/isolation/digest.h"

static void sample(struct cmx_iso_config *c)
{
    static const uint8_t gateway[4] = {192, 0, 2, 1};
    static const uint8_t resolver[16] = {0x20, 0x01, 0x0d, 0xb8, [15] = 0x53};

    memset(c, 0, sizeof *c);
    cmx_ip4(&c->gateways[0], gateway);
    c->n_gateways = 1;
    c->gateway_port = 22;
    c->names[1] = "time.example";
    cmx_ip6(&c->resolvers[0], resolver);
    c->n_resolvers = 1;
    c->dhcp4 = true;
    c->control_ports[0] = 32768;
    c->contexts[0].port = 81;
    c->contexts[1].port = 8888;
    c->n_contexts = 2;
}

static void digest(const struct cmx_iso_config *c, uint8_t out[32])
{
    assert_int_equal(cmx_iso_config_digest(c, out), CMX_OK);
}

static void expect_other(struct cmx_iso_config *c, const uint8_t base[32])
{
    uint8_t have[32];

    digest(c, have);
    assert_memory_not_equal(base, have, 32);
    sample(c);
}

/* Computed by Python's hashlib from what digest.h says. */
static void test_vector(void **state)
{
    struct cmx_iso_config c;
    uint8_t have[32];
    char hex[65];

    (void)state;
    sample(&c);
    digest(&c, have);
    cmx_hex_encode(hex, have, 32);
    assert_string_equal(hex, "1348f863af8070d2369d668c441e5ca2ccf210c80ea94277ba95378dbb20c019");
}

static void test_every_rule_counts(void **state)
{
    struct cmx_iso_config c;
    uint8_t base[32];

    (void)state;
    sample(&c);
    digest(&c, base);
    c.gateway_port = 23;
    expect_other(&c, base);
    c.gateways[0].w[3] ^= 1;
    expect_other(&c, base);
    c.n_gateways = 0;
    expect_other(&c, base);
    c.names[0] = c.names[1];
    c.names[1] = NULL;
    expect_other(&c, base);
    c.names[1] = "time.exampl";
    expect_other(&c, base);
    c.n_time_servers = 1;
    expect_other(&c, base);
    c.ipv6 = true;
    expect_other(&c, base);
    c.control_ports[1] = 1;
    expect_other(&c, base);
    c.contexts[1].port = 8889;
    expect_other(&c, base);
    c.contexts[0].direct = true;
    expect_other(&c, base);
    c.contexts[0].tasks = "mqtt";
    expect_other(&c, base);
    c.contexts[0].local.w[0] = 1;
    expect_other(&c, base);
    c.n_contexts = 1;
    expect_other(&c, base);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vector),
        cmocka_unit_test(test_every_rule_counts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
