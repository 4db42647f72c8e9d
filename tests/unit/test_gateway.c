/* The gateway's registry: enrolment, grants, what sshd is told, and what breaks it. Golden files of what is generated.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants the four above first. */
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/gateway/gw.h"
#include "cli/gateway/snippet.h"
#include "cli/gateway/units.h"
#include "gateway/registry/authline.h"
#include "gateway/registry/limits.h"
#include "gateway/registry/sshdlog.h"

static const char *const keys[] = {
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKe0zb5nNeXNTbLFSN1EJ6Tg4bdZXBYgFLUnhrvNIgMB one@desk",
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIO4rCtj9vSe3sQMtVn5ihX4DXDyPLqVyr9KTv6AHUZmB",
    "ecdsa-sha2-nistp256 "
    "AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBGsX0fLhLEJH+Lzm5WOkQPJ3A32BLeszoPShOUXYmMKWT+NC4v4af5uO5+"
    "tKfA+"
    "eFivOM1drMV7Oy7ZAaDe/UfU=",
};

static char folder[64];
static char db[128];
static struct gw gateway;

static struct gw_key key_of(size_t i)
{
    struct gw_key k;
    struct gw_error e;

    if (gw_key_parse(&k, keys[i], &e))
        fail_msg("%s", e.why);
    return k;
}

static int open_registry(void **state)
{
    struct gw_error e;

    (void)state;
    strcpy(folder, "/tmp/cmx-gw-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(db, sizeof db, "%s/registry.db", folder);
    memset(&gateway, 0, sizeof gateway);
    snprintf(gateway.dir, sizeof gateway.dir, "/var/lib/cmxsafe/gateway");
    gateway.user = true;
    snprintf(gateway.domain, sizeof gateway.domain, "cmx");
    snprintf(gateway.account, sizeof gateway.account, "cmxsafe-gw");
    snprintf(gateway.listen, sizeof gateway.listen, "[::]:2222");
    snprintf(gateway.fleet_text, sizeof gateway.fleet_text, "fd12:3456:789a::/48");
    assert_int_equal(gw_fleet_parse(&gateway.fleet, gateway.fleet_text, &e), CMX_OK);
    assert_int_equal(gw_registry_create(&gateway.registry, db, &e), CMX_OK);
    return 0;
}

static int close_registry(void **state)
{
    (void)state;
    gw_registry_close(&gateway.registry);
    unlink(db);
    rmdir(folder);
    return 0;
}

static cmx_err enroll(const char *name, size_t key, const char *ports, gw_outcome *out, struct gw_error *e)
{
    struct gw_device d = {0};
    struct gw_key k = key_of(key);

    snprintf(d.name, sizeof d.name, "%s", name);
    if (!gateway.simple)
        assert_int_equal(gw_address_derive(&gateway.fleet, &k, d.address, e), CMX_OK);
    assert_int_equal(gw_ports_parse(&d, ports, e), CMX_OK);
    return gw_device_enroll(&gateway.registry, &d, &k, out, e);
}

static const char *line_of(size_t key)
{
    static char text[4096];
    struct gw_key k = key_of(key);
    struct cmx_buf b;
    const char *s;
    struct gw_error e;

    cmx_buf_init(&b, text, sizeof text);
    if (gw_authline(&gateway.registry, k.fingerprint, &b, NULL, &e))
        return NULL;
    assert_int_equal(cmx_buf_cstr(&b, &s), CMX_OK);
    return s;
}

static void test_keys(void **state)
{
    static const char *const bad[] = {
        "",
        "ssh-ed25519",
        "ssh-ed25519 AAAA",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKe0zb5nNeXNTbLFSN1EJ6Tg4bdZXBYgFLUnhrvNIgM*",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKe0zb5nNeXNTbLFSN1EJ6Tg4bdZXBYgFLUnhrvNIg==",
        "ssh-dss AAAAB3NzaC1kc3MAAACBAP==",
        "permitlisten=\"*:*\" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKe0zb5nNeXNTbLFSN1EJ6Tg4bdZXBYgFLUnhrvNIgMB",
        "ecdsa-sha2-nistp256 AAAAC3NzaC1lZDI1NTE5AAAAIKe0zb5nNeXNTbLFSN1EJ6Tg4bdZXBYgFLUnhrvNIgMB",
        "-----BEGIN OPENSSH PRIVATE KEY-----",
    };
    struct gw_error e;
    struct gw_key k;

    (void)state;
    k = key_of(0);
    assert_string_equal(k.type, "ssh-ed25519");
    assert_int_equal(strlen(k.fingerprint), 50);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_not_equal(gw_key_parse(&k, bad[i], &e), CMX_OK);
    assert_string_equal(e.why, "this is a private key");
}

static void test_addresses(void **state)
{
    static const char *const bad[] = {"",          "fd00::",   "fd00::/49", "fd00::1/48", "ff02::/16",
                                      "fe80::/64", "fd00::/8", "::/48",     "fd00::/72",  "10.0.0.0/8"};
    struct gw_key k = key_of(0);
    struct gw_fleet f;
    char a[GW_ADDRESS_MAX];
    char hex[33];
    struct gw_error e;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_not_equal(gw_fleet_parse(&f, bad[i], &e), CMX_OK);
    assert_int_equal(gw_address_derive(&gateway.fleet, &k, a, &e), CMX_OK);
    assert_memory_equal(a, "fd12:3456:789a:", 15);
    assert_int_equal(gw_address_given(&gateway.fleet, a, a, &e), CMX_OK);
    assert_int_not_equal(gw_address_given(&gateway.fleet, "fd12:3456:789b::1", a, &e), CMX_OK);
    assert_int_not_equal(gw_address_given(&gateway.fleet, "fd12:3456:789a::", a, &e), CMX_OK);
    assert_int_not_equal(gw_address_from_mac(&gateway.fleet, "02:00:00:00:00:07", a, &e), CMX_OK);
    /* The published form: PREFIX | MAC_GW | 0000 | MAC_DEV. */
    assert_int_equal(gw_fleet_from_mac(&f, "fd00", "02:11:22:33:44:55", &e), CMX_OK);
    assert_int_equal(gw_address_from_mac(&f, "24-6F-28-AA-BB-CC", a, &e), CMX_OK);
    assert_string_equal(a, "fd00:211:2233:4455:0:246f:28aa:bbcc");
    assert_int_equal(gw_address_hex(a, hex), CMX_OK);
    assert_string_equal(hex, "fd000211223344550000246f28aabbcc");
    assert_int_not_equal(gw_address_from_mac(&f, "24:6F:28:AA:BB", a, &e), CMX_OK);
    assert_int_not_equal(gw_address_from_mac(&f, "00:00:00:00:00:00", a, &e), CMX_OK); /* the prefix itself */
    assert_int_not_equal(gw_address_from_mac(&f, "24:6F:28:AA:BB:CC:DD", a, &e), CMX_OK);
}

static void test_enroll(void **state)
{
    struct gw_error e = {0};
    gw_outcome out;
    struct gw_key k = key_of(1);

    (void)state;
    assert_int_equal(enroll("cam-17", 0, "81,8989", &out, &e), CMX_OK);
    assert_int_equal(out, GW_ADDED);
    assert_int_equal(enroll("cam-17", 0, "8989,81", &out, &e), CMX_OK);
    assert_int_equal(out, GW_UNCHANGED);
    assert_int_equal(enroll("cam-17", 0, "81", &out, &e), CMX_OK);
    assert_int_equal(out, GW_CHANGED);
    assert_int_equal(enroll("cam-17", 1, "81", &out, &e), CMX_EEXIST); /* another key */
    assert_int_equal(enroll("cam-18", 0, "81", &out, &e), CMX_EEXIST); /* another's key */
    assert_int_equal(enroll("Cam_18", 1, "81", &out, &e), CMX_EINVAL);
    assert_int_equal(enroll("cam-18", 1, "", &out, &e), CMX_EINVAL);
    assert_int_equal(enroll("cam-18", 1, "81", &out, &e), CMX_OK);
    assert_non_null(strstr(line_of(0), "restrict,port-forwarding,permitlisten=\"[fd12:3456:789a:"));
    assert_non_null(strstr(line_of(0), "]:81\",permitopen=\"none.invalid:1\" ssh-ed25519 "));
    assert_null(strstr(line_of(0), "8989"));

    assert_int_equal(gw_device_rotate(&gateway.registry, "cam-17", &k, &out, &e), CMX_EEXIST);
    assert_non_null(line_of(0));
    k = key_of(2);
    assert_int_equal(gw_device_rotate(&gateway.registry, "cam-17", &k, &out, &e), CMX_OK);
    assert_null(line_of(0));
    assert_non_null(line_of(2));
    assert_int_equal(gw_device_revoke(&gateway.registry, "cam-17", &out, &e), CMX_OK);
    assert_null(line_of(2));
    assert_int_equal(gw_device_revoke(&gateway.registry, "cam-17", &out, &e), CMX_OK);
    assert_int_equal(out, GW_UNCHANGED);
    assert_int_equal(enroll("cam-19", 2, "81", &out, &e), CMX_EEXIST); /* a revoked key never comes back */
    assert_non_null(strstr(e.why, "revoked"));
    assert_int_equal(gw_device_rename(&gateway.registry, "cam-18", "cam-17", &e), CMX_EEXIST);
    assert_int_equal(gw_device_rename(&gateway.registry, "cam-18", "cam-20", &e), CMX_OK);
}

static void test_simple(void **state)
{
    struct gw_error e = {0};
    gw_outcome out;

    (void)state;
    gateway.simple = true;
    assert_int_equal(enroll("cam-17", 0, "8081,8989", &out, &e), CMX_OK);
    assert_int_equal(enroll("cam-18", 1, "8888,8989", &out, &e), CMX_EEXIST);
    assert_string_equal(e.why, "port 8989 is another device's");
    assert_non_null(strstr(line_of(0), ",permitlisten=\"8081\",permitlisten=\"8989\",permitopen=\"none.invalid:1\" "));
}

static void test_directs(void **state)
{
    static const char *const bad[] = {"host", "host:",   ":80",    "host:0", "fd00::1:80",
                                      "*:80", "a\"b:80", "h o:80", "[]:80",  "[x:80"};
    struct gw_device d = {0};
    struct gw_error e;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_not_equal(gw_directs_parse(&d, bad[i], &e), CMX_OK);
    assert_int_equal(gw_directs_parse(&d, "broker.example:1883,[fd00::1]:80", &e), CMX_OK);
    assert_string_equal(d.directs[1].host, "fd00::1");
}

/* What a device is told can be used as it is: no context twice, no port that a service of the device has. */
static void test_snippet(void **state)
{
    struct gw_device d = {.name = "cam-17", .ports = {80, 8080}, .n_ports = 2};
    struct gw_error e;
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);

    (void)state;
    assert_int_equal(gw_directs_parse(&d, "a:1883,b:1883,c:8080,d:60000,e:60000", &e), CMX_OK);
    gw_snippet(f, &gateway, &d, "agent", true);
    assert_int_equal(fclose(f), 0);
    assert_non_null(strstr(text, "[context direct-1883]\ndirection = direct\nlocal_port = 1883\nremote_host = a\n"));
    assert_non_null(strstr(text, "[context direct-11883]\ndirection = direct\nlocal_port = 11883\nremote_host = b\n"));
    assert_non_null(strstr(text, "local_port = 18080\nremote_host = c\nremote_port = 8080\n"));
    assert_non_null(strstr(text, "local_port = 4465\nremote_host = e\nremote_port = 60000\n"));
    assert_non_null(strstr(text, "[identity]\nkey_file = "));
    assert_null(strstr(text, "/etc/cmxsafe/key\n"));
    free(text); /* open_memstream's own */
}

static void test_permits(void **state)
{
    struct gw_error e = {0};
    struct gw_consumer c;
    struct gw_key k = key_of(1);
    gw_outcome out;

    (void)state;
    assert_int_equal(gw_meta_set(&gateway.registry, "domain", "cmx", &e), CMX_OK);
    assert_int_equal(enroll("cam-17", 0, "81,8989", &out, &e), CMX_OK);
    assert_int_equal(gw_consumer_parse(&c, "vms", &e), CMX_OK);
    assert_string_equal(c.kind, "platform");
    assert_int_equal(gw_permit_set(&gateway.registry, &c, "cam-17", 81, &out, &e), CMX_ENOENT); /* no such platform */
    assert_int_equal(gw_platform_set(&gateway.registry, "vms", &k, &out, &e), CMX_OK);
    assert_non_null(strstr(line_of(1), ",permitlisten=\"none.invalid:1\",permitopen=\"none.invalid:1\" "));
    assert_int_equal(gw_permit_set(&gateway.registry, &c, "cam-17", 80, &out, &e), CMX_ENOENT);
    assert_int_equal(gw_permit_set(&gateway.registry, &c, "cam-17", 81, &out, &e), CMX_OK);
    assert_non_null(strstr(line_of(1), ",permitopen=\"cam-17.cmx:81\" "));
    assert_null(strstr(line_of(1), "8989"));
    /* A port that goes takes its grants along. */
    assert_int_equal(enroll("cam-17", 0, "8989", &out, &e), CMX_OK);
    assert_null(strstr(line_of(1), "cam-17"));
    assert_int_equal(gw_permit_set(&gateway.registry, &c, "cam-17", 0, &out, &e), CMX_OK);
    assert_non_null(strstr(line_of(1), "cam-17.cmx:8989"));
    assert_int_equal(gw_permit_remove(&gateway.registry, &c, "cam-17", 0, &out, &e), CMX_OK);
    assert_null(strstr(line_of(1), "cam-17"));
    assert_int_not_equal(gw_consumer_parse(&c, "user:", &e), CMX_OK);
    assert_int_not_equal(gw_consumer_parse(&c, "cgroup:a\" accept", &e), CMX_OK);
    assert_int_not_equal(gw_consumer_parse(&c, "robot:x", &e), CMX_OK);
}

static void reopen_fails(cmx_err expected, const char *why)
{
    struct gw_registry r;
    struct gw_error e = {0};

    assert_int_equal(gw_registry_open(&r, db, false, &e), expected);
    assert_non_null(strstr(e.why, why));
    assert_int_equal(gw_registry_open(&r, db, true, &e), expected);
}

static void test_broken(void **state)
{
    struct gw_registry r;
    struct gw_error e;
    uint8_t noise[4096];
    int fd;

    (void)state;
    assert_int_equal(sqlite3_exec(gateway.registry.db, "PRAGMA user_version = 2", NULL, NULL, NULL), SQLITE_OK);
    reopen_fails(CMX_ENOTSUP, "the registry has version 2, this program knows 1");
    assert_int_equal(
        sqlite3_exec(gateway.registry.db, "PRAGMA user_version = 1; PRAGMA application_id = 7", NULL, NULL, NULL),
        SQLITE_OK);
    reopen_fails(CMX_EFORMAT, "is not a registry");
    gw_registry_close(&gateway.registry);
    memset(noise, 0x5a, sizeof noise);
    fd = open(db, O_WRONLY);
    assert_int_equal(write(fd, noise, sizeof noise), sizeof noise);
    close(fd);
    reopen_fails(CMX_EFORMAT, "damaged");
    assert_int_equal(truncate(db, 0), 0);
    reopen_fails(CMX_EFORMAT, "is not a registry");
    unlink(db);
    reopen_fails(CMX_ENOENT, "no registry");
    assert_int_equal(gw_registry_create(&r, db, &e), CMX_OK);
    gw_registry_close(&r);
    assert_int_equal(gw_registry_create(&r, db, &e), CMX_EEXIST);
}

static void test_log_lines(void **state)
{
    struct gw_log_line l;

    (void)state;
    gw_sshdlog_parse(&l, "Accepted publickey for cmxsafe-gw from 127.0.0.1 port 42634 ssh2: ED25519 "
                         "SHA256:PnB/vWlI6u3leVOaFCFBo7fJRC9WYlCSdxJNg5QoXVQ");
    assert_int_equal(l.kind, GW_LOG_ACCEPTED);
    assert_string_equal(l.fingerprint, "SHA256:PnB/vWlI6u3leVOaFCFBo7fJRC9WYlCSdxJNg5QoXVQ");
    gw_sshdlog_parse(&l, "Invalid user Accepted publickey for x from 1.2.3.4 port 1 ssh2: ED25519 "
                         "SHA256:PnB/vWlI6u3leVOaFCFBo7fJRC9WYlCSdxJNg5QoXVQ");
    assert_int_equal(l.kind, GW_LOG_FAILED);
    gw_sshdlog_parse(&l, "Accepted publickey for cmxsafe-gw");
    assert_int_equal(l.kind, GW_LOG_OTHER);
    gw_sshdlog_parse(&l, "User child is on pid 22737");
    assert_int_equal(l.kind, GW_LOG_CHILD);
    assert_int_equal(l.number, 22737);
    gw_sshdlog_parse(&l, "User child is on pid 99999999999999999999");
    assert_int_equal(l.kind, GW_LOG_OTHER);
    gw_sshdlog_parse(
        &l, "Received request from 127.0.0.1 port 42642 to remote forward to host fd12:3456:789a::2 port 81, but the "
            "request was denied.");
    assert_int_equal(l.kind, GW_LOG_DENIED);
    assert_string_equal(l.detail, "remote forward to host fd12:3456:789a::2 port 81");
    gw_sshdlog_parse(&l, "Failed publickey for cmxsafe-gw from 127.0.0.1 port 42634 ssh2: ED25519 SHA256:x");
    assert_int_equal(l.kind, GW_LOG_FAILED);
    gw_sshdlog_parse(&l, "error: channel_setup_fwd_listener_tcpip: cannot listen to port: 81");
    assert_int_equal(l.kind, GW_LOG_IN_USE);
    assert_int_equal(l.number, 81);
}

static void test_limits(void **state)
{
    static struct gw_limits l;
    uint8_t a[16] = {1};
    uint8_t b[16] = {2};

    (void)state;
    memset(&l, 0, sizeof l);
    for (int i = 0; i < 6; i++) {
        assert_false(gw_limits_refuse(&l, a, 1000));
        gw_limits_failed(&l, a, GW_PENALTY_FAILED_MS, 1000);
    }
    gw_limits_failed(&l, a, GW_PENALTY_FAILED_MS, 1000);
    assert_true(gw_limits_refuse(&l, a, 1000));
    assert_false(gw_limits_refuse(&l, b, 1000));
    assert_false(gw_limits_refuse(&l, a, 1000 + 7 * GW_PENALTY_FAILED_MS));
    gw_limits_succeeded(&l, a, 1000);
    assert_false(gw_limits_refuse(&l, a, 1000));
    for (int i = 0; i < 10000; i++)
        gw_limits_failed(&l, b, GW_PENALTY_FAILED_MS, 1000);
    assert_true(gw_limits_refuse(&l, b, 1000 + GW_PENALTY_MAX_MS - GW_PENALTY_LIMIT_MS - 1));
    assert_false(gw_limits_refuse(&l, b, 1000 + GW_PENALTY_MAX_MS - GW_PENALTY_LIMIT_MS));
    /* A flood of sources pushes out the mildest, never the worst. */
    for (uint32_t i = 0; i < 3 * GW_SOURCES_MAX; i++) {
        uint8_t s[16] = {9, (uint8_t)(i >> 8), (uint8_t)i};
        gw_limits_failed(&l, s, GW_PENALTY_FAILED_MS, 1000);
    }
    assert_true(gw_limits_refuse(&l, b, 1000));
}

/* Compares with tests/golden/gateway/NAME; CMX_GOLDEN=1 writes it anew. */
static void golden(const char *name, const char *text)
{
    char path[128];
    static char expected[32768];
    FILE *f;
    size_t n;

    snprintf(path, sizeof path, "tests/golden/gateway/%s", name);
    if (getenv("CMX_GOLDEN")) {
        f = fopen(path, "w");
        assert_non_null(f);
        fputs(text, f);
        fclose(f);
    }
    f = fopen(path, "r");
    assert_non_null(f);
    n = fread(expected, 1, sizeof expected - 1, f);
    expected[n] = '\0';
    fclose(f);
    assert_string_equal(text, expected);
}

static void test_golden(void **state)
{
    struct gw_error e = {0};
    struct gw_consumer c;
    gw_outcome out;
    char *text;
    size_t len;
    FILE *f;

    (void)state;
#define GENERATE(call)                                                                                                 \
    do {                                                                                                               \
        f = open_memstream(&text, &len);                                                                               \
        assert_non_null(f);                                                                                            \
        call;                                                                                                          \
        fclose(f);                                                                                                     \
    } while (0)
    gateway.user = false;
    GENERATE(gw_sshd_config(f, &gateway, "/usr/lib/cmxsafe/cmxsafe-authkeys"));
    golden("sshd_config", text);
    free(text);
    gateway.simple = true;
    GENERATE(gw_sshd_config(f, &gateway, "/usr/lib/cmxsafe/cmxsafe-authkeys"));
    golden("sshd_config.simple", text);
    free(text);
    gateway.simple = false;
    GENERATE(gw_unit_text(f, &gateway, "service", "/usr/bin/cmxsafe"));
    golden("cmxsafe-gateway.service", text);
    free(text);
    GENERATE(gw_unit_text(f, &gateway, "socket", "/usr/bin/cmxsafe"));
    golden("cmxsafe-gateway.socket", text);
    free(text);
    GENERATE(gw_unit_text(f, &gateway, "net", "/usr/bin/cmxsafe"));
    golden("cmxsafe-gateway-net.service", text);
    free(text);
    gateway.user = true;
    assert_int_equal(enroll("cam-17", 0, "81,8989", &out, &e), CMX_OK);
    assert_int_equal(enroll("cam-18", 1, "81", &out, &e), CMX_OK);
    assert_int_equal(gw_consumer_parse(&c, "user:1001", &e), CMX_OK);
    assert_int_equal(gw_permit_set(&gateway.registry, &c, "cam-17", 0, &out, &e), CMX_OK);
    assert_int_equal(gw_consumer_parse(&c, "group:1002", &e), CMX_OK);
    assert_int_equal(gw_permit_set(&gateway.registry, &c, "cam-18", 81, &out, &e), CMX_OK);
    assert_int_equal(gw_consumer_parse(&c, "cgroup:system.slice/nvr.service", &e), CMX_OK);
    assert_int_equal(gw_permit_set(&gateway.registry, &c, "cam-18", 81, &out, &e), CMX_OK);
    GENERATE(assert_int_equal(gw_nft_fleet(f, &gateway, &e), CMX_OK));
    golden("fleet.nft", text);
    free(text);
    GENERATE(assert_int_equal(gw_nft_host(f, &gateway, &e), CMX_OK));
    golden("host.nft", text);
    free(text);
    GENERATE(assert_int_equal(gw_hosts(f, &gateway, &e), CMX_OK));
    golden("hosts", text);
    free(text);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, open_registry, close_registry)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_keys),      TEST(test_addresses), TEST(test_enroll),  TEST(test_simple),
        TEST(test_directs),   TEST(test_snippet),   TEST(test_permits), TEST(test_broken),
        TEST(test_log_lines), TEST(test_limits),    TEST(test_golden),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
