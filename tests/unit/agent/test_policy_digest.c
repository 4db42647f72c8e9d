/* The digest of the agent's policy: each setting that decides about packets changes it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "agent/isolation/agent_isolation.h"
#include "cmxsafe/port/crypto.h"

static struct agent_config c;

static void configure(void)
{
    memset(&c, 0, sizeof c);
    c.gateways.n = 1;
    c.gateways.at[0].host = "192.0.2.1";
    c.gateways.at[0].port = 22;
    c.isolation.enabled = c.isolation.dhcp = c.isolation.ipv6 = true;
    c.isolation.resolvers = (char *)"192.0.2.53";
    c.n_contexts = 2;
    for (size_t i = 0; i < 2; i++) {
        snprintf(c.contexts[i].name, sizeof c.contexts[i].name, "context%zu", i);
        c.contexts[i].options.local_host = "127.0.0.1";
        c.contexts[i].options.local_port = (uint16_t)(80 + i);
    }
    c.contexts[1].options.direction = CMX_DIRECT;
}

static void digest(uint8_t out[CMX_SHA256_LEN])
{
    assert_int_equal(isolation_digest(&c, out), CMX_OK);
}

static void each_setting_counts(void **state)
{
    uint8_t have[15][CMX_SHA256_LEN];

    (void)state;
    for (size_t n = 0; n < sizeof have / sizeof have[0]; n++) {
        configure();
        switch (n) {
        case 1:
            c.gateways.at[0].port = 23;
            break;
        case 2:
            c.gateways.at[0].host = "gateway.example";
            break;
        case 3:
            c.isolation.resolvers = (char *)"192.0.2.54";
            break;
        case 4:
            c.isolation.time_servers = (char *)"192.0.2.123";
            break;
        case 5:
            c.isolation.forwarder = (char *)"1";
            break;
        case 6:
            c.isolation.agent_user = (char *)"1";
            break;
        case 7:
            c.isolation.dhcp = false;
            break;
        case 8:
            c.isolation.ipv6 = false;
            break;
        case 9:
            c.contexts[0].options.local_port = 82;
            break;
        case 10:
            c.contexts[1].options.tasks = "1";
            break;
        case 11:
            c.contexts[0].options.local_host = "::1";
            break;
        case 12:
            c.gateways.at[0].host = "gateway2.example";
            break;
        case 13:
            c.gateways.n = 2;
            c.gateways.at[1].host = "192.0.2.2";
            c.gateways.at[1].port = 22;
            break;
        case 14:
            c.contexts[0].options.direction = CMX_DIRECT;
            break;
        default:
            break;
        }
        digest(have[n]);
        for (size_t i = 0; i < n; i++)
            if (memcmp(have[i], have[n], CMX_SHA256_LEN) == 0)
                fail_msg("the settings %zu and %zu have the same digest", i, n);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_setting_counts)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
