/* Compares the ruleset of the isolation policy with golden files, so that a diff shows each change. CMX_UPDATE_GOLDEN=1
 * writes the golden files.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>

#include "agent/isolation/nft_ruleset.h"

static struct cmx_ip ip(const char *text)
{
    struct cmx_ip out;
    uint8_t b[16];

    if (inet_pton(AF_INET, text, b) == 1)
        cmx_ip_v4(&out, b);
    else if (inet_pton(AF_INET6, text, b) == 1)
        cmx_ip_v6(&out, b);
    else
        fail();
    return out;
}

static void golden(const char *name, const char *text)
{
    char path[128], was[CMX_NFT_TEXT_MAX];
    FILE *f;
    size_t n;

    snprintf(path, sizeof path, "tests/golden/isolation/%s.nft", name);
    if (getenv("CMX_UPDATE_GOLDEN")) {
        f = fopen(path, "w");
        assert_non_null(f);
        assert_true(fputs(text, f) >= 0);
        assert_int_equal(fclose(f), 0);
    }
    f = fopen(path, "r");
    assert_non_null(f);
    n = fread(was, 1, sizeof was - 1, f);
    fclose(f);
    was[n] = 0;
    assert_string_equal(text, was);
}

static void check(const char *name, const struct cmx_nft_config *c)
{
    static char text[CMX_NFT_TEXT_MAX];
    struct cmx_buf b;
    const char *s;
    size_t cap;

    cmx_buf_init(&b, text, sizeof text);
    assert_int_equal(cmx_nft_ruleset(c, &b), CMX_OK);
    assert_int_equal(cmx_buf_cstr(&b, &s), CMX_OK);
    golden(name, s);
    /* If the buffer is too small, by any amount, the result is an error and never a truncated ruleset. */
    for (cap = 0; cap < strlen(s); cap += 97) {
        static char small[CMX_NFT_TEXT_MAX];

        cmx_buf_init(&b, small, cap);
        assert_int_equal(cmx_nft_ruleset(c, &b), CMX_ENOSPC);
    }
}

static void set_up(struct cmx_nft_config *c)
{
    memset(c, 0, sizeof *c);
    c->agent_uid = 990;
    c->idle_s = 75;
}

/* An empty configuration: only the link's own protocols pass. */
static void bare(void **state)
{
    struct cmx_nft_config c;

    (void)state;
    set_up(&c);
    check("bare", &c);
}

static void whole(void **state)
{
    struct cmx_nft_config c;

    (void)state;
    set_up(&c);
    c.policy.gateways[c.policy.n_gateways++] = (struct cmx_iso_gateway){.ip = ip("192.0.2.1"), .port = 22};
    c.policy.gateways[c.policy.n_gateways++] = (struct cmx_iso_gateway){.ip = ip("2001:db8::1"), .port = 22};
    c.policy.resolvers[c.policy.n_resolvers++] = ip("192.0.2.53");
    c.policy.resolvers[c.policy.n_resolvers++] = ip("2001:db8::53");
    c.policy.time_servers[c.policy.n_time_servers++] = ip("192.0.2.123");
    c.policy.dhcp4 = c.policy.dhcp6 = c.policy.ipv6 = true;
    c.policy.contexts[0] = (struct cmx_iso_context){.port = 81};
    c.contexts[0].name = "stream";
    c.policy.contexts[1] = (struct cmx_iso_context){.port = 8989, .local = ip("::1")};
    c.contexts[1].name = "ota";
    c.policy.contexts[2] = (struct cmx_iso_context){.direct = true, .port = 1883};
    c.contexts[2] = (struct cmx_nft_context){.name = "mqtt", .users = {1000, 1001}, .n_users = 2};
    c.policy.contexts[3] = (struct cmx_iso_context){.direct = true, .port = 1884, .local = ip("::1")};
    c.contexts[3] = (struct cmx_nft_context){.name = "for\"all\n", .open = true};
    c.policy.n_contexts = 4;
    check("whole", &c);
}

static void followed(void **state)
{
    struct cmx_nft_config c;

    (void)state;
    set_up(&c);
    c.follow = true;
    c.policy.gateways[c.policy.n_gateways++] = (struct cmx_iso_gateway){.name = "gw.example", .port = 2222};
    c.policy.resolvers[c.policy.n_resolvers++] = ip("127.0.0.53");
    c.live[c.n_live++] = (struct cmx_end){ip("198.51.100.7"), 2222};
    c.kept[CMX_NFT_SESSIONS4] = " 192.0.2.5 . 50000 . 198.51.100.7 . 2222 expires 1m ";
    c.kept[CMX_NFT_ROUTERS] = " fe80::1 . 02:00:00:00:00:01 expires 59m ";
    check("followed", &c);
}

static void deny(void **state)
{
    static char text[CMX_NFT_TEXT_MAX];
    struct cmx_buf b;
    const char *s;

    (void)state;
    cmx_buf_init(&b, text, sizeof text);
    assert_int_equal(cmx_nft_deny(&b), CMX_OK);
    assert_int_equal(cmx_buf_cstr(&b, &s), CMX_OK);
    assert_null(strstr(s, "add element"));
    assert_null(strstr(s, "@idle@"));
    cmx_buf_init(&b, text, 1000);
    assert_int_equal(cmx_nft_deny(&b), CMX_ENOSPC);
}

static void changes(void **state)
{
    const struct cmx_end v4 = {ip("198.51.100.7"), 22}, v6 = {ip("2001:db8::7"), 2222};
    struct cmx_nft_config c;
    char text[4096];
    struct cmx_buf b;
    const char *s;

    (void)state;
    cmx_buf_init(&b, text, sizeof text);
    assert_int_equal(cmx_nft_gateway(&b, &v4, true), CMX_OK);
    assert_int_equal(cmx_nft_gateway(&b, &v4, false), CMX_OK);
    assert_int_equal(cmx_nft_gateway(&b, &v6, true), CMX_OK);
    set_up(&c);
    assert_int_equal(cmx_nft_resolving(&b, &c, true), CMX_OK);
    c.forwarder_uid = 991;
    assert_int_equal(cmx_nft_resolving(&b, &c, false), CMX_OK);
    assert_int_equal(cmx_nft_resolvers(&b, NULL, 0), CMX_OK);
    assert_int_equal(cmx_nft_resolvers(&b, &v6.ip, 1), CMX_OK);
    assert_int_equal(cmx_nft_removal(&b), CMX_OK);
    assert_int_equal(cmx_buf_cstr(&b, &s), CMX_OK);
    golden("changes", s);
}

static void bounds_are_checked(void **state)
{
    struct cmx_nft_config c;
    char text[64];
    struct cmx_buf b;

    (void)state;
    cmx_buf_init(&b, text, sizeof text);
    set_up(&c);
    c.idle_s = 0;
    assert_int_equal(cmx_nft_ruleset(&c, &b), CMX_EINVAL);
    set_up(&c);
    c.policy.n_contexts = CMX_ISO_CONTEXTS_MAX + 1;
    assert_int_equal(cmx_nft_ruleset(&c, &b), CMX_EINVAL);
    set_up(&c);
    c.n_live = CMX_NFT_LIVE_MAX + 1;
    assert_int_equal(cmx_nft_ruleset(&c, &b), CMX_EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bare), cmocka_unit_test(whole),   cmocka_unit_test(followed),
        cmocka_unit_test(deny), cmocka_unit_test(changes), cmocka_unit_test(bounds_are_checked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
