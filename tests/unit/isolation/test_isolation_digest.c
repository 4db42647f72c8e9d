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

static void expect_digest(const struct cmx_iso_config *c, const char *expected)
{
    uint8_t have[32];
    char hex[65];

    digest(c, have);
    cmx_text_hex_encode(hex, have, 32);
    assert_string_equal(hex, expected);
}

/* The expected digests were computed with Python's hashlib, as digest.h defines them. */
static void test_vector(void **state)
{
    struct cmx_iso_config c;

    (void)state;
    sample(&c);
    expect_digest(&c, "1348f863af8070d2369d668c441e5ca2ccf210c80ea94277ba95378dbb20c019");
    c.gateways[0] = (struct cmx_iso_gateway){.name = "gw.example", .port = 22}; /* its address is not known */
    expect_digest(&c, "150dd7c65b6b477f6208fa79200e43c105c4481f588e1c57aee665c3504d7e23");
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

/* As many contexts as a configuration may have: the number of contexts does not fit in one byte. */
static void fill_contexts(struct cmx_iso_config *c, size_t n)
{
    sample(c);
    for (size_t i = 0; i < n; i++)
        c->contexts[i] = (struct cmx_iso_context){.port = (uint16_t)(i + 1)};
    c->n_contexts = n;
}

/* The expected digests were computed with Python's hashlib, as digest.h defines them. */
static void counts_of_each_size(void **state)
{
    static const struct {
        size_t n;
        const char *digest;
    } known[] = {{254, "00368c4ba76766e64809bdc2d0383f4bf54b5f25a67c044c82777b701d72f105"},
                 {255, "b42f438503361dbe39dfa8dbc2dc0cbcbfdfb179867223849ea02e33e6929fec"},
                 {CMX_ISO_CONTEXTS_MAX, "18d1e1209ce242987b16f19a26f0e4426ad6248dfbc7759e9d5889148fd97d0b"}};
    static struct cmx_iso_config c;

    (void)state;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        fill_contexts(&c, known[i].n);
        expect_digest(&c, known[i].digest);
    }
}

#define TASKS 257 /* the length of the lists of tasks below; neither of its bytes is NUL */
#define HASHED (20 + 2 + TASKS)

/* Makes n contexts and one gateway for which the digest hashes the same bytes. Writes the contexts to first[0] to
 * first[n - 1] and the gateway's name to `name`, and returns the name's length. The bytes of the first context equal
 * the gateway's port, its empty list of addresses, the length of its name and the first 15 bytes of the name. The bytes
 * of the other contexts equal the rest of the name, so they contain no NUL. */
static size_t disguise_gateway(struct cmx_iso_context *first, size_t n, const char *tasks, char *name)
{
    const size_t len = 15 + (n - 1) * HASHED;
    char *at = name + 15;

    first[0] = (struct cmx_iso_context){.direct = true, .port = (uint16_t)(len >> 8)}; /* the gateway's port is 256 */
    memset(&first[0].local, 'a', sizeof first[0].local);
    *(uint8_t *)&first[0].local = (uint8_t)len;
    memset(name, 'a', 15);
    for (size_t i = 1; i < n; i++, at += HASHED) {
        first[i] = (struct cmx_iso_context){.direct = true, .port = 'a' << 8 | 'a', .tasks = tasks};
        memset(&first[i].local, 'a', sizeof first[i].local);
        memset(at, 'a', HASHED);
        at[0] = at[1] = 1;
        at[20] = TASKS >> 8;
        at[21] = TASKS & 0xff;
    }
    *at = '\0';
    return len;
}

/* Two configurations have different digests: one has 256 contexts; the other has no context, but further gateways whose
 * hashed bytes equal those of the contexts. */
static void contexts_are_not_gateways(void **state)
{
    static struct cmx_iso_config many, none;
    static char names[2][65536], tasks[TASKS + 1];
    uint8_t one[32], two[32];

    (void)state;
    memset(tasks, 'a', TASKS);
    sample(&many);
    sample(&none);
    assert_true(disguise_gateway(&many.contexts[0], 235, tasks, names[0]) == strlen(names[0]));
    assert_true(disguise_gateway(&many.contexts[235], 21, tasks, names[1]) == strlen(names[1]));
    many.n_contexts = 256;
    none.n_contexts = 0;
    none.n_gateways = 3;
    none.gateways[1] = (struct cmx_iso_gateway){.port = 256, .name = names[0]};
    none.gateways[2] = (struct cmx_iso_gateway){.port = 256, .name = names[1]};
    digest(&many, one);
    digest(&none, two);
    assert_memory_not_equal(one, two, 32);
}

/* A text whose length does not fit in its two bytes has no digest. */
static void refuses_a_longer_text(void **state)
{
    static char tasks[65537];
    struct cmx_iso_config c;
    uint8_t have[32];

    (void)state;
    memset(tasks, 'a', 65536);
    sample(&c);
    c.contexts[1].tasks = tasks;
    assert_int_equal(cmx_iso_config_digest(&c, have), CMX_EINVAL);
    tasks[65535] = '\0';
    digest(&c, have);
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
        cmocka_unit_test(counts_of_each_size),
        cmocka_unit_test(contexts_are_not_gateways),
        cmocka_unit_test(refuses_a_longer_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
