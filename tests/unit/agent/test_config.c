/* The agent's configuration: every key, every class of error, the files that it names, and the generated reference. */
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

#include "agent/config/agent_config.h"
#include "agent/config/config_table.h"
#include "agent/config/known_hosts.h"
#include "cmxsafe/core/base64.h"
#include "cmxsafe/core/log.h"
#include "cmxsafe/core/mem.h"
#include "cmxsafe/proxy/pin.h"
#include "port/linux/file_read.h"
#include "port/linux/ini_file.h"

#define PIN "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
#define GATEWAY "[gateway]\nhost = gw.example.org\nuser = device\nhost_key = " PIN "\nkey_file = /k\n"
#define CONTEXT "[context camera]\nlocal_port = 81\nremote_port = 8081\n"

static char reported[8192];

static void collect(void *arg, const char *text)
{
    size_t n = strlen(reported);

    (void)arg;
    snprintf(reported + n, sizeof reported - n, "%s\n", text);
}

static struct config_report report = {.file = "f", .line = collect};

static cmx_err parse(const char *text, struct agent_config **c)
{
    reported[0] = 0;
    report.errors = 0;
    return config_parse(text, strlen(text), &report, c);
}

static struct agent_config *parse_ok(const char *text)
{
    struct agent_config *c = NULL;
    cmx_err err = parse(text, &c);

    assert_string_equal(reported, "");
    assert_int_equal(err, CMX_OK);
    assert_non_null(c);
    return c;
}

static void expect_error(const char *text, const char *want)
{
    struct agent_config *c = (void *)-1;

    assert_int_equal(parse(text, &c), CMX_EINVAL);
    assert_null(c);
    if (!strstr(reported, want))
        fail_msg("wanted \"%s\" in: %s", want, reported);
}

static void test_defaults(void **state)
{
    struct agent_config *c = parse_ok(GATEWAY CONTEXT);
    struct cmx_context contexts[CMX_PROXY_CONTEXTS_MAX];
    struct cmx_gateway g;

    (void)state;
    config_engine(c, &g, contexts);
    assert_string_equal(g.host, "gw.example.org");
    assert_int_equal(g.port, 22);
    assert_int_equal(g.login_timeout_s, CMX_PROXY_LOGIN_TIMEOUT_S);
    assert_int_equal(g.keepalive_s, CMX_PROXY_KEEPALIVE_S);
    assert_int_equal(g.keepalive_max, CMX_PROXY_KEEPALIVE_MAX);
    assert_int_equal(g.backoff_base_ms, CMX_PROXY_BACKOFF_BASE_MS);
    assert_int_equal(g.backoff_max_ms, CMX_PROXY_BACKOFF_MAX_MS);
    assert_null(g.password);
    assert_string_equal(contexts[0].name, "camera");
    assert_string_equal(contexts[0].local_host, "127.0.0.1");
    assert_int_equal(contexts[0].direction, CMX_REVERSE);
    assert_int_equal(contexts[0].max_connections, CMX_PROXY_CONNECTIONS_DEFAULT);
    assert_int_equal(contexts[0].connect_timeout_s, 10);
    assert_null(contexts[0].session);
    assert_false(contexts[0].high_bw);
    assert_string_equal(c->agent.control_socket, "/run/cmxsafe/cmxsafed.sock");
    assert_int_equal(c->agent.log_level, CMX_LOG_INFO);
    assert_int_equal(c->agent.confine, AGENT_CONFINE_YES);
    config_free(c);
}

static void test_every_key_arrives(void **state)
{
    static const char text[] =
        "# a whole line as comment\r\n[agent]\r\n\tcontrol_socket = /s ; why not\r\n log_level: debug\n"
        "confine = required\nconfine_ports=fixed\n"
        "[gateway]\n  host = [2001:db8::1]\n  port = 2222\n  user = d# e\n  host_key = " PIN
        "\n  host_key = gw ssh-ed25519 AAAA\n  key_file = /k\n  key_passphrase_file = /p\n"
        "  password_file = /w\n  ciphers = aes128-gcm@openssh.com,aes256-ctr\n"
        "  login_timeout = 20\n  keepalive = 1m\n  keepalive_max = 5\n  backoff_min = 250ms\n"
        "  backoff_max = 2m\n  rekey_bytes = 64M\n  require_pq = yes\n"
        "[ context  a.b_c-9 ]\ndirection = direct\nlocal_host = ::1\nlocal_port = 1883\n"
        "remote_port = 1884\nremote_host = broker\nhigh_bw = yes\nmax_connections = 64\n"
        "idle_timeout = 1h\nsession = shared\n"
        "[context r]\nlocal_port=1\nremote_port=65535\nremote_address=[FD00:0::0001]\n"
        "connect_timeout=3s\nprobe_interval=5m";
    struct agent_config *c = parse_ok(text);
    struct cmx_context x[CMX_PROXY_CONTEXTS_MAX];
    struct cmx_gateway g;

    (void)state;
    config_engine(c, &g, x);
    assert_string_equal(c->agent.control_socket, "/s");
    assert_int_equal(c->agent.log_level, CMX_LOG_DEBUG);
    assert_int_equal(c->agent.confine, AGENT_CONFINE_REQUIRED);
    assert_int_equal(c->agent.confine_ports, AGENT_PORTS_FIXED);
    assert_string_equal(g.host, "[2001:db8::1]");
    assert_string_equal(c->gateways.at[0].host, "2001:db8::1");
    assert_int_equal(g.port, 2222);
    assert_string_equal(g.user, "d# e"); /* only a '#' after white space begins a comment */
    assert_int_equal(c->gateway.host_key.n, 2);
    assert_string_equal(c->gateway.host_key.item[1], "gw ssh-ed25519 AAAA");
    assert_string_equal(c->gateway.key_passphrase_file, "/p");
    assert_string_equal(c->gateway.password_file, "/w");
    assert_string_equal(g.ciphers, "aes128-gcm@openssh.com,aes256-ctr");
    assert_int_equal(g.login_timeout_s, 20);
    assert_int_equal(g.keepalive_s, 60);
    assert_int_equal(g.keepalive_max, 5);
    assert_int_equal(g.backoff_base_ms, 250);
    assert_int_equal(g.backoff_max_ms, 120000);
    assert_int_equal(g.rekey_bytes, 64 << 20);
    assert_true(g.require_pq);
    assert_int_equal(c->n_contexts, 2);
    assert_string_equal(x[0].name, "a.b_c-9");
    assert_int_equal(x[0].direction, CMX_DIRECT);
    assert_string_equal(x[0].local_host, "::1");
    assert_int_equal(x[0].local_port, 1883);
    assert_int_equal(x[0].remote_port, 1884);
    assert_string_equal(x[0].remote_host, "broker");
    assert_true(x[0].high_bw);
    assert_int_equal(x[0].max_connections, 64);
    assert_int_equal(x[0].idle_timeout_s, 3600);
    assert_string_equal(x[0].session, "shared");
    assert_string_equal(x[1].remote_address, "fd00::1");
    assert_int_equal(x[1].connect_timeout_s, 3);
    assert_int_equal(x[1].probe_interval_s, 300);
    config_free(c);
}

static void test_update_keys_arrive(void **state)
{
    struct agent_config *c = parse_ok(
        GATEWAY CONTEXT "[ota]\ninstall = cd /; swupdate -i - # it\nconfirm = c\nrollback = r\nrestart = reboot\n"
                        "version = cat /v\nkey_file = /k\nnext_key_file = /n\nallow_unsigned = yes\n"
                        "spool = /s\nmax_size = 64M\nport = 8990\nhost = cam\nconfirm_within = 10m\n"
                        "install_timeout = 2h\nconfirm_timeout = 5s\nrollback_timeout = 6s\n"
                        "restart_timeout = 7s\nversion_timeout = 8s\n");
    struct agent_config *none = parse_ok(GATEWAY CONTEXT);

    (void)state;
    assert_string_equal(c->ota.install, "cd /; swupdate -i - # it");
    assert_string_equal(c->ota.confirm, "c");
    assert_string_equal(c->ota.rollback, "r");
    assert_string_equal(c->ota.restart, "reboot");
    assert_string_equal(c->ota.version, "cat /v");
    assert_string_equal(c->ota.key_file, "/k");
    assert_string_equal(c->ota.next_key_file, "/n");
    assert_true(c->ota.allow_unsigned);
    assert_string_equal(c->ota.spool, "/s");
    assert_int_equal(c->ota.max_size, 64 << 20);
    assert_int_equal(c->ota.port, 8990);
    assert_string_equal(c->ota.host, "cam");
    assert_int_equal(c->ota.confirm_within_ms, 600000);
    assert_int_equal(c->ota.install_timeout_ms, 7200000);
    assert_int_equal(c->ota.confirm_timeout_ms, 5000);
    assert_int_equal(c->ota.rollback_timeout_ms, 6000);
    assert_int_equal(c->ota.restart_timeout_ms, 7000);
    assert_int_equal(c->ota.version_timeout_ms, 8000);
    config_free(c);
    assert_null(none->ota.install); /* no update service by default */
    assert_false(none->ota.allow_unsigned);
    assert_int_equal(none->ota.confirm_within_ms, 300000);
    assert_int_equal(none->ota.install_timeout_ms, 1800000);
    config_free(none);
}

static void test_isolation_section(void **state)
{
    struct agent_config *c =
        parse_ok(GATEWAY "[isolation]\nenabled = yes\nagent_user = cmxsafe\nresolvers = 192.0.2.53\n"
                         "time_servers = 192.0.2.1, ::1\nforwarder = dnsmasq\ndhcp = no\nipv6 = no\n" CONTEXT
                         "direction = direct\nremote_host = b\nusers = alice, 1000\n");

    (void)state;
    assert_true(c->isolation.enabled);
    assert_string_equal(c->isolation.agent_user, "cmxsafe");
    assert_string_equal(c->isolation.resolvers, "192.0.2.53");
    assert_string_equal(c->isolation.time_servers, "192.0.2.1, ::1");
    assert_string_equal(c->isolation.forwarder, "dnsmasq");
    assert_false(c->isolation.dhcp);
    assert_false(c->isolation.ipv6);
    assert_string_equal(c->contexts[0].options.tasks, "alice, 1000");
    config_free(c);
}

static void test_hosts(void **state)
{
    static const char *const good[] = {"10.0.0.1",       "::1",           "[::1]", "fe80::1%eth0.7",
                                       "[fe80::1%eth0]", "cam",           "cam.",  "a_b.local",
                                       "-odd-.example",  "1.2.3.example", "x1"};

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        char text[512];

        snprintf(text, sizeof text, GATEWAY CONTEXT "local_host = %s\n", good[i]);
        config_free(parse_ok(text));
    }
    config_free(parse_ok(GATEWAY CONTEXT "remote_address = *\n"));
}

static void test_originators(void **state)
{
    struct agent_config *c = parse_ok(GATEWAY CONTEXT "peer = mirror\nlocal_host = ::1\n"
                                                      "allow_from = fd00::17, fd00:1::/48\n");

    (void)state;
    assert_int_equal(c->contexts[0].options.peer, CMX_PEER_MIRROR);
    assert_string_equal(c->contexts[0].options.allow_from, "fd00::17, fd00:1::/48");
    config_free(c);
    c = parse_ok(GATEWAY CONTEXT);
    assert_int_equal(c->contexts[0].options.peer, CMX_PEER_NONE);
    assert_null(c->contexts[0].options.allow_from);
    config_free(c);
}

static void test_identity_and_attest_sections(void **state)
{
    struct agent_config *c = parse_ok("[gateway]\nhost=h\nuser=u\nhost_key=" PIN
                                      "\n[identity]\ntpm = device:/dev/tpmrm0\ntpm_handle = 0x81000100\n"
                                      "[attest]\nenabled = yes\nport = 8889\nimage = /dev/mmcblk0\n" CONTEXT);
    struct cmx_context contexts[CMX_PROXY_CONTEXTS_MAX];
    struct cmx_gateway g;

    (void)state;
    assert_string_equal(c->identity.tpm, "device:/dev/tpmrm0");
    assert_string_equal(c->identity.tpm_handle, "0x81000100");
    assert_true(c->attest.enabled);
    assert_int_equal(c->attest.port, 8889);
    assert_string_equal(c->attest.image, "/dev/mmcblk0");
    config_engine(c, &g, contexts);
    assert_non_null(g.key_load); /* there is no other credential: the derived key is used */
    assert_true(g.want_session_id);
    config_free(c);
    c = parse_ok(GATEWAY "[identity]\nkey_file = /k\n" CONTEXT);
    config_engine(c, &g, contexts);
    assert_null(g.key_load); /* the configuration names a key file */
    assert_false(g.want_session_id);
    config_free(c);
}

/* Exactly those changes that need a restart are reported as needing one. */
static void test_changes_that_need_a_restart(void **state)
{
    static const struct {
        const char *section, *before, *after;
        const char *key; /* the key reported as needing a restart; NULL: a reload applies the change */
    } changes[] = {
        {"agent", "control_socket = /a", "control_socket = /b", "control_socket"},
        {"agent", "confine = no", "confine = yes", "confine"},
        {"agent", "confine_ports = any", "confine_ports = fixed", "confine_ports"},
        {"agent", "log_level = info", "log_level = debug", NULL},
        {"ota", "install = a", "install = b", "install"},
        {"ota", "allow_unsigned = no", "allow_unsigned = yes", "allow_unsigned"},
        {"ota", "spool = /a", "spool = /b", "spool"},
        {"ota", "max_size = 1M", "max_size = 2M", "max_size"},
        {"ota", "", "host = h", "host"},
        {"ota", "confirm_within = 1m", "confirm_within = 2m", "confirm_within"},
        {"isolation", "dhcp = yes", "dhcp = no", NULL},
        {"identity", "key_file = /a", "key_file = /b", "key_file"},
        {"attest", "port = 1", "port = 2", "port"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        char text[1024];
        struct agent_config *a, *b;
        const struct config_key *k;

        snprintf(text, sizeof text, GATEWAY CONTEXT "[%s]\n%s\n", changes[i].section, changes[i].before);
        a = parse_ok(text);
        snprintf(text, sizeof text, GATEWAY CONTEXT "[%s]\n%s\n", changes[i].section, changes[i].after);
        b = parse_ok(text);
        assert_null(config_next_restart(a, a, NULL));
        k = config_next_restart(a, b, NULL);
        if (!changes[i].key) {
            assert_null(k);
        } else {
            assert_non_null(k);
            assert_string_equal(k->section, changes[i].section);
            assert_string_equal(k->key, changes[i].key);
            assert_null(config_next_restart(a, b, k));
        }
        config_free(a);
        config_free(b);
    }
}

/* Fails if the table has a key whose name does not occur in this file. */
static void test_no_key_is_forgotten(void **state)
{
    FILE *f = fopen("tests/unit/agent/test_config.c", "r");
    static char source[65536];
    size_t n;

    (void)state;
    assert_non_null(f);
    n = fread(source, 1, sizeof source - 1, f);
    fclose(f);
    source[n] = 0;
    for (size_t i = 0; i < config_n_keys; i++)
        if (!strstr(source, config_keys[i].key))
            fail_msg("no test uses key %s", config_keys[i].key);
}

static void test_sections_fit(void **state)
{
    (void)state;
    for (size_t i = 0; i < config_n_keys; i++) {
        assert_true(config_key_place(&config_keys[i]) < CONFIG_KEYS_MAX);
        assert_ptr_equal(config_key_find(config_keys[i].section, config_keys[i].key), &config_keys[i]);
        assert_non_null(config_section_find(config_keys[i].section, strlen(config_keys[i].section)));
    }
}

static void test_errors(void **state)
{
    static const struct {
        const char *text, *want;
    } cases[] = {
        {"", "f: no [gateway] section\nf: no [context NAME] section: nothing to do\n"},
        {GATEWAY CONTEXT "colour = red\n", "f:9: unknown key 'colour' in [context]\n"},
        {GATEWAY CONTEXT "max_conections = 3\n", "f:9: unknown key 'max_conections' in [context]; did you mean "
                                                 "'max_connections'?\n"},
        {GATEWAY CONTEXT "user = x\n", "f:9: key 'user' belongs in [gateway], not in [context]\n"},
        {GATEWAY "[contxt a]\nx=1\n" CONTEXT, "f:6: unknown section [contxt a]"},
        {"[gatway]\n" CONTEXT, "f:1: unknown section [gatway]; did you mean [gateway]?\n"},
        {"[zzzzzzzz]\n", "f:1: unknown section [zzzzzzzz]\n"},
        {GATEWAY CONTEXT "local_port = 5\n", "f:9: local_port is already given in line 7\n"},
        {GATEWAY CONTEXT CONTEXT, "f:9: [context camera] is already given in line 6\n"},
        {GATEWAY GATEWAY CONTEXT, "f:6: [gateway] is already given in line 1\n"},
        {GATEWAY CONTEXT "[context]\n", "f:9: a context needs a name: [context NAME]\n"},
        {GATEWAY CONTEXT "[context a b]\n", "f:9: a context's name may hold"},
        {GATEWAY CONTEXT "[context 12345678901234567890123456789012]\n", "f:9: a context's name has at most 31"},
        {"[gateway main]\n", "f:1: [gateway] takes no name\n"},
        {"host = x\n", "f:1: key 'host' is before the first [section]\n"},
        {GATEWAY "high speed please\n" CONTEXT, "f:6: neither 'key = value' nor '[section]'\n"},
        {GATEWAY "[context\nlocal_port = 1\n" CONTEXT, "f:6: a section line is '[name]' and nothing else\n"},
        {GATEWAY "[context a] x\n" CONTEXT, "f:6: a section line is '[name]' and nothing else\n"},
        {GATEWAY CONTEXT "session = a\x01z\n", "f:9: a control character in the line\n"},
        {GATEWAY "[context c]\nlocal_port = 81\n", "f:6: [context c] lacks remote_port\n"},
        {"[gateway]\nport = 1\n" CONTEXT, "f:1: [gateway] lacks host\nf:1: [gateway] lacks user\n"},
        {"[gateway]\nhost=h\nuser=u\nkey_file=/k\n" CONTEXT, "f:1: [gateway] pins no host key"},
        {"[gateway]\nhost=h\nuser=u\nhost_key=" PIN "\n" CONTEXT, "f:1: [gateway] has no credential"},
        {"[gateway]\nhost=h\nuser=u\nhost_key=" PIN "\npassword_file=/p\nkey_passphrase_file=/q\n" CONTEXT,
         "f:6: key_passphrase_file needs key_file\n"},
        {GATEWAY "backoff_min = 10s\nbackoff_max=5s\n" CONTEXT, "f:7: backoff_max is less than backoff_min\n"},
        {GATEWAY "[context d]\ndirection=direct\nlocal_port=1\nremote_port=2\n", "f:6: [context d] lacks remote_host"},
        {GATEWAY CONTEXT "[ota]\ninstall=i\nport=9\n[identity]\nkey_file=/k\n[attest]\nenabled=yes\nport=9\n",
         "f:11: port 9 is already the port of [attest]\n"},
        {GATEWAY "[ota]\ninstall=i\n[context d]\ndirection=direct\nlocal_port=8989\nremote_port=2\nremote_host=h\n",
         "f:10: local_port 8989 is already the port of [ota]\n"},
        {GATEWAY "[identity]\nkey_file=/i\n[attest]\nenabled=yes\n"
                 "[context d]\ndirection=direct\nlocal_host=0.0.0.0\nlocal_port=8888\nremote_port=2\nremote_host=h\n",
         "f:13: local_port 8888 is already the port of [attest]\n"},
        {GATEWAY CONTEXT "[ota]\ninstall=i\nspool=/k\n",
         "f:11: spool: uploads would overwrite the key_file of [gateway]"},
        {GATEWAY "[context d]\ndirection=direct\nlocal_port=1\nremote_port=2\nremote_host=h\nremote_address=::1\n",
         "f:11: remote_address is for a reverse context\n"},
        {GATEWAY CONTEXT "remote_host=h\n", "f:9: remote_host is for a direct context\n"},
        {GATEWAY CONTEXT "[context b]\nlocal_port=9\nremote_port=8081\n",
         "f:11: remote_port 8081 already belongs to [context camera]\n"},
        {GATEWAY "[context a]\ndirection=direct\nlocal_port=1\nremote_port=2\nremote_host=h\n"
                 "[context b]\ndirection=direct\nlocal_port=1\nremote_port=3\nremote_host=h\n",
         "f:13: local_port 1 already belongs to [context a]\n"},
        {GATEWAY CONTEXT "peer = mirror\n",
         "f:6: context camera peer: mirror needs an IPv6 local_host such as ::1, not 127.0.0.1\n"},
        {GATEWAY CONTEXT "peer = mirror\nlocal_host = localhost\n",
         "needs an IPv6 local_host such as ::1, not localhost\n"},
        {GATEWAY CONTEXT "local_host = ::ffff:127.0.0.1\n",
         "f:9: local_host: '::ffff:127.0.0.1' mixes IPv4 and IPv6; write a plain IPv4 or IPv6 address\n"},
        {GATEWAY CONTEXT "peer = proxy\n", "f:9: peer: 'proxy' is not "},
        {GATEWAY CONTEXT "local_host = 127.0.0.1:80\n",
         "f:9: local_host: '127.0.0.1:80' is neither a host name nor an "},
        {GATEWAY CONTEXT "local_host = 999.1.1.1\n", "f:9: local_host: '999.1.1.1' is not an IPv4 address\n"},
        {GATEWAY CONTEXT "local_host = [::1\n", "f:9: local_host: '[::1' is neither"},
        {GATEWAY CONTEXT "local_host = ::1%\n", "f:9: local_host: '::1%' is neither"},
        {GATEWAY CONTEXT "local_host = a..b\n", "f:9: local_host: 'a..b' is not a host name or address\n"},
        {GATEWAY CONTEXT "local_host = .b\n", "f:9: local_host: '.b' is not a host name or address\n"},
        {GATEWAY CONTEXT "local_host = *\n", "f:9: local_host: '*' is not a host name or address\n"},
        {GATEWAY CONTEXT "remote_address = 0.0.0.0/0\n", "f:9: remote_address: '0.0.0.0/0' is not a host name"},
        {"[gateway]\nhost = a..b\n" CONTEXT, "f:2: host: 'a..b' is not a host name or address\n"},
        {"[gateway]\nhost = gw, 10.0.0.300:22\n" CONTEXT, "f:2: host: '10.0.0.300' is not an IPv4 address\n"},
        {"[gateway]\nhost = 0x7f000001\n" CONTEXT, "f:2: host: '0x7f000001' is not an IPv4 address\n"},
        {"[gateway]\nhost = gw, 127.0x1:22\n" CONTEXT, "f:2: host: '127.0x1' is not an IPv4 address\n"},
        {"[gateway]\nhost = 0.0.0.0\n" CONTEXT, "f:2: host: '0.0.0.0' is not the address of one host\n"},
        {"[gateway]\nhost = gw > [::]:22\n" CONTEXT, "f:2: host: '::' is not the address of one host\n"},
        {"[gateway]\nhost = 224.0.0.1\n" CONTEXT, "f:2: host: '224.0.0.1' is not the address of one host\n"},
        {"[gateway]\nhost = [ff02::1%eth0]:22\n" CONTEXT, "f:2: host: 'ff02::1%eth0' is not the address of one host\n"},
        {"[gateway]\nhost = gw, fe80::1\n" CONTEXT,
         "f:2: host: 'fe80::1' is a link-local address without its interface;"},
        {"[gateway]\nhost = [fe80::1]:22\n" CONTEXT,
         "f:2: host: 'fe80::1' is a link-local address without its interface;"},
        {GATEWAY CONTEXT "local_host = [febf::1]\n",
         "local_host: '[febf::1]' is a link-local address without its interface; write it as ADDRESS%INTERFACE\n"},
        {"[gateway]\nhost = ::ffff:a00:1\n" CONTEXT, "f:2: host: '::ffff:a00:1' mixes IPv4 and IPv6"},
        {"[gateway]\nhost = gw, [64:ff9b::10.0.0.1%eth0]:22\n" CONTEXT,
         "f:2: host: '64:ff9b::10.0.0.1%eth0' mixes IPv4 and IPv6"},
        {GATEWAY CONTEXT "local_host = 0x7f.1\n", "f:9: local_host: '0x7f.1' is not an IPv4 address\n"},
        {GATEWAY CONTEXT "allow_from = fd00::/129\n",
         "f:6: context camera allow_from: not a list of 1 to 64 addresses"},
        {GATEWAY CONTEXT "allow_from = cam-17.cmx\n", "f:6: context camera allow_from: not a list of 1 to 64"},
        {GATEWAY "[context d]\ndirection=direct\nlocal_port=1\nremote_port=2\nremote_host=h\npeer=proxy-v1\n",
         "f:11: peer is for a reverse context\n"},
        /* values */
        {GATEWAY "port = 0\n" CONTEXT, "f:6: port: 0 is out of range: 1 to 65535\n"},
        {GATEWAY "port = 65536\n" CONTEXT, "f:6: port: 65536 is out of range"},
        {GATEWAY "port = 99999999999999999999999999\n" CONTEXT, "out of range"},
        {GATEWAY "port = -1\n" CONTEXT, "f:6: port: '-1' is not a number\n"},
        {GATEWAY "port = 22x\n" CONTEXT, "'22x' is not a number"},
        {GATEWAY "port =\n" CONTEXT, "'' is not a number"},
        {GATEWAY "keepalive = soon\n" CONTEXT, "f:6: keepalive: 'soon' is not a duration (such as 90s, 5m, 1h)\n"},
        {GATEWAY "keepalive = 1500ms\n" CONTEXT, "f:6: keepalive: 1500ms: give whole seconds\n"},
        {GATEWAY "keepalive = 2h\n" CONTEXT, "f:6: keepalive: 2h is out of range: 1s to 1h\n"},
        {GATEWAY "keepalive = 18446744073709551615h\n" CONTEXT, "out of range"},
        {GATEWAY "rekey_bytes = 1T\n" CONTEXT, "f:6: rekey_bytes: '1T' is not a size (such as 64k, 512M, 1G)\n"},
        {GATEWAY "host_key = SHA256:short\n" CONTEXT, "is not a whole SHA256 fingerprint"},
        {GATEWAY "host_key = MD5:aa\n" CONTEXT, "is neither SHA256:... nor a known_hosts line"},
        {GATEWAY "known_hosts_file = known_hosts\n" CONTEXT, "must be an absolute path"},
        {GATEWAY "ciphers =\n" CONTEXT, "f:6: ciphers: '' is empty\n"},
        {"[gateway]\nhost = a b\n" CONTEXT,
         "f:2: host: 'a b' is not a list of 1 to 8 gateways, each HOST, HOST:PORT or [IPV6]:PORT\n"},
        {"[gateway]\nhost = a, b:0\n" CONTEXT,
         "f:2: host: 'a, b:0' is not a list of 1 to 8 gateways, each HOST, HOST:PORT or [IPV6]:PORT\n"},
        {"[gateway]\nhost = 1,2,3,4,5,6,7,8,9\n" CONTEXT,
         "f:2: host: '1,2,3,4,5,6,7,8,9' is not a list of 1 to 8 gateways, each HOST, HOST:PORT or [IPV6]:PORT\n"},
        {GATEWAY CONTEXT "high_bw = maybe\n", "f:9: high_bw: 'maybe' is neither yes nor no\n"},
        {GATEWAY CONTEXT "direction = revers\n", "f:9: direction: 'revers' is not known; did you mean 'reverse'?\n"},
        {GATEWAY CONTEXT "direction = up\n", "f:9: direction: 'up' is not reverse or direct\n"},
        {GATEWAY CONTEXT "session = a/b\n", "f:9: session: 'a/b' may hold letters"},
        {GATEWAY CONTEXT "session = 12345678901234567890123456789012\n", "is longer than 31 characters"},
        {GATEWAY "[context a]\nlocal_port=1\nremote_port=1\nremote_address=fd00::1\n"
                 "[context b]\nlocal_port=2\nremote_port=1\nremote_address=FD00:0::1\n",
         "f:12: remote_port 1 already belongs to [context a]"},
        {GATEWAY CONTEXT "max_connections = 1025\n", "out of range: 1 to 1024"},
        {GATEWAY CONTEXT "[ota]\ninstall = cd /x ; ./install\n",
         "f:10: install: '; ./install' would be a comment; remove the white space before the ';', or put the command "
         "into a script\n"},
        {"[gateway]\nhost = h\nuser = u\t# the account\n",
         "f:3: user: '# the account' is no comment; within a line, a comment begins with ' ;'\n"},
        {GATEWAY CONTEXT "[agent]\ncontrol_socket = /s # here\n", "f:10: control_socket: '# here' is no comment"},
        {GATEWAY CONTEXT "[agent]\ncontrol_socket = /s#1 # here\n", "f:10: control_socket: '# here' is no comment"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        expect_error(cases[i].text, cases[i].want);
}

static void test_all_errors_are_reported(void **state)
{
    (void)state;
    expect_error("[gateway]\nhost = a b\nprt = 1\n[context a]\nlocal_port = 0\n[nonsense]\nlocal_port = 1\n",
                 "f:2: host: 'a b' is not a list of 1 to 8 gateways, each HOST, HOST:PORT or [IPV6]:PORT\n"
                 "f:3: unknown key 'prt' in [gateway]; did you mean 'port'?\n"
                 "f:5: local_port: 0 is out of range: 1 to 65535\n"
                 "f:6: unknown section [nonsense]\n"
                 "f:1: [gateway] lacks user\n"
                 "f:4: [context a] lacks remote_port\n"
                 "f:1: [gateway] pins no host key: give host_key or known_hosts_file\n"
                 "f:1: [gateway] has no credential: give key_file, password_file or a key in [identity]\n");
}

static void test_an_invalid_value_is_not_also_missing(void **state)
{
    (void)state;
    expect_error("[gateway]\nhost = h\nuser = u\nhost_key = SHA256:x\nkey_file = k\n"
                 "[context a]\ndirection = direct\nlocal_port = 1\nremote_port = 1\nremote_host = a b\n",
                 "f:4: host_key: ");
    assert_non_null(strstr(reported, "f:5: key_file: 'k' must be an absolute path\nf:10: remote_host: "));
    assert_null(strstr(reported, "pins no host key"));
    assert_null(strstr(reported, "has no credential"));
    assert_null(strstr(reported, "lacks remote_host"));
}

static void test_errors_are_bounded(void **state)
{
    static char text[CMX_INI_FILE_MAX];
    struct agent_config *c;
    size_t n = 0;
    unsigned lines = 0;

    (void)state;
    while (n < 8000)
        n += (size_t)snprintf(text + n, sizeof text - n, "x\n");
    assert_int_equal(parse(text, &c), CMX_EINVAL);
    for (const char *s = reported; (s = strchr(s, '\n')) != NULL; s++)
        lines++;
    assert_int_equal(lines, CONFIG_ERRORS_MAX);
    assert_non_null(strstr(reported, "too many errors"));
}

static void test_context_limit(void **state)
{
    static char text[CMX_INI_FILE_MAX];
    struct agent_config *c;
    int n = snprintf(text, sizeof text, GATEWAY);

    (void)state;
    for (int i = 0; i < CMX_PROXY_CONTEXTS_MAX; i++)
        n += snprintf(text + n, sizeof text - (size_t)n, "[context c%d]\nlocal_port=81\nremote_port=%d\n", i, i + 1);
    c = parse_ok(text);
    assert_int_equal(c->n_contexts, CMX_PROXY_CONTEXTS_MAX);
    config_free(c);
    snprintf(text + n, sizeof text - (size_t)n, "[context more]\nlocal_port=81\nremote_port=999\n");
    expect_error(text, "f:1542: more than 512 contexts\n");
}

/* Long lines are read completely. */
static void test_long_lines(void **state)
{
    static char text[16384], value[CMX_INI_LINE_MAX];
    struct agent_config *c;

    (void)state;
    for (size_t len = 150; len < 3900; len += len < 450 ? 1 : 137) {
        memset(value, 'A', len);
        value[len] = 0;
        memcpy(value, "gw ssh-rsa ", 11);
        for (size_t i = 20; i < len; i += 7)
            value[i] = i % 2 ? '+' : '=';
        snprintf(text, sizeof text, GATEWAY "  host_key = %s ; comment\nport = 2222\n" CONTEXT, value);
        c = parse_ok(text);
        assert_string_equal(c->gateway.host_key.item[1], value);
        assert_int_equal(c->gateway.options.port, 2222);
        config_free(c);
    }
    memset(value, 'A', sizeof value - 1);
    snprintf(text, sizeof text, GATEWAY "host_key = gw ssh-rsa %s\n" CONTEXT, value);
    expect_error(text, "f:6: the line is longer than 4095 bytes\n");
    memset(value, '-', 500);
    value[500] = 0;
    snprintf(text, sizeof text, GATEWAY "ciphers = %s\n" CONTEXT, value);
    c = parse_ok(text);
    assert_string_equal(c->gateway.options.ciphers, value);
    config_free(c);
    memset(value, 'k', 500);
    snprintf(text, sizeof text, GATEWAY "%s = 1\n" CONTEXT, value);
    expect_error(text, "f:6: neither 'key = value'");
    value[64] = 0;
    snprintf(text, sizeof text, GATEWAY "%s=1\n" CONTEXT, value);
    expect_error(text, "f:6: neither 'key = value'");
    value[63] = 0; /* the longest key; the white space after it does not count */
    snprintf(text, sizeof text, GATEWAY "%s%*s=1\n" CONTEXT, value, 70, "");
    expect_error(text, "f:6: unknown key 'kkkk");
    snprintf(text, sizeof text, GATEWAY "%s=1\n" CONTEXT, value);
    expect_error(text, "f:6: unknown key 'kkkk");
}

static void test_allocation_failures(void **state)
{
    struct cmx_mem_stats before, after;
    struct agent_config *c = NULL;
    bool done = false;

    (void)state;
    cmx_mem_stats(&before);
    for (size_t n = 1; !done && n < 500; n++) {
        cmx_err err;

        cmx_mem_fail_at(n);
        err = parse(GATEWAY "password_file = /p\n" CONTEXT "session = s\nremote_address = ::1\n", &c);
        done = err == CMX_OK;
        if (!done) {
            assert_int_equal(err, CMX_ENOMEM);
            assert_null(c);
            assert_non_null(strstr(reported, "out of memory"));
        }
        cmx_mem_fail_at(0);
        config_free(c);
        cmx_mem_stats(&after);
        assert_int_equal(after.live_blocks, before.live_blocks);
    }
    assert_true(done);
}

/* ---- files ---- */

static char dir[] = "/tmp/cmx-config-XXXXXX";

static int make_dir(void **state)
{
    (void)state;
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
    char command[64];

    (void)state;
    snprintf(command, sizeof command, "rm -rf %s", dir);
    return system(command);
}

static const char *put(const char *name, const char *content, size_t len, mode_t mode)
{
    static char path[8][64];
    static unsigned turn;
    char *p = path[turn++ % 8];
    FILE *f;

    snprintf(p, sizeof path[0], "%s/%s", dir, name);
    unlink(p);
    f = fopen(p, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(content, 1, len, f), len);
    fclose(f);
    assert_int_equal(chmod(p, mode), 0);
    return p;
}

static cmx_err load(const char *text, struct agent_config **c)
{
    const char *path = put("conf", text, strlen(text), 0644);

    reported[0] = 0;
    report.errors = 0;
    return config_load(path, &report, c);
}

#define KEYS_HEAD "[gateway]\nhost = gw\nuser = u\nhost_key = " PIN "\n"

static void test_secret_files(void **state)
{
    static const struct {
        const char *content;
        size_t len;
        mode_t mode;
        const char *want; /* NULL: the file is accepted */
    } cases[] = {
        {"s3cret\n", 7, 0600, NULL},
        {"s3cret\r\nsecond line\n", 20, 0400, NULL},
        {"\xef\xbb\xbfs3cret", 9, 0600, NULL},
        {"s3cret", 6, 0640, "group or others can access it (mode 0640)"},
        {"s3cret", 6, 0604, "group or others can access it"},
        {"\xff\xfes\0", 4, 0600, "it is UTF-16 text; save it as UTF-8"},
        {"\xfe\xff\0s", 4, 0600, "it is UTF-16 text; save it as UTF-8"},
        {"\n", 1, 0600, "its first line is empty"},
        {"", 0, 0600, "its first line is empty"},
        {"a\0b\n", 4, 0600, "a NUL byte"},
    };
    char text[512];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *path = put("password", cases[i].content, cases[i].len, cases[i].mode);
        struct agent_config *c = NULL;
        cmx_err err;

        /* The file begins with a byte order mark, as some editors write it. */
        snprintf(text, sizeof text, "\xef\xbb\xbf" KEYS_HEAD "password_file = %s\n" CONTEXT, path);
        err = load(text, &c);
        assert_int_equal(err, cases[i].want ? CMX_EINVAL : CMX_OK);
        assert_true(cases[i].want ? strstr(reported, cases[i].want) && strstr(reported, "f:5: password_file ")
                                  : !*reported);
        if (c)
            assert_string_equal(c->password, "s3cret");
        assert_null(strstr(reported, "s3cret"));
        config_free(c);
    }
}

static void test_key_file_permissions(void **state)
{
    const char *key = put("key", "k", 1, 0644);
    struct agent_config *c = NULL;
    char text[512];

    (void)state;
    snprintf(text, sizeof text, KEYS_HEAD "key_file = %s\n" CONTEXT, key);
    assert_int_equal(load(text, &c), CMX_EINVAL);
    assert_non_null(strstr(reported, "f:5: key_file "));
    assert_non_null(strstr(reported, "run: chmod 600 "));
    chmod(key, 0600);
    assert_int_equal(load(text, &c), CMX_OK);
    config_free(c);
    /* A systemd credential has an ACL; its mode shows this as group read permission. */
    chmod(key, 0440);
    assert_int_equal(load(text, &c), CMX_EINVAL);
    setenv("CREDENTIALS_DIRECTORY", dir, 1);
    assert_int_equal(load(text, &c), CMX_OK);
    config_free(c);
    chmod(key, 0444);
    assert_int_equal(load(text, &c), CMX_EINVAL);
    unsetenv("CREDENTIALS_DIRECTORY");
    unlink(key);
    assert_int_equal(load(text, &c), CMX_EINVAL);
    assert_non_null(strstr(reported, "No such file"));
    snprintf(text, sizeof text, KEYS_HEAD "key_file = %s\n" CONTEXT, dir);
    assert_int_equal(load(text, &c), CMX_EINVAL);
    assert_non_null(strstr(reported, "not a regular file"));
}

static void test_files_that_are_not_there(void **state)
{
    struct agent_config *c = NULL;

    (void)state;
    reported[0] = 0;
    assert_int_equal(config_load("/nonexistent/f", &report, &c), CMX_ENOENT);
    assert_string_equal(reported, "f: No such file or directory\n");
    reported[0] = 0;
    assert_int_equal(config_load("/dev/zero", &report, &c), CMX_EIO);
    reported[0] = 0;
    assert_int_equal(load(KEYS_HEAD "key_file = /nonexistent/k\nknown_hosts_file = /nonexistent/h\n"
                                    "password_file = /nonexistent/p\n" CONTEXT,
                          &c),
                     CMX_EINVAL);
    assert_non_null(strstr(reported, ":5: key_file /nonexistent/k: No such file"));
    assert_non_null(strstr(reported, ":6: known_hosts_file /nonexistent/h: No such file"));
    assert_non_null(strstr(reported, ":7: password_file /nonexistent/p: No such file"));
}

/* ---- known_hosts ---- */

#define KEY_A " ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA"
/* HMAC-SHA1 of "gw.example.org" and of "[gw.example.org]:2222" with the bytes 0..19 as salt, computed with Python's
 * hmac. */
#define HASHED_22 "|1|AAECAwQFBgcICQoLDA0ODxAREhM=|Zi4RWa4FIQYeEXTUuoDNgKEcXZI="
#define HASHED_2222 "|1|AAECAwQFBgcICQoLDA0ODxAREhM=|v90d+nJJCV4dYevW5E4lv6IS890="

static void test_known_hosts_match(void **state)
{
    static const struct {
        const char *line;
        uint16_t port;
        bool want;
    } cases[] = {
        {"gw.example.org" KEY_A, 22, true},
        {"GW.Example.ORG" KEY_A, 22, true},
        {"  gw.example.org,10.0.0.1" KEY_A, 22, true},
        {"other,gw.example.org" KEY_A, 22, true},
        {"gw.example.org" KEY_A, 2222, false}, /* a name without a port means port 22 */
        {"[gw.example.org]:2222" KEY_A, 2222, true},
        {"[gw.example.org]:2222" KEY_A, 22, false},
        {"*.example.org" KEY_A, 22, true},
        {"g?.exam*e.org" KEY_A, 22, true},
        {"*.example.com" KEY_A, 22, false},
        {"*.example.org,!gw.example.org" KEY_A, 22, false},
        {"!gw.example.org,*.example.org" KEY_A, 22, false},
        {"!other,*" KEY_A, 22, true},
        {"gw.example.orgx" KEY_A, 22, false},
        {"gw.example.or" KEY_A, 22, false},
        {"#gw.example.org" KEY_A, 22, false},
        {"@revoked gw.example.org" KEY_A, 22, false},
        {"@cert-authority gw.example.org" KEY_A, 22, false},
        {"gw.example.org", 22, false},
        {"", 22, false},
        {HASHED_22 KEY_A, 22, true},
        {HASHED_22 KEY_A, 2222, false},
        {HASHED_2222 KEY_A, 2222, true},
        {"|1|AAECAwQFBgcICQoLDA0ODxAREhM=|AAAAAAAAAAAAAAAAAAAAAAAAAAA=" KEY_A, 22, false},
        {"|1|AAEC|AAAA" KEY_A, 22, false},
        {"|1|" KEY_A, 22, false},
        {"|1||" KEY_A, 22, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (known_hosts_match(cases[i].line, "gw.example.org", cases[i].port) != cases[i].want)
            fail_msg("%s, port %u", cases[i].line, cases[i].port);
}

static void test_known_hosts_file(void **state)
{
    static const char hosts[] = "# comment\ngw ssh-ed25519 AAAAone\n\nother ssh-ed25519 AAAAtwo\r\n"
                                "gw ecdsa-sha2-nistp256 AAAAthree comment\ngw ssh-rsa AAAAbad\n"
                                "@revoked * ssh-rsa AAAAbad\n";
    const char *path = put("known_hosts", hosts, sizeof hosts - 1, 0644);
    const char *key = put("key", "k", 1, 0600);
    struct agent_config *c = NULL;
    char text[512];

    (void)state;
    snprintf(text, sizeof text, "[gateway]\nhost = gw\nuser = u\nkey_file = %s\nknown_hosts_file = %s\n" CONTEXT, key,
             path);
    assert_int_equal(load(text, &c), CMX_OK);
    assert_int_equal(c->pins.n, 2);
    assert_string_equal(c->pins.item[0], "gw ssh-ed25519 AAAAone");
    assert_string_equal(c->pins.item[1], "gw ecdsa-sha2-nistp256 AAAAthree comment");
    config_free(c);
    snprintf(text, sizeof text, "[gateway]\nhost = nobody\nuser = u\nkey_file = %s\nknown_hosts_file = %s\n" CONTEXT,
             key, path);
    assert_int_equal(load(text, &c), CMX_EINVAL);
    assert_non_null(strstr(reported, "no line for nobody port 22; see: ssh-keyscan -p 22 nobody"));
}

/* A host key, as in the unit tests of pins: key type and base64, without a host name. */
#define ED25519 "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"

static void test_revocation_wins_over_a_fingerprint(void **state)
{
    static const char hosts[] = "gw " ED25519 "\n@revoked * " ED25519 "\n";
    const char *path = put("known_hosts", hosts, sizeof hosts - 1, 0644);
    const char *key = put("key", "k", 1, 0600);
    struct agent_config *c = NULL;
    struct cmx_pin pin;
    char text[512], fingerprint[51];

    (void)state;
    assert_int_equal(cmx_pin_parse(&pin, ED25519), CMX_OK);
    cmx_base64_fingerprint(fingerprint, pin.digest);
    snprintf(text, sizeof text,
             "[gateway]\nhost = gw\nuser = u\nkey_file = %s\nhost_key = %s\nknown_hosts_file = %s\n" CONTEXT, key,
             fingerprint, path);
    assert_int_equal(load(text, &c), CMX_OK);
    assert_int_equal(c->pins.n, 1);
    assert_string_equal(c->pins.item[0], "@revoked * " ED25519);
    config_free(c);
    snprintf(text, sizeof text, "[gateway]\nhost = gw\nuser = u\nkey_file = %s\nknown_hosts_file = %s\n" CONTEXT, key,
             path);
    assert_int_equal(load(text, &c), CMX_EINVAL);
    assert_non_null(strstr(reported, "every key of gw port 22 is revoked"));
}

/* A NUL, which a file system may leave after a power cut, would hide the lines after it, including revocations. */
static void test_known_hosts_with_a_nul(void **state)
{
    static const char hosts[] = "gw " ED25519 "\n\0\n@revoked * " ED25519 "\n";
    const char *path = put("known_hosts", hosts, sizeof hosts - 1, 0644);
    const char *key = put("key", "k", 1, 0600);
    struct agent_config *c = NULL;
    char text[512];

    (void)state;
    snprintf(text, sizeof text, "[gateway]\nhost = gw\nuser = u\nkey_file = %s\nknown_hosts_file = %s\n" CONTEXT, key,
             path);
    assert_int_equal(load(text, &c), CMX_EINVAL);
    assert_non_null(strstr(reported, "a NUL byte in the file"));
}

static void test_too_many_pins(void **state)
{
    const char *key = put("key", "k", 1, 0600);
    struct agent_config *c = NULL;
    char text[4096];
    int n = snprintf(text, sizeof text, KEYS_HEAD "key_file = %s\n", key);

    (void)state;
    for (int i = 0; i < CMX_PROXY_HOST_KEYS_MAX; i++)
        n += snprintf(text + n, sizeof text - (size_t)n, "host_key = " PIN "\n");
    snprintf(text + n, sizeof text - (size_t)n, CONTEXT);
    assert_int_equal(load(text, &c), CMX_EINVAL);
    assert_non_null(strstr(reported, "17 host keys are pinned; at most 16 can be"));
}

static void test_load_allocation_failures(void **state)
{
    static const char hosts[] = "gw ssh-ed25519 AAAAone\n";
    const char *path = put("known_hosts", hosts, sizeof hosts - 1, 0644);
    const char *secret = put("password", "pw\n", 3, 0600);
    struct cmx_mem_stats before, after;
    struct agent_config *c = NULL;
    bool done = false;
    char text[512];

    (void)state;
    snprintf(text, sizeof text,
             KEYS_HEAD "key_file = %s\nkey_passphrase_file = %s\npassword_file = %s\nknown_hosts_file = %s\n" CONTEXT,
             secret, secret, secret, path);
    cmx_mem_stats(&before);
    for (size_t n = 1; !done && n < 500; n++) {
        cmx_mem_fail_at(n);
        done = load(text, &c) == CMX_OK;
        cmx_mem_fail_at(0);
        assert_true(done == (c != NULL));
        config_free(c);
        cmx_mem_stats(&after);
        assert_int_equal(after.live_blocks, before.live_blocks);
    }
    assert_true(done);
}

/* ---- the generated reference of the keys ---- */

static void assert_golden(const char *path, void (*print)(FILE *out), const char *from)
{
    char *made = NULL;
    size_t len = 0;
    static char golden[65536];
    FILE *out = open_memstream(&made, &len);
    FILE *f = fopen(path, "r");
    const char *start;

    assert_non_null(f);
    golden[fread(golden, 1, sizeof golden - 1, f)] = 0;
    fclose(f);
    print(out);
    fclose(out);
    start = from ? strstr(golden, from) : golden;
    assert_non_null(start);
    start += from ? strlen(from) : 0;
    if (strncmp(start, made, len) != 0)
        fail_msg("%s differs from the table of keys; run scripts/gen_config_reference.sh", path);
    free(made);
}

static void test_reference_is_golden(void **state)
{
    (void)state;
    assert_golden("docs/CONFIG.md", config_reference_markdown, NULL);
    assert_golden("packaging/man/cmxsafed.conf.5", config_reference_man,
                  ".\\\" made by: cmxsafed --config-reference=man\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_every_key_arrives),
        cmocka_unit_test(test_isolation_section),
        cmocka_unit_test(test_hosts),
        cmocka_unit_test(test_originators),
        cmocka_unit_test(test_identity_and_attest_sections),
        cmocka_unit_test(test_update_keys_arrive),
        cmocka_unit_test(test_changes_that_need_a_restart),
        cmocka_unit_test(test_no_key_is_forgotten),
        cmocka_unit_test(test_sections_fit),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_all_errors_are_reported),
        cmocka_unit_test(test_an_invalid_value_is_not_also_missing),
        cmocka_unit_test(test_errors_are_bounded),
        cmocka_unit_test(test_context_limit),
        cmocka_unit_test(test_long_lines),
        cmocka_unit_test(test_allocation_failures),
        cmocka_unit_test(test_secret_files),
        cmocka_unit_test(test_key_file_permissions),
        cmocka_unit_test(test_files_that_are_not_there),
        cmocka_unit_test(test_known_hosts_match),
        cmocka_unit_test(test_known_hosts_file),
        cmocka_unit_test(test_known_hosts_with_a_nul),
        cmocka_unit_test(test_revocation_wins_over_a_fingerprint),
        cmocka_unit_test(test_too_many_pins),
        cmocka_unit_test(test_load_allocation_failures),
        cmocka_unit_test(test_reference_is_golden),
    };

    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
