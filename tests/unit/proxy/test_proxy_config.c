#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "cmxsafe/core/base64.h"
#include "cmxsafe/core/mem.h"
#include "cmxsafe/core/why.h"
#include "cmxsafe/proxy/proxy.h"
#include "cmxsafe/proxy/proxy_config.h"
#include "cmxsafe/proxy/ssh_options.h"

/* A key, and its fingerprint as `ssh-keygen -lf` prints it. */
static const char key_line[] =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl github.com";
static const char fingerprint[] = "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU";

static struct cmx_gateway gateway(const char *const *pins, size_t n)
{
    struct cmx_gateway g = {.host = "gw", .user = "u", .password = "p", .host_keys = pins, .n_host_keys = n};

    return g;
}

static void test_base64(void **state)
{
    uint8_t out[4];
    size_t n;

    (void)state;
    assert_int_equal(cmx_base64_decode(out, 4, "Zm9vYg==", 8, &n), CMX_OK);
    assert_int_equal(n, 4);
    assert_memory_equal(out, "foob", 4);
    assert_int_equal(cmx_base64_decode(out, 4, "Zm9vYg", 6, &n), CMX_OK);
    assert_int_equal(cmx_base64_decode(out, 4, "Zm9vYmE=", 8, &n), CMX_ENOSPC);
    assert_int_equal(cmx_base64_decode(out, 4, "Z", 1, &n), CMX_EFORMAT);
    /* The unused bits of the last character are not zero. */
    assert_int_equal(cmx_base64_decode(out, 4, "Zh", 2, &n), CMX_EFORMAT);
    assert_int_equal(cmx_base64_decode(out, 4, "Zm 9", 4, &n), CMX_EFORMAT);
    assert_int_equal(cmx_base64_decode(out, 4, "", 0, &n), CMX_OK);
    assert_int_equal(n, 0);
}

static void test_pins(void **state)
{
    struct cmx_pin a, b, c;
    char text[51], line[256];

    (void)state;
    assert_int_equal(cmx_pin_parse(&a, key_line), CMX_OK);
    assert_int_equal(a.types, 1u << CMX_HOSTKEY_ED25519);
    assert_int_equal(cmx_pin_parse(&b, fingerprint), CMX_OK);
    assert_int_equal(b.types, CMX_HOSTKEY_ANY);
    assert_memory_equal(a.digest, b.digest, 32);
    snprintf(line, sizeof line, "[gw.example]:2222,192.0.2.1 %s", key_line);
    assert_int_equal(cmx_pin_parse(&c, line), CMX_OK);
    assert_memory_equal(a.digest, c.digest, 32);
    cmx_base64_fingerprint(text, a.digest);
    assert_string_equal(text, fingerprint);
    assert_int_equal(cmx_pin_check(&b, 1, a.digest), CMX_PIN_ACCEPTED);
    a.digest[31] ^= 1;
    assert_int_equal(cmx_pin_check(&b, 1, a.digest), CMX_PIN_UNKNOWN);
    assert_int_equal(cmx_pin_check(&b, 0, b.digest), CMX_PIN_UNKNOWN);
}

static void test_a_revoked_pin_wins(void **state)
{
    struct cmx_pin pins[2];
    char line[256];

    (void)state;
    snprintf(line, sizeof line, "@revoked * %s", key_line);
    for (int i = 0; i < 2; i++) { /* the result does not depend on the order */
        assert_int_equal(cmx_pin_parse(&pins[i], fingerprint), CMX_OK);
        assert_int_equal(cmx_pin_parse(&pins[1 - i], line), CMX_OK);
        assert_int_equal(cmx_pin_check(pins, 2, pins[0].digest), CMX_PIN_REVOKED);
        assert_int_equal(cmx_pin_types(pins, 2), CMX_HOSTKEY_ANY);
    }
    assert_int_equal(cmx_pin_types(pins, 1) | cmx_pin_types(pins + 1, 1), CMX_HOSTKEY_ANY);
    assert_int_equal(cmx_pin_types(pins[0].revoked ? pins : pins + 1, 1), 0);
    assert_int_equal(cmx_pin_parse(&pins[0], "@cert-authority * ssh-ed25519 AAAA"), CMX_EFORMAT);
    assert_int_equal(cmx_pin_parse(&pins[0], "@revoked"), CMX_EFORMAT);
}

static void test_bad_pins(void **state)
{
    static const char *const bad[] = {
        "",
        "SHA256:",
        "SHA256:short",
        "MD5:00:11",
        "@cert-authority gw ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl",
        "@revoked",
        "gw ssh-ed25519",
        "gw ssh-ed25519 AAAA",
        /* The line names RSA, but the blob is an Ed25519 key. */
        "gw ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl",
    };
    struct cmx_pin p;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(cmx_pin_parse(&p, bad[i]), CMX_EFORMAT);
    assert_int_equal(cmx_pin_parse(&p, "gw ssh-dss AAAAB3NzaC1kc3M="), CMX_ENOTSUP);
}

static void expect_refused(const struct cmx_gateway *g, const struct cmx_context *c, size_t n, const char *word)
{
    struct cmx_proxy_config *config;
    struct cmx_why why = {""};

    assert_int_equal(cmx_proxy_config_new(&config, g, c, n, &why), CMX_EINVAL);
    assert_null(config);
    if (!strstr(why.text, word))
        fail_msg("'%s' does not contain '%s'", why.text, word);
}

static void test_refusals(void **state)
{
    const char *pins[] = {fingerprint}, *bad_pins[] = {"SHA256:nonsense"};
    struct cmx_context good = {.name = "a", .local_port = 80, .remote_port = 80}, c = good;
    struct cmx_context two[2] = {good, good};
    struct cmx_gateway g = gateway(pins, 1), h;

    (void)state;
    h = gateway(pins, 0);
    expect_refused(&h, &good, 1, "host_key");
    h = gateway(bad_pins, 1);
    expect_refused(&h, &good, 1, "host_key");
    h = g;
    h.password = NULL;
    expect_refused(&h, &good, 1, "credentials");
    h = g;
    h.host = "";
    expect_refused(&h, &good, 1, "host");
    h = g;
    h.user = NULL;
    expect_refused(&h, &good, 1, "user");
    h = g;
    h.keepalive_s = 3601;
    expect_refused(&h, &good, 1, "gateway keepalive: 3601 is more than 3600");
    h.keepalive_s = (unsigned)-1;
    expect_refused(&h, &good, 1, "gateway keepalive");
    h = g;
    h.login_timeout_s = 301;
    expect_refused(&h, &good, 1, "gateway login_timeout");
    h = g;
    h.keepalive_max = 101;
    expect_refused(&h, &good, 1, "gateway keepalive_max");
    h = g;
    h.backoff_base_ms = 3600001;
    expect_refused(&h, &good, 1, "gateway backoff_min");
    h = g;
    h.backoff_max_ms = 86400001;
    expect_refused(&h, &good, 1, "gateway backoff_max");
    c.name = "a-name-that-is-a-little-too-long-for-it";
    expect_refused(&g, &c, 1, "name");
    c = good;
    c.local_port = 0;
    expect_refused(&g, &c, 1, "local_port");
    c = good;
    c.remote_port = 0;
    expect_refused(&g, &c, 1, "remote_port");
    c = good;
    c.direction = CMX_DIRECT;
    expect_refused(&g, &c, 1, "remote_host");
    c = good;
    c.max_connections = CMX_PROXY_CONNECTIONS_MAX + 1;
    expect_refused(&g, &c, 1, "max_connections");
    expect_refused(&g, two, 2, "twice");
    two[1].name = "b";
    expect_refused(&g, two, 2, "same listener");
    two[0].remote_address = "fd00::1";
    two[1].remote_address = "FD00:0::1"; /* the same address */
    expect_refused(&g, two, 2, "same listener");
    two[0].direction = two[1].direction = CMX_DIRECT;
    two[0].remote_host = two[1].remote_host = "h";
    two[0].local_host = "127.0.0.1"; /* the default, which the other context has */
    expect_refused(&g, two, 2, "same listener");
}

/* A key that cannot be read is reported before the first login. */
static void test_keys_are_read(void **state)
{
    const char *pins[] = {fingerprint};
    struct cmx_gateway g = gateway(pins, 1);
    struct cmx_why why = {""};

    (void)state;
    assert_int_equal(cmx_ssh_options_check(&g, &why), CMX_OK);
    g.key_pem = "no key";
    assert_int_equal(cmx_ssh_options_check(&g, &why), CMX_EINVAL);
    assert_non_null(strstr(why.text, "key_pem: not a private key"));
    g.key_file = "/dev/null";
    assert_int_equal(cmx_ssh_options_check(&g, &why), CMX_EINVAL);
    assert_non_null(strstr(why.text, "key_file /dev/null: not a private key"));
}

static void test_copy_and_defaults(void **state)
{
    const char *pins[] = {fingerprint, key_line};
    char name[] = "cam";
    struct cmx_context c = {.name = name, .local_port = 81, .remote_port = 81};
    struct cmx_gateway g = gateway(pins, 2);
    struct cmx_proxy_config *a, *b;

    (void)state;
    assert_int_equal(cmx_proxy_config_new(&a, &g, &c, 1, NULL), CMX_OK);
    name[0] = 'x';
    assert_string_equal(a->contexts[0].name, "cam");
    assert_int_equal(a->contexts[0].max_connections, CMX_PROXY_CONNECTIONS_DEFAULT);
    assert_int_equal(a->gateway.port, 22);
    assert_int_equal(a->gateway.keepalive_s * a->gateway.keepalive_max, 45);
    assert_string_equal(cmx_proxy_context_session(&a->contexts[0]), "cam");
    name[0] = 'c';
    assert_int_equal(cmx_proxy_config_new(&b, &g, &c, 1, NULL), CMX_OK);
    assert_true(cmx_proxy_config_same_gateway(a, b));
    assert_true(cmx_proxy_context_equal(&a->contexts[0], &b->contexts[0]));
    cmx_proxy_config_free(b);
    g.n_host_keys = 1;
    c.high_bw = true;
    assert_int_equal(cmx_proxy_config_new(&b, &g, &c, 1, NULL), CMX_OK);
    assert_false(cmx_proxy_config_same_gateway(a, b));
    assert_false(cmx_proxy_context_equal(&a->contexts[0], &b->contexts[0]));
    cmx_proxy_config_free(b);
    cmx_proxy_config_free(a);
}

static void test_every_allocation_fails_once(void **state)
{
    const char *pins[] = {fingerprint};
    struct cmx_context c[2] = {{.name = "a", .local_port = 1, .remote_port = 1, .session = "s"},
                               {.name = "b", .local_port = 2, .remote_port = 2, .remote_address = "fd00::1"}};
    struct cmx_gateway g = gateway(pins, 1);
    struct cmx_mem_stats before, after;
    struct cmx_proxy *p;
    cmx_err err = CMX_ENOMEM;
    unsigned n;

    (void)state;
    g.host = "127.0.0.1";
    g.port = 1; /* nothing listens there */
    cmx_mem_stats(&before);
    for (n = 1; err; n++) {
        cmx_mem_fail_at(n);
        err = cmx_proxy_create(&p, &g, c, 2, NULL, 0, NULL);
        cmx_mem_fail_at(0);
        if (err) {
            assert_int_equal(err, CMX_ENOMEM);
            assert_null(p);
            cmx_mem_stats(&after);
            assert_int_equal(after.live_bytes, before.live_bytes);
        }
    }
    assert_true(n > 15);
    cmx_proxy_destroy(p);
    cmx_mem_stats(&after);
    assert_int_equal(after.live_bytes, before.live_bytes);
}

static void test_addresses_are_canonical(void **state)
{
    static const char *const same[][2] = {{"FD00::0001", "fd00::1"},
                                          {"fd00:0:0:0:0:0:0:1", "fd00::1"},
                                          {"::", "::"},
                                          {"::1:D", "::1:d"},
                                          {"127.0.0.1", "127.0.0.1"}};
    static const char *const names[] = {"localhost",    "cam.cmx",        "1.2.3",     "fd00::g",
                                        "fe80::1%eth0", "::ffff:1.2.3.4", "010.0.0.1", ""};
    struct cmx_context c = {.name = "c", .local_port = 1, .remote_port = 1}, copy;
    char out[CMX_PROXY_ADDRESS_MAX];

    (void)state;
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
        assert_true(cmx_proxy_address_canonical(same[i][0], out));
        assert_string_equal(out, same[i][1]);
        c.remote_address = same[i][0];
        assert_int_equal(cmx_proxy_context_copy(&copy, &c), CMX_OK);
        assert_string_equal(copy.remote_address, same[i][1]);
        cmx_proxy_context_release(&copy);
    }
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        assert_false(cmx_proxy_address_canonical(names[i], out));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses_are_canonical),
        cmocka_unit_test(test_base64),
        cmocka_unit_test(test_pins),
        cmocka_unit_test(test_a_revoked_pin_wins),
        cmocka_unit_test(test_bad_pins),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_keys_are_read),
        cmocka_unit_test(test_copy_and_defaults),
        cmocka_unit_test(test_every_allocation_fails_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
