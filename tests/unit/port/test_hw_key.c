/* The sources of the hardware key on Linux: eFuse files and key files, and their errors.
 * tests/e2e/attest/attest_efuse.sh tests eFuse files with the real espefuse; tests/e2e/attest/attest_tpm.sh tests a
 * software TPM. */
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

#include "board/idf/efuse.h"
#include "cmxsafe/core/mem.h"
#include "cmxsafe/core/text.h"
#include "cmxsafe/core/why.h"
#include "port/linux/hw_key.h"

static char dir[] = "/tmp/test_hw_key.XXXXXX";
static char key_path[64], efuse_path[64];
static uint8_t key[32];

/* The MAC of "Hi There" with the key bytes 0 to 31, computed with Python's hmac. */
static const char mac_hi_there[] = "278639ec02309d3afded1b273f1349ba63b9089c12476d716bee3ecc94673e9e";

static void write_file(const char *path, const void *data, size_t len, mode_t mode)
{
    FILE *f = fopen(path, "wb");

    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(path, mode), 0);
}

static int setup(void **state)
{
    (void)state;
    if (!mkdtemp(dir))
        return -1;
    snprintf(key_path, sizeof key_path, "%s/private_key.bin", dir);
    snprintf(efuse_path, sizeof efuse_path, "%s/efuse.bin", dir);
    for (size_t i = 0; i < sizeof key; i++)
        key[i] = (uint8_t)i;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    (void)unlink(key_path);
    (void)unlink(efuse_path);
    return rmdir(dir);
}

static void put_bits(uint8_t reg[CMX_EFUSE_FILE_LEN], unsigned word, unsigned pos, uint32_t value)
{
    uint8_t *p = reg + 0x2c + 4 * word;

    for (unsigned i = 0; i < 32; i++)
        if (i >= pos && (value >> (i - pos) & 1))
            p[i / 8] |= (uint8_t)(1u << i % 8);
}

static void write_efuse(const uint8_t reg[CMX_EFUSE_FILE_LEN])
{
    uint8_t file[CMX_EFUSE_FILE_LEN];

    for (size_t i = 0; i < sizeof file; i++)
        file[i] = reg[sizeof file - 1 - i];
    write_file(efuse_path, file, sizeof file, 0644);
}

static void expect_mac(struct cmx_hw_key *k)
{
    uint8_t mac[32];
    char hex[65];

    for (int i = 0; i < 2; i++) { /* the second message's MAC does not depend on the first */
        assert_int_equal(cmx_hw_key_hmac(k, "Hi There", 8, mac), CMX_OK);
        cmx_text_hex_encode(hex, mac, 32);
        assert_string_equal(hex, mac_hi_there);
    }
}

static void test_key_file(void **state)
{
    struct cmx_hw_key *k = NULL;
    struct cmx_why why = {""};

    (void)state;
    write_file(key_path, key, 32, 0600);
    assert_int_equal(cmx_hw_key_open_file(key_path, &k, &why), CMX_OK);
    assert_int_equal(cmx_hw_key_kind(k), CMX_KEY_SOFTWARE);
    expect_mac(k);
    cmx_hw_key_close(k);
    cmx_hw_key_close(NULL);
    assert_int_equal(cmx_hw_key_kind(NULL), CMX_KEY_NONE);
}

/* systemd's ACL on a credential looks like read permission for the group. */
static void test_key_file_as_credential(void **state)
{
    struct cmx_hw_key *k = NULL;
    struct cmx_why why = {""};

    (void)state;
    write_file(key_path, key, 32, 0440);
    assert_int_equal(cmx_hw_key_open_file(key_path, &k, &why), CMX_ENOKEY);
    assert_int_equal(setenv("CREDENTIALS_DIRECTORY", dir, 1), 0);
    assert_int_equal(cmx_hw_key_open_file(key_path, &k, &why), CMX_OK);
    cmx_hw_key_close(k);
    k = NULL;
    assert_int_equal(chmod(key_path, 0444), 0);
    assert_int_equal(cmx_hw_key_open_file(key_path, &k, &why), CMX_ENOKEY);
    assert_int_equal(unsetenv("CREDENTIALS_DIRECTORY"), 0);
}

static void test_key_file_refused(void **state)
{
    struct cmx_hw_key *k = NULL;
    char link_path[80];
    struct cmx_why why = {""};

    (void)state;
    for (unsigned bit = 0; bit < 6; bit++) {
        write_file(key_path, key, 32, (mode_t)(0600 | 1u << bit));
        assert_int_equal(cmx_hw_key_open_file(key_path, &k, &why), CMX_ENOKEY);
        assert_non_null(strstr(why.text, "chmod 600"));
    }
    write_file(key_path, key, 31, 0600);
    assert_int_equal(cmx_hw_key_open_file(key_path, &k, &why), CMX_ENOKEY);
    assert_non_null(strstr(why.text, "openssl rand"));
    write_file(key_path, "0123456789012345678901234567890123", 33, 0600);
    assert_int_equal(cmx_hw_key_open_file(key_path, &k, &why), CMX_ENOKEY);
    snprintf(link_path, sizeof link_path, "%s/link", dir);
    assert_int_equal(symlink(key_path, link_path), 0);
    assert_int_equal(cmx_hw_key_open_file(link_path, &k, &why), CMX_EPERM);
    assert_int_equal(unlink(link_path), 0);
    assert_int_equal(unlink(key_path), 0);
    assert_int_equal(cmx_hw_key_open_file(key_path, &k, NULL), CMX_ENOENT);
    assert_null(k);
}

static void test_efuse_with_its_bits(void **state)
{
    uint8_t reg[CMX_EFUSE_FILE_LEN] = {0};
    struct cmx_hw_key *k = NULL;
    struct cmx_why why = {""};

    (void)state;
    memcpy(reg + 0xfc, key, 32);
    put_bits(reg, 1, 3, 1);
    put_bits(reg, 3, 4, 8);
    write_efuse(reg);
    assert_int_equal(cmx_efuse_open_hw_key(efuse_path, key_path, &k, &why), CMX_OK);
    assert_int_equal(cmx_hw_key_kind(k), CMX_KEY_EFUSE);
    expect_mac(k);
    cmx_hw_key_close(k);
}

static void test_efuse_as_espefuse_leaves_it(void **state)
{
    uint8_t reg[CMX_EFUSE_FILE_LEN] = {0};
    struct cmx_hw_key *k = NULL;
    struct cmx_why why = {""};

    (void)state;
    put_bits(reg, 1, 3, 1);
    put_bits(reg, 3, 4, 8);
    write_efuse(reg);
    (void)unlink(key_path);
    assert_int_equal(cmx_efuse_open_hw_key(efuse_path, key_path, &k, &why), CMX_ENOENT);
    assert_non_null(strstr(why.text, "private_key.bin"));
    write_file(key_path, key, 32, 0644);
    assert_int_equal(cmx_efuse_open_hw_key(efuse_path, key_path, &k, &why), CMX_OK);
    expect_mac(k);
    cmx_hw_key_close(k);
}

static void expect_refusal(const uint8_t reg[CMX_EFUSE_FILE_LEN], const char *what, const char *command)
{
    struct cmx_hw_key *k = NULL;
    struct cmx_why why = {""};

    write_efuse(reg);
    assert_int_equal(cmx_efuse_open_hw_key(efuse_path, key_path, &k, &why), CMX_ENOKEY);
    assert_null(k);
    assert_non_null(strstr(why.text, what));
    assert_non_null(strstr(why.text, command));
    assert_non_null(strstr(why.text, efuse_path));
}

static void test_efuse_refused(void **state)
{
    uint8_t reg[CMX_EFUSE_FILE_LEN] = {0};
    struct cmx_hw_key *k = NULL;
    struct cmx_why why = {""};

    (void)state;
    write_file(key_path, key, 32, 0600); /* this key must not be used, even though the eFuse holds no key */
    expect_refusal(reg, "holds no key", "burn_key BLOCK_KEY3 private_key.bin HMAC_UP");
    memcpy(reg + 0xfc, key, 32);
    put_bits(reg, 3, 4, 8);
    expect_refusal(reg, "not read-protected", "read_protect_efuse BLOCK_KEY3");
    put_bits(reg, 1, 3, 1);
    put_bits(reg, 3, 4, 1); /* the purpose is now 9: SECURE_BOOT_DIGEST0 */
    expect_refusal(reg, "move this eFuse file away, then make a new one",
                   "burn_key BLOCK_KEY3 private_key.bin HMAC_UP");
    write_file(efuse_path, reg, 511, 0644);
    assert_int_equal(cmx_efuse_open_hw_key(efuse_path, key_path, &k, &why), CMX_EFORMAT);
    unlink(efuse_path);
    assert_int_equal(mkfifo(efuse_path, 0600), 0);
    alarm(20); /* ends the test if open waits for a writer */
    assert_int_equal(cmx_efuse_open_hw_key(efuse_path, key_path, &k, &why), CMX_EFORMAT);
    alarm(0);
    assert_int_equal(unlink(efuse_path), 0);
    assert_int_equal(cmx_efuse_open_hw_key(efuse_path, key_path, &k, &why), CMX_ENOENT);
}

static void test_efuse_facts(void **state)
{
    uint8_t reg[CMX_EFUSE_FILE_LEN] = {0};
    struct cmx_efuse f;

    (void)state;
    memset(&f, 0, sizeof f);
    assert_false(cmx_efuse_secure_boot(&f));
    assert_int_equal(cmx_efuse_debug(&f, CMX_EFUSE_ESP32S3), CMX_DEBUG_ENABLED);
    assert_int_equal(cmx_efuse_flash_encryption(&f), CMX_FLASH_PLAIN);
    put_bits(reg, 2, 18, 1);
    memcpy(f.reg, reg, sizeof reg);
    assert_int_equal(cmx_efuse_flash_encryption(&f), CMX_FLASH_DEVELOPMENT);
    put_bits(reg, 2, 18, 3);
    memcpy(f.reg, reg, sizeof reg);
    assert_int_equal(cmx_efuse_flash_encryption(&f), CMX_FLASH_PLAIN);
    put_bits(reg, 2, 18, 7);
    put_bits(reg, 1, 20, 1);
    put_bits(reg, 3, 20, 1);
    put_bits(reg, 1, 19, 1);
    put_bits(reg, 4, 14, 7);
    memcpy(f.reg, reg, sizeof reg);
    assert_int_equal(cmx_efuse_flash_encryption(&f), CMX_FLASH_RELEASE);
    assert_true(cmx_efuse_secure_boot(&f));
    assert_int_equal(cmx_efuse_secure_version(&f, CMX_EFUSE_ESP32S3), 3);
    assert_int_equal(cmx_efuse_debug(&f, CMX_EFUSE_ESP32S3), CMX_DEBUG_ENABLED); /* USB JTAG is still enabled */
    put_bits(reg, 3, 22, 1);
    memcpy(f.reg, reg, sizeof reg);
    assert_int_equal(cmx_efuse_debug(&f, CMX_EFUSE_ESP32S3), CMX_DEBUG_DISABLED_PERMANENTLY);
    assert_int_equal(cmx_efuse_debug(&f, CMX_EFUSE_ESP32C3), CMX_DEBUG_ENABLED);
}

static void test_no_memory(void **state)
{
    struct cmx_mem_stats before, after;
    struct cmx_hw_key *k = NULL;

    (void)state;
    write_file(key_path, key, 32, 0600);
    cmx_mem_stats(&before);
    for (size_t n = 1; n <= 2; n++) {
        cmx_mem_fail_at(n);
        assert_int_equal(cmx_hw_key_open_file(key_path, &k, NULL), CMX_ENOMEM);
    }
    cmx_mem_fail_at(0);
    cmx_mem_stats(&after);
    assert_int_equal(before.live_bytes, after.live_bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_key_file),
        cmocka_unit_test(test_key_file_as_credential),
        cmocka_unit_test(test_key_file_refused),
        cmocka_unit_test(test_efuse_with_its_bits),
        cmocka_unit_test(test_efuse_as_espefuse_leaves_it),
        cmocka_unit_test(test_efuse_refused),
        cmocka_unit_test(test_efuse_facts),
        cmocka_unit_test(test_no_memory),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
