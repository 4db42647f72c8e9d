/* The digest of a policy: equal rules have equal digests, and any change to a rule changes the digest. */
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
    cmx_ip_v4(&c->gateways[0].ip, gateway);
    c->n_gateways = 1;
    c->gateways[0].port = 22;
    c->time_names[0] = "time.example";
    cmx_ip_v6(&c->resolvers[0], resolver);
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

/* The expected digest was computed with Python's hashlib, as digest.h defines it. */
static void test_vector(void **state)
{
    struct cmx_iso_config c;
    uint8_t have[32];
    char hex[65];

    (void)state;
    sample(&c);
    digest(&c, have);
    cmx_text_hex_encode(hex, have, 32);
    assert_string_equal(hex, "1348f863af8070d2369d668c441e5ca2ccf210c80ea94277ba95378dbb20c019");
}

/* The digest covers each further gateway: its address or name, its port and its place in the list. */
static void further_gateways_count(void **state)
{
    struct cmx_iso_config c;
    uint8_t one[32], two[32];

    (void)state;
    sample(&c);
    digest(&c, one);
    c.gateways[1] = (struct cmx_iso_gateway){.ip = c.gateways[0].ip, .port = 2222};
    c.gateways[2] = (struct cmx_iso_gateway){.name = "gw3.example", .port = 22};
    digest(&c, two);
    assert_memory_equal(one, two, 32); /* n_gateways does not count these two yet */
    c.n_gateways = 3;
    digest(&c, two);
    assert_memory_not_equal(one, two, 32);
    for (unsigned i = 0; i < 5; i++) {
        sample(&c);
        c.gateways[1] = (struct cmx_iso_gateway){.ip = c.gateways[0].ip, .port = i == 0 ? 2223 : 2222};
        c.gateways[2] = (struct cmx_iso_gateway){.name = i == 1 ? "gw4.example" : "gw3.example", .port = 22};
        c.n_gateways = i == 2 ? 2 : 3;
        if (i == 3)
            c.gateways[1].ip.w[3] ^= 1;
        if (i == 4) {
            struct cmx_iso_gateway swap = c.gateways[1];

            c.gateways[1] = c.gateways[2];
            c.gateways[2] = swap;
        }
        expect_other(&c, two);
    }
}

static void test_every_rule_counts(void **state)
{
    struct cmx_iso_config c;
    uint8_t base[32];

    (void)state;
    sample(&c);
    digest(&c, base);
    c.gateways[0].port = 23;
    expect_other(&c, base);
    c.gateways[0].ip.w[3] ^= 1;
    expect_other(&c, base);
    c.n_gateways = 0;
    expect_other(&c, base);
    c.gateways[0].name = c.time_names[0];
    c.time_names[0] = NULL;
    expect_other(&c, base);
    c.time_names[0] = "time.exampl";
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
        cmocka_unit_test(further_gateways_count),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
