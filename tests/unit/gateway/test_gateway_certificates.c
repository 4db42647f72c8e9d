/* Certificates of a CA: parsing, logins, the line for sshd, KRLs, and the upgrade of a registry without certificates.
 * data/certificates has one certificate per line: alice's (with the principals alice and root), a host's, one without
 * principals, and one for an ECDSA key. The last line is the key of the CA that signed them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h needs the headers above, so they come first. */
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmxsafe/core/mem.h"
#include "gateway/folder/gw_files.h"
#include "gateway/folder/gw_revocation.h"
#include "gateway/registry/authline.h"
#include "gateway/registry/party.h"
#include "gateway/registry/sshdlog.h"
#include "gateway/server/gw_revoked.h"

#define DATA "tests/unit/gateway/data/"
#define IN_2026 INT64_C(1780000000)
#define AUTHORITY "SHA256:0MRVpBuJ29KARzSyKP3Eu1TLvIoH2RWyxgtBRZ3IoIU"

enum { ALICE, HOST, NOBODY, ECDSA, CA, LINES };

static char lines[LINES][2048];
static char folder[64];
static char db[128];
static struct gw_registry registry;
static struct gw_certificate certificate;

static int open_registry(void **state)
{
    struct cmx_why e = {0};
    struct gw_device d = {0};
    struct gw_fleet fleet;
    struct gw_key k;
    gw_outcome out;
    FILE *f = fopen(DATA "certificates", "r");

    (void)state;
    assert_non_null(f);
    for (size_t i = 0; i < LINES; i++) {
        assert_non_null(fgets(lines[i], sizeof lines[i], f));
        lines[i][strcspn(lines[i], "\n")] = '\0';
    }
    fclose(f);
    strcpy(folder, "/tmp/cmx-gw-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(db, sizeof db, "%s/registry.db", folder);
    assert_int_equal(gw_registry_create(&registry, db, &e), CMX_OK);
    assert_int_equal(gw_fleet_parse(&fleet, "fd12:3456:789a::/48", &e), CMX_OK);
    assert_int_equal(
        gw_key_parse(&k, "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKe0zb5nNeXNTbLFSN1EJ6Tg4bdZXBYgFLUnhrvNIgMB", &e),
        CMX_OK);
    snprintf(d.name, sizeof d.name, "cam-17");
    assert_int_equal(gw_address_derive(&fleet, &k, d.address, &e), CMX_OK);
    assert_int_equal(gw_device_parse_ports(&d, "81,82", &e), CMX_OK);
    assert_int_equal(gw_device_enroll(&registry, &d, &k, 0, &out, &e), CMX_OK);
    return 0;
}

static int close_registry(void **state)
{
    char copy[160];

    (void)state;
    gw_registry_close(&registry);
    snprintf(copy, sizeof copy, "%s.v5", db);
    unlink(copy);
    unlink(db);
    rmdir(folder);
    return 0;
}

static void add_authority(const char *name)
{
    struct cmx_why e = {0};
    struct gw_key k;
    gw_outcome out;

    assert_int_equal(gw_key_parse(&k, lines[CA], &e), CMX_OK);
    assert_int_equal(gw_authority_set(&registry, name, &k, &out, &e), CMX_OK);
}

static cmx_err give(const char *who, bool remove, struct cmx_why *e)
{
    struct gw_consumer c;
    gw_outcome out;
    cmx_err err = gw_consumer_parse(&c, who, e);

    if (err)
        return err;
    return remove ? gw_grant_remove(&registry, &c, "cam-17", 81, &out, e)
                  : gw_grant_set(&registry, &c, "cam-17", 81, NULL, &out, e);
}

/* Returns the consumer of the certificate, or the reason why it may not log in. */
static const char *accepted(size_t line, int64_t now)
{
    static char text[CMX_WHY_MAX];
    struct cmx_why e = {0};
    struct gw_authority a;
    struct gw_consumer who;
    cmx_err err;

    assert_int_equal(gw_certificate_parse(&certificate, lines[line], &e), CMX_OK);
    err = gw_authority_accept(&registry, &certificate, now, &a, &who, &e);
    assert_true(err == CMX_OK || err == CMX_EAUTH);
    snprintf(text, sizeof text, "%s", err ? e.text : who.name);
    return text;
}
static void refused(size_t line, int64_t now, const char *why)
{
    const char *text = accepted(line, now);

    if (!strstr(text, why))
        fail_msg("'%s' does not contain '%s'", text, why);
}

static void test_parse(void **state)
{
    static char line[sizeof lines[0]];
    struct cmx_why e = {0};
    char principal[GW_NAME_MAX];
    size_t at = 0;
    size_t n;

    (void)state;
    assert_int_equal(gw_certificate_parse(&certificate, lines[ALICE], &e), CMX_OK);
    assert_string_equal(certificate.fingerprint, "SHA256:tVXWcL9S3Ky/zBicfhJIhj3F6/Vy5yniJFS33QG2/Bo");
    assert_string_equal(certificate.authority, AUTHORITY);
    assert_string_equal(certificate.id, "alice ?x? ?y?");
    assert_true(certificate.serial == UINT64_MAX && certificate.user);
    assert_true(certificate.begins == 1767225600 && certificate.ends == 1798761600);
    assert_true(gw_certificate_principal(&certificate, &at, principal, sizeof principal));
    assert_string_equal(principal, "alice");
    assert_true(gw_certificate_principal(&certificate, &at, principal, sizeof principal));
    assert_string_equal(principal, "root");
    assert_false(gw_certificate_principal(&certificate, &at, principal, sizeof principal));
    /* A principal that does not fit in the buffer is skipped, not truncated. */
    at = 0;
    assert_true(gw_certificate_principal(&certificate, &at, principal, 5));
    assert_string_equal(principal, "root");
    assert_int_equal(gw_certificate_parse(&certificate, lines[ECDSA], &e), CMX_OK);
    assert_string_equal(certificate.fingerprint, "SHA256:h6FWdDMLII4N8NOIhlp+lcuq3x1G/ZCi2BTfArxK1yo");
    assert_int_equal(gw_certificate_parse(&certificate, lines[HOST], &e), CMX_OK);
    assert_false(certificate.user);
    /* A certificate that is truncated anywhere is refused. */
    n = strlen(lines[ALICE]) - 1; /* the last character is padding: at least two are cut */
    while (--n > 0) {
        memcpy(line, lines[ALICE], n);
        line[n] = '\0';
        assert_int_not_equal(gw_certificate_parse(&certificate, line, &e), CMX_OK);
    }
    assert_int_equal(gw_certificate_parse(&certificate, lines[CA], &e), CMX_ENOTSUP);
    assert_true(gw_certificate_is_type("ssh-ed25519-cert-v01@openssh.com"));
    assert_true(gw_certificate_is_type("ssh-new-cert-v01@openssh.com"));
    assert_false(gw_certificate_is_type("-cert-v01@openssh.com") || gw_certificate_is_type("ssh-ed25519"));
}

static void test_accept(void **state)
{
    struct gw_key ca;
    gw_outcome out;
    struct cmx_why e = {0};

    (void)state;
    refused(ALICE, IN_2026, "is signed by the CA " AUTHORITY ", which is not registered");
    assert_int_equal(give("alice@corp", false, &e), CMX_ENOENT);
    assert_non_null(strstr(e.text, "no CA 'corp'"));
    add_authority("corp");
    refused(ALICE, IN_2026, "no principal of the certificate 'alice ?x? ?y?' has a grant");
    refused(NOBODY, IN_2026, "names no principal");
    assert_int_equal(give("alice@corp", false, &e), CMX_OK);
    assert_string_equal(accepted(ALICE, IN_2026), "alice@corp");
    refused(NOBODY, IN_2026, "names no principal");
    refused(HOST, IN_2026, "is not a user certificate");
    refused(ALICE, 1767225599, "is not valid before 2026-01-01 00:00:00Z");
    assert_string_equal(accepted(ALICE, 1767225600), "alice@corp");
    assert_string_equal(accepted(ALICE, 1798761599), "alice@corp");
    refused(ALICE, 1798761600, "expired at 2027-01-01 00:00:00Z");
    refused(ALICE, -1, "is not valid before");
    assert_int_equal(give("root@corp", false, &e), CMX_OK);
    refused(ALICE, IN_2026, "is for both alice@corp and root@corp");
    assert_int_equal(give("alice@corp", true, &e), CMX_OK);
    assert_string_equal(accepted(ALICE, IN_2026), "root@corp");
    /* Names that no principal can have. */
    assert_int_equal(give("@corp", false, &e), CMX_EINVAL);
    assert_int_equal(give("a234567890123456789012345678901234567890123456789012345678901@corp", false, &e), CMX_EINVAL);
    assert_int_equal(give("alice@", false, &e), CMX_ENOENT);
    /* Removing a CA also removes the grants of its principals, and no other grants. */
    assert_int_equal(give("user:root", false, &e), CMX_OK);
    assert_int_equal(gw_authority_remove(&registry, "corp", &e), CMX_OK);
    refused(ALICE, IN_2026, "not registered");
    assert_int_equal(gw_key_parse(&ca, lines[CA], &e), CMX_OK);
    assert_int_equal(gw_authority_set(&registry, "corp", &ca, &out, &e), CMX_EEXIST);
    assert_string_equal(e.text,
                        "this key was revoked or replaced (it belonged to corp); make a new key: a retired key can't "
                        "be used again");
    assert_int_equal(gw_authority_set(&registry, "again", &ca, &out, &e), CMX_EEXIST);
    assert_int_equal(sqlite3_exec(registry.db, "DELETE FROM tombstone", NULL, NULL, NULL), SQLITE_OK);
    add_authority("corp");
    refused(ALICE, IN_2026, "has a grant");
    assert_int_equal(give("user:root", true, &e), CMX_OK);
    assert_int_equal(gw_authority_remove(&registry, "other", &e), CMX_ENOENT);
}

static void test_one_register(void **state)
{
    struct cmx_why e = {0};
    struct gw_key ca;
    struct gw_key other;
    gw_outcome out;

    (void)state;
    assert_int_equal(gw_key_parse(&ca, lines[CA], &e), CMX_OK);
    assert_int_equal(
        gw_key_parse(&other, "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIO4rCtj9vSe3sQMtVn5ihX4DXDyPLqVyr9KTv6AHUZmB", &e),
        CMX_OK);
    assert_int_equal(gw_consumer_set_platform(&registry, "vms", &other, &out, &e), CMX_OK);
    assert_int_equal(gw_authority_set(&registry, "vms", &ca, &out, &e), CMX_EEXIST);
    assert_int_equal(gw_authority_set(&registry, "corp", &other, &out, &e), CMX_EEXIST);
    assert_int_equal(gw_authority_set(&registry, "Corp!", &ca, &out, &e), CMX_EINVAL);
    assert_int_equal(gw_authority_set(&registry, "corp", &ca, &out, &e), CMX_OK);
    assert_int_equal(out, GW_ADDED);
    assert_int_equal(gw_authority_set(&registry, "corp", &ca, &out, &e), CMX_OK);
    assert_int_equal(out, GW_UNCHANGED);
    assert_int_equal(gw_authority_set(&registry, "again", &ca, &out, &e), CMX_EEXIST);
    assert_int_equal(gw_consumer_set_platform(&registry, "corp", &other, &out, &e), CMX_EEXIST);
    assert_int_equal(gw_consumer_set_platform(&registry, "nvr", &ca, &out, &e), CMX_EEXIST);
}

static void test_line(void **state)
{
    static char text[4096];
    struct cmx_why e = {0};
    struct cmx_buf b;
    const char *line;
    char name[GW_NAME_MAX];

    (void)state;
    add_authority("corp");
    assert_int_equal(give("alice@corp", false, &e), CMX_OK);
    assert_int_equal(gw_certificate_parse(&certificate, lines[ALICE], &e), CMX_OK);
    certificate.ends = UINT64_MAX; /* so that it is valid whenever the test runs */
    cmx_buf_init(&b, text, sizeof text);
    assert_int_equal(gw_authline_certificate(&registry, &certificate, &b, name, &e), CMX_OK);
    assert_int_equal(cmx_buf_cstr(&b, &line), CMX_OK);
    assert_string_equal(name, "alice@corp");
    assert_ptr_equal(strstr(line, "cert-authority,principals=\"alice\",restrict,port-forwarding,permitlisten=\"none."
                                  "invalid:1\",permitopen=\"[fd12:"),
                     line);
    assert_non_null(strstr(line, "\",permitopen=\"cam-17.cmx:81\" ssh-ed25519 "));
    assert_null(strstr(line, ":82"));
    assert_non_null(strstr(line, lines[CA]));
    registry.stale = true;
    assert_int_equal(gw_authline_certificate(&registry, &certificate, &b, name, &e), CMX_EPERM);
    /* The CA's own key belongs to no consumer and cannot log in. */
    cmx_buf_clear(&b);
    registry.stale = false;
    assert_int_equal(gw_authline(&registry, AUTHORITY, &b, NULL, &e), CMX_ENOENT);
    /* If the registry can't be read, the certificate is not refused, so its sessions continue. */
    assert_int_equal(sqlite3_exec(registry.db, "DROP TABLE group_grants", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(gw_authline_certificate(&registry, &certificate, &b, name, &e), CMX_EFORMAT);
}

/* A principal's identity depends only on the names of the principal and the CA. A user with the same name has another
 * identity. */
static void test_identity(void **state)
{
    struct gw_consumer c = {.kind = "platform", .name = "alice@corp"};
    struct gw_consumer user = {.kind = "user", .name = "alice@corp"};
    struct gw_fleet fleet;
    struct cmx_why e = {0};
    char one[GW_ADDRESS_MAX];
    char two[GW_ADDRESS_MAX];
    struct gw_party p;

    (void)state;
    assert_int_equal(gw_fleet_parse(&fleet, "fd12:3456:789a::/48", &e), CMX_OK);
    assert_int_equal(gw_party_identity(&registry, &fleet, &c, one, &e), CMX_OK);
    assert_string_equal(one, "fd12:3456:789a:53e5:9002:7959:4ede:6e95");
    assert_int_equal(gw_party_identity(&registry, &fleet, &user, two, &e), CMX_OK);
    assert_string_not_equal(one, two);
    add_authority("corp");
    assert_int_equal(give("alice@corp", false, &e), CMX_OK);
    assert_int_equal(gw_party_find(&registry, &fleet, one, &p, &e), CMX_OK);
    assert_string_equal(p.name, "alice@corp");
    assert_false(p.revoked);
}

static void test_krl(void **state)
{
    static const uint8_t bytes[] = {0, 1, 2, 0xff};
    static uint8_t big[GW_KRL_MAX + 1];
    struct cmx_why e = {0};
    struct gw_krl krl;
    gw_outcome out;

    (void)state;
    assert_int_equal(gw_krl_get(&registry, true, &krl, &e), CMX_OK);
    assert_true(krl.len == 0 && krl.digest[0] == '\0' && !krl.bytes);
    assert_int_equal(gw_krl_set(&registry, bytes, sizeof bytes, &out, &e), CMX_OK);
    assert_int_equal(out, GW_ADDED);
    assert_int_equal(gw_krl_set(&registry, bytes, sizeof bytes, &out, &e), CMX_OK);
    assert_int_equal(out, GW_UNCHANGED);
    assert_int_equal(gw_krl_set(&registry, big, sizeof big, &out, &e), CMX_EINVAL);
    assert_int_equal(gw_krl_get(&registry, true, &krl, &e), CMX_OK);
    assert_true(krl.len == sizeof bytes && memcmp(krl.bytes, bytes, sizeof bytes) == 0 && krl.at > 0);
    cmx_mem_free(krl.bytes);
    assert_int_equal(gw_krl_set(&registry, big, sizeof big - 1, &out, &e), CMX_OK);
    assert_int_equal(out, GW_CHANGED);
    assert_int_equal(gw_krl_get(&registry, true, &krl, &e), CMX_OK);
    assert_true(krl.len == GW_KRL_MAX);
    cmx_mem_free(krl.bytes);
    assert_int_equal(gw_krl_set(&registry, NULL, 0, &out, &e), CMX_OK);
    assert_int_equal(out, GW_CHANGED);
    assert_int_equal(gw_krl_get(&registry, true, &krl, &e), CMX_OK);
    assert_true(krl.len == 0 && krl.digest[0] == '\0');
    /* The registry stores any bytes as a KRL. Only ssh-keygen parses them. */
    assert_int_equal(gw_revocation_ask(bytes, sizeof bytes, NULL, 0, NULL, &e), CMX_EFORMAT);
}

/* If ssh-keygen does not answer for each key, all keys count as revoked. */
static void test_krl_question(void **state)
{
    char path[160];
    char command[512];
    static char krl[4096];
    const char *const some[] = {lines[ALICE], lines[NOBODY], lines[CA]};
    const char *const broken[] = {lines[ALICE], "ssh-ed25519 x"};
    bool revoked[3];
    struct cmx_why e = {0};
    size_t len;
    FILE *f;

    (void)state;
    snprintf(path, sizeof path, "%s/ca.pub", folder);
    f = fopen(path, "w");
    assert_non_null(f);
    fprintf(f, "%s\n", lines[CA]);
    fclose(f);
    snprintf(command, sizeof command, "cd %s && echo 'id: nobody' | ssh-keygen -q -k -f krl -s ca.pub - && rm ca.pub",
             folder);
    assert_int_equal(system(command), 0);
    snprintf(path, sizeof path, "%s/krl", folder);
    f = fopen(path, "rb");
    assert_non_null(f);
    len = fread(krl, 1, sizeof krl, f);
    fclose(f);
    unlink(path);
    assert_int_equal(gw_revocation_ask((const uint8_t *)krl, len, NULL, 0, NULL, &e), CMX_OK);
    assert_int_equal(gw_revocation_ask((const uint8_t *)krl, len, some, 3, revoked, &e), CMX_OK);
    assert_true(!revoked[0] && revoked[1] && !revoked[2]);
    assert_int_equal(gw_revocation_ask((const uint8_t *)krl, len, broken, 2, revoked, &e), CMX_EIO);
    assert_true(revoked[0] && revoked[1]);
    assert_int_equal(gw_revocation_ask((const uint8_t *)krl, len - 1, some, 1, revoked, &e), CMX_EIO);
    assert_true(revoked[0]);
}

static void write_krl(const char *text)
{
    char path[160];
    struct cmx_why e = {0};

    snprintf(path, sizeof path, "%s/krl", folder);
    assert_int_equal(gw_file_write(path, text, strlen(text), 0600, &e), CMX_OK);
}

/* If the command that stores a KRL is killed before it writes the file that sshd reads, the gateway itself checks every
 * login until the file is written. If the registry can't be read, the check is repeated. */
static void test_krl_file(void **state)
{
    static struct gw g;
    static struct gw_server s = {.g = &g};
    static struct gw_session up = {.up = true, .fingerprint = "SHA256:x"};
    const struct gw_session later = {.started_ms = UINT64_MAX};
    struct cmx_why e = {0};
    char path[160];
    gw_outcome out;

    (void)state;
    snprintf(g.dir, sizeof g.dir, "%s", folder);
    write_krl("");
    assert_int_equal(gw_revoked_check(&s, &registry, &e), CMX_OK);
    assert_false(gw_revoked_may_be(&s, &later));
    assert_int_equal(gw_krl_set(&registry, (const uint8_t *)"new", 3, &out, &e), CMX_OK);
    assert_int_equal(gw_revoked_check(&s, &registry, &e), CMX_OK);
    assert_true(gw_revoked_may_be(&s, &later));
    write_krl("new");
    assert_int_equal(gw_revoked_check(&s, &registry, &e), CMX_OK);
    assert_false(gw_revoked_may_be(&s, &later));
    assert_true(gw_revoked_may_be(&s, &up)); /* this session began before the file was written */
    s.sessions = &up;
    assert_int_equal(gw_krl_set(&registry, (const uint8_t *)"newer", 5, &out, &e), CMX_OK);
    assert_int_equal(sqlite3_exec(registry.db, "ALTER TABLE key RENAME TO away", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(gw_revoked_check(&s, &registry, &e), CMX_EFORMAT);
    assert_int_equal(gw_revoked_check(&s, &registry, &e), CMX_EFORMAT);
    assert_int_equal(sqlite3_exec(registry.db, "ALTER TABLE away RENAME TO key", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(gw_revoked_check(&s, &registry, &e), CMX_OK);
    snprintf(path, sizeof path, "%s/krl", folder);
    unlink(path);
}

static void log_is(const char *text, gw_log_kind kind, const char *detail)
{
    struct gw_log_line l;

    gw_sshdlog_parse(&l, text);
    assert_int_equal(l.kind, kind);
    assert_string_equal(l.detail, detail);
}

static void test_log(void **state)
{
#define ACCEPTED "Accepted publickey for cmxsafe-gw from 127.0.0.1 port 1 ssh2: ED25519-CERT "
#define KEY "SHA256:tVXWcL9S3Ky/zBicfhJIhj3F6/Vy5yniJFS33QG2/Bo"
    struct gw_log_line l;

    (void)state;
    gw_sshdlog_parse(&l, ACCEPTED KEY " ID alice (serial 7) CA ED25519 " AUTHORITY);
    assert_int_equal(l.kind, GW_LOG_ACCEPTED);
    assert_string_equal(l.fingerprint, KEY);
    assert_string_equal(l.authority, AUTHORITY);
    assert_true(l.serial == 7);
    /* The CA chooses the key ID, which may contain any text. */
    gw_sshdlog_parse(&l, ACCEPTED KEY " ID x (serial 8) CA ED25519 " KEY
                                      " (serial 18446744073709551615) CA RSA " AUTHORITY);
    assert_int_equal(l.kind, GW_LOG_ACCEPTED);
    assert_string_equal(l.fingerprint, KEY);
    assert_string_equal(l.authority, AUTHORITY);
    assert_true(l.serial == UINT64_MAX);
    log_is(ACCEPTED KEY " ID alice (serial 7)", GW_LOG_OTHER, "");
    log_is(ACCEPTED KEY " ID alice (serial x) CA ED25519 " AUTHORITY, GW_LOG_OTHER, "");
    log_is("Authentication key ED25519-CERT " KEY " revoked by file /d/krl", GW_LOG_REFUSED,
           "Authentication key ED25519-CERT " KEY " revoked by file /d/krl");
    log_is("/h %f %t %k:1: Authentication tried for g with valid certificate but not from a permitted source address "
           "(::1).",
           GW_LOG_REFUSED,
           "Authentication tried for g with valid certificate but not from a permitted source address (::1).");
    log_is("Refusing certificate ID \"a\" serial=1 signed by ED25519 CA x via y: no", GW_LOG_REFUSED,
           "Refusing certificate ID \"a\" serial=1 signed by ED25519 CA x via y: no");
    log_is("Certificate invalid: expired", GW_LOG_REFUSED, "Certificate invalid: expired");
    log_is("Invalid user Certificate : Authentication tried for x from 1.2.3.4 port 1", GW_LOG_FAILED, "");
    /* A client that disconnects chooses the text after the number (RFC 4253 section 11.1). */
    log_is("Received disconnect from 1.2.3.4 port 1:11: /h:1: Authentication tried for root with correct key",
           GW_LOG_OTHER, "");
    log_is("debug1: kex.c:kex_exchange_identification():1456 (pid=1): Remote protocol version 2.0, remote software "
           "version "
           "OpenSSH_9.2p1 Debian-2+deb12u10",
           GW_LOG_CLIENT, "OpenSSH_9.2p1 Debian-2+deb12u10");
    log_is("debug1: kex.c:kex_exchange_identification():1456 (pid=1): Remote protocol version 2.0, remote software "
           "version "
           "x\"},{\"y",
           GW_LOG_CLIENT, "x?????y");
    log_is("Invalid user debug1: kex.c:kex_exchange_identification():1 Remote protocol version 2.0, remote software "
           "version "
           "x",
           GW_LOG_FAILED, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_parse, open_registry, close_registry),
        cmocka_unit_test_setup_teardown(test_accept, open_registry, close_registry),
        cmocka_unit_test_setup_teardown(test_one_register, open_registry, close_registry),
        cmocka_unit_test_setup_teardown(test_line, open_registry, close_registry),
        cmocka_unit_test_setup_teardown(test_identity, open_registry, close_registry),
        cmocka_unit_test_setup_teardown(test_krl, open_registry, close_registry),
        cmocka_unit_test_setup_teardown(test_krl_question, open_registry, close_registry),
        cmocka_unit_test_setup_teardown(test_krl_file, open_registry, close_registry),
        cmocka_unit_test(test_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
