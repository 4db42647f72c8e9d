/* Parts of the virtual board: flash, partition table, board.ini, and the parser of DNS answers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "board/board.h"
#include "board/idf/partition_table.h"
#include "board/lwip/resolve.h"
#include "cmxsafe/core/mem.h"
#include "cmxsafe/core/text.h"
#include "cmxsafe/core/why.h"
#include "cmxsafe/device/merge.h"
#include "cmxsafe/proxy/proxy_config.h"

/* Writes a temporary file, which the caller removes. Returns its path, which the next call overwrites. */
static const char *file_with(const void *data, size_t len)
{
    static char path[64];
    int fd;

    strcpy(path, "/tmp/cmx-test-board.XXXXXX");
    fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, len), len);
    close(fd);
    return path;
}

/* ---- flash ---- */

static void test_flash_is_nor(void **state)
{
    static uint8_t blank[8192];
    struct board_flash f = {0};
    const char *path;
    uint8_t b[4];

    (void)state;
    memset(blank, 0xff, sizeof blank);
    path = file_with(blank, sizeof blank);
    assert_int_equal(board_flash_open(&f, path), CMX_OK);
    assert_int_equal(board_flash_size(&f), 8192);
    assert_int_equal(board_flash_write(&f, 4095, "\xf0\x0f", 2), CMX_OK);
    assert_int_equal(board_flash_write(&f, 4095, "\x3f\xff", 2), CMX_OK); /* a write only clears bits */
    assert_int_equal(board_flash_read(&f, 4094, b, 4), CMX_OK);
    assert_memory_equal(b, "\xff\x30\x0f\xff", 4);
    board_flash_close(&f);

    assert_int_equal(board_flash_open(&f, path), CMX_OK); /* the bytes are stored in the file */
    assert_int_equal(board_flash_read(&f, 4095, b, 2), CMX_OK);
    assert_memory_equal(b, "\x30\x0f", 2);
    assert_int_equal(board_flash_erase(&f, 0, 4096), CMX_OK);
    assert_int_equal(board_flash_read(&f, 4095, b, 2), CMX_OK);
    assert_memory_equal(b, "\xff\x0f", 2); /* exactly one sector is erased */
    board_flash_close(&f);
    unlink(path);
}

static void test_flash_bounds(void **state)
{
    static uint8_t blank[8192];
    struct board_flash f = {0};
    const char *path = file_with(blank, sizeof blank);
    uint8_t b[2];

    (void)state;
    assert_int_equal(board_flash_open(&f, path), CMX_OK);
    assert_int_equal(board_flash_read(&f, 8192, b, 0), CMX_OK);
    assert_int_equal(board_flash_read(&f, 8191, b, 2), CMX_EINVAL);
    assert_int_equal(board_flash_read(&f, UINT32_MAX, b, 2), CMX_EINVAL);
    assert_int_equal(board_flash_write(&f, 8191, b, 2), CMX_EINVAL);
    assert_int_equal(board_flash_erase(&f, 1, 4096), CMX_EINVAL);
    assert_int_equal(board_flash_erase(&f, 0, 4095), CMX_EINVAL);
    assert_int_equal(board_flash_erase(&f, 4096, 8192), CMX_EINVAL);
    board_flash_close(&f);
    unlink(path);
    assert_int_equal(board_flash_open(&f, path), CMX_ENOENT);
    path = file_with(blank, 4095);
    assert_int_equal(board_flash_open(&f, path), CMX_EFORMAT);
    unlink(path);
}

/* ---- partition table ---- */

/* The output of ESP-IDF v5.5's gen_esp32part.py for "nvs,data,nvs,0x9000,16K", "otadata,data,ota,0xd000,8K",
 * "phy_init,data,phy,0xf000,4K", "ota_0,app,ota_0,0x10000,1984K", "ota_1,app,ota_1,0x200000,1984K"; the rest is 0xff.
 */
static const char golden_4mb[] = "aa50010200900000004000006e76730000000000000000000000000000000000"
                                 "aa50010000d00000002000006f74616461746100000000000000000000000000"
                                 "aa50010100f00000001000007068795f696e6974000000000000000000000000"
                                 "aa5000100000010000001f006f74615f30000000000000000000000000000000"
                                 "aa5000110000200000001f006f74615f31000000000000000000000000000000"
                                 "ebebffffffffffffffffffffffffffffcafd3efb79d8d27271dfc5b24cbb9737";

static void test_ptable_is_gen_esp32part_s(void **state)
{
    uint8_t table[CMX_PARTITION_TABLE_LEN];
    uint8_t golden[192];

    (void)state;
    assert_int_equal(cmx_text_hex_decode(golden, sizeof golden, golden_4mb), CMX_OK);
    assert_int_equal(board_ptable_make(table, 4u << 20), CMX_OK);
    assert_memory_equal(table, golden, sizeof golden);
    for (size_t i = sizeof golden; i < sizeof table; i++)
        assert_int_equal(table[i], 0xff);
}

static void test_ptable_is_read_back(void **state)
{
    const uint32_t sizes[] = {1u << 20, 2u << 20, 4u << 20, 8u << 20, 16u << 20, 128u << 20};
    uint8_t table[CMX_PARTITION_TABLE_LEN];

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct cmx_partitions p = {0};
        bool done = false;

        assert_int_equal(board_ptable_make(table, sizes[i]), CMX_OK);
        for (size_t at = 0; at < sizeof table && !done; at += CMX_PARTITION_ENTRY_LEN)
            assert_int_equal(cmx_partition_entry(&p, table + at, sizes[i], &done), CMX_OK);
        assert_true(done);
        assert_int_equal(cmx_partitions_check(&p), CMX_OK);
        assert_int_equal(p.slots, 2);
        assert_int_equal(p.slot[0].offset, BOARD_APP_AT);
        assert_int_equal(p.slot[0].size, board_slot_size(sizes[i]));
        assert_int_equal(p.slot[1].offset, BOARD_APP_AT + p.slot[0].size);
        assert_true(p.slot[1].offset + p.slot[1].size <= sizes[i]);
        assert_int_equal(p.otadata.offset, 0xd000);
        assert_int_equal(p.otadata.size, 0x2000);
    }
    assert_int_equal(board_ptable_make(table, 0), CMX_EINVAL);
    assert_int_equal(board_ptable_make(table, 3u << 20), CMX_EINVAL);
    assert_int_equal(board_ptable_make(table, 256u << 20), CMX_EINVAL);
}

/* ---- board.ini ---- */

static void test_config_keys(void **state)
{
    struct board_config c;
    struct cmx_why why = {""};

    (void)state;
    board_config_init(&c);
    assert_int_equal(board_config_set(&c, "gateway", "host", "gw", &why), CMX_OK);
    assert_int_equal(board_config_set(&c, "gateway", "port", "2233", &why), CMX_OK);
    assert_int_equal(board_config_set(&c, "gateway", "host_key", "SHA256:a", &why), CMX_OK);
    assert_int_equal(board_config_set(&c, "gateway", "host_key", "SHA256:b", &why), CMX_OK);
    assert_int_equal(board_config_set(&c, "gateway", "key_derived", "yes", &why), CMX_OK);
    assert_int_equal(board_config_set(&c, "context a", "local_port", "81", &why), CMX_OK);
    assert_int_equal(board_config_set(&c, "context b", "local_port", "82", &why), CMX_OK);
    assert_int_equal(board_config_set(&c, "context a", "remote_port", "8081", &why), CMX_OK);
    assert_string_equal(c.settings.remote_host, "gw");
    assert_int_equal(c.settings.remote_port, 2233);
    assert_int_equal(c.settings.n_host_keys, 2);
    assert_string_equal(c.settings.host_keys[1], "SHA256:b");
    assert_true(c.settings.client_key_derived);
    assert_int_equal(c.n_contexts, 2);
    assert_string_equal(c.contexts[0].name, "a");
    assert_int_equal(c.contexts[0].forward_remote_port, 8081);
    assert_int_equal(c.contexts[1].local_port, 82);
    board_config_free(&c);
}

static void test_config_refuses(void **state)
{
    const struct {
        const char *section, *key, *value, *why;
    } bad[] = {
        {"gateway", "host", "gw, 0x7f000001", "'0x7f000001' is not an IPv4 address"},
        {"gateway", "host", "[::]:22", "'::' is not the address of one host"},
        {"gateway", "hst", "x", "unknown key 'hst' in [gateway]; did you mean 'host'?"},
        {"gatway", "host", "x", "unknown section [gatway]"},
        {"context", "local_port", "81", "unknown section [context]"},
        {"context ", "local_port", "81", "unknown section [context ]"},
        {"gateway", "port", "0", "port: not a number from 1 to 65535"},
        {"gateway", "port", "65536", "port: not a number from 1 to 65535"},
        {"gateway", "port", "22 ", "port: not a number from 1 to 65535"},
        {"gateway", "key_derived", "1", "key_derived: neither yes nor no"},
        {"context x", "loc", "1", "unknown key 'loc' in [context x]"},
    };
    struct board_config c;

    (void)state;
    board_config_init(&c);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct cmx_why why = {""};

        assert_int_equal(board_config_set(&c, bad[i].section, bad[i].key, bad[i].value, &why), CMX_EINVAL);
        assert_string_equal(why.text, bad[i].why);
    }
    assert_int_equal(c.n_contexts, 0);
    board_config_free(&c);
}

static void test_config_bounds(void **state)
{
    struct board_config c;
    char section[64];
    struct cmx_why why = {""};

    (void)state;
    board_config_init(&c);
    for (int i = 0; i < BOARD_CONTEXTS_MAX; i++) {
        sprintf(section, "context c%d", i);
        assert_int_equal(board_config_set(&c, section, "local_port", "81", &why), CMX_OK);
    }
    assert_int_equal(board_config_set(&c, "context more", "local_port", "81", &why), CMX_ENOSPC);
    for (int i = 0; i < CMX_PROXY_HOST_KEYS_MAX; i++)
        assert_int_equal(board_config_set(&c, "gateway", "host_key", "SHA256:x", &why), CMX_OK);
    assert_int_equal(board_config_set(&c, "gateway", "host_key", "SHA256:x", &why), CMX_ENOSPC);
    while (c.n_strings < BOARD_STRINGS_MAX)
        assert_int_equal(board_config_set(&c, "gateway", "host", "x", &why), CMX_OK);
    assert_int_equal(board_config_set(&c, "gateway", "host", "x", &why), CMX_ENOSPC);
    board_config_free(&c);
}

static void test_config_file(void **state)
{
    static const char good[] = "; a comment\n[gateway]\nhost = gw\nport = 22\n\n[context cam]\nlocal_port = 81\n";
    static const char bad[] = "[gateway]\n\nhost = gw\nport = x\nuser = never read\n";
    struct board_config c;
    struct cmx_why why = {""};
    const char *path = file_with(good, sizeof good - 1);

    (void)state;
    board_config_init(&c);
    assert_int_equal(board_config_load(&c, path, &why), CMX_OK);
    assert_string_equal(c.settings.remote_host, "gw");
    assert_string_equal(c.contexts[0].name, "cam");
    board_config_free(&c);
    unlink(path);

    path = file_with(bad, sizeof bad - 1);
    assert_int_equal(board_config_load(&c, path, &why), CMX_EINVAL);
    assert_non_null(strstr(why.text, ":4: port: not a number"));
    assert_null(c.settings.username);
    board_config_free(&c);
    unlink(path);
    assert_int_equal(board_config_load(&c, path, &why), CMX_ENOENT);
}

/* A key that is given twice, and a section that does not exist, are errors, as in the agent's configuration. */
static void test_config_file_refuses(void **state)
{
    static const struct {
        const char *text, *why;
    } bad[] = {
        {"[gateway]\nhost = a\nhost = b\n", ":3: host is set twice in [gateway]"},
        {"[gateway]\nuser = a # me\n", ":2: user: '# me' is no comment; within a line, a comment begins with ' ;'"},
        {"[gateway]\nuser = a#me ; me\nport = x\n", ":3:"},
        {"[context a]\nlocal_port = 1\n[net]\n[context a]\nlocal_port = 1\n", ":5: local_port is set twice"},
        {"[gatewai]\n", ":1: unknown section [gatewai]"},
        {"[context]\n", ":1: unknown section [context]"},
    };
    static const char good[] = "[gateway]\nhost_key = SHA256:a\nhost_key = SHA256:b\nport = 1\nuser = port\n"
                               "[context a]\nlocal_port = 1\n[context b]\nlocal_port = 1\n";
    struct board_config c;
    struct cmx_why why = {""};
    const char *path = file_with(good, sizeof good - 1);

    (void)state;
    board_config_init(&c);
    assert_int_equal(board_config_load(&c, path, &why), CMX_OK);
    board_config_free(&c);
    unlink(path);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        path = file_with(bad[i].text, strlen(bad[i].text));
        assert_int_not_equal(board_config_load(&c, path, &why), CMX_OK);
        if (!strstr(why.text, bad[i].why))
            fail_msg("'%s' does not contain '%s'", why.text, bad[i].why);
        board_config_free(&c);
        unlink(path);
    }
}

/* A long value is read completely. A line that is too long is an error. */
static void test_config_long_lines(void **state)
{
    static char text[8192], key[1200];
    struct board_config c;
    struct cmx_why why = {""};
    const char *path;

    (void)state;
    for (size_t i = 0; i < sizeof key - 1; i++)
        key[i] = (char)('A' + i % 26);
    snprintf(text, sizeof text, "[gateway]\nhost = gw\nhost_key = gw ssh-rsa %s\n", key);
    path = file_with(text, strlen(text));
    board_config_init(&c);
    assert_int_equal(board_config_load(&c, path, &why), CMX_OK);
    assert_int_equal(c.settings.n_host_keys, 1);
    assert_string_equal(c.settings.host_keys[0] + strlen("gw ssh-rsa "), key);
    board_config_free(&c);
    unlink(path);

    snprintf(text, sizeof text, "[gateway]\nuser = %s%s%s%s\n", key, key, key, key);
    path = file_with(text, strlen(text));
    assert_int_equal(board_config_load(&c, path, &why), CMX_EFORMAT);
    assert_non_null(strstr(why.text, ":2: the line is longer than"));
    board_config_free(&c);
    unlink(path);
}

static void test_config_every_context_option(void **state)
{
    static const char text[] =
        "[context c]\nlocal_port = 81\nremote_port = 8081\nhigh_bw = yes\nremote_address = fd00::1\n"
        "direction = direct\nremote_host = broker\nmax_connections = 3\nidle_timeout_s = 60\n"
        "session = s\nprobe_interval_s = 5\nconnect_timeout_s = 7\nlocal_host = ::1\n"
        "tasks = mqtt\npeer = proxy-v2\nallow_from = fd00::17, fd00:1::/48\n";
    struct board_config c;
    struct cmx_why why = {""};
    struct cmx_settings none = {0};
    struct cmx_context x;
    char name[CMX_PROXY_NAME_MAX];
    const char *path = file_with(text, sizeof text - 1);

    (void)state;
    board_config_init(&c);
    assert_int_equal(board_config_load(&c, path, &why), CMX_OK);
    assert_int_equal(cmx_settings_context(&none, &c.contexts[0], &x, name, sizeof name), CMX_OK);
    for (size_t i = 0; i < CMX_CONTEXT_OPTIONS; i++) {
        const struct cmx_context_option *o = &cmx_context_options[i];

        if (cmx_context_option_is_text(o))
            assert_non_null(cmx_context_option_text(o, &x));
        else
            assert_int_not_equal(cmx_context_option_number(o, &x), 0);
    }
    assert_int_equal(x.remote_port, 8081);
    assert_string_equal(x.tasks, "mqtt");
    assert_int_equal(x.peer, CMX_PEER_PROXY_V2);
    /* Only the Linux agent supports `peer = mirror`. */
    assert_int_equal(board_config_set(&c, "context c", "peer", "mirror", &why), CMX_EINVAL);
    board_config_free(&c);
    unlink(path);
}

static void test_config_allocation_failures(void **state)
{
    struct board_config c;
    struct cmx_why why = {""};

    (void)state;
    for (size_t n = 1; n <= 2; n++) {
        board_config_init(&c);
        cmx_mem_fail_at(n);
        assert_int_equal(board_config_set(&c, "context x", "session", "s", &why), CMX_ENOMEM);
        cmx_mem_fail_at(0);
        board_config_free(&c);
    }
}

/* ---- names ---- */

static void test_dns_answers(void **state)
{
    uint8_t message[256];
    struct cmx_ip out[2], want;
    /* An answer with a question for gw.example, an A record 10.0.0.1 and an AAAA record fd77::1. */
    static const char hex[] = "123481800001000200000000"
                              "026777076578616d706c650000010001"
                              "c00c000100010000003c00040a000001"
                              "c00c001c00010000003c0010fd770000000000000000000000000001";
    size_t len = (sizeof hex - 1) / 2;

    (void)state;
    assert_int_equal(cmx_text_hex_decode(message, len, hex), CMX_OK);
    assert_int_equal(board_resolve_parse(message, (int)len, false, out, 2), 1);
    assert_true(cmx_ip_parse(&want, "10.0.0.1") && cmx_ip_equal(&out[0], &want));
    assert_int_equal(board_resolve_parse(message, (int)len, true, out, 2), 1);
    assert_true(cmx_ip_parse(&want, "fd77::1") && cmx_ip_equal(&out[0], &want));
    assert_int_equal(board_resolve_parse(message, (int)len, true, out, 0), 0);
    for (size_t cut = 0; cut < len; cut++) { /* no byte beyond a truncated answer is read */
        uint8_t *exact = malloc(cut);

        memcpy(exact, message, cut);
        assert_true(board_resolve_parse(exact, (int)cut, true, out, 2) <= 1);
        free(exact);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flash_is_nor),
        cmocka_unit_test(test_flash_bounds),
        cmocka_unit_test(test_ptable_is_gen_esp32part_s),
        cmocka_unit_test(test_ptable_is_read_back),
        cmocka_unit_test(test_config_keys),
        cmocka_unit_test(test_config_refuses),
        cmocka_unit_test(test_config_bounds),
        cmocka_unit_test(test_config_file),
        cmocka_unit_test(test_config_file_refuses),
        cmocka_unit_test(test_config_long_lines),
        cmocka_unit_test(test_config_every_context_option),
        cmocka_unit_test(test_config_allocation_failures),
        cmocka_unit_test(test_dns_answers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
