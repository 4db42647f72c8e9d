/* The gateway's registry: enrolment, grants, authorized_keys lines, and registry files that are damaged or come
 * from other versions. Golden files contain the generated texts. Also tests /etc/hosts, login limits and templates. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h needs the headers above, so they come first. */
#include <arpa/inet.h>
#include <cmocka.h>
#include <fcntl.h>
#include <glob.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cmxsafe/core/mem.h"
#include "cmxsafe/port/port.h"
#include "gateway/folder/gw_files.h"
#include "gateway/folder/gw_folder.h"
#include "gateway/registry/authline.h"
#include "gateway/registry/campaign.h"
#include "gateway/registry/csv.h"
#include "gateway/registry/event.h"
#include "gateway/registry/evidence_policy.h"
#include "gateway/registry/list.h"
#include "gateway/registry/login_limits.h"
#include "gateway/registry/node.h"
#include "gateway/registry/nss.h"
#include "gateway/registry/party_unique.h"
#include "gateway/registry/sshdlog.h"
#include "gateway/registry/term.h"
#include "gateway/render/gw_bird.h"
#include "gateway/render/gw_etc_hosts.h"
#include "gateway/render/gw_hosts_file.h"
#include "gateway/render/gw_nft.h"
#include "gateway/render/gw_snippet.h"
#include "gateway/render/gw_template.h"
#include "gateway/render/gw_units.h"
#include "gateway/server/gw_pending.h"

static const char *const keys[] = {
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKe0zb5nNeXNTbLFSN1EJ6Tg4bdZXBYgFLUnhrvNIgMB one@desk",
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIO4rCtj9vSe3sQMtVn5ihX4DXDyPLqVyr9KTv6AHUZmB",
    "ecdsa-sha2-nistp256 "
    "AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBGsX0fLhLEJH+Lzm5WOkQPJ3A32BLeszoPShOUXYmMKWT+NC4v4af5uO5+"
    "tKfA+"
    "eFivOM1drMV7Oy7ZAaDe/UfU=",
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEO3ZR+J6CZPqRz+gMvEYOe5XsON939gK1omlQRSfygp",
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILwawm8nREUTOBsUhhTudZSkyBfYMHHIiF8m99NlaIVD",
};

/* Replaces libc's function: "toor" is a second name of uid 0, and a look-up of "hangs" never ends. */
struct passwd *getpwnam(const char *name)
{
    static struct passwd pw;
    static char mem[4096];
    struct passwd *found = NULL;

    if (strcmp(name, "hangs") == 0)
        pause();
    if (strcmp(name, "toor") == 0) {
        pw = (struct passwd){.pw_name = mem, .pw_uid = 0};
        strcpy(mem, name);
        return &pw;
    }
    return getpwnam_r(name, &pw, mem, sizeof mem, &found) == 0 ? found : NULL;
}

/* These functions replace libc's: the only group is "viewers" (64003), and root is its member. */
static struct group *viewers(bool is)
{
    static char root[] = "root", name[] = "viewers";
    static char *members[] = {root, NULL};
    static struct group gr = {.gr_name = name, .gr_gid = 64003, .gr_mem = members};

    return is ? &gr : NULL;
}

struct group *getgrnam(const char *name)
{
    return viewers(strcmp(name, "viewers") == 0);
}

struct group *getgrgid(gid_t gid)
{
    return viewers(gid == 64003);
}

static unsigned fsyncs; /* calls of fsync, except SQLite's */
static bool fsync_fails;
static const char *fsync_creates; /* a file that another program creates meanwhile; NULL: none */
int __real_fsync(int fd);
int __wrap_fsync(int fd);
int __wrap_fsync(int fd)
{
    fsyncs++;
    if (fsync_creates)
        close(open(fsync_creates, O_CREAT | O_WRONLY, 0600));
    return fsync_fails ? -1 : __real_fsync(fd);
}

static char folder[64];
static char db[128];
static struct gw gateway;

static struct gw_key key_of(size_t i)
{
    struct gw_key k;
    struct cmx_why e;

    if (gw_key_parse(&k, keys[i], &e))
        fail_msg("%s", e.text);
    return k;
}

static int open_registry(void **state)
{
    struct cmx_why e;

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
    fsync_fails = false;
    fsync_creates = NULL;
    gw_registry_close(&gateway.registry);
    unlink(db);
    rmdir(folder);
    return 0;
}

static cmx_err enroll(const char *name, size_t key, const char *ports, gw_outcome *out, struct cmx_why *e)
{
    struct gw_device d = {0};
    struct gw_key k = key_of(key);

    snprintf(d.name, sizeof d.name, "%s", name);
    if (!gateway.simple)
        assert_int_equal(gw_address_derive(&gateway.fleet, &k, d.address, e), CMX_OK);
    assert_int_equal(gw_device_parse_ports(&d, ports, e), CMX_OK);
    return gw_device_enroll(&gateway.registry, &d, &k, 0, out, e);
}

static const char *line_of(size_t key)
{
    static char text[4096];
    struct gw_key k = key_of(key);
    struct cmx_buf b;
    const char *s;
    struct cmx_why e;

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
        "sk-ssh-ed25519@openssh.com AAAAC3NzaC1lZDI1NTE5AAAAIKe0zb5nNeXNTbLFSN1EJ6Tg4bdZXBYgFLUnhrvNIgMB",
        /* This key lacks the application string. */
        "sk-ssh-ed25519@openssh.com "
        "AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAIAZhLOp5zMCG9yjqlzW/Xeex4x1AkYzcRYHTGKWJ"
        "iAIu",
        "-----BEGIN OPENSSH PRIVATE KEY-----",
    };
    static const char *const tokens[] = {
        "sk-ssh-ed25519@openssh.com "
        "AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAIAZhLOp5zMCG9yjqlzW/Xeex4x1AkYzcRYHTGKWJ"
        "iAIuAAAABHNzaDo=",
        "sk-ecdsa-sha2-nistp256@openssh.com AAAAInNrLWVjZHNhLXNoYTItbmlzdHAyNTZAb3BlbnNzaC5jb20AAAAIbmlzdHAyN"
        "TYAAABBBFfNUg/x2BNiVatXaYCGq+YDFrO+5LBy02Ro5XfCEdnPnYZqlmSCPzpOBTJiOU751HzeyBeXKBh5e5UVn71zhkMAAAAEc"
        "3NoOg==",
    };
    static const char whole[] = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKe0zb5nNeXNTbLFSN1EJ6Tg4bdZXBYgFLUnhrvNIgMB";
    char part[sizeof whole];
    struct cmx_why e;
    struct gw_key k;

    (void)state;
    for (size_t i = 0; i < sizeof tokens / sizeof tokens[0]; i++) {
        assert_int_equal(gw_key_parse(&k, tokens[i], &e), CMX_OK);
        assert_true(gw_key_is_token(&k));
    }
    k = key_of(0);
    assert_false(gw_key_is_token(&k));
    assert_string_equal(k.type, "ssh-ed25519");
    assert_int_equal(strlen(k.fingerprint), 50);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_not_equal(gw_key_parse(&k, bad[i], &e), CMX_OK);
    assert_non_null(strstr(e.text, "this is a private key"));
    assert_int_not_equal(gw_key_parse(&k, "-----BEGIN PUBLIC KEY-----", &e), CMX_OK);
    assert_non_null(strstr(e.text, "ssh-keygen -i -m PKCS8"));
    assert_int_not_equal(gw_key_parse(&k, "---- BEGIN SSH2 PUBLIC KEY ----", &e), CMX_OK);
    assert_non_null(strstr(e.text, "ssh-keygen -i -m RFC4716"));
    assert_int_not_equal(gw_key_parse(&k, "ssh-ed25519-cert-v01@openssh.com AAAAIHNz me", &e), CMX_OK);
    assert_non_null(strstr(e.text, "this is a certificate"));
    assert_int_not_equal(gw_key_parse(&k, "restrict,command=\"a b\" ssh-ed25519 AAAAC3Nz me", &e), CMX_OK);
    assert_non_null(strstr(e.text, "options or other text precede the key"));
    for (size_t len = strlen("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI"); len < strlen(whole); len++) {
        snprintf(part, sizeof part, "%.*s", (int)len, whole);
        assert_int_not_equal(gw_key_parse(&k, part, &e), CMX_OK);
        assert_non_null(strstr(e.text, "copy the whole key, as one line"));
    }
    assert_int_not_equal(gw_key_parse(&k, "ssh-dss AAAAB3Nz me", &e), CMX_OK);
    assert_non_null(strstr(e.text, "no public key of a supported type"));
}

static void key_file_is(const char *content, size_t len, cmx_err expected)
{
    char path[128];
    struct gw_key k;
    FILE *f;

    snprintf(path, sizeof path, "%s/key.pub", folder);
    f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(content, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(gw_key_read(&k, path, NULL), expected);
    unlink(path);
}
#define KEY_FILE(content, expected) key_file_is(content, sizeof(content) - 1, expected)

/* Reads key files in the forms that editors and other systems write. */
static void test_key_files(void **state)
{
#define KEY "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKe0zb5nNeXNTbLFSN1EJ6Tg4bdZXBYgFLUnhrvNIgMB"
    static char large[65537];

    (void)state;
    KEY_FILE(KEY, CMX_OK);
    KEY_FILE(KEY " one@desk\r\n", CMX_OK);
    KEY_FILE("\xef\xbb\xbf" KEY "\n", CMX_OK);
    KEY_FILE("# camera 17\n\n  \r\n" KEY "\n", CMX_OK);
    KEY_FILE(" \t" KEY "\n", CMX_OK);
    KEY_FILE(KEY "\ncmxsafe-attest-1 AQ== x\nueid 01\n", CMX_OK);
    KEY_FILE(KEY "\r\n" KEY "\r\n", CMX_EFORMAT);
    KEY_FILE("# two\n" KEY "\n\n" KEY, CMX_EFORMAT);
    KEY_FILE("\xff\xfes\0s\0h\0", CMX_EFORMAT);
    KEY_FILE("# nothing\n", CMX_EFORMAT);
    KEY_FILE("", CMX_EFORMAT);
    memset(large, '\n', sizeof large);
    memcpy(large, KEY, sizeof KEY - 1);
    key_file_is(large, sizeof large - 1, CMX_OK);
    key_file_is(large, sizeof large, CMX_ENOSPC);
#undef KEY
}

/* A key has one fingerprint only: no byte may follow its fields. */
static void test_rsa_tail(void **state)
{
    uint8_t raw[600] = {0, 0, 0, 7, 's', 's', 'h', '-', 'r', 's', 'a', 0, 0, 0, 3, 1, 0, 1, 0, 0, 1, 1, 0, 0xff};
    const size_t len = 22 + 257;
    char line[1024] = "ssh-rsa ";
    struct gw_key k;
    struct cmx_why e;

    (void)state;
    for (size_t more = 0; more <= 3; more += 3) {
        struct cmx_buf b;
        const char *text;

        cmx_buf_init(&b, line + 8, sizeof line - 8);
        assert_int_equal(cmx_base64_encode(&b, raw, len + more, 0), CMX_OK);
        assert_int_equal(cmx_buf_cstr(&b, &text), CMX_OK);
        assert_int_equal(gw_key_parse(&k, line, &e), more ? CMX_EFORMAT : CMX_OK);
    }
}

/* sshd refuses an ECDSA key whose curve or point does not fit its type. */
static void test_ecdsa_curve(void **state)
{
    static const struct {
        const char *type, *curve;
        size_t point_len;
        uint8_t first;
        cmx_err err;
    } cases[] = {{"ecdsa-sha2-nistp256", "nistp256", 65, 4, CMX_OK},
                 {"ecdsa-sha2-nistp384", "nistp384", 97, 4, CMX_OK},
                 {"ecdsa-sha2-nistp521", "nistp521", 133, 4, CMX_OK},
                 {"ecdsa-sha2-nistp256", "nistp384", 97, 4, CMX_EFORMAT},
                 {"ecdsa-sha2-nistp256", "nistp2567", 65, 4, CMX_EFORMAT},
                 {"ecdsa-sha2-nistp384", "nistp384", 65, 4, CMX_EFORMAT},
                 {"ecdsa-sha2-nistp256", "nistp256", 66, 4, CMX_EFORMAT},
                 {"ecdsa-sha2-nistp256", "nistp256", 33, 2, CMX_EFORMAT},
                 {"ecdsa-sha2-nistp256", "nistp256", 65, 6, CMX_EFORMAT}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t raw[300];
        uint8_t point[133] = {cases[i].first};
        char line[600];
        struct cmx_buf b;
        struct gw_key k;
        struct cmx_why e;
        const char *text;
        size_t prefix = strlen(cases[i].type) + 1;

        cmx_buf_init(&b, raw, sizeof raw);
        assert_int_equal(cmx_buf_put_be32(&b, (uint32_t)strlen(cases[i].type)), CMX_OK);
        assert_int_equal(cmx_buf_put(&b, cases[i].type, strlen(cases[i].type)), CMX_OK);
        assert_int_equal(cmx_buf_put_be32(&b, (uint32_t)strlen(cases[i].curve)), CMX_OK);
        assert_int_equal(cmx_buf_put(&b, cases[i].curve, strlen(cases[i].curve)), CMX_OK);
        assert_int_equal(cmx_buf_put_be32(&b, (uint32_t)cases[i].point_len), CMX_OK);
        assert_int_equal(cmx_buf_put(&b, point, cases[i].point_len), CMX_OK);
        snprintf(line, sizeof line, "%s ", cases[i].type);
        size_t len = cmx_buf_len(&b);
        cmx_buf_init(&b, line + prefix, sizeof line - prefix);
        assert_int_equal(cmx_base64_encode(&b, raw, len, 0), CMX_OK);
        assert_int_equal(cmx_buf_cstr(&b, &text), CMX_OK);
        assert_int_equal(gw_key_parse(&k, line, &e), cases[i].err);
    }
}

static void test_addresses(void **state)
{
    static const char *const bad[] = {"",          "fd00::",   "fd00::/49", "fd00::1/48", "ff02::/16",
                                      "fe80::/64", "fd00::/8", "::/48",     "fd00::/72",  "10.0.0.0/8"};
    struct gw_key k = key_of(0);
    struct gw_fleet f;
    char a[GW_ADDRESS_MAX];
    struct cmx_why e;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_not_equal(gw_fleet_parse(&f, bad[i], &e), CMX_OK);
    assert_int_equal(gw_address_derive(&gateway.fleet, &k, a, &e), CMX_OK);
    assert_memory_equal(a, "fd12:3456:789a:", 15);
    assert_int_equal(gw_address_given(&gateway.fleet, a, a, &e), CMX_OK);
    assert_int_not_equal(gw_address_given(&gateway.fleet, "fd12:3456:789b::1", a, &e), CMX_OK);
    assert_int_not_equal(gw_address_given(&gateway.fleet, "fd12:3456:789a::", a, &e), CMX_OK);
    assert_int_not_equal(gw_address_from_mac(&gateway.fleet, "02:00:00:00:00:07", a, &e), CMX_OK);
    /* In the form of the CMX-GW publication (address.h), an address is PREFIX | MAC_GW | 0000 | MAC_DEV. */
    assert_int_equal(gw_fleet_from_mac(&f, "fd00", "02:11:22:33:44:55", &e), CMX_OK);
    assert_int_equal(gw_address_from_mac(&f, "24-6F-28-AA-BB-CC", a, &e), CMX_OK);
    assert_string_equal(a, "fd00:211:2233:4455:0:246f:28aa:bbcc");
    assert_int_not_equal(gw_address_from_mac(&f, "24:6F:28:AA:BB", a, &e), CMX_OK);
    /* The address would be the prefix itself. */
    assert_int_not_equal(gw_address_from_mac(&f, "00:00:00:00:00:00", a, &e), CMX_OK);
    assert_int_not_equal(gw_address_from_mac(&f, "24:6F:28:AA:BB:CC:DD", a, &e), CMX_OK);
}

static void sql(const char *text);
static int64_t number_of(const char *query);
static void grant(const char *consumer, uint16_t port);

static void test_enroll(void **state)
{
    struct cmx_why e = {0};
    gw_outcome out;
    struct gw_key k = key_of(1);
    struct gw_device d;
    char name[GW_NAME_MAX], line[GW_KEY_BLOB_MAX];

    (void)state;
    assert_int_equal(enroll("cam-17", 0, "81,8989", &out, &e), CMX_OK);
    assert_int_equal(out, GW_ADDED);
    assert_int_equal(enroll("cam-17", 0, "8989,81", &out, &e), CMX_OK);
    assert_int_equal(out, GW_UNCHANGED);
    assert_int_equal(enroll("cam-17", 0, "81", &out, &e), CMX_OK);
    assert_int_equal(out, GW_CHANGED);
    assert_int_equal(enroll("cam-17", 1, "81", &out, &e), CMX_EEXIST); /* the device has another key */
    assert_int_equal(enroll("cam-18", 0, "81", &out, &e), CMX_EEXIST); /* another device has this key */
    assert_int_equal(enroll("Cam_18", 1, "81", &out, &e), CMX_EINVAL);
    assert_int_equal(enroll("cam-18", 1, "", &out, &e), CMX_EINVAL);
    assert_int_equal(enroll("cam-18", 1, "81", &out, &e), CMX_OK);
    assert_non_null(strstr(line_of(0), "restrict,port-forwarding,permitlisten=\"[fd12:3456:789a:"));
    assert_non_null(strstr(line_of(0), "]:81\",permitopen=\"[fd12:3456:789a:"));
    assert_null(strstr(line_of(0), "8989"));

    assert_int_equal(gw_device_rotate(&gateway.registry, "cam-17", &k, &out, &e), CMX_EEXIST);
    assert_non_null(line_of(0));
    k = key_of(2);
    assert_int_equal(gw_device_rotate(&gateway.registry, "cam-17", &k, &out, &e), CMX_OK);
    assert_null(line_of(0));
    assert_non_null(line_of(2));
    assert_int_equal(gw_device_get(&gateway.registry, "cam-17", &d, &e), CMX_OK);
    assert_int_equal(gw_device_key_line(&gateway.registry, &d, line, sizeof line, &e), CMX_OK);
    assert_string_equal(line, keys[2]);
    assert_int_equal(gw_device_key_line(&gateway.registry, &d, line, strlen(keys[2]), &e), CMX_ENOSPC);
    grant("user:root", 81);
    assert_int_equal(gw_device_revoke(&gateway.registry, "cam-17", &out, &e), CMX_OK);
    assert_null(line_of(2));
    assert_int_equal(number_of("SELECT count(*) FROM grants"), 0);
    assert_int_equal(number_of("SELECT count(*) FROM port"), 1); /* that of cam-18 */
    assert_int_equal(gw_device_get(&gateway.registry, "cam-18", &d, &e), CMX_OK);
    assert_int_equal(gw_device_name_at(&gateway.registry, d.address, name), CMX_OK);
    assert_string_equal(name, "cam-18");
    assert_int_equal(gw_device_get(&gateway.registry, "cam-17", &d, &e), CMX_OK);
    assert_int_equal(gw_device_name_at(&gateway.registry, d.address, name), CMX_ENOENT);
    assert_int_equal(gw_device_revoke(&gateway.registry, "cam-17", &out, &e), CMX_OK);
    assert_int_equal(out, GW_UNCHANGED);
    assert_int_equal(enroll("cam-19", 2, "81", &out, &e), CMX_EEXIST); /* a revoked key is never accepted again */
    assert_non_null(strstr(e.text, "revoked"));
    assert_int_equal(gw_device_rename(&gateway.registry, "cam-18", "cam-17", &out, &e), CMX_EEXIST);
    assert_int_equal(gw_device_rename(&gateway.registry, "cam-18", "cam-20", &out, &e), CMX_OK);
}

static void test_simple(void **state)
{
    struct cmx_why e = {0};
    gw_outcome out;

    (void)state;
    gateway.simple = true;
    assert_int_equal(enroll("cam-17", 0, "8081,8989", &out, &e), CMX_OK);
    assert_int_equal(enroll("cam-18", 1, "8888,8989", &out, &e), CMX_EEXIST);
    assert_non_null(strstr(e.text, "port 8989 belongs to another device"));
    assert_non_null(strstr(line_of(0), ",permitlisten=\"8081\",permitlisten=\"8989\",permitopen=\"localhost:8081\","));
}

static void test_directs(void **state)
{
    static const char *const bad[] = {"host",    "host:",        ":80",        "host:0",         "fd00::1:80",
                                      "*:80",    "a\"b:80",      "h o:80",     "[]:80",          "[x:80",
                                      "a..b:80", "999.1.1.1:80", "[[::1]]:80", "[fe80::1%lo]:80"};
    struct gw_device d = {0};
    struct cmx_why e;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_not_equal(gw_device_parse_directs(&d, bad[i], &e), CMX_OK);
    /* An item that is too long is refused, because its beginning would be another port. */
    assert_int_not_equal(gw_device_parse_ports(&d, "00000000000008100", &e), CMX_OK);
    assert_int_equal(gw_device_parse_directs(&d, ":80", &e), CMX_EINVAL);
    assert_string_equal(e.text, "the host '' of a direct service is empty; give HOST:PORT");
    assert_int_equal(gw_device_parse_directs(&d, "broker.example:1883,[fd00::1]:80", &e), CMX_OK);
    assert_string_equal(d.directs[1].host, "fd00::1");
    /* A service that is given twice counts once. Otherwise a repeated enrolment would count as a change. */
    assert_int_equal(gw_device_parse_directs(&d, "broker.example:1883,Broker.example:1883,broker.example:1884", &e),
                     CMX_OK);
    assert_int_equal(d.n_directs, 2);
}

/* The printed configuration works unchanged: no context occurs twice, and no context uses the port of the device's own
 * services. */
static void test_snippet(void **state)
{
    struct gw_device d = {.name = "cam-17", .ports = {80, 8080}, .n_ports = 2};
    struct cmx_why e;
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);

    (void)state;
    assert_int_equal(gw_device_parse_directs(&d, "a:1883,b:1883,c:8080,d:60000,e:60000", &e), CMX_OK);
    gw_snippet(f, &gateway, &d, "agent", true);
    assert_int_equal(fclose(f), 0);
    assert_non_null(strstr(text, "[context direct-1883]\ndirection = direct\nlocal_port = 1883\nremote_host = a\n"));
    assert_non_null(strstr(text, "[context direct-11883]\ndirection = direct\nlocal_port = 11883\nremote_host = b\n"));
    assert_non_null(strstr(text, "local_port = 18080\nremote_host = c\nremote_port = 8080\n"));
    assert_non_null(strstr(text, "local_port = 4465\nremote_host = e\nremote_port = 60000\n"));
    assert_non_null(strstr(text, "[identity]\nkey_file = "));
    assert_null(strstr(text, "/etc/cmxsafe/key\n"));
    free(text); /* allocated by open_memstream */
}

static void test_grants(void **state)
{
    struct cmx_why e = {0};
    struct gw_consumer c;
    struct gw_key k = key_of(1);
    gw_outcome out;

    (void)state;
    assert_int_equal(gw_meta_set(&gateway.registry, "domain", "cmx", &e), CMX_OK);
    assert_int_equal(enroll("cam-17", 0, "81,8989", &out, &e), CMX_OK);
    assert_int_equal(gw_consumer_parse(&c, "vms", &e), CMX_OK);
    assert_string_equal(c.kind, "platform");
    assert_int_equal(gw_grant_set(&gateway.registry, &c, "cam-17", 81, NULL, &out, &e),
                     CMX_ENOENT); /* there is no such platform */
    assert_int_equal(gw_consumer_set_platform(&gateway.registry, "vms", &k, &out, &e), CMX_OK);
    assert_non_null(strstr(line_of(1), ",permitlisten=\"none.invalid:1\",permitopen=\"none.invalid:1\" "));
    assert_int_equal(gw_grant_set(&gateway.registry, &c, "cam-17", 80, NULL, &out, &e), CMX_ENOENT);
    assert_int_equal(gw_grant_set(&gateway.registry, &c, "cam-17", 81, NULL, &out, &e), CMX_OK);
    assert_non_null(strstr(line_of(1), ",permitopen=\"cam-17.cmx:81\" "));
    assert_null(strstr(line_of(1), "8989"));
    /* Removing a port removes its grants. */
    assert_int_equal(enroll("cam-17", 0, "8989", &out, &e), CMX_OK);
    assert_null(strstr(line_of(1), "cam-17"));
    assert_int_equal(gw_grant_set(&gateway.registry, &c, "cam-17", 0, NULL, &out, &e), CMX_OK);
    assert_non_null(strstr(line_of(1), "cam-17.cmx:8989"));
    assert_int_equal(gw_grant_remove(&gateway.registry, &c, "cam-17", 0, &out, &e), CMX_OK);
    assert_null(strstr(line_of(1), "cam-17"));
    assert_int_not_equal(gw_consumer_parse(&c, "user:", &e), CMX_OK);
    assert_int_equal(gw_consumer_parse(&c, "cgroup:/system.slice//nvr.service/", &e), CMX_OK);
    assert_string_equal(c.name, "system.slice/nvr.service");
    assert_int_equal(gw_consumer_parse(&c, "cgroup:system.slice/system-nvr\\x2dcam.slice/nvr-cam@a:1.service", &e),
                     CMX_OK);
    assert_string_equal(c.name, "system.slice/system-nvr\\x2dcam.slice/nvr-cam@a:1.service");
    assert_int_not_equal(gw_consumer_parse(&c, "user:a\\b", &e), CMX_OK);
    assert_int_not_equal(gw_consumer_parse(&c, "cgroup:/", &e), CMX_OK);
    assert_int_not_equal(gw_consumer_parse(&c, "cgroup:system.slice/../x", &e), CMX_OK);
    assert_int_not_equal(gw_consumer_parse(&c, "cgroup:a\" accept", &e), CMX_OK);
    assert_int_not_equal(gw_consumer_parse(&c, "robot:x", &e), CMX_OK);
}

/* Nothing on a device without ports can be reached. A grant for such a device must fail. It must not be reported as a
 * grant that already exists. */
static void test_grant_without_ports(void **state)
{
    struct gw_device d = {.name = "cam-17"};
    struct gw_key k = key_of(0);
    struct cmx_why e = {0};
    struct gw_consumer c;
    gw_outcome out;

    (void)state;
    assert_int_equal(gw_address_derive(&gateway.fleet, &k, d.address, &e), CMX_OK);
    assert_int_equal(gw_device_parse_directs(&d, "broker:1883", &e), CMX_OK);
    assert_int_equal(gw_device_enroll(&gateway.registry, &d, &k, 0, &out, &e), CMX_OK);
    assert_int_equal(gw_consumer_parse(&c, "user:root", &e), CMX_OK);
    assert_int_equal(gw_grant_set(&gateway.registry, &c, "cam-17", 0, NULL, &out, &e), CMX_ENOENT);
    assert_string_equal(e.text, "cam-17 has no ports; add them with 'cmxsafe gateway enroll --ports'");
}

/* A reason must be plain text: terminals print it, and the PostgreSQL of a shared registry stores only UTF-8. */
static void test_reasons(void **state)
{
    static const char *const bad[] = {"a\nb", "\x1b[2J", "\x7f", "\xff", "\xc2\x9b", "\xe2\x80\xae", "\xed\xa0\x80"};
    struct cmx_why e = {0};
    struct gw_consumer c;
    gw_outcome out;

    (void)state;
    assert_int_equal(enroll("cam-17", 0, "81", &out, &e), CMX_OK);
    assert_int_equal(gw_consumer_parse(&c, "user:root", &e), CMX_OK);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        const struct gw_grant_terms terms = {.why = bad[i]};

        assert_int_equal(gw_grant_set(&gateway.registry, &c, "cam-17", 81, &terms, &out, &e), CMX_EINVAL);
        assert_int_equal(gw_policy_exempt(&gateway.registry, "cam-17", true, bad[i], &out, &e), CMX_EINVAL);
    }
    assert_int_equal(gw_policy_exempt(&gateway.registry, "cam-17", true, "gr\xc3\xbcn \xe2\x82\xac", &out, &e), CMX_OK);
}

static void read_allowed(struct gw_allowed_list *out)
{
    struct cmx_why e = {0};

    assert_int_equal(gw_allowed_read(&gateway.registry, &gateway.fleet, gateway.domain, "fdaa:bbbb:cccc::1", out, &e),
                     CMX_OK);
}

/* In a device's direct services, the host gateway.cmx means the gateway, whatever the fleet's domain is. */
static void test_allowed_gateway_host(void **state)
{
    struct gw_device d = {.name = "cam-17"};
    struct gw_key k = key_of(0);
    struct gw_allowed_list allowed;
    struct cmx_why e = {0};
    gw_outcome out;

    (void)state;
    snprintf(gateway.domain, sizeof gateway.domain, "lab");
    assert_int_equal(gw_address_derive(&gateway.fleet, &k, d.address, &e), CMX_OK);
    assert_int_equal(gw_device_parse_directs(&d, "gateway.cmx:1883,gateway.lab:1884,xgateway.cmx:1,cmx:2,lab:3", &e),
                     CMX_OK);
    assert_int_equal(gw_device_enroll(&gateway.registry, &d, &k, 0, &out, &e), CMX_OK);
    read_allowed(&allowed);
    assert_int_equal(allowed.n, 2);
    for (size_t i = 0; i < allowed.n; i++) {
        assert_string_equal(allowed.entries[i].target, "fdaa:bbbb:cccc::1");
        assert_int_equal(allowed.entries[i].port, 1883 + i);
    }
    gw_allowed_free(&allowed);
    gateway.registry.stale = true;
    read_allowed(&allowed);
    assert_int_equal(allowed.n, 0);
    gw_allowed_free(&allowed);
}

static void grant(const char *consumer, uint16_t port)
{
    struct cmx_why e = {0};
    struct gw_consumer c;
    gw_outcome out;

    assert_int_equal(gw_consumer_parse(&c, consumer, &e), CMX_OK);
    assert_int_equal(gw_grant_set(&gateway.registry, &c, "cam-17", port, NULL, &out, &e), CMX_OK);
}

static cmx_err count_party(void *arg, const struct gw_party *p)
{
    size_t *n = arg;

    assert_string_not_equal(p->kind, "platform");
    ++*n;
    return CMX_OK;
}

/* Another gateway may store a malformed key for a platform, or the key's row may be left out of the copy. Such a
 * platform reaches nothing, but the grants of the other consumers still count. */
static void test_platforms_without_key(void **state)
{
    struct gw_allowed_list allowed;
    struct gw_key k = key_of(1);
    struct gw_device d;
    char line[GW_KEY_BLOB_MAX];
    struct cmx_why e = {0};
    gw_outcome out;
    size_t n = 0;

    (void)state;
    assert_int_equal(enroll("cam-17", 0, "81,8989", &out, &e), CMX_OK);
    assert_int_equal(gw_consumer_set_platform(&gateway.registry, "aaa", &k, &out, &e), CMX_OK);
    k = key_of(2);
    assert_int_equal(gw_consumer_set_platform(&gateway.registry, "bbb", &k, &out, &e), CMX_OK);
    grant("cgroup:system.slice/nvr.service", 81);
    grant("platform:aaa", 0);
    grant("platform:bbb", 0);
    grant("user:root", 81);
    sql("DELETE FROM key WHERE consumer = (SELECT id FROM consumer WHERE name = 'aaa')");
    sql("UPDATE key SET blob = 'AAAA' WHERE consumer = (SELECT id FROM consumer WHERE name = 'bbb')");
    read_allowed(&allowed);
    assert_int_equal(allowed.n, 2);
    assert_true((allowed.entries[0].uid == 0) != (allowed.entries[1].uid == 0));
    assert_true((allowed.entries[0].unit == 0) != (allowed.entries[1].unit == 0));
    gw_allowed_free(&allowed);
    assert_int_equal(gw_party_each(&gateway.registry, &gateway.fleet, count_party, &n, &e), CMX_OK);
    assert_int_equal(n, 4); /* the device, the unit, the user and the gateway */
    assert_int_equal(gw_device_get(&gateway.registry, "cam-17", &d, &e), CMX_OK);
    sql("UPDATE key SET retired = 1");
    assert_int_equal(gw_device_key_line(&gateway.registry, &d, line, sizeof line, &e), CMX_ENOENT);
    sql("DELETE FROM key");
    assert_int_equal(gw_device_key_line(&gateway.registry, &d, line, sizeof line, &e), CMX_ENOENT);
    assert_string_equal(e.text, "cam-17 has no key; give it one with 'cmxsafe gateway rotate'");
}

static struct gw_device party_of_key(size_t key, cmx_err expected)
{
    struct gw_key k = key_of(key);
    struct gw_device d = {0};
    struct cmx_why e = {0};

    assert_int_equal(gw_party_of_key(&gateway.registry, &gateway.fleet, k.fingerprint, &d, &e), expected);
    return d;
}

/* Only a key that is in force leads to its party. A platform keeps the identity of its first key. */
static void test_party_of_key(void **state)
{
    struct gw_device device, platform;
    struct gw_key k = key_of(1);
    struct cmx_why e = {0};
    gw_outcome out;

    (void)state;
    party_of_key(0, CMX_ENOENT);
    assert_int_equal(enroll("cam-17", 0, "81", &out, &e), CMX_OK);
    device = party_of_key(0, CMX_OK);
    assert_string_equal(device.name, "cam-17");
    assert_int_equal(device.n_ports, 1);
    assert_int_equal(gw_consumer_set_platform(&gateway.registry, "vms", &k, &out, &e), CMX_OK);
    platform = party_of_key(1, CMX_OK);
    assert_string_equal(platform.name, "vms");
    assert_int_equal(platform.n_ports, 0);
    assert_string_not_equal(platform.address, device.address);
    sql("UPDATE key SET added = added - 10 WHERE consumer IS NOT NULL");
    k = key_of(2);
    assert_int_equal(gw_consumer_set_platform(&gateway.registry, "vms", &k, &out, &e), CMX_OK);
    party_of_key(1, CMX_ENOENT);
    assert_string_equal(party_of_key(2, CMX_OK).address, platform.address);
    sql("UPDATE consumer SET name = printf('%.*c', 64, 'x')");
    party_of_key(2, CMX_ENOSPC);
    sql("UPDATE device SET revoked = 1");
    party_of_key(0, CMX_ENOENT);
    assert_null(line_of(0));
}

static void test_revoke_platform(void **state)
{
    struct gw_key k = key_of(1);
    struct cmx_why e = {0};
    gw_outcome out;

    (void)state;
    assert_int_equal(enroll("cam-17", 0, "81", &out, &e), CMX_OK);
    assert_int_equal(gw_consumer_set_platform(&gateway.registry, "vms", &k, &out, &e), CMX_OK);
    k = key_of(2);
    assert_int_equal(gw_consumer_set_platform(&gateway.registry, "vms", &k, &out, &e), CMX_OK);
    assert_null(line_of(1));
    sql("UPDATE key SET retired = 5 WHERE retired IS NOT NULL");
    grant("vms", 81);
    sql("INSERT INTO group_grants SELECT consumer, 'cameras', port, given, ends, boot, boot_ends, glass, why FROM "
        "grants");
    grant("user:root", 81);
    assert_int_equal(gw_consumer_revoke_platform(&gateway.registry, "vms", &out, &e), CMX_OK);
    assert_int_equal(out, GW_CHANGED);
    assert_null(line_of(2));
    assert_int_equal(number_of("SELECT count(*) FROM grants"), 1); /* the user's grant */
    assert_int_equal(number_of("SELECT count(*) FROM group_grants"), 0);
    assert_int_equal(number_of("SELECT count(*) FROM key WHERE retired = 5"), 1);
    assert_int_equal(gw_consumer_revoke_platform(&gateway.registry, "vms", &out, &e), CMX_OK);
    assert_int_equal(out, GW_UNCHANGED);
    k = key_of(2);
    assert_int_equal(gw_consumer_set_platform(&gateway.registry, "vms", &k, &out, &e), CMX_EEXIST);
}

/* A platform's identity stays the same with a new key, even if the new key has the same time as the first one, or the
 * clock of another gateway is behind. */
static void test_platform_keeps_identity(void **state)
{
    char first[GW_ADDRESS_MAX];
    char now[GW_ADDRESS_MAX];
    const struct gw_consumer c = {.kind = "platform", .name = "vms"};
    struct gw_key k;
    struct cmx_why e = {0};
    gw_outcome out;

    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        k = key_of(i);
        assert_int_equal(gw_consumer_set_platform(&gateway.registry, "vms", &k, &out, &e), CMX_OK);
        assert_int_equal(gw_party_identity(&gateway.registry, &gateway.fleet, &c, i ? now : first, &e), CMX_OK);
        if (i)
            assert_string_equal(now, first);
        sql("UPDATE key SET added = added + 3600");
    }
}

/* A device and a platform have different names. If a device and a platform share a name already, both keep it. */
static void test_names_of_platforms(void **state)
{
    struct gw_key k = key_of(1);
    struct cmx_why e = {0};
    gw_outcome out;

    (void)state;
    assert_int_equal(enroll("cam-17", 0, "81", &out, &e), CMX_OK);
    assert_int_equal(gw_consumer_set_platform(&gateway.registry, "cam-17", &k, &out, &e), CMX_EEXIST);
    assert_string_equal(e.text, "cam-17 is a device; give the platform another name");
    assert_int_equal(gw_consumer_set_platform(&gateway.registry, "vms", &k, &out, &e), CMX_OK);
    assert_int_equal(enroll("vms", 2, "81", &out, &e), CMX_EEXIST);
    assert_string_equal(e.text, "vms is a platform; give the device another name");
    assert_int_equal(gw_device_rename(&gateway.registry, "cam-17", "vms", &out, &e), CMX_EEXIST);
    sql("UPDATE device SET name = 'vms'");
    k = key_of(2);
    assert_int_equal(gw_consumer_set_platform(&gateway.registry, "vms", &k, &out, &e), CMX_OK);
    assert_int_equal(enroll("vms", 0, "82", &out, &e), CMX_OK);
    assert_int_equal(gw_consumer_revoke_platform(&gateway.registry, "vms", &out, &e), CMX_OK);
    k = key_of(3);
    assert_int_equal(gw_consumer_set_platform(&gateway.registry, "vms", &k, &out, &e), CMX_EEXIST);
    assert_int_equal(gw_device_revoke(&gateway.registry, "vms", &out, &e), CMX_OK);
    assert_int_equal(gw_consumer_set_platform(&gateway.registry, "vms", &k, &out, &e), CMX_OK);
    assert_int_equal(enroll("vms", 4, "82", &out, &e), CMX_EEXIST);
}

static long local_id(const char *consumer)
{
    struct cmx_why e = {0};
    struct gw_consumer c;

    assert_int_equal(gw_consumer_parse(&c, consumer, &e), CMX_OK);
    return gw_party_local_id(&c);
}

/* "00" is no spelling of user 0, and (uid_t)-1 is no user. */
static void test_numbers_of_users(void **state)
{
    (void)state;
    assert_int_equal(local_id("user:0"), 0);
    assert_int_equal(local_id("user:00"), -1);
    assert_int_equal(local_id("user:4294967294"), 4294967294);
    assert_int_equal(local_id("user:4294967295"), -1);
    assert_int_equal(local_id("group:064003"), -1);
}

/* If a name service hangs, a look-up still returns, and later look-ups work. */
static void test_name_service_that_hangs(void **state)
{
    const struct gw_nss_entry *x;
    uint64_t begin = cmx_port_now_ms();

    (void)state;
    x = gw_nss_find(GW_NSS_USER, "hangs");
    assert_int_equal(x->id, -1);
    assert_int_equal(x->gid, -1);
    assert_string_equal(x->first, "hangs");
    assert_string_equal(x->members, "");
    assert_int_equal(gw_nss_find(GW_NSS_USER, "root")->id, 0);
    x = gw_nss_find(GW_NSS_GROUP, "viewers");
    assert_int_equal(x->id, 64003);
    assert_string_equal(x->first, "viewers");
    assert_string_equal(x->members, "root");
    assert_string_equal(gw_nss_next(x->members), "");
    assert_true(cmx_port_now_ms() - begin < 30000);
    gw_nss_end();
}

/* Gives cam-18 the identity of this consumer. Returns how many connections are then allowed. */
static size_t allowed_with_address_of(const char *consumer)
{
    struct gw_allowed_list allowed;
    char text[128], address[GW_ADDRESS_MAX];
    struct cmx_why e = {0};
    struct gw_consumer c;
    size_t n;

    assert_int_equal(gw_consumer_parse(&c, consumer, &e), CMX_OK);
    assert_int_equal(gw_party_identity(&gateway.registry, &gateway.fleet, &c, address, &e), CMX_OK);
    snprintf(text, sizeof text, "UPDATE device SET address = '%s' WHERE name = 'cam-18'", address);
    sql(text);
    read_allowed(&allowed);
    for (size_t i = 0; i < allowed.n; i++)
        assert_string_not_equal(allowed.entries[i].source, address);
    n = allowed.n;
    gw_allowed_free(&allowed);
    assert_int_equal(gw_party_unique_check(&gateway.registry, &gateway.fleet, NULL, &e), CMX_EEXIST);
    assert_int_equal(gw_party_unique_check(&gateway.registry, &gateway.fleet, &c, &e), CMX_EEXIST);
    return n;
}

/* No consumer gets the address of a device. */
static void test_address_of_a_device(void **state)
{
    struct gw_allowed_list allowed;
    struct cmx_why e = {0};
    struct gw_device d;
    gw_outcome out;
    char *text = NULL;
    size_t len = 0;
    FILE *f;

    (void)state;
    gateway.user = false;
    assert_int_equal(gw_meta_set(&gateway.registry, "link", "fdaa:bbbb:cccc::", &e), CMX_OK);
    assert_int_equal(enroll("cam-17", 0, "81", &out, &e), CMX_OK);
    assert_int_equal(enroll("cam-18", 1, "82", &out, &e), CMX_OK);
    assert_int_equal(allowed_with_address_of("user:root"), 0); /* the machine has this user, the registry does not */
    grant("user:1234", 81);
    grant("group:viewers", 81); /* two entries: for the group, and for its member root */
    grant("cgroup:system.slice/nvr.service", 81);
    assert_int_equal(allowed_with_address_of("cgroup:system.slice/nvr.service"), 3);
    assert_int_equal(allowed_with_address_of("group:viewers"), 3);
    assert_int_equal(allowed_with_address_of("user:root"), 3);
    assert_int_equal(allowed_with_address_of("user:1234"), 3);
    read_allowed(&allowed);
    f = open_memstream(&text, &len);
    assert_int_equal(gw_nft_fleet(f, &gateway, &allowed, &e), CMX_OK);
    assert_int_equal(gw_nft_host(f, &gateway, &allowed, &e), CMX_OK);
    assert_int_equal(fclose(f), 0);
    gw_allowed_free(&allowed);
    assert_int_equal(gw_device_get(&gateway.registry, "cam-18", &d, &e), CMX_OK);
    assert_null(strstr(text, d.address));
    free(text); /* allocated by open_memstream */
    sql("UPDATE device SET address = 'fd12:3456:789a::18' WHERE name = 'cam-18'");
    assert_int_equal(gw_party_unique_check(&gateway.registry, &gateway.fleet, NULL, &e), CMX_OK);
    assert_false(gw_party_is_device(&gateway.registry, "fd12:3456:789a::19"));
    sql("ALTER TABLE device RENAME COLUMN address TO former");
    assert_true(gw_party_is_device(&gateway.registry, "fd12:3456:789a::19")); /* true, as the registry is damaged */
}

/* nft refuses rules that give one uid two identities. So two names of a uid have the same identity. */
static void test_two_names(void **state)
{
    struct gw_allowed_list allowed;
    struct cmx_why e = {0};
    gw_outcome out;

    (void)state;
    assert_int_equal(enroll("cam-17", 0, "81,8989", &out, &e), CMX_OK);
    grant("user:root", 81);
    grant("user:toor", 81);
    grant("user:toor", 8989);
    read_allowed(&allowed);
    assert_int_equal(allowed.n, 2);
    assert_string_equal(allowed.entries[0].source, allowed.entries[1].source);
    gw_allowed_free(&allowed);
}

static cmx_err refuse_row(void *arg, const struct gw_grant_record *g)
{
    (void)g;
    ++*(size_t *)arg;
    return CMX_ENOENT;
}

/* An error that the callback returns is passed on. It is not mistaken for the end of the rows. */
static void test_callback_error(void **state)
{
    struct cmx_why e = {0};
    gw_outcome out;
    size_t calls = 0;

    (void)state;
    assert_int_equal(enroll("cam-17", 0, "81,8989", &out, &e), CMX_OK);
    grant("user:root", 0);
    assert_int_equal(gw_grant_record_each(&gateway.registry, refuse_row, &calls, &e), CMX_ENOENT);
    assert_int_equal(calls, 1);
    sql("DELETE FROM grants WHERE port = 81");
    assert_int_equal(gw_grant_record_each(&gateway.registry, refuse_row, &calls, &e), CMX_ENOENT);
}

static cmx_err count_event(void *arg, int64_t at, const char *what, const char *who, const char *detail)
{
    (void)at;
    (void)what;
    (void)who;
    (void)detail;
    ++*(size_t *)arg;
    return CMX_OK;
}

static size_t events_of(const char *name)
{
    struct cmx_why e = {0};
    size_t n = 0;

    assert_int_equal(gw_event_each(&gateway.registry, name, 0, count_event, &n, &e), CMX_OK);
    return n;
}

/* A name is compared as text: '%' and '_' stand for themselves. */
static void test_event_names(void **state)
{
    struct cmx_why e = {0};
    gw_outcome out;

    (void)state;
    assert_int_equal(enroll("cam-17", 0, "81", &out, &e), CMX_OK);
    grant("user:svc_a", 81);
    grant("user:svcxa", 81);
    assert_int_equal(events_of("svc_a"), 1);
    assert_int_equal(events_of("SVCXA"), 1);
    assert_int_equal(events_of("user:svc_a"), 1);
    assert_int_equal(events_of("Cam-17"), 3);
    assert_int_equal(events_of("cam-1"), 0);
    assert_int_equal(events_of("%"), 0);
    assert_int_equal(events_of("_am-17"), 0);
}

/* After a power cut, a backup that was reported as made is complete. */
static void test_backup(void **state)
{
    struct cmx_why e = {0};
    char path[160];
    struct stat st;
    glob_t found;
    unsigned before = fsyncs;

    (void)state;
    snprintf(path, sizeof path, "%s/backup", folder);
    assert_int_equal(gw_registry_backup(&gateway.registry, path, &e), CMX_OK);
    assert_int_equal(fsyncs, before + 1);
    assert_int_equal(gw_registry_backup(&gateway.registry, path, &e), CMX_EEXIST);
    assert_int_equal(unlink(path), 0);
    fsync_fails = true;
    assert_int_equal(gw_registry_backup(&gateway.registry, path, &e), CMX_EIO);
    fsync_fails = false;
    assert_int_not_equal(access(path, F_OK), 0);
    fsync_creates = path;
    assert_int_equal(gw_registry_backup(&gateway.registry, path, &e), CMX_EIO);
    fsync_creates = NULL;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, 0); /* the other program's file is not replaced */
    assert_int_equal(unlink(path), 0);
    snprintf(path, sizeof path, "%s/.cmxsafe-backup.*", folder);
    assert_int_equal(glob(path, 0, NULL, &found), GLOB_NOMATCH); /* nothing is left of copies that failed */
}

/* If one part of a change fails, nothing of the change stays in the registry, and the next change can begin. */
static void test_a_change_that_fails(void **state)
{
    struct cmx_why e = {0};
    gw_outcome out;

    (void)state;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(gw_registry_begin(&gateway.registry, &e), CMX_OK);
        assert_int_equal(enroll("cam-17", 0, "81", &out, &e), CMX_OK);
        assert_int_equal(gw_registry_end(&gateway.registry, i ? CMX_OK : CMX_EPERM, &e), i ? CMX_OK : CMX_EPERM);
        assert_int_equal(number_of("SELECT count(*) FROM device"), i);
    }
}

static size_t n_grants;
static int64_t grant_ends_in;
static cmx_err count_grant(void *arg, const struct gw_grant *p)
{
    (void)arg;
    n_grants++;
    grant_ends_in = p->ends_in;
    return CMX_OK;
}

static size_t active_grants(struct gw_registry *r)
{
    struct cmx_why e = {0};

    n_grants = 0;
    assert_int_equal(gw_grant_each(r, count_grant, NULL, &e), CMX_OK);
    return n_grants;
}

static void sql(const char *text)
{
    assert_int_equal(sqlite3_exec(gateway.registry.db, text, NULL, NULL, NULL), SQLITE_OK);
}

static int64_t number_of(const char *query)
{
    struct cmx_why e = {0};
    int64_t number = -1;

    assert_int_equal(gw_sql_number(&gateway.registry, &number, &e, query, ""), CMX_OK);
    return number;
}

/* Simulates jumps of the clock by changing the columns `given`, `ends` and `boot_ends`. */
static void test_grant_terms(void **state)
{
    struct cmx_why e = {0};
    struct gw_consumer c;
    struct gw_grant_terms day = {.length_s = 86400, .why = "repair"};
    struct gw_grant_terms past = {.until = 1000};
    struct gw_grant_terms glass = {.length_s = 60, .break_glass = true};
    struct gw_grant_record record;
    gw_outcome out;
    size_t n;
    int64_t left;

    (void)state;
    assert_int_equal(enroll("cam-17", 0, "81,8989", &out, &e), CMX_OK);
    assert_int_equal(gw_consumer_parse(&c, "user:alice", &e), CMX_OK);
    assert_int_equal(gw_grant_next_end(&gateway.registry, true, &left, &e), CMX_ENOENT);
    assert_int_equal(gw_grant_set(&gateway.registry, &c, "cam-17", 81, &past, &out, &e), CMX_EINVAL);
    /* The reason is missing. */
    assert_int_equal(gw_grant_set(&gateway.registry, &c, "cam-17", 81, &glass, &out, &e), CMX_EINVAL);
    glass.why = "fire";
    glass.length_s = 0;
    /* The end is missing. */
    assert_int_equal(gw_grant_set(&gateway.registry, &c, "cam-17", 81, &glass, &out, &e), CMX_EINVAL);
    day.why = "two\nlines";
    assert_int_equal(gw_grant_set(&gateway.registry, &c, "cam-17", 81, &day, &out, &e), CMX_EINVAL);
    day.why = "repair";
    assert_int_equal(gw_grant_set(&gateway.registry, &c, "cam-17", 81, &day, &out, &e), CMX_OK);
    assert_int_equal(out, GW_CHANGED);
    assert_int_equal(active_grants(&gateway.registry), 1);
    assert_in_range(grant_ends_in, 86390, 86400);
    assert_int_equal(gw_grant_next_end(&gateway.registry, true, &left, &e), CMX_OK);
    assert_in_range(left, 86390, 86400);
    /* If the wall clock is set back by ten days without a reboot, the grant still ends after its duration. */
    sql("UPDATE grants SET given = given + 864000, ends = ends + 864000");
    assert_int_equal(active_grants(&gateway.registry), 1);
    assert_in_range(grant_ends_in, 86390, 86400);
    sql("UPDATE grants SET boot_ends = boot_ends - 86400");
    assert_int_equal(active_grants(&gateway.registry), 0);
    /* After a reboot the grant is not in force while the clock is before the grant's beginning. */
    sql("UPDATE grants SET boot = 'before', boot_ends = 86400000");
    assert_int_equal(active_grants(&gateway.registry), 0);
    sql("UPDATE grants SET given = given - 864000, ends = ends - 864000");
    assert_int_equal(active_grants(&gateway.registry), 1);
    /* The grant is not in force while the clock is behind the latest time that the registry has recorded. */
    sql("UPDATE meta SET value = CAST(value AS INTEGER) + 3600 WHERE key = 'clock'");
    assert_int_equal(active_grants(&gateway.registry), 0);
    sql("UPDATE meta SET value = CAST(value AS INTEGER) - 3600 WHERE key = 'clock'");
    assert_int_equal(active_grants(&gateway.registry), 1);
    /* If the clock is set forward beyond the end, the grant is not in force, and gw_grant_expire removes it
     * permanently. */
    sql("UPDATE grants SET given = given - 86400, ends = ends - 86400");
    assert_int_equal(active_grants(&gateway.registry), 0);
    assert_int_equal(gw_grant_record_get(&gateway.registry, &c, "cam-17", 81, &record, &e), CMX_OK);
    assert_int_equal(record.left, 0);
    assert_int_equal(gw_grant_set(&gateway.registry, &c, "@cameras", 0, &day, &out, &e), CMX_OK);
    sql("UPDATE group_grants SET given = 1, ends = 2; UPDATE meta SET value = '3' WHERE key = 'clock'");
    assert_int_equal(gw_grant_expire(&gateway.registry, &n, &e), CMX_OK);
    assert_int_equal(n, 2);
    assert_int_equal(number_of("SELECT count(*) FROM group_grants"), 0);
    assert_int_equal(number_of("SELECT value FROM meta WHERE key = 'clock'"), 3); /* not updated: no grant has an end */
    assert_int_equal(gw_grant_expire(&gateway.registry, &n, &e), CMX_OK);
    assert_int_equal(n, 0);
    assert_int_equal(gw_grant_next_end(&gateway.registry, true, &left, &e), CMX_ENOENT);
    /* New terms replace the former ones. Repeating a grant without an end changes nothing. */
    assert_int_equal(gw_grant_set(&gateway.registry, &c, "cam-17", 81, &day, &out, &e), CMX_OK);
    sql("UPDATE meta SET value = '3' WHERE key = 'clock'");
    assert_int_equal(gw_grant_expire(&gateway.registry, &n, &e), CMX_OK);
    assert_int_equal(n, 0);
    assert_true(number_of("SELECT value FROM meta WHERE key = 'clock'") > 3); /* the present time is stored */
    assert_int_equal(gw_grant_set(&gateway.registry, &c, "cam-17", 81, NULL, &out, &e), CMX_OK);
    assert_int_equal(out, GW_CHANGED);
    assert_int_equal(gw_grant_set(&gateway.registry, &c, "cam-17", 81, NULL, &out, &e), CMX_OK);
    assert_int_equal(out, GW_UNCHANGED);
    assert_int_equal(active_grants(&gateway.registry), 1);
    assert_int_equal(grant_ends_in, 0);
}

/* If the clock was wrong when a grant was given, giving the grant with the same end again corrects it. */
static void test_grant_repeated_after_clock(void **state)
{
    struct cmx_why e = {0};
    struct gw_consumer c;
    struct gw_grant_terms tomorrow = {.until = (int64_t)time(NULL) + 86400};
    gw_outcome out;

    (void)state;
    assert_int_equal(enroll("cam-17", 0, "81", &out, &e), CMX_OK);
    assert_int_equal(gw_consumer_parse(&c, "user:alice", &e), CMX_OK);
    assert_int_equal(gw_grant_set(&gateway.registry, &c, "cam-17", 81, &tomorrow, &out, &e), CMX_OK);
    assert_int_equal(gw_grant_set(&gateway.registry, &c, "cam-17", 81, &tomorrow, &out, &e), CMX_OK);
    assert_int_equal(out, GW_UNCHANGED);
    /* The clock was an hour ahead: the grant would end an hour too early. */
    sql("UPDATE grants SET given = given + 3600, boot_ends = boot_ends - 3600");
    assert_int_equal(gw_grant_set(&gateway.registry, &c, "cam-17", 81, &tomorrow, &out, &e), CMX_OK);
    assert_int_equal(out, GW_CHANGED);
    assert_int_equal(active_grants(&gateway.registry), 1);
    assert_in_range(grant_ends_in, 86390, 86400);
    /* The clock was an hour ahead, and the machine was restarted: the grant would not count until its stored beginning.
     */
    sql("UPDATE grants SET given = given + 3600, boot = 'before'");
    assert_int_equal(active_grants(&gateway.registry), 0);
    assert_int_equal(gw_grant_set(&gateway.registry, &c, "cam-17", 81, &tomorrow, &out, &e), CMX_OK);
    assert_int_equal(out, GW_CHANGED);
    assert_int_equal(active_grants(&gateway.registry), 1);
}

static cmx_err count_device(void *arg, const struct gw_device *d)
{
    (void)d;
    ++*(size_t *)arg;
    return CMX_OK;
}

static size_t devices_in(const char *group)
{
    struct cmx_why e = {0};
    size_t n = 0;

    assert_int_equal(gw_device_each(&gateway.registry, group, count_device, &n, &e), CMX_OK);
    return n;
}

/* A grant for a group of devices covers the devices that are in the group at the time of use. */
static void test_group_grants(void **state)
{
    struct cmx_why e = {0};
    struct gw_consumer c;
    struct gw_key k = key_of(1);
    struct gw_grant_terms day = {.length_s = 86400}, hour = {.length_s = 3600};
    gw_outcome out;

    (void)state;
    assert_int_equal(gw_meta_set(&gateway.registry, "domain", "cmx", &e), CMX_OK);
    assert_int_equal(gw_consumer_set_platform(&gateway.registry, "vms", &k, &out, &e), CMX_OK);
    assert_int_equal(gw_consumer_parse(&c, "vms", &e), CMX_OK);
    assert_int_equal(gw_grant_set(&gateway.registry, &c, "@Cameras", 81, NULL, &out, &e), CMX_EINVAL);
    assert_int_equal(gw_grant_set(&gateway.registry, &c, "@cameras", 81, NULL, &out, &e), CMX_OK);
    assert_int_equal(active_grants(&gateway.registry), 0);
    assert_int_equal(enroll("cam-17", 0, "81,8989", &out, &e), CMX_OK);
    assert_int_equal(active_grants(&gateway.registry), 0);
    assert_int_equal(devices_in(""), 1); /* "": the devices without a group */
    sql("UPDATE device SET team = 'cameras'");
    assert_int_equal(devices_in(""), 0);
    assert_int_equal(devices_in(NULL), 1);
    assert_int_equal(active_grants(&gateway.registry), 1);
    assert_non_null(strstr(line_of(1), ",permitopen=\"cam-17.cmx:81\" "));
    assert_null(strstr(line_of(1), "8989"));
    /* Two grants for the same service count as one grant, which ends when the longer grant ends. */
    assert_int_equal(gw_grant_set(&gateway.registry, &c, "cam-17", 81, &day, &out, &e), CMX_OK);
    assert_int_equal(active_grants(&gateway.registry), 1);
    assert_int_equal(grant_ends_in, 0);
    assert_int_equal(gw_grant_set(&gateway.registry, &c, "@cameras", 81, &hour, &out, &e), CMX_OK);
    assert_int_equal(active_grants(&gateway.registry), 1);
    assert_in_range(grant_ends_in, 86390, 86400);
    gateway.registry.stale = true;
    assert_int_equal(active_grants(&gateway.registry), 0);
    gateway.registry.stale = false;
    sql("UPDATE device SET revoked = 1");
    assert_int_equal(active_grants(&gateway.registry), 0);
    sql("UPDATE device SET revoked = NULL");
    assert_int_equal(gw_grant_set(&gateway.registry, &c, "@cameras", 0, NULL, &out, &e), CMX_OK);
    assert_int_equal(active_grants(&gateway.registry), 2);
    sql("UPDATE device SET team = 'other'");
    assert_int_equal(active_grants(&gateway.registry), 1);
    assert_int_equal(gw_grant_remove(&gateway.registry, &c, "@cameras", 0, &out, &e), CMX_OK);
    assert_int_equal(out, GW_CHANGED);
    sql("UPDATE device SET team = 'cameras'");
    assert_int_equal(active_grants(&gateway.registry), 1);
}

static void test_times(void **state)
{
    static const char *const bad[] = {"", "8", "h", "0h", "-1h", "8x", "8hh", "999999999999h", "1.5h", "600w"};
    static const char *const bad_times[] = {"", "tomorrow", "2026-02-30", "2026-11-28 25:00", "2026-11-28 18:30 CET"};
    struct cmx_why e = {0};
    int64_t s;
    char text[32];

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(gw_term_parse_length(bad[i], &s, &e), CMX_EINVAL);
    for (size_t i = 0; i < sizeof bad_times / sizeof bad_times[0]; i++)
        assert_int_equal(gw_term_parse_time(bad_times[i], &s, &e), CMX_EINVAL);
    assert_int_equal(gw_term_parse_length("8h", &s, &e), CMX_OK);
    assert_int_equal(s, 28800);
    assert_int_equal(gw_term_parse_time("2026-11-28T18:30:00Z", &s, &e), CMX_OK);
    assert_int_equal(s, 1795890600);
    assert_int_equal(gw_term_parse_time("2026-11-28 18:30", &s, &e), CMX_OK);
    assert_int_equal(s, 1795890600);
    gw_term_length_text(28799, text);
    assert_string_equal(text, "7h 59m");
}

/* Writes an ed25519 key that differs for each n. */
static void numbered_key(uint32_t n, char *out, size_t cap)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char tail[8];

    for (size_t i = 0; i < 6; i++)
        tail[i] = digits[n >> (6 * i) & 63];
    tail[6] = '\0';
    snprintf(out, cap, "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKe0zb5nNeXNTbLFSN1EJ6Tg4bdZXBYgFLUn%sMB", tail);
}

static size_t pending_of(const struct gw_pending *p, uint8_t source)
{
    size_t n = 0;

    for (size_t i = 0; i < GW_PENDING_MAX; i++)
        n += p->keys[i].fingerprint[0] && p->keys[i].source[0] == source;
    return n;
}

/* During a flood of unknown keys, from one source or from many, the list of pending keys stays bounded, and the key of
 * a device that keeps trying stays in it. */
static void test_pending(void **state)
{
    static struct gw_pending p;
    struct gw_key device = key_of(0);
    uint8_t source[16] = {1};
    char text[128];
    bool found = false;

    (void)state;
    gw_pending_note(&p, "ssh-ed25519 AAAA", "x", source, 1);
    gw_pending_note(&p, "ssh-dss AAAAB3NzaC1kc3MAAACBAI", "x", source, 1);
    assert_int_equal(pending_of(&p, 1), 0);
    for (uint32_t i = 0; i < 1000; i++) {
        numbered_key(i, text, sizeof text);
        gw_pending_note(&p, text, "192.0.2.1:1", source, i);
    }
    assert_int_equal(pending_of(&p, 1), GW_PENDING_PER_SOURCE);
    source[0] = 2;
    for (uint32_t i = 0; i < 100000; i++) {
        numbered_key(1000 + i, text, sizeof text);
        memcpy(source + 1, &i, sizeof i);
        gw_pending_note(&p, text, "192.0.2.2:1", source, i);
        if (i % 100 == 0)
            gw_pending_note(&p, keys[0], "192.0.2.3:1", (const uint8_t[16]){3}, i);
    }
    assert_int_equal(pending_of(&p, 2), GW_PENDING_MAX - 1);
    assert_int_equal(pending_of(&p, 3), 1);
    for (size_t i = 0; i < GW_PENDING_MAX; i++)
        if (strcmp(p.keys[i].fingerprint, device.fingerprint) == 0) {
            found = true;
            assert_int_equal(p.keys[i].tries, 1000);
            assert_int_equal(p.keys[i].first, 0);
        }
    assert_true(found);
    gw_pending_forget(&p, device.fingerprint);
    assert_int_equal(pending_of(&p, 3), 0);
}

static cmx_err keep_standing(void *arg, const struct gw_standing *s)
{
    *(struct gw_standing *)arg = *s;
    return CMX_OK;
}

static struct gw_standing standing_of(const char *name)
{
    struct cmx_why e = {0};
    struct gw_standing s;

    assert_int_equal(gw_standing_get(&gateway.registry, name, &s, &e), CMX_OK);
    return s;
}

static bool quarantined(const char *name)
{
    return standing_of(name).quarantined;
}

/* A device with an enforced policy is reachable only while it has fresh, trusted evidence. Its own policy takes
 * precedence over its group's policy.
 */
static void test_policy(void **state)
{
    struct cmx_why e = {0};
    struct gw_consumer c;
    struct gw_policy p = {.target = "cameras", .max_age_s = 600, .enforce = true};
    struct gw_grant_terms glass = {.length_s = 600, .why = "fire", .break_glass = true};
    const struct gw_verdict trusted = {.trusted = true, .max_age_s = 600, .manifest = "aa", .reason = ""};
    struct gw_standing s = {0};
    struct gw_device d;
    gw_outcome out;
    char line[64];
    size_t n;

    (void)state;
    assert_int_equal(enroll("cam-17", 0, "81", &out, &e), CMX_OK);
    sql("UPDATE device SET team = 'cameras'");
    assert_int_equal(gw_device_get(&gateway.registry, "cam-17", &d, &e), CMX_OK);
    assert_int_equal(gw_consumer_parse(&c, "user:alice", &e), CMX_OK);
    assert_int_equal(gw_grant_set(&gateway.registry, &c, "cam-17", 81, NULL, &out, &e), CMX_OK);
    assert_int_equal(active_grants(&gateway.registry), 1);
    assert_int_equal(gw_policy_set(&gateway.registry, &p, &out, &e), CMX_EINVAL); /* the manifest is missing */
    strcpy(p.manifests[0].path, "/m/1");
    strcpy(p.manifests[0].digest, "aa");
    p.n_manifests = 1;
    p.max_age_s = 59;
    assert_int_equal(gw_policy_set(&gateway.registry, &p, &out, &e), CMX_EINVAL);
    p.max_age_s = 600;
    assert_int_equal(gw_policy_set(&gateway.registry, &p, &out, &e), CMX_OK);
    assert_int_equal(out, GW_ADDED);
    assert_int_equal(gw_policy_set(&gateway.registry, &p, &out, &e), CMX_OK);
    assert_int_equal(out, GW_UNCHANGED);
    assert_true(quarantined("cam-17"));
    assert_true(gw_device_is_quarantined(&gateway.registry, d.address));
    assert_int_equal(active_grants(&gateway.registry), 0);
    /* Trusted evidence counts until it expires; a login makes it expire earlier. After a reboot, evidence does not
     * count while the clock is before the time of the evidence. */
    assert_int_equal(gw_evidence_set(&gateway.registry, d.id, &trusted, &e), CMX_OK);
    assert_false(quarantined("cam-17"));
    assert_int_equal(active_grants(&gateway.registry), 1);
    /* A policy with a lower maximum age also applies to evidence that is already stored. */
    p.max_age_s = 300;
    assert_int_equal(gw_policy_set(&gateway.registry, &p, &out, &e), CMX_OK);
    assert_int_equal(gw_standing_each(&gateway.registry, keep_standing, &s, &e), CMX_OK);
    assert_in_range(s.left, 290, 300);
    p.max_age_s = 600;
    assert_int_equal(gw_policy_set(&gateway.registry, &p, &out, &e), CMX_OK);
    assert_int_equal(gw_standing_each(&gateway.registry, keep_standing, &s, &e), CMX_OK);
    assert_in_range(s.left, 290, 300);
    assert_int_equal(gw_evidence_login(&gateway.registry, d.id, &e), CMX_OK);
    assert_int_equal(gw_standing_each(&gateway.registry, keep_standing, &s, &e), CMX_OK);
    assert_in_range(s.left, 1, GW_LOGIN_GRACE_S);
    assert_int_equal(s.port, 8888);
    assert_string_equal(s.manifest, "aa");
    assert_int_equal(gw_evidence_port_set(&gateway.registry, "cam-17", 9999, &out, &e), CMX_ENOENT);
    assert_int_equal(gw_evidence_port_set(&gateway.registry, "cam-17", 81, &out, &e), CMX_OK);
    assert_int_equal(gw_standing_each(&gateway.registry, keep_standing, &s, &e), CMX_OK);
    assert_int_equal(s.port, 81);
    sql("UPDATE evidence SET boot_ends = boot_ends - 30");
    assert_true(quarantined("cam-17"));
    assert_int_equal(gw_evidence_set(&gateway.registry, d.id, &trusted, &e), CMX_OK);
    sql("UPDATE evidence SET boot = 'before', given = given + 3600, ends = ends + 3600");
    assert_true(quarantined("cam-17"));
    /* Evidence that has expired never counts again, even if the clock is set back. */
    assert_int_equal(gw_evidence_set(&gateway.registry, d.id, &trusted, &e), CMX_OK);
    sql("UPDATE evidence SET given = given - 3600, ends = ends - 3600");
    assert_int_equal(gw_grant_expire(&gateway.registry, &n, &e), CMX_OK);
    assert_int_equal(n, 1);
    sql("UPDATE evidence SET given = given + 3600, ends = ends + 3600");
    assert_true(quarantined("cam-17"));
    /* Without evidence, each of these permits access while it exists: a break-glass grant, an exemption, and a
     * policy of the device's own that is not enforced. */
    assert_int_equal(gw_grant_set(&gateway.registry, &c, "cam-17", 81, &glass, &out, &e), CMX_OK);
    assert_int_equal(active_grants(&gateway.registry), 1);
    assert_int_equal(gw_grant_set(&gateway.registry, &c, "cam-17", 81, NULL, &out, &e), CMX_OK);
    assert_int_equal(active_grants(&gateway.registry), 0);
    assert_int_equal(gw_policy_exempt(&gateway.registry, "cam-17", true, "old", &out, &e), CMX_OK);
    assert_int_equal(active_grants(&gateway.registry), 1);
    assert_int_equal(gw_policy_exempt(&gateway.registry, "cam-17", false, NULL, &out, &e), CMX_OK);
    assert_int_equal(active_grants(&gateway.registry), 0);
    p.is_device = true;
    p.enforce = false;
    strcpy(p.target, "cam-17");
    assert_int_equal(gw_policy_set(&gateway.registry, &p, &out, &e), CMX_OK);
    assert_int_equal(active_grants(&gateway.registry), 1);
    assert_int_equal(gw_device_rename(&gateway.registry, "CAM-17", "cam-1", &out, &e),
                     CMX_OK); /* the old name in capitals */
    assert_int_equal(active_grants(&gateway.registry), 1);
    assert_int_equal(gw_policy_remove(&gateway.registry, "cam-1", true, &out, &e), CMX_OK);
    assert_int_equal(active_grants(&gateway.registry), 0);
    /* Once the device's attestation key has been replaced, evidence signed with the former key no longer counts. */
    assert_int_equal(gw_evidence_set(&gateway.registry, d.id, &trusted, &e), CMX_OK);
    assert_int_equal(active_grants(&gateway.registry), 1);
    assert_int_equal(gw_evidence_key_set(&gateway.registry, "cam-1", "cmxsafe-attest-1 x", &out, &e), CMX_OK);
    assert_int_equal(gw_evidence_key_get(&gateway.registry, d.id, line, sizeof line, &e), CMX_OK);
    assert_int_equal(active_grants(&gateway.registry), 0);
    assert_int_equal(gw_policy_remove(&gateway.registry, "cameras", false, &out, &e), CMX_OK);
    assert_int_equal(active_grants(&gateway.registry), 1);
}

/* gw_evidence_missing stores the reason why a device gives no evidence. The reason does not count as evidence: the time
 * of the evidence stays 0, so a campaign waits for evidence. Evidence that still counts stays trusted. */
static void test_missing_evidence(void **state)
{
    struct cmx_why e = {0};
    struct gw_policy p = {.target = "cam-17", .is_device = true, .enforce = true, .max_age_s = 600, .n_manifests = 1};
    const struct gw_verdict trusted = {.trusted = true, .max_age_s = 600, .manifest = "aa", .reason = ""};
    int64_t id;
    gw_outcome out;
    bool changed;

    (void)state;
    strcpy(p.manifests[0].path, "/m/1");
    strcpy(p.manifests[0].digest, "aa");
    assert_int_equal(enroll("cam-17", 0, "81", &out, &e), CMX_OK);
    assert_int_equal(gw_policy_set(&gateway.registry, &p, &out, &e), CMX_OK);
    id = standing_of("cam-17").device;
    assert_int_equal(gw_evidence_missing(&gateway.registry, id, "no answer", &changed, &e), CMX_OK);
    assert_true(changed && quarantined("cam-17"));
    assert_string_equal(standing_of("cam-17").reason, "no answer");
    assert_int_equal(standing_of("cam-17").at, 0);
    assert_int_equal(gw_evidence_missing(&gateway.registry, id, "no answer", &changed, &e), CMX_OK);
    assert_false(changed);
    assert_int_equal(gw_evidence_set(&gateway.registry, id, &trusted, &e), CMX_OK);
    assert_int_equal(gw_evidence_missing(&gateway.registry, id, "no answer", &changed, &e), CMX_OK);
    assert_false(changed || quarantined("cam-17"));
}

/* An exemption ends with its device: after a revocation, a device that is enrolled under the same name has none. */
static void test_exemption_ends(void **state)
{
    struct cmx_why e = {0};
    gw_outcome out;

    (void)state;
    assert_int_equal(enroll("cam-17", 0, "81", &out, &e), CMX_OK);
    assert_int_equal(gw_policy_exempt(&gateway.registry, "cam-17", true, "old", &out, &e), CMX_OK);
    assert_true(standing_of("cam-17").exempt);
    assert_int_equal(gw_device_revoke(&gateway.registry, "cam-17", &out, &e), CMX_OK);
    assert_int_equal(enroll("cam-17", 1, "81", &out, &e), CMX_OK);
    assert_false(standing_of("cam-17").exempt);
}

#define ATTEST_A "cmxsafe-attest-1 AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAxxxx cmxsafe-000000000000"
#define ATTEST_B "cmxsafe-attest-1 BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBxxxx cmxsafe-041041041041"

static void refuse_attest_key(const char *device, const char *line, const char *owner)
{
    struct cmx_why e = {0};
    gw_outcome out;

    assert_int_equal(gw_evidence_key_set(&gateway.registry, device, line, &out, &e), CMX_EEXIST);
    assert_non_null(strstr(e.text, owner));
    assert_non_null(strstr(e.text, "was revoked or got another key; a retired key can't be used again"));
}

/* As with SSH keys, the attestation key of a device that was revoked or deleted, or that got another key by rotation,
 * is refused for other devices. A revoked device that is enrolled again keeps its key. */
static void test_attest_key_retired(void **state)
{
    struct cmx_why e = {0};
    gw_outcome out;

    (void)state;
    assert_int_equal(enroll("cam-17", 0, "81", &out, &e), CMX_OK);
    assert_int_equal(enroll("cam-18", 1, "81", &out, &e), CMX_OK);
    assert_int_equal(gw_evidence_key_set(&gateway.registry, "cam-17", ATTEST_A, &out, &e), CMX_OK);
    assert_int_equal(gw_device_retire_attest_key(&gateway.registry, "cam-17", ATTEST_A, &e), CMX_OK);
    assert_int_equal(gw_evidence_key_set(&gateway.registry, "cam-17", ATTEST_A, &out, &e), CMX_OK);
    assert_int_equal(gw_device_revoke(&gateway.registry, "cam-17", &out, &e), CMX_OK);
    refuse_attest_key("cam-18", ATTEST_A, "belonged to cam-17");
    /* An earlier version has given this key to cam-18, which keeps it. */
    sql("UPDATE device SET attest_key = '" ATTEST_A "' WHERE name = 'cam-18'");
    assert_int_equal(gw_evidence_key_set(&gateway.registry, "cam-18", ATTEST_A, &out, &e), CMX_OK);
    assert_int_equal(out, GW_UNCHANGED);
    sql("UPDATE device SET attest_key = '' WHERE name = 'cam-18'");
    assert_int_equal(enroll("cam-17", 2, "81", &out, &e), CMX_OK);
    assert_int_equal(gw_evidence_key_set(&gateway.registry, "cam-17", ATTEST_A, &out, &e), CMX_OK);
    assert_int_equal(out, GW_UNCHANGED);
    assert_int_equal(gw_device_revoke(&gateway.registry, "cam-17", &out, &e), CMX_OK);
    assert_int_equal(gw_device_delete(&gateway.registry, "cam-17", &out, &e), CMX_OK);
    refuse_attest_key("cam-18", ATTEST_A, "belonged to cam-17");
    /* A replaced key, as after a typing error, stays usable; a rotated one does not. */
    assert_int_equal(gw_evidence_key_set(&gateway.registry, "cam-18", ATTEST_B, &out, &e), CMX_OK);
    assert_int_equal(gw_evidence_key_set(&gateway.registry, "cam-18", "", &out, &e), CMX_OK);
    assert_int_equal(gw_evidence_key_set(&gateway.registry, "cam-18", ATTEST_B, &out, &e), CMX_OK);
    assert_int_equal(gw_device_retire_attest_key(&gateway.registry, "cam-18", "", &e), CMX_OK);
    assert_int_equal(gw_evidence_key_set(&gateway.registry, "cam-18", "", &out, &e), CMX_OK);
    refuse_attest_key("cam-18", ATTEST_B, "belonged to cam-18");
}

/* Two devices do not share an attestation key. */
static void test_attest_key_of_two(void **state)
{
    struct cmx_why e = {0};
    gw_outcome out;

    (void)state;
    assert_int_equal(enroll("cam-17", 0, "81", &out, &e), CMX_OK);
    assert_int_equal(enroll("cam-18", 1, "81", &out, &e), CMX_OK);
    assert_int_equal(gw_evidence_key_set(&gateway.registry, "cam-17", "cmxsafe-attest-1 x", &out, &e), CMX_OK);
    assert_int_equal(gw_evidence_key_set(&gateway.registry, "cam-17", "cmxsafe-attest-1 x", &out, &e), CMX_OK);
    assert_int_equal(gw_evidence_key_set(&gateway.registry, "cam-18", "cmxsafe-attest-1 x", &out, &e), CMX_EEXIST);
    assert_string_equal(e.text, "this attestation key belongs to cam-17; give each device a key of its own");
    assert_int_equal(gw_evidence_key_set(&gateway.registry, "cam-18", "", &out, &e), CMX_OK);
}

static struct gw_update found_update;

static cmx_err find_update(void *arg, const struct gw_update *u)
{
    (void)arg;
    found_update = *u;
    return CMX_OK;
}

/* Two gateways update a device that moved from one to the other: a gateway's result does not replace what the other
 * gateway has stored since. */
static void test_update_of_two_gateways(void **state)
{
    struct cmx_why e = {0};
    struct gw_campaign c = {.name = "may", .image = "aa", .version = "2"};
    struct gw_update late;
    struct gw_device d;
    gw_outcome out;

    (void)state;
    assert_int_equal(enroll("cam-17", 0, "81", &out, &e), CMX_OK);
    assert_int_equal(gw_device_get(&gateway.registry, "cam-17", &d, &e), CMX_OK);
    assert_int_equal(gw_campaign_add(&gateway.registry, &c, &e), CMX_OK);
    assert_int_equal(gw_campaign_add_device(&gateway.registry, &c, &d, &e), CMX_OK);
    assert_int_equal(gw_update_each(&gateway.registry, c.id, find_update, NULL, &e), CMX_OK);
    late = found_update;
    found_update.state = GW_UPDATE_DONE;
    assert_int_equal(gw_update_set(&gateway.registry, &c, &found_update, &e), CMX_OK);
    late.state = GW_UPDATE_FAILED;
    assert_int_equal(gw_update_set(&gateway.registry, &c, &late, &e), CMX_OK);
    assert_int_equal(gw_update_each(&gateway.registry, c.id, find_update, NULL, &e), CMX_OK);
    assert_int_equal(found_update.state, GW_UPDATE_DONE);
    assert_int_equal(gw_sql_number(&gateway.registry, NULL, &e, "SELECT 1 FROM event WHERE what = 'update-failed'", ""),
                     CMX_ENOENT);
}

/* Trusted evidence counts only under the policy that applies now. It no longer counts after the device's own policy is
 * removed, after the device changes its group, or if the policy changed while a check ran. */
static void test_evidence_fits(void **state)
{
    struct cmx_why e = {0};
    struct gw_policy own = {.target = "cam-17", .is_device = true, .enforce = true, .max_age_s = 600, .n_manifests = 1};
    struct gw_policy group = {.target = "cameras", .enforce = true, .max_age_s = 60, .n_manifests = 1};
    const struct gw_verdict trusted = {.trusted = true, .max_age_s = 600, .manifest = "aa", .reason = ""};
    struct gw_standing s = {0};
    struct gw_key k = key_of(0);
    struct gw_device d;
    gw_outcome out;

    (void)state;
    strcpy(own.manifests[0].digest, "aa");
    strcpy(group.manifests[0].digest, "bb");
    assert_int_equal(enroll("cam-17", 0, "81", &out, &e), CMX_OK);
    sql("UPDATE device SET team = 'cameras'");
    assert_int_equal(gw_device_get(&gateway.registry, "cam-17", &d, &e), CMX_OK);
    assert_int_equal(gw_policy_set(&gateway.registry, &group, &out, &e), CMX_OK);
    assert_int_equal(gw_policy_set(&gateway.registry, &own, &out, &e), CMX_OK);
    assert_int_equal(gw_evidence_set(&gateway.registry, d.id, &trusted, &e), CMX_OK);
    assert_false(quarantined("cam-17"));
    assert_int_equal(gw_policy_remove(&gateway.registry, "cam-17", true, &out, &e), CMX_OK);
    assert_true(quarantined("cam-17"));
    assert_int_equal(gw_evidence_set(&gateway.registry, d.id, &trusted, &e), CMX_OK);
    assert_true(quarantined("cam-17"));
    strcpy(group.manifests[0].digest, "aa");
    assert_int_equal(gw_policy_set(&gateway.registry, &group, &out, &e), CMX_OK);
    assert_int_equal(gw_evidence_set(&gateway.registry, d.id, &trusted, &e), CMX_OK);
    assert_int_equal(gw_standing_each(&gateway.registry, keep_standing, &s, &e), CMX_OK);
    assert_in_range(s.left, 50, 60);
    strcpy(group.target, "others");
    strcpy(group.manifests[0].digest, "bb");
    assert_int_equal(gw_policy_set(&gateway.registry, &group, &out, &e), CMX_OK);
    assert_false(quarantined("cam-17"));
    strcpy(d.group, "others");
    assert_int_equal(gw_device_enroll(&gateway.registry, &d, &k, 0, &out, &e), CMX_OK);
    assert_true(quarantined("cam-17"));
}

/* A device's policy does not apply to a group with the same name, and a group's policy does not apply to a device with
 * the same name. */
static void test_evidence_fits_each(void **state)
{
    struct cmx_why e = {0};
    struct gw_policy own = {.target = "cam-17", .is_device = true, .enforce = true, .max_age_s = 600, .n_manifests = 1};
    struct gw_policy group = {.target = "cameras", .enforce = true, .max_age_s = 60, .n_manifests = 1};
    const struct gw_verdict trusted = {.trusted = true, .max_age_s = 3600, .manifest = "aa", .reason = ""};
    const struct gw_verdict failed = {.max_age_s = 3600, .manifest = "", .reason = "the flash differs"};
    static const char *const names[] = {"cam-17", "cameras", "cam-3"};
    struct gw_device d;
    gw_outcome out;

    (void)state;
    strcpy(own.manifests[0].digest, "aa");
    strcpy(group.manifests[0].digest, "bb");
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(enroll(names[i], i, "81", &out, &e), CMX_OK);
    sql("UPDATE device SET team = 'cameras' WHERE name = 'cam-17'; UPDATE device SET team = 'cam-17' WHERE name = "
        "'cam-3'");
    assert_int_equal(gw_policy_set(&gateway.registry, &group, &out, &e), CMX_OK);
    assert_int_equal(gw_policy_set(&gateway.registry, &own, &out, &e), CMX_OK);
    for (size_t i = 3; i-- > 0;) {
        assert_int_equal(gw_device_get(&gateway.registry, names[i], &d, &e), CMX_OK);
        assert_int_equal(gw_evidence_set(&gateway.registry, d.id, &trusted, &e), CMX_OK);
    }
    for (size_t i = 0; i < 3; i++) {
        struct gw_standing s = standing_of(names[i]);

        assert_true(s.trusted);
        assert_in_range(s.left, i ? 3590 : 590, i ? 3600 : 600);
    }
    own.max_age_s = 60;
    assert_int_equal(gw_policy_set(&gateway.registry, &own, &out, &e), CMX_OK);
    assert_in_range(standing_of("cam-17").left, 50, 60);
    /* If the clock is set back, the time since the boot still ends the evidence. */
    sql("UPDATE evidence SET given = given + 1000, ends = ends + 1000");
    assert_in_range(standing_of("cam-17").left, 50, 60);
    assert_in_range(standing_of("cameras").left, 3590, 3600);
    assert_int_equal(gw_device_get(&gateway.registry, "cam-17", &d, &e), CMX_OK);
    assert_int_equal(gw_evidence_set(&gateway.registry, d.id, &failed, &e), CMX_OK);
    assert_string_equal(standing_of("cam-17").reason, "the flash differs");
}

/* gw_evidence_basis changes with the policy, its manifests, the attestation key and new evidence. A login does not
 * change it. */
static void test_basis(void **state)
{
    const struct gw_seen seen = {.at = 1, .source = "x", .client = "OpenSSH_9.2"};
    struct cmx_why e = {0};
    struct gw_policy p = {.target = "cam-17", .is_device = true, .enforce = true, .max_age_s = 600, .n_manifests = 1};
    const struct gw_verdict trusted = {.trusted = true, .max_age_s = 600, .manifest = "bb", .reason = ""};
    struct gw_device d;
    struct gw_basis a;
    struct gw_basis b;
    gw_outcome out;

    (void)state;
    assert_int_equal(enroll("cam-17", 0, "81", &out, &e), CMX_OK);
    assert_int_equal(gw_device_get(&gateway.registry, "cam-17", &d, &e), CMX_OK);
    strcpy(p.manifests[0].digest, "aa");
    assert_int_equal(gw_evidence_basis(&gateway.registry, d.id + 99, &a, &e), CMX_ENOENT);
    assert_int_equal(gw_evidence_basis(&gateway.registry, d.id, &a, &e), CMX_OK);
    assert_int_equal(gw_policy_set(&gateway.registry, &p, &out, &e), CMX_OK);
    assert_int_equal(gw_evidence_basis(&gateway.registry, d.id, &b, &e), CMX_OK);
    assert_memory_not_equal(&a, &b, sizeof a);
    strcpy(p.manifests[0].digest, "bb");
    assert_int_equal(gw_policy_set(&gateway.registry, &p, &out, &e), CMX_OK);
    assert_int_equal(gw_evidence_basis(&gateway.registry, d.id, &a, &e), CMX_OK);
    assert_memory_not_equal(&a, &b, sizeof a);
    assert_int_equal(gw_evidence_key_set(&gateway.registry, "cam-17", "cmxsafe-attest-1 x", &out, &e), CMX_OK);
    assert_int_equal(gw_evidence_basis(&gateway.registry, d.id, &b, &e), CMX_OK);
    assert_memory_not_equal(&a, &b, sizeof a);
    assert_int_equal(gw_evidence_set(&gateway.registry, d.id, &trusted, &e), CMX_OK);
    assert_int_equal(gw_evidence_basis(&gateway.registry, d.id, &a, &e), CMX_OK);
    assert_memory_not_equal(&a, &b, sizeof a);
    assert_int_equal(gw_evidence_login(&gateway.registry, d.id, &e), CMX_OK);
    assert_int_equal(gw_seen_set(&gateway.registry, "cam-17", &seen, &e), CMX_OK);
    assert_int_equal(gw_evidence_basis(&gateway.registry, d.id, &b, &e), CMX_OK);
    assert_memory_equal(&a, &b, sizeof a);
}

/* The reason is stored as one line, so that text from a device cannot add a claim. */
static void test_attestation(void **state)
{
    struct cmx_why e = {0};
    struct gw_attestation a;
    struct gw_device d;
    gw_outcome out;

    (void)state;
    assert_int_equal(enroll("cam-17", 0, "81", &out, &e), CMX_OK);
    assert_int_equal(gw_device_get(&gateway.registry, "cam-17", &d, &e), CMX_OK);
    assert_int_equal(gw_attestation_set(&gateway.registry, d.id, "differs", "the boot\nok boot forged",
                                        "failed boot 2\nok ueid 1", &e),
                     CMX_OK);
    gw_attestation_get(&gateway.registry, d.id, &a);
    assert_string_equal(a.detail, "the boot");
    assert_string_equal(a.claims, "failed boot 2\nok ueid 1");
    assert_int_equal(gw_attestation_set(&gateway.registry, d.id, "match", "", "", &e), CMX_OK);
    gw_attestation_get(&gateway.registry, d.id, &a);
    assert_string_equal(a.detail, "");
    assert_string_equal(a.claims, "");
}

/* Deletion frees the name and address of a revoked device; its keys stay refused. */
static void test_delete(void **state)
{
    struct cmx_why e = {0};
    struct gw_device d = {0};
    struct gw_key k = key_of(0);
    gw_outcome out;
    char address[GW_ADDRESS_MAX];

    (void)state;
    assert_int_equal(enroll("cam-17", 0, "81", &out, &e), CMX_OK);
    assert_int_equal(gw_address_derive(&gateway.fleet, &k, address, &e), CMX_OK);
    assert_int_equal(gw_device_delete(&gateway.registry, "cam-17", &out, &e), CMX_EINVAL); /* the device is active */
    assert_int_equal(gw_device_revoke(&gateway.registry, "cam-17", &out, &e), CMX_OK);
    k = key_of(1);
    snprintf(d.name, sizeof d.name, "cam-18");
    snprintf(d.address, sizeof d.address, "%s", address);
    assert_int_equal(gw_device_parse_ports(&d, "81", &e), CMX_OK);
    assert_int_equal(gw_device_enroll(&gateway.registry, &d, &k, 0, &out, &e), CMX_EEXIST);
    assert_non_null(strstr(e.text, "'cmxsafe gateway delete cam-17'"));
    /* Everything that belongs to the device is deleted with it. The policy of a group with its name stays. */
    sql("INSERT INTO attestation VALUES(1, 0, '', ''); INSERT INTO seen(device, at, source, firmware) VALUES(1, 0, '', "
        "''); INSERT INTO evidence VALUES(1, 0, 0, '', 0, 1, '', ''); INSERT INTO direct VALUES(1, 'a', 80);"
        "INSERT INTO campaign VALUES(1, 'c', '', '', '', '', 0, '', 0, 0, 0, 0, 0, 0);"
        "INSERT INTO campaign_device VALUES(1, 1, 0, '', '', 0, 0, '');"
        "INSERT INTO policy VALUES(1, 'device', 'cam-17', 0, 1), (2, 'group', 'cam-17', 0, 1);"
        "INSERT INTO policy_manifest VALUES(1, 'd', 'p'), (2, 'd', 'p')");
    assert_int_equal(gw_device_delete(&gateway.registry, "cam-17", &out, &e), CMX_OK);
    assert_int_equal(number_of("SELECT sum(id) FROM policy"), 2);
    assert_int_equal(number_of("SELECT sum(policy) FROM policy_manifest"), 2);
    assert_int_equal(gw_device_get(&gateway.registry, "cam-17", &d, &e), CMX_ENOENT);
    assert_null(line_of(0));
    memset(&d, 0, sizeof d);
    snprintf(d.name, sizeof d.name, "cam-18");
    snprintf(d.address, sizeof d.address, "%s", address);
    assert_int_equal(gw_device_parse_ports(&d, "81", &e), CMX_OK);
    assert_int_equal(gw_device_enroll(&gateway.registry, &d, &k, 0, &out, &e), CMX_OK);
    assert_int_equal(gw_device_rename(&gateway.registry, "cam-18", "cam-17", &out, &e), CMX_OK);
    assert_int_equal(enroll("cam-19", 0, "81", &out, &e), CMX_EEXIST); /* the key of a deleted device */
    assert_non_null(strstr(e.text, "belonged to cam-17"));
    assert_int_equal(gw_device_delete(&gateway.registry, "cam-99", &out, &e), CMX_ENOENT);
}

/* `delete` and `rename` can be repeated, but not for a name that another device has had since. */
static void test_repeated(void **state)
{
    struct gw_registry *r = &gateway.registry;
    struct cmx_why e = {0};
    gw_outcome out;

    (void)state;
    assert_int_equal(enroll("cam-17", 0, "81", &out, &e), CMX_OK);
    assert_int_equal(gw_device_rename(r, "cam-17", "cam-18", &out, &e), CMX_OK);
    assert_int_equal(out, GW_CHANGED);
    assert_int_equal(gw_device_rename(r, "CAM-17", "cam-18", &out, &e), CMX_OK);
    assert_int_equal(out, GW_UNCHANGED);
    assert_int_equal(gw_device_rename(r, "cam-17", "cam-19", &out, &e), CMX_ENOENT);
    assert_int_equal(gw_device_delete(r, "cam-17", &out, &e), CMX_ENOENT);
    assert_int_equal(gw_device_revoke(r, "cam-18", &out, &e), CMX_OK);
    assert_int_equal(gw_device_delete(r, "cam-18", &out, &e), CMX_OK);
    assert_int_equal(out, GW_CHANGED);
    assert_int_equal(gw_device_delete(r, "cam-18", &out, &e), CMX_OK);
    assert_int_equal(out, GW_UNCHANGED);
    assert_int_equal(gw_device_rename(r, "cam-17", "cam-18", &out, &e), CMX_ENOENT); /* cam-18 is gone */
    assert_int_equal(enroll("cam-18", 1, "81", &out, &e), CMX_OK);
    assert_int_equal(gw_device_rename(r, "cam-17", "cam-18", &out, &e), CMX_ENOENT); /* cam-18 is another device */
    assert_int_equal(gw_device_rename(r, "cam-18", "cam-20", &out, &e), CMX_OK);
    assert_int_equal(gw_device_delete(r, "cam-18", &out, &e), CMX_ENOENT);
}

static void test_names(void **state)
{
    static const char *const bad[] = {"gateway", "localhost", "", "a.b", "-a", "a\n"};
    struct cmx_why e = {0};
    gw_outcome out;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(gw_device_name_check(bad[i], &e), CMX_EINVAL);
    assert_int_equal(enroll("gateway", 0, "81", &out, &e), CMX_EINVAL);
    assert_int_equal(enroll("cam-17", 0, "81", &out, &e), CMX_OK);
    assert_int_equal(gw_device_rename(&gateway.registry, "cam-17", "gateway", &out, &e), CMX_EINVAL);
}

/* Fields that the operator did not give keep their values. With GW_FIELD_FORMER_KEY, an enrolment may give an earlier
 * key of the device; the device keeps its current key. */
static void test_merge(void **state)
{
    struct cmx_why e = {0};
    struct gw_device d = {.name = "cam-17", .group = "cameras"};
    struct gw_device now = {.name = "cam-17"};
    struct gw_key old = key_of(0);
    struct gw_key k = key_of(1);
    gw_outcome out;

    (void)state;
    assert_int_equal(gw_address_derive(&gateway.fleet, &old, d.address, &e), CMX_OK);
    assert_int_equal(gw_device_parse_ports(&d, "81; 8989,82", &e), CMX_OK);
    assert_int_equal(d.n_ports, 3);
    assert_int_equal(gw_device_parse_directs(&d, "Broker.Example:1883, [FD00:0:0::1]:80", &e), CMX_OK);
    assert_string_equal(d.directs[0].host, "broker.example");
    assert_string_equal(d.directs[1].host, "fd00::1");
    assert_int_equal(gw_device_enroll(&gateway.registry, &d, &old, 0, &out, &e), CMX_OK);
    assert_int_equal(gw_device_rotate(&gateway.registry, "cam-17", &k, &out, &e), CMX_OK);
    assert_int_equal(gw_device_merge(&gateway.registry, &now, GW_FIELD_GROUP, &e), CMX_OK);
    assert_string_equal(now.address, d.address);
    assert_string_equal(now.group, ""); /* the operator gave an empty value */
    assert_int_equal(now.n_ports, 3);
    assert_int_equal(now.n_directs, 2);
    assert_int_equal(gw_device_enroll(&gateway.registry, &now, &old, 0, &out, &e), CMX_EEXIST);
    assert_int_equal(gw_device_enroll(&gateway.registry, &now, &old, GW_FIELD_FORMER_KEY, &out, &e), CMX_OK);
    assert_int_equal(out, GW_CHANGED);
    assert_int_equal(gw_device_get(&gateway.registry, "cam-17", &now, &e), CMX_OK);
    assert_string_equal(now.fingerprint, k.fingerprint);
    assert_string_equal(now.group, "");
    assert_null(line_of(0));
}

/* Readers do not change a registry file of version 1. The first writer upgrades the file in one transaction and keeps a
 * copy of the old file beside it. */
static void test_upgrade(void **state)
{
    static const char from[] = "tests/unit/gateway/data/registry-v1.db";
    static char old[65536];
    static char now[sizeof old];
    char copy[160];
    struct cmx_why e = {0};
    struct gw_registry r;
    struct gw_registry v1;
    struct gw_device d;
    gw_outcome out;
    size_t len;
    FILE *f = fopen(from, "rb");

    (void)state;
    assert_non_null(f);
    len = fread(old, 1, sizeof old, f);
    fclose(f);
    gw_registry_close(&gateway.registry);
    f = fopen(db, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(old, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
    snprintf(copy, sizeof copy, "%s.v1", db);
    /* A login reads the file and does not upgrade it. */
    assert_int_equal(gw_registry_open(&r, db, false, &e), CMX_OK);
    assert_int_equal(gw_device_get(&r, "cam-17", &d, &e), CMX_OK);
    assert_int_equal(d.n_ports, 3);
    assert_int_equal(active_grants(&r), 6);
    gw_registry_close(&r);
    assert_int_equal(access(copy, F_OK), -1);
    f = fopen(db, "rb");
    assert_non_null(f);
    assert_int_equal(fread(now, 1, sizeof now, f), len);
    assert_int_equal(fclose(f), 0);
    assert_memory_equal(now, old, len);
    /* If the copy cannot be written, nothing is changed. */
    assert_int_equal(mkdir(copy, 0700), 0);
    assert_int_not_equal(gw_registry_open(&r, db, true, &e), CMX_OK);
    assert_non_null(strstr(e.text, ".v1"));
    assert_int_equal(rmdir(copy), 0);
    assert_int_equal(gw_registry_open(&r, db, true, &e), CMX_OK);
    assert_int_equal(gw_device_get(&r, "cam-17", &d, &e), CMX_OK);
    assert_string_equal(d.group, "cameras");
    assert_int_equal(active_grants(&r), 6);
    assert_int_equal(gw_registry_begin(&r, &e), CMX_OK);
    assert_int_equal(gw_device_delete(&r, "old-1", &out, &e), CMX_OK);
    assert_int_equal(gw_registry_commit(&r, &e), CMX_OK);
    gw_registry_close(&r);
    assert_int_equal(gw_registry_open(&v1, copy, false, &e), CMX_OK);
    assert_int_equal(gw_device_get(&v1, "old-1", &d, &e), CMX_OK);
    gw_registry_close(&v1);
    unlink(copy);
    /* The second open finds nothing to upgrade. */
    assert_int_equal(gw_registry_open(&r, db, true, &e), CMX_OK);
    gw_registry_close(&r);
    assert_int_equal(access(copy, F_OK), -1);
}

/* Several commands upgrade the registry at the same time: one does it, and the copy is of the former version. */
static void test_upgrade_together(void **state)
{
    char copy[160];
    char command[256];
    struct cmx_why e = {0};
    struct gw_registry r;
    sqlite3 *v1;
    sqlite3_stmt *stmt;
    int status;

    (void)state;
    gw_registry_close(&gateway.registry);
    snprintf(copy, sizeof copy, "%s.v1", db);
    snprintf(command, sizeof command, "cp tests/unit/gateway/data/registry-v1.db %s", db);
    gw_nss_end(); /* its child is not one of the children below */
    for (int round = 0; round < 10; round++) {
        assert_int_equal(system(command), 0);
        for (int i = 0; i < 6; i++)
            if (fork() == 0)
                _exit(gw_registry_open(&r, db, true, &e) == CMX_OK ? 0 : 1);
        while (wait(&status) > 0)
            assert_int_equal(status, 0);
        assert_int_equal(sqlite3_open_v2(copy, &v1, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
        assert_int_equal(sqlite3_prepare_v2(v1, "PRAGMA user_version", -1, &stmt, NULL), SQLITE_OK);
        assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
        assert_int_equal(sqlite3_column_int(stmt, 0), 1);
        sqlite3_finalize(stmt);
        sqlite3_close(v1);
        unlink(copy);
    }
}

static void csv_is(const char *text, size_t len, cmx_err last, const char *expected)
{
    static char mem[512];
    static char got[512];
    char *fields[GW_CSV_FIELDS_MAX];
    struct gw_csv c;
    size_t n;
    cmx_err err;

    memcpy(mem, text, len);
    got[0] = '\0';
    err = gw_csv_init(&c, mem, len, NULL);
    while (!err && !(err = gw_csv_next(&c, fields, &n, NULL))) {
        for (size_t i = 0; i < n; i++)
            snprintf(got + strlen(got), sizeof got - strlen(got), "%s<%s>", i ? "" : "/", fields[i]);
    }
    assert_int_equal(err, last);
    assert_string_equal(got, expected);
}
#define CSV(text, last, expected) csv_is(text, sizeof(text) - 1, last, expected)

/* Reads files in the forms that editors and spreadsheets write. */
static void test_csv(void **state)
{
    (void)state;
    CSV("a,b\nc,\"d,e\"\n", CMX_ENOENT, "/<a><b>/<c><d,e>");
    CSV("\xef\xbb\xbf\"a\",b\r\nc,d", CMX_ENOENT, "/<a><b>/<c><d>");
    CSV("a,b\rc,d\r", CMX_ENOENT, "/<a><b>/<c><d>");
    CSV("a;b\nc;\"d;e\"\n", CMX_ENOENT, "/<a><b>/<c><d;e>");
    CSV("a,b;c\n", CMX_ENOENT, "/<a><b;c>");
    CSV("\n\r\na;b\nc;d\n", CMX_ENOENT, "/<a><b>/<c><d>");
    CSV(" a , \"b\" \n", CMX_ENOENT, "/<a><b>");
    CSV("a,b\n\n,,\n  \n\n", CMX_ENOENT, "/<a><b>");
    CSV("a,\"b\"\"c\"\n", CMX_ENOENT, "/<a><b\"c>");
    CSV("a,\"b\n", CMX_EFORMAT, "");
    CSV("a,b\"c\n", CMX_EFORMAT, "");
    CSV("a,\"b\"c\n", CMX_EFORMAT, "");
    CSV("\xff\xfe"
        "a\0,\0",
        CMX_EFORMAT, "");
    CSV("a\0,\0b\0", CMX_EFORMAT, "");
    CSV("\xff\xfe"
        "ab",
        CMX_EFORMAT, ""); /* UTF-16 without a NUL */
    CSV("\xfe\xff"
        "ab",
        CMX_EFORMAT, "");
    CSV("1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17\n", CMX_EFORMAT, "");
    CSV("", CMX_ENOENT, "");
}

#define HOSTS_BEGIN "# cmxsafe gateway: begin (written from the registry)\n"
#define HOSTS_END "# cmxsafe gateway: end\n"
#define NEW_BLOCK HOSTS_BEGIN "fd12:3456:789a::1 cam-1.cmx\n" HOSTS_END

static void etc_hosts_is(const char *old, const char *lines, const char *expected)
{
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);

    assert_non_null(f);
    gw_etc_hosts_merge(f, &gateway, old, strlen(old), lines);
    assert_int_equal(fclose(f), 0);
    assert_string_equal(text, expected);
    free(text); /* allocated by open_memstream */
}

/* /etc/hosts gets exactly one block of cmxsafe's lines, and no other line changes. */
static void test_etc_hosts(void **state)
{
    static const char lines[] = "fd12:3456:789a::1 cam-1.cmx\n";

    (void)state;
    etc_hosts_is("", lines, NEW_BLOCK);
    etc_hosts_is("1.2.3.4 a\n", lines, "1.2.3.4 a\n" NEW_BLOCK);
    etc_hosts_is("1.2.3.4 a", lines, "1.2.3.4 a\n" NEW_BLOCK);
    etc_hosts_is("1.2.3.4 a\r\n5.6.7.8 b\r\n", lines, "1.2.3.4 a\r\n5.6.7.8 b\r\n" NEW_BLOCK);
    etc_hosts_is("1.2.3.4 a\n" HOSTS_BEGIN "fd12:3456:789a::9 cam-9.cmx\n" HOSTS_END "5.6.7.8 b", lines,
                 "1.2.3.4 a\n" NEW_BLOCK "5.6.7.8 b");
    /* A block of an earlier version, with CRLF and the loopback's names, is replaced. Two blocks become one. */
    etc_hosts_is("# cmxsafe gateway: begin (written from the registry)\r\n127.0.0.1 localhost\r\nfd12:3456:789a::9 "
                 "cam-9.cmx\r\n# cmxsafe gateway: end\r\n",
                 lines, NEW_BLOCK);
    etc_hosts_is(HOSTS_BEGIN HOSTS_END "x\n" HOSTS_BEGIN HOSTS_END, lines, NEW_BLOCK "x\n");
    /* Lines of others stay, also after a begin line without an end line, inside a block, and around an end line without
     * a begin line. */
    etc_hosts_is(HOSTS_BEGIN "fd12:3456:789a::9 cam-9.cmx\n1.2.3.4 a\nfd12:3456:789a::5 mine\n127.0.0.1 localhost\n",
                 lines, NEW_BLOCK "1.2.3.4 a\nfd12:3456:789a::5 mine\n127.0.0.1 localhost\n");
    etc_hosts_is(HOSTS_BEGIN "fd12:3456:789a::9 cam-9.cmx\n1.2.3.4 a\nfd99::1 old.cmx\n2001:db8::9 a.cmx\n" HOSTS_END
                             "b\n",
                 lines, NEW_BLOCK "1.2.3.4 a\n2001:db8::9 a.cmx\nb\n");
    etc_hosts_is(HOSTS_BEGIN "fd12:3456:789a::9 cam-9.cmx\n1.2.3.4 a\n" HOSTS_BEGIN HOSTS_END, lines,
                 NEW_BLOCK "1.2.3.4 a\n");
    /* After 'init --domain', cmxsafe's lines in the block still have the former domain. They are replaced, too. */
    etc_hosts_is(HOSTS_BEGIN
                 "fd99::1 gateway.lab gateway.cmx\nfd12:3456:789a::9 cam-9.lab\nfd99::5 nas.home\n" HOSTS_END,
                 lines, NEW_BLOCK "fd99::5 nas.home\n");
    etc_hosts_is(HOSTS_BEGIN "fd12:3456:789a::9 cam-9.cmx\nfd12:3456:789a::5 my.camera\n", lines,
                 NEW_BLOCK "fd12:3456:789a::5 my.camera\n");
    etc_hosts_is("1.2.3.4 a\n# cmxsafe gateway: end\nb\n", lines, "1.2.3.4 a\nb\n" NEW_BLOCK);
    /* The block is removed. */
    etc_hosts_is("1.2.3.4 a\n" NEW_BLOCK "b", NULL, "1.2.3.4 a\nb");
    etc_hosts_is("1.2.3.4 a\r\nb", NULL, "1.2.3.4 a\r\nb");
}

static void reopen_fails(cmx_err expected, const char *why)
{
    struct gw_registry r;
    struct cmx_why e = {0};

    assert_int_equal(gw_registry_open(&r, db, false, &e), expected);
    assert_non_null(strstr(e.text, why));
    assert_int_equal(gw_registry_open(&r, db, true, &e), expected);
}

static void test_full_disk(void **state)
{
    struct gw_registry *r = &gateway.registry;
    struct cmx_why e;
    cmx_err err = CMX_OK;

    (void)state;
    assert_int_equal(sqlite3_exec(r->db, "PRAGMA max_page_count = 1", NULL, NULL, NULL),
                     SQLITE_OK); /* SQLite rounds this up to the file's size: the file cannot grow */
    for (int i = 0; i < 10000 && !err; i++)
        err = gw_event(r, "note", "", "a line that fills the file", &e);
    assert_int_equal(err, CMX_ENOSPC);
    assert_string_equal(e.text, "the registry's disk is full; free some space and try again");
}

static void test_broken(void **state)
{
    struct gw_registry r;
    struct cmx_why e;
    uint8_t noise[4096];
    char text[120];
    int fd;

    (void)state;
    assert_int_equal(sqlite3_exec(gateway.registry.db, "PRAGMA user_version = 99", NULL, NULL, NULL), SQLITE_OK);
    reopen_fails(CMX_ENOTSUP, "the registry has version 99, but this program supports only versions up to");
    assert_int_equal(
        sqlite3_exec(gateway.registry.db, "PRAGMA user_version = 1; PRAGMA application_id = 7", NULL, NULL, NULL),
        SQLITE_OK);
    reopen_fails(CMX_EFORMAT, "is not a registry");
    sql("DROP TABLE event");
    assert_int_equal(gw_event(&gateway.registry, "note", "", "", &e), CMX_EFORMAT);
    assert_string_equal(e.text, "the registry is damaged (no such table: event); restore it from a backup "
                                "(docs/GATEWAY.md)");
    assert_int_equal(gw_sql_run(&gateway.registry, &e, "SELECT id, missing FROM device", ""), CMX_EFORMAT);
    assert_int_equal(gw_sql_run(&gateway.registry, &e, "INSERT INTO device(missing) VALUES(1)", ""), CMX_EFORMAT);
    assert_int_equal(gw_registry_begin(&gateway.registry, &e), CMX_OK);
    assert_int_equal(gw_registry_begin(&gateway.registry, &e), CMX_EINTERNAL); /* begun twice: the file is intact */
    assert_null(strstr(e.text, "damaged"));
    gw_registry_rollback(&gateway.registry);
    snprintf(text, sizeof text, "PRAGMA application_id = %d; PRAGMA user_version = %d; DROP TABLE meta",
             GW_APPLICATION_ID, GW_SCHEMA_VERSION);
    sql(text);
    reopen_fails(CMX_EFORMAT, "no such table: meta"); /* must not be reported as a stale copy */
    gw_registry_close(&gateway.registry);
    memset(noise, 0x5a, sizeof noise);
    fd = open(db, O_WRONLY);
    assert_int_equal(write(fd, noise, sizeof noise), sizeof noise);
    close(fd);
    reopen_fails(CMX_EFORMAT, "damaged");
    assert_int_equal(truncate(db, 0), 0);
    reopen_fails(CMX_EFORMAT, "is not a registry");
    unlink(db);
    assert_int_equal(mkfifo(db, 0600), 0);
    reopen_fails(CMX_EFORMAT, "is not a regular file");
    unlink(db);
    assert_int_equal(mkdir(db, 0700), 0);
    reopen_fails(CMX_EFORMAT, "is not a regular file");
    assert_int_equal(rmdir(db), 0);
    reopen_fails(CMX_ENOENT, "there is no registry");
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
    assert_string_equal(l.fingerprint, "");
    gw_sshdlog_parse(&l, "Failed publickey for cmxsafe-gw from 127.0.0.1 port 42634 ssh2: ED25519 "
                         "SHA256:PnB/vWlI6u3leVOaFCFBo7fJRC9WYlCSdxJNg5QoXVQ");
    assert_int_equal(l.kind, GW_LOG_FAILED);
    assert_string_equal(l.fingerprint, "SHA256:PnB/vWlI6u3leVOaFCFBo7fJRC9WYlCSdxJNg5QoXVQ");
    gw_sshdlog_parse(&l, "fatal: Timeout before authentication for 127.0.0.1 port 5");
    assert_int_equal(l.kind, GW_LOG_FAILED);
    gw_sshdlog_parse(&l, "fatal: No supported key exchange algorithms [preauth]");
    assert_int_equal(l.kind, GW_LOG_FATAL);
    assert_string_equal(l.detail, "No supported key exchange algorithms [preauth]");
    gw_sshdlog_parse(&l, "/var/lib/cmxsafe/gateway/sshd_config: line 3: Bad configuration option: Foo");
    assert_int_equal(l.kind, GW_LOG_FATAL);
    gw_sshdlog_parse(&l, "/var/lib/cmxsafe/gateway/sshd_config: Permission denied");
    assert_int_equal(l.kind, GW_LOG_FATAL);
    gw_sshdlog_parse(&l, "error: channel_setup_fwd_listener_tcpip: cannot listen to port: 81");
    assert_int_equal(l.kind, GW_LOG_IN_USE);
    assert_int_equal(l.number, 81);
}

static void test_source_names(void)
{
    static const struct {
        const char *address;
        const char *source;
    } cases[] = {{"2001:db8:1:2:3::4", "2001:db8:1:2::/64"}, {"::ffff:192.0.2.7", "192.0.2.7"}};

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct sockaddr_in6 peer = {.sin6_family = AF_INET6};
        uint8_t source[16];
        char text[64];

        inet_pton(AF_INET6, cases[i].address, &peer.sin6_addr);
        gw_limits_source((const struct sockaddr *)&peer, source);
        gw_limits_source_text(source, text, sizeof text);
        assert_string_equal(text, cases[i].source);
    }
}

static void test_limits(void **state)
{
    static struct gw_limits l;
    uint8_t a[16] = {1};
    uint8_t b[16] = {2};

    (void)state;
    memset(&l, 0, sizeof l);
    for (int i = 0; i < 6; i++) {
        assert_int_equal(gw_limits_pace(&l, a, 1000), GW_LOGIN_NOW);
        gw_limits_failed(&l, a, GW_PENALTY_FAILED_MS, 1000);
    }
    gw_limits_failed(&l, a, GW_PENALTY_FAILED_MS, 1000);
    assert_int_equal(gw_limits_pace(&l, a, 1000), GW_LOGIN_REFUSED);
    assert_int_equal(gw_limits_pace(&l, b, 1000), GW_LOGIN_NOW);
    assert_int_equal(gw_limits_pace(&l, a, 1000 + 7 * GW_PENALTY_FAILED_MS), GW_LOGIN_NOW);
    assert_true(gw_limits_note(&l, a, 1000));
    assert_false(gw_limits_note(&l, a, 2000));
    assert_true(gw_limits_note(&l, a, 62000));
    gw_limits_succeeded(&l, a, 1000);
    assert_int_equal(gw_limits_pace(&l, a, 1000), GW_LOGIN_NOW);
    for (int i = 0; i < 10000; i++)
        gw_limits_failed(&l, b, GW_PENALTY_FAILED_MS, 1000);
    assert_int_equal(gw_limits_pace(&l, b, 1000 + GW_PENALTY_MAX_MS - GW_PENALTY_LIMIT_MS - 1), GW_LOGIN_REFUSED);
    assert_int_equal(gw_limits_pace(&l, b, 1000 + GW_PENALTY_MAX_MS - GW_PENALTY_LIMIT_MS), GW_LOGIN_NOW);
    /* A source that logged in successfully a short time ago is delayed but not refused, however many of its logins
     * fail. */
    for (int i = 0; i < 10000; i++)
        gw_limits_failed(&l, a, GW_PENALTY_FAILED_MS, 2000);
    assert_int_equal(gw_limits_pace(&l, a, 2000), GW_LOGIN_LATER);
    gw_limits_failed(&l, a, GW_PENALTY_MAX_MS, 1000 + GW_GOOD_FOR_MS);
    assert_int_equal(gw_limits_pace(&l, a, 1000 + GW_GOOD_FOR_MS), GW_LOGIN_REFUSED);
    /* A flood of sources replaces entries whose penalty ends soon, never the one whose penalty ends last. */
    for (uint32_t i = 0; i < 3 * GW_SOURCES_MAX; i++) {
        uint8_t s[16] = {9, (uint8_t)(i >> 8), (uint8_t)i};
        gw_limits_failed(&l, s, GW_PENALTY_FAILED_MS, 1000);
    }
    assert_int_equal(gw_limits_pace(&l, b, 1000), GW_LOGIN_REFUSED);
    test_source_names();
}

/* Compares text with tests/golden/gateway/NAME. With CMX_GOLDEN=1, writes text to that file instead. */
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

/* Adds two grants for user 0, one by uid and one by name, with these durations in seconds. Both must become one entry.
 * Returns the number of seconds until this entry ends. */
static int64_t end_of_two(int64_t by_number, int64_t by_name)
{
    struct gw_grant_terms number = {.length_s = by_number};
    struct gw_grant_terms name = {.length_s = by_name};
    struct gw_allowed_list allowed;
    struct cmx_why e = {0};
    struct gw_consumer c;
    gw_outcome out;
    int64_t ends_in;

    assert_int_equal(gw_consumer_parse(&c, "user:0", &e), CMX_OK);
    assert_int_equal(gw_grant_set(&gateway.registry, &c, "cam-17", 81, &number, &out, &e), CMX_OK);
    assert_int_equal(gw_consumer_parse(&c, "user:root", &e), CMX_OK);
    assert_int_equal(gw_grant_set(&gateway.registry, &c, "cam-17", 81, &name, &out, &e), CMX_OK);
    assert_int_equal(
        gw_allowed_read(&gateway.registry, &gateway.fleet, gateway.domain, "fdaa:bbbb:cccc::1", &allowed, &e), CMX_OK);
    assert_int_equal(allowed.n, 1);
    assert_int_equal(allowed.entries[0].port, 81);
    assert_int_equal(allowed.entries[0].uid, 0);
    ends_in = allowed.entries[0].ends_in;
    gw_allowed_free(&allowed);
    return ends_in;
}

static void test_allowed_latest_end(void **state)
{
    struct cmx_why e = {0};
    gw_outcome out;

    (void)state;
    assert_int_equal(enroll("cam-17", 0, "81,8989", &out, &e), CMX_OK);
    assert_in_range(end_of_two(100, 1000), 990, 1000);
    assert_in_range(end_of_two(1000, 100), 990, 1000);
    assert_int_equal(end_of_two(0, 100), 0);
    assert_int_equal(end_of_two(100, 0), 0);
}

static void test_golden(void **state)
{
    struct gw_allowed_list allowed;
    struct cmx_why e = {0};
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
    GENERATE(assert_int_equal(gw_units_sshd_config(f, &gateway, "/usr/lib/cmxsafe/cmxsafe-authkeys", &e), CMX_OK));
    golden("sshd_config", text);
    free(text);
    gateway.simple = true;
    GENERATE(assert_int_equal(gw_units_sshd_config(f, &gateway, "/usr/lib/cmxsafe/cmxsafe-authkeys", &e), CMX_OK));
    golden("sshd_config.simple", text);
    free(text);
    GENERATE(assert_int_equal(gw_units_sshd_config(f, &gateway, "/opt/my tools/cmxsafe-authkeys", &e), CMX_EINVAL));
    free(text);
    gateway.simple = false;
    for (size_t i = 0; i < GW_UNITS; i++) {
        GENERATE(assert_int_equal(gw_unit_text(f, &gateway, &gw_units[i], "/usr/bin/cmxsafe", &e), CMX_OK));
        golden(gw_units[i].file, text);
        free(text);
    }
    snprintf(gateway.account, sizeof gateway.account, "daemon"); /* exists on every machine, with gid 1 */
    assert_int_equal(gw_meta_set(&gateway.registry, "link", "fdaa:bbbb:cccc::", &e), CMX_OK);
    assert_int_equal(enroll("cam-17", 0, "81,8989", &out, &e), CMX_OK);
    assert_int_equal(enroll("cam-18", 1, "81", &out, &e), CMX_OK);
    assert_int_equal(gw_consumer_parse(&c, "user:64001", &e), CMX_OK);
    assert_int_equal(gw_grant_set(&gateway.registry, &c, "cam-17", 0, NULL, &out, &e), CMX_OK);
    assert_int_equal(gw_consumer_parse(&c, "group:64002", &e), CMX_OK);
    assert_int_equal(gw_grant_set(&gateway.registry, &c, "cam-18", 81, NULL, &out, &e), CMX_OK);
    assert_int_equal(gw_consumer_parse(&c, "cgroup:system.slice/nvr.service", &e), CMX_OK);
    assert_int_equal(gw_grant_set(&gateway.registry, &c, "cam-18", 81, NULL, &out, &e), CMX_OK);
    assert_int_equal(
        gw_allowed_read(&gateway.registry, &gateway.fleet, gateway.domain, "fdaa:bbbb:cccc::1", &allowed, &e), CMX_OK);
    GENERATE(assert_int_equal(gw_nft_fleet(f, &gateway, &allowed, &e), CMX_OK));
    golden("fleet.nft", text);
    free(text);
    GENERATE(assert_int_equal(gw_nft_host(f, &gateway, &allowed, &e), CMX_OK));
    golden("host.nft", text);
    free(text);
    gw_allowed_free(&allowed);
    /* In --user mode, the owner's uid becomes 0, as inside the namespace. Any other uid in a grant is already a uid of
     * the namespace. */
    snprintf(c.kind, sizeof c.kind, "user");
    snprintf(c.name, sizeof c.name, "%u", (unsigned)getuid());
    assert_int_equal(gw_grant_set(&gateway.registry, &c, "cam-18", 81, NULL, &out, &e), CMX_OK);
    assert_int_equal(gw_allowed_read(&gateway.registry, &gateway.fleet, gateway.domain, "", &allowed, &e), CMX_OK);
    gateway.user = true;
    GENERATE(assert_int_equal(gw_nft_fleet(f, &gateway, &allowed, &e), CMX_OK));
    golden("fleet.user.nft", text);
    free(text);
    /* More rules than the kernel accepts without privileges are refused with the cause. */
    GENERATE(assert_int_equal(
        gw_nft_fleet(f, &gateway, &(struct gw_allowed_list){.entries = allowed.entries, .n = 5001}, &e), CMX_ENOSPC));
    free(text);
    assert_non_null(strstr(e.text, "--user mode"));
    gateway.user = false;
    gw_allowed_free(&allowed);
    GENERATE(assert_int_equal(gw_hosts(f, &gateway, &e), CMX_OK));
    golden("hosts", text);
    free(text);
}

/* A grant to a group by its number applies to the same members as a grant by its name. After the grant was removed, the
 * rules still contain each member's identity. */
static void test_group_members(void **state)
{
    static const char *const names[] = {"group:viewers", "group:64003"};
    struct cmx_why e = {0};
    struct gw_consumer root = {.kind = "user", .name = "root"};
    struct gw_consumer c;
    struct gw_allowed_list allowed;
    char address[GW_ADDRESS_MAX];
    gw_outcome out;
    char *text;
    size_t len;
    FILE *f;

    (void)state;
    assert_int_equal(enroll("cam-17", 0, "81", &out, &e), CMX_OK);
    assert_int_equal(gw_meta_set(&gateway.registry, "link", "fdaa:bbbb:cccc::", &e), CMX_OK);
    assert_int_equal(gw_party_identity(&gateway.registry, &gateway.fleet, &root, address, &e), CMX_OK);
    gateway.user = false;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        sql("DELETE FROM consumer");
        assert_int_equal(gw_consumer_parse(&c, names[i], &e), CMX_OK);
        assert_int_equal(gw_grant_set(&gateway.registry, &c, "cam-17", 81, NULL, &out, &e), CMX_OK);
        read_allowed(&allowed);
        assert_int_equal(allowed.n, 2);
        gw_allowed_free(&allowed);
        assert_int_equal(gw_grant_remove(&gateway.registry, &c, "cam-17", 81, &out, &e), CMX_OK);
        read_allowed(&allowed);
        assert_int_equal(allowed.n, 0);
        GENERATE(assert_int_equal(gw_nft_fleet(f, &gateway, &allowed, &e), CMX_OK));
        gw_allowed_free(&allowed);
        assert_non_null(strstr(text, address));
        free(text);
    }
}

static void unit_grant(const char *unit, const char *device, bool give)
{
    struct cmx_why e = {0};
    struct gw_consumer c;
    gw_outcome out;

    assert_int_equal(gw_consumer_parse(&c, unit, &e), CMX_OK);
    assert_int_equal(give ? gw_grant_set(&gateway.registry, &c, device, 81, NULL, &out, &e)
                          : gw_grant_remove(&gateway.registry, &c, device, 81, &out, &e),
                     CMX_OK);
}

/* Writes to `out` the rule that gives a unit its identity. Every unit has an identity, even without a grant. */
static void unit_rule(const char *unit, char out[160])
{
    struct gw_allowed_list allowed;
    struct gw_consumer c;
    struct cmx_why e = {0};
    char identity[GW_ADDRESS_MAX], end[GW_ADDRESS_MAX + 16];
    const char *at, *begin;
    char *text;
    size_t len;
    FILE *f;

    assert_int_equal(
        gw_allowed_read(&gateway.registry, &gateway.fleet, gateway.domain, "fdaa:bbbb:cccc::1", &allowed, &e), CMX_OK);
    GENERATE(assert_int_equal(gw_nft_host(f, &gateway, &allowed, &e), CMX_OK));
    gw_allowed_free(&allowed);
    assert_int_equal(gw_consumer_parse(&c, unit, &e), CMX_OK);
    assert_int_equal(gw_party_identity(&gateway.registry, &gateway.fleet, &c, identity, &e), CMX_OK);
    snprintf(end, sizeof end, " snat ip6 to %s\n", identity);
    at = strstr(text, end);
    assert_non_null(at);
    assert_null(strstr(at + 1, end));
    for (begin = at; begin[-1] != '\n'; begin--)
        ;
    snprintf(out, 160, "%.*s", (int)(at - begin), begin);
    free(text);
}

/* A packet may be marked before grants change and get its source address after the change. The mark must still stand
 * for the same unit. */
static void test_unit_marks(void **state)
{
    struct cmx_why e = {0};
    char first[160], now[160];
    gw_outcome out;

    (void)state;
    gateway.user = false;
    assert_int_equal(gw_meta_set(&gateway.registry, "link", "fdaa:bbbb:cccc::", &e), CMX_OK);
    assert_int_equal(enroll("cam-17", 0, "81", &out, &e), CMX_OK);
    assert_int_equal(enroll("cam-18", 1, "81", &out, &e), CMX_OK);
    for (char unit[] = "cgroup:system.slice/a.service"; unit[20] < 'e'; unit[20]++)
        unit_grant(unit, "cam-17", true);
    unit_grant("cgroup:system.slice/c.service", "cam-18", true);
    unit_rule("cgroup:system.slice/c.service", first);
    for (char unit[] = "cgroup:system.slice/a.service"; unit[20] < 'e'; unit[20]++) {
        unit_grant(unit, "cam-17", false);
        unit_rule("cgroup:system.slice/c.service", now);
        assert_string_equal(now, first);
    }
    unit_grant("cgroup:system.slice/e.service", "cam-17", true);
    unit_rule("cgroup:system.slice/e.service", now);
    assert_string_not_equal(now, first);
}

/* Registers three gateways. The first is this gateway. */
static void add_nodes(void)
{
    static const char key[] = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    struct cmx_why e = {0};
    struct gw_node n = {0};

    for (unsigned i = 1; i <= 3; i++) {
        snprintf(n.name, sizeof n.name, "gw%u", i);
        snprintf(n.underlay, sizeof n.underlay, "192.0.2.%u", i);
        snprintf(n.link_key, sizeof n.link_key, "%s", key);
        assert_int_equal(gw_node_put(&gateway.registry, &n, &e), CMX_OK);
        assert_int_equal(n.number, i);
    }
    assert_int_equal(gw_meta_set(&gateway.registry, "node", "gw1", &e), CMX_OK);
}

static void test_nodes(void **state)
{
    struct gw_nodes nodes;
    struct gw_node n = {.name = "gw2", .underlay = "192.0.2.9"};
    struct cmx_why e = {0};
    char node[GW_NAME_MAX];
    int64_t sequence;

    (void)state;
    assert_int_equal(gw_nodes_read(&gateway.registry, &gateway.fleet, &nodes, &e), CMX_OK);
    assert_null(nodes.own);
    add_nodes();
    assert_int_equal(gw_nodes_read(&gateway.registry, &gateway.fleet, &nodes, &e), CMX_OK);
    assert_int_equal(nodes.n, 3);
    assert_ptr_equal(nodes.own, &nodes.list[0]);
    assert_int_equal(strncmp(nodes.list[1].link, nodes.prefix, strlen(nodes.prefix) - 3), 0);
    /* A node that joins again keeps its number. Another node gets this number only after the first node has left. */
    assert_int_equal(gw_node_put(&gateway.registry, &n, &e), CMX_OK);
    assert_int_equal(n.number, 2);
    assert_int_equal(gw_claim_put(&gateway.registry, "fd12:3456:789a::7", "gw2", 4, 100, &e), CMX_OK);
    assert_int_equal(gw_node_remove(&gateway.registry, "gw2", &e), CMX_OK);
    assert_int_equal(gw_claim_get(&gateway.registry, "fd12:3456:789a::7", node, &sequence, &e), CMX_ENOENT);
    assert_int_equal(gw_node_remove(&gateway.registry, "gw2", &e), CMX_ENOENT);
    snprintf(n.name, sizeof n.name, "gw4");
    assert_int_equal(gw_node_put(&gateway.registry, &n, &e), CMX_OK);
    assert_int_equal(n.number, 2);
    snprintf(n.name, sizeof n.name, "gw;");
    assert_int_equal(gw_node_put(&gateway.registry, &n, &e), CMX_EINVAL);
    snprintf(n.name, sizeof n.name, "gw5");
    snprintf(n.underlay, sizeof n.underlay, "gw5.example");
    assert_int_equal(gw_node_put(&gateway.registry, &n, &e), CMX_EINVAL);
}

/* A name that is too long is refused, because its beginning may be another name. A reason that is too long is
 * truncated. */
static void test_long_texts(void **state)
{
    struct cmx_why e = {0};
    sqlite3_stmt *stmt;
    char out[4][8];
    int64_t number = 0;
    uint16_t port = 0;
    bool flag = false;

    (void)state;
    assert_int_equal(
        gw_sql_row(&gateway.registry, &stmt, &e, "SELECT '1234567', '12345678', '12345678', NULL, -5, 81, 2", ""),
        CMX_OK);
    gw_sql_columns(stmt, GW_SQL_COLUMNS(GW_SQL_ID(out[0]), GW_SQL_ID(out[1]), GW_SQL_TEXT(out[2]), GW_SQL_ID(out[3]),
                                        GW_SQL_NUMBER(&number), GW_SQL_PORT(&port), GW_SQL_FLAG(&flag)));
    assert_string_equal(out[0], "1234567");
    assert_string_equal(out[1], "");
    assert_string_equal(out[2], "1234567");
    assert_string_equal(out[3], "");
    assert_int_equal(number, -5);
    assert_int_equal(port, 81);
    assert_true(flag);
    assert_int_equal(gw_sql_end(stmt, CMX_OK), CMX_OK);
    assert_int_equal(gw_sql_get(&gateway.registry, &e,
                                GW_SQL_COLUMNS(GW_SQL_WHOLE_AT(out[1], sizeof out[1]), GW_SQL_NUMBER(&number)),
                                "SELECT ?, ?", "ti", "1234567", INT64_C(7)),
                     CMX_OK);
    assert_string_equal(out[1], "1234567");
    assert_int_equal(number, 7);
    assert_int_equal(gw_sql_get(&gateway.registry, &e, GW_SQL_COLUMNS(GW_SQL_WHOLE_AT(out[1], sizeof out[1])),
                                "SELECT '12345678'", ""),
                     CMX_ENOSPC);
    assert_string_equal(out[1], "");
    assert_int_equal(gw_sql_get(&gateway.registry, &e, GW_SQL_COLUMNS(GW_SQL_NUMBER(&number)), "SELECT 1 WHERE 0", ""),
                     CMX_ENOENT);
    assert_int_equal(number, 7);
    assert_int_equal(gw_sql_run(&gateway.registry, &e,
                                "CREATE TEMP TABLE some(a UNIQUE, b); INSERT INTO some VALUES(?1, ?2);"
                                "INSERT INTO some(a) VALUES(?1 + 1)",
                                "it", INT64_C(1), "x"),
                     CMX_OK);
    assert_int_equal(gw_sql_run(&gateway.registry, &e,
                                "DELETE FROM some WHERE a = ?1 + 1; INSERT INTO some(a) VALUES(?1); DELETE FROM some",
                                "i", INT64_C(1)),
                     CMX_EEXIST);
    assert_int_equal(gw_sql_number(&gateway.registry, &number, &e, "SELECT count(*) FROM some", ""), CMX_OK);
    assert_int_equal(number, 1);
}

/* Of two claims to an address, the one with the higher sequence number stays. No two pairs of gateways use the same
 * port. */
static void test_claims(void **state)
{
    static const char address[] = "fd12:3456:789a::7";
    static bool used[GW_NODES_MAX * GW_NODES_MAX];
    struct cmx_why e = {0};
    char node[GW_NAME_MAX];
    int64_t sequence;

    (void)state;
    assert_int_equal(gw_claim_put(&gateway.registry, address, "gw1", 5, 100, &e), CMX_OK);
    assert_int_equal(gw_claim_put(&gateway.registry, address, "gw2", 4, 200, &e), CMX_OK);
    assert_int_equal(gw_claim_get(&gateway.registry, address, node, &sequence, &e), CMX_OK);
    assert_string_equal(node, "gw1");
    assert_int_equal(gw_claim_put(&gateway.registry, address, "gw2", 6, 90, &e), CMX_OK); /* its time is earlier */
    assert_int_equal(gw_claim_get(&gateway.registry, address, node, &sequence, &e), CMX_OK);
    assert_string_equal(node, "gw2");
    assert_true(gw_claim_metric_newer(2, 1) && !gw_claim_metric_newer(1, 2) && !gw_claim_metric_newer(1, 1));
    assert_true(gw_claim_metric_newer(1, GW_METRIC_MAX) && !gw_claim_metric_newer(GW_METRIC_MAX, 1));
    for (int64_t after = 0; after < 3 * GW_METRIC_MAX; after += 997)
        for (unsigned metric = 1; metric <= GW_METRIC_MAX; metric += 991) {
            int64_t next = gw_claim_next(after, metric);
            assert_true(next > after && next <= after + GW_METRIC_MAX);
            assert_true(gw_claim_metric(next) >= 1 && gw_claim_metric(next) <= GW_METRIC_MAX);
            assert_true(gw_claim_metric_newer(gw_claim_metric(next), metric));
        }
    for (unsigned a = 1; a <= GW_NODES_MAX; a++)
        for (unsigned b = a + 1; b <= GW_NODES_MAX; b++) {
            unsigned port = gw_node_port(a, b) - GW_NODE_PORT_FIRST;
            assert_int_equal(gw_node_port(b, a) - GW_NODE_PORT_FIRST, port);
            assert_true(port < sizeof used && !used[port]);
            used[port] = true;
        }
}

static void test_golden_nodes(void **state)
{
    struct gw_allowed_list allowed = {0};
    struct cmx_why e = {0};
    char *text;
    size_t len;
    FILE *f;

    (void)state;
    gateway.user = false;
    snprintf(gateway.account, sizeof gateway.account, "daemon");
    assert_int_equal(gw_meta_set(&gateway.registry, "link", "fdaa:bbbb:cccc::", &e), CMX_OK);
    add_nodes();
    assert_int_equal(gw_claim_put(&gateway.registry, "fd12:3456:789a::7", "gw2", 1, 100, &e), CMX_OK);
    assert_int_equal(gw_claim_put(&gateway.registry, "fd12:3456:789a::8", "gw3", 1, 100, &e), CMX_OK);
    assert_int_equal(gw_claim_put(&gateway.registry, "fd12:3456:789a::8", "", 2, 200, &e), CMX_OK);
    GENERATE(assert_int_equal(gw_bird_config(f, &gateway, &e), CMX_OK));
    golden("bird.conf", text);
    free(text);
    GENERATE(assert_int_equal(gw_bird_claims(f, &gateway, &e), CMX_OK));
    golden("claims.conf", text);
    free(text);
    GENERATE(assert_int_equal(gw_nft_fleet(f, &gateway, &allowed, &e), CMX_OK));
    golden("fleet.nodes.nft", text);
    free(text);
}

static cmx_err put_two_lines(void *arg, uint64_t number)
{
    assert_int_equal(number, 7);
    fputs("        one\n        two\n", arg);
    return CMX_OK;
}

/* If the gateway's account does not exist, no group, not even root's, may use identities in the fleet's namespace. */
static void test_no_account(void **state)
{
    struct gw_allowed_list allowed = {0};
    struct cmx_why e = {0};
    char *text;
    size_t len;
    FILE *f;

    (void)state;
    gateway.user = false;
    snprintf(gateway.account, sizeof gateway.account, "no-such-account");
    assert_int_equal(gw_meta_set(&gateway.registry, "link", "fdaa:bbbb:cccc::", &e), CMX_OK);
    GENERATE(assert_int_equal(gw_nft_fleet(f, &gateway, &allowed, &e), CMX_OK));
    assert_null(strstr(text, "meta skuid \"+0\" meta skgid \"+0\" "));
    assert_non_null(strstr(text, "meta skuid \"+0\" meta skgid \"+2147483647\" "));
    free(text);
}

/* expected NULL: there must be no folder. */
static void folder_is(const char *option, const char *variable, const char *expected)
{
    struct gw g;
    struct cmx_why e = {0};

    assert_int_equal(setenv("CMXSAFE_GATEWAY", variable, 1), 0);
    assert_int_equal(gw_folder_find(&g, option, &e), expected ? CMX_OK : CMX_EINVAL);
    assert_int_equal(unsetenv("CMXSAFE_GATEWAY"), 0);
    assert_string_equal(g.dir, expected ? expected : "");
}

/* A list keeps its elements when it grows, and when there is no memory for growing. */
static void test_list(void **state)
{
    struct cmx_mem_stats before, after;
    uint32_t *list = NULL;
    size_t n = 0, cap = 0;

    (void)state;
    cmx_mem_stats(&before);
    for (uint32_t x = 0; x < 128; x++)
        assert_int_equal(gw_list_add(&list, &n, &cap, &x, sizeof x), CMX_OK);
    assert_int_equal(n, 128);
    assert_int_equal(cap, 128);
    cmx_mem_fail_at(1);
    assert_int_equal(gw_list_add(&list, &n, &cap, &list[5], sizeof list[0]), CMX_ENOMEM);
    assert_int_equal(n, 128);
    for (uint32_t x = 0; x < n; x++)
        assert_int_equal(list[x], x);
    cmx_mem_free(list);
    cmx_mem_stats(&after);
    assert_int_equal(after.live_bytes, before.live_bytes);
}

/* sshd and its helper need absolute paths. A folder that the operator named is never replaced by the default one. */
static void test_folder(void **state)
{
    char home[4096];
    char there[160];

    (void)state;
    assert_non_null(getcwd(home, sizeof home));
    assert_int_equal(chdir(folder), 0);
    snprintf(there, sizeof there, "%s/gw", folder);
    folder_is("gw", "/x", there);
    folder_is(NULL, "gw//", there);
    folder_is(NULL, "/x/", "/x");
    assert_int_equal(mkdir("gone", 0700), 0);
    assert_int_equal(chdir("gone"), 0);
    assert_int_equal(rmdir(strcat(strcpy(there, folder), "/gone")), 0);
    folder_is("gw", "", NULL);
    folder_is(NULL, "gw", NULL);
    folder_is("", "/x", NULL);
    assert_int_equal(chdir(home), 0);
}

/* Expands the values, lines and conditions in a template. A value that is not defined is an error. */
static void test_template(void **state)
{
    const struct gw_template_value values[] = {{"name", .text = "x"},
                                               {"no", .text = ""},
                                               {"lines", .lines = put_two_lines, .number = 7},
                                               {"n", .number = 4200000000},
                                               {"hex", .number = 0xfffffff0, .hex = true},
                                               {0}};
    struct cmx_why e = {0};
    char *text;
    size_t len;
    FILE *f;

    (void)state;
    GENERATE(
        assert_int_equal(gw_template_write(f,
                                           "## no\n# @name@, @name @name@ @n@ @hex@\n#if no\nmore @other@\n#endif\n"
                                           "#if name\nthis\n#endif\n        @lines@\nend @set accept\n",
                                           values, f, &e),
                         CMX_OK));
    assert_string_equal(text, "# x, @name x 4200000000 0xfffffff0\nthis\n        one\n        two\nend @set accept\n");
    free(text);
    GENERATE(assert_int_equal(gw_template_write(f, "ip6 daddr @other@ accept\n", values, f, &e), CMX_EINTERNAL));
    free(text);
    assert_non_null(strstr(e.text, "'other'"));
    GENERATE(assert_int_equal(gw_template_write(f, "#if other\n#endif\n", values, f, &e), CMX_EINTERNAL));
    free(text);
}

/* Files that a killed process left are removed; other files and files that are being written stay. */
static void test_temporary_files(void **state)
{
    static const char *const names[] = {"hosts", "krl"};
    static const struct {
        const char *name;
        bool old, stays;
    } files[] = {{"hosts.aZ09bc", true, false}, {"krl.AAAAAA", true, false},   {"hosts.aZ09bd", false, true},
                 {"hosts.aZ09b", true, true},   {"hosts.aZ09bcd", true, true}, {"hosts.a-09bc", true, true},
                 {"hostsXaZ09bc", true, true},  {"other.aZ09bc", true, true},  {"hosts", true, true}};
    const struct timespec old[2] = {{.tv_sec = 1}, {.tv_sec = 1}};
    struct cmx_why e;
    char path[256];

    (void)state;
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, files[i].name);
        assert_int_equal(gw_file_write(path, "x", 1, 0600, &e), CMX_OK);
        if (files[i].old)
            assert_int_equal(utimensat(AT_FDCWD, path, old, 0), 0);
    }
    gw_file_remove_temporary(folder, names, 2);
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, files[i].name);
        assert_int_equal(access(path, F_OK) == 0, files[i].stays);
        unlink(path);
    }
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, open_registry, close_registry)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_keys),
        TEST(test_key_files),
        TEST(test_addresses),
        TEST(test_enroll),
        TEST(test_simple),
        TEST(test_directs),
        TEST(test_snippet),
        TEST(test_grants),
        TEST(test_broken),
        TEST(test_full_disk),
        TEST(test_log_lines),
        TEST(test_limits),
        TEST(test_golden),
        TEST(test_golden_nodes),
        TEST(test_template),
        TEST(test_nodes),
        TEST(test_claims),
        TEST(test_allowed_latest_end),
        TEST(test_group_members),
        TEST(test_unit_marks),
        TEST(test_long_texts),
        TEST(test_delete),
        TEST(test_names),
        TEST(test_repeated),
        TEST(test_merge),
        TEST(test_upgrade),
        TEST(test_upgrade_together),
        TEST(test_csv),
        TEST(test_grant_terms),
        TEST(test_grant_repeated_after_clock),
        TEST(test_group_grants),
        TEST(test_times),
        TEST(test_pending),
        TEST(test_policy),
        TEST(test_evidence_fits),
        TEST(test_evidence_fits_each),
        TEST(test_basis),
        TEST(test_etc_hosts),
        TEST(test_attestation),
        TEST(test_rsa_tail),
        TEST(test_ecdsa_curve),
        TEST(test_two_names),
        TEST(test_party_of_key),
        TEST(test_revoke_platform),
        TEST(test_platform_keeps_identity),
        TEST(test_names_of_platforms),
        TEST(test_numbers_of_users),
        TEST(test_name_service_that_hangs),
        TEST(test_address_of_a_device),
        TEST(test_platforms_without_key),
        TEST(test_backup),
        TEST(test_a_change_that_fails),
        TEST(test_event_names),
        TEST(test_grant_without_ports),
        TEST(test_callback_error),
        TEST(test_allowed_gateway_host),
        TEST(test_no_account),
        TEST(test_reasons),
        TEST(test_missing_evidence),
        TEST(test_exemption_ends),
        TEST(test_attest_key_of_two),
        TEST(test_attest_key_retired),
        TEST(test_update_of_two_gateways),
        TEST(test_list),
        TEST(test_folder),
        TEST(test_temporary_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
