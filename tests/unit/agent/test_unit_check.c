/* Tests what `cmxsafed --check` reports about the systemd unit: configured paths that the unit's settings hide from the
 * agent, and capabilities that the unit lacks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/config/unit_check.h"

#define PIN "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
#define GATEWAY "[gateway]\nhost = gw\nuser = u\nhost_key = " PIN "\n"
#define CONTEXT "[context c]\nlocal_port = 8081\nremote_port = 8081\n"

#define NET_BIND_SERVICE (1u << 10) /* the numbers of capabilities(7) */
#define NET_ADMIN (1u << 12)

static char dir[] = "/tmp/cmx_unit_XXXXXX";
static char reported[4096];

static void collect(void *arg, const char *text)
{
    size_t n = strlen(reported);

    (void)arg;
    snprintf(reported + n, sizeof reported - n, "%s\n", text);
}

static const char *path_of(const char *name)
{
    static char path[128];

    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

static void write_file(const char *name, const char *text)
{
    FILE *f = fopen(path_of(name), "w");

    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void expect(const char *text, const struct unit_sandbox *s, const char *want)
{
    struct config_report r = {.file = "f", .line = collect};
    struct agent_config *c = NULL;

    reported[0] = 0;
    assert_int_equal(config_parse(text, strlen(text), &r, &c), CMX_OK);
    unit_check(c, s, &r);
    if (want[0] ? !strstr(reported, want) : reported[0])
        fail_msg("wanted \"%s\" in: %s", want, reported);
    config_free(c);
}

static void test_unit_files(void **state)
{
    char unit[128], other_unit[128], drop_ins[128];
    const char *units[] = {unit, other_unit, NULL}, *patterns[] = {drop_ins, NULL};
    struct unit_sandbox s;

    (void)state;
    snprintf(unit, sizeof unit, "%s", path_of("x.service"));
    snprintf(other_unit, sizeof other_unit, "%s", path_of("y.service"));
    snprintf(drop_ins, sizeof drop_ins, "%s", path_of("*.conf"));
    assert_false(unit_sandbox_read(&s, units, patterns));
    write_file("x.service",
               "[Unit]\nUser=no\n[Service]\n# User=no\nUser = cmxsafed\r\nProtectHome=Yes\nPrivateTmp=yes\n"
               "ProtectSystem=strict\nStateDirectory=cmxsafed\nRuntimeDirectory=cmxsafe\nAmbientCapabilities=\n");
    assert_true(unit_sandbox_read(&s, units, patterns));
    assert_string_equal(s.user, "cmxsafed");
    assert_true(s.hides_home && s.hides_tmp && s.read_only && !s.ambient);
    assert_string_equal(s.writable, " /var/lib/cmxsafed /run/cmxsafe");
    write_file("a.conf", "[Service]\nProtectHome=read-only\nReadWritePaths=/srv/a -/srv/b\n"
                         "AmbientCapabilities=CAP_NET_BIND_SERVICE CAP_NET_ADMIN\n");
    assert_true(unit_sandbox_read(&s, units, patterns));
    assert_true(!s.hides_home && s.hides_tmp);
    assert_int_equal(s.ambient, NET_BIND_SERVICE | NET_ADMIN);
    assert_string_equal(s.writable, " /var/lib/cmxsafed /run/cmxsafe /srv/a /srv/b");
    write_file("y.service", "[Service]\nUser=other\n"); /* replaces x.service */
    assert_true(unit_sandbox_read(&s, units, patterns));
    assert_string_equal(s.user, "other");
    assert_true(!s.hides_tmp && !s.read_only);
    assert_int_equal(s.ambient, NET_BIND_SERVICE | NET_ADMIN);
    assert_string_equal(s.writable, " /srv/a /srv/b");
    unlink(path_of("a.conf"));
    unlink(path_of("y.service"));
}

/* A capability of the unit counts only if the bounding set has it too, and if the unit has no user namespace. */
static void test_capabilities_of_the_unit(void **state)
{
    static const char config[] = GATEWAY "key_file = /proc/self/status\n" CONTEXT "[agent]\ncontrol_socket = /tmp/s\n"
                                         "[isolation]\nenabled = yes\n";
    static const struct {
        const char *settings;
        bool has;
    } cases[] = {
        {"AmbientCapabilities=CAP_NET_BIND_SERVICE CAP_NET_ADMIN\n", true},
        {"AmbientCapabilities=CAP_NET_BIND_SERVICE\nAmbientCapabilities=CAP_NET_ADMIN\nPrivateUsers=no\n", true},
        {"CapabilityBoundingSet=CAP_NET_BIND_SERVICE\nCapabilityBoundingSet=CAP_NET_ADMIN\n"
         "AmbientCapabilities=CAP_NET_BIND_SERVICE CAP_NET_ADMIN\n",
         true},
        {"CapabilityBoundingSet=\nAmbientCapabilities=CAP_NET_BIND_SERVICE CAP_NET_ADMIN\n", false},
        {"CapabilityBoundingSet=~CAP_NET_BIND_SERVICE CAP_NET_ADMIN\n"
         "AmbientCapabilities=CAP_NET_BIND_SERVICE CAP_NET_ADMIN\n",
         false},
        {"AmbientCapabilities=CAP_NET_BIND_SERVICE CAP_NET_ADMIN\nPrivateUsers=yes\n", false},
        {"AmbientCapabilities=CAP_NET_BIND_SERVICE CAP_NET_ADMIN\nPrivateUsers=full\n", false},
        {"AmbientCapabilities=CAP_NET_BIND_SERVICE CAP_NET_ADMIN\nAmbientCapabilities=\n", false},
        {"", false},
    };
    char unit[128];
    const char *units[] = {unit, NULL}, *none[] = {NULL};

    (void)state;
    snprintf(unit, sizeof unit, "%s", path_of("caps.service"));
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct unit_sandbox s;
        char text[512];

        snprintf(text, sizeof text, "[Service]\nUser=u\n%s", cases[i].settings);
        write_file("caps.service", text);
        assert_true(unit_sandbox_read(&s, units, none));
        expect(config, &s, cases[i].has ? "" : "f:12: enabled: only a process with CAP_NET_ADMIN");
    }
}

/* Drop-ins take effect in the order of their names, not of their folders. A drop-in replaces the drop-in of the same
 * name in a folder of lower priority, so a link to /dev/null disables the drop-in that it replaces. */
static void test_drop_ins_of_several_folders(void **state)
{
    char unit[128], low[128], high[128], link[128];
    const char *units[] = {unit, NULL}, *patterns[] = {low, high, NULL};
    struct unit_sandbox s;

    (void)state;
    snprintf(unit, sizeof unit, "%s", path_of("x.service"));
    snprintf(low, sizeof low, "%s", path_of("low/*.conf"));
    snprintf(high, sizeof high, "%s", path_of("high/*.conf"));
    assert_int_equal(mkdir(path_of("low"), 0700), 0);
    assert_int_equal(mkdir(path_of("high"), 0700), 0);
    write_file("x.service", "[Service]\nUser=u\n");
    write_file("low/same.conf", "[Service]\nUser=replaced\nReadWritePaths=/replaced\n");
    write_file("high/same.conf", "[Service]\nReadWritePaths=/in-force\n");
    write_file("low/z.conf", "[Service]\nPrivateTmp=no\nReadWritePaths=/last\n");
    write_file("high/b.conf", "[Service]\nPrivateTmp=yes\n");
    write_file("low/gone.conf", "[Service]\nProtectHome=yes\n");
    snprintf(link, sizeof link, "%s", path_of("high/gone.conf"));
    assert_int_equal(symlink("/dev/null", link), 0);
    assert_true(unit_sandbox_read(&s, units, patterns));
    assert_string_equal(s.user, "u");
    assert_string_equal(s.writable, " /in-force /last");
    assert_true(!s.hides_tmp && !s.hides_home);
}

static void test_what_the_unit_hides(void **state)
{
    const struct unit_sandbox s = {.user = "u",
                                   .hides_home = true,
                                   .hides_tmp = true,
                                   .read_only = true,
                                   .writable = " /var/lib/cmxsafed /run/cmxsafe"};
    const struct unit_sandbox open = {.user = "u"};
    char text[512];

    (void)state;
    expect(GATEWAY "key_file = /root/key\n" CONTEXT, &s, "f:5: key_file /root/key: cmxsafed.service cannot see");
    expect(GATEWAY "key_file = /home/me/key\n" CONTEXT, &s, "ProtectHome=yes");
    expect(GATEWAY "key_file = /tmp/key\n" CONTEXT, &s, "(PrivateTmp=yes); move the file to /etc/cmxsafe");
    expect(GATEWAY "key_file = /etc/passwd\n" CONTEXT "[agent]\ncontrol_socket = /tmp/s\n", &s,
           "(PrivateTmp=yes); use /run/cmxsafe/cmxsafed.sock");
    expect(GATEWAY "key_file = /rooted/key\n" CONTEXT, &s, "key_file /rooted/key: No such file or directory");
    expect(GATEWAY "key_file = /dev/null\n" CONTEXT, &open, "key_file /dev/null: not a regular file");
    expect(
        GATEWAY "key_file = /proc/self/status\n" CONTEXT "[agent]\ncontrol_socket = /srv/s\n", &s,
        "f:10: control_socket /srv/s: cmxsafed.service may not write there (ProtectSystem=strict); use /run/cmxsafe/");
    expect(GATEWAY "key_file = /proc/self/status\n" CONTEXT, &s, "");
    if (geteuid() == 0)
        assert_int_equal(seteuid(65534), 0); /* root could read the file below */
    expect(GATEWAY "key_file = /etc/shadow\n" CONTEXT, &open,
           "f:5: key_file /etc/shadow: Permission denied; the agent's user");
    if (getuid() == 0)
        assert_int_equal(seteuid(0), 0);
    write_file("key", "x");
    snprintf(text, sizeof text, GATEWAY "key_file = %s\n" CONTEXT, path_of("key"));
    expect(text, NULL, "");
}

static void test_ports_below_the_first_open_one(void **state)
{
    const struct unit_sandbox without = {.user = "u"},
                              with = {.user = "u", .ambient = NET_BIND_SERVICE, .bounds = UINT64_MAX},
                              in_own_users = {
                                  .user = "u", .own_users = true, .ambient = NET_BIND_SERVICE, .bounds = UINT64_MAX};
    static const char direct[] = GATEWAY "key_file = /proc/self/status\n[context c]\ndirection = direct\n"
                                         "local_port = 1\nremote_port = 1\nremote_host = h\n[agent]\n"
                                         "control_socket = /tmp/s\n";
    FILE *f = fopen("/proc/sys/net/ipv4/ip_unprivileged_port_start", "r");
    int first = 0;

    (void)state;
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%d", &first), 1);
    fclose(f);
    expect(direct, &without, first > 1 ? "f:8: local_port 1: only a process with CAP_NET_BIND_SERVICE" : "");
    expect(direct, &in_own_users, first > 1 ? "examples/low-ports.conf" : "");
    expect(direct, &with, "");
}

static int make_dir(void **state)
{
    (void)state;
    return mkdtemp(dir) ? 0 : 1;
}

static int remove_dir(void **state)
{
    char command[64];

    (void)state;
    snprintf(command, sizeof command, "rm -rf %s", dir);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unit_files),
        cmocka_unit_test(test_capabilities_of_the_unit),
        cmocka_unit_test(test_drop_ins_of_several_folders),
        cmocka_unit_test(test_what_the_unit_hides),
        cmocka_unit_test(test_ports_below_the_first_open_one),
    };

    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
