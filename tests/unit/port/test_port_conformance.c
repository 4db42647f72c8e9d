/* Runs tests/port_conformance for port/linux, with flash in memory and a software key. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "cmxsafe/port/crypto.h"
#include "port/linux/linux_port.h"
#include "tests/port_conformance/conformance.h"

#define FLASH_SIZE (16 * CMX_FLASH_SECTOR)

static uint8_t flash[FLASH_SIZE];
static const uint8_t key[32] = {1, 2, 3};
static bool or_instead_of_and; /* true: a write can set bits, which NOR flash cannot do */
static unsigned lines_failed;

static uint32_t flash_size(void *arg)
{
    (void)arg;
    return FLASH_SIZE;
}

static bool inside(uint32_t offset, size_t len)
{
    return offset <= FLASH_SIZE && len <= FLASH_SIZE - offset;
}

static cmx_err flash_read(void *arg, uint32_t offset, void *out, size_t len)
{
    (void)arg;
    if (!inside(offset, len))
        return CMX_EINVAL;
    memcpy(out, flash + offset, len);
    return CMX_OK;
}

static cmx_err flash_write(void *arg, uint32_t offset, const void *data, size_t len)
{
    (void)arg;
    if (!inside(offset, len))
        return CMX_EINVAL;
    for (size_t i = 0; i < len; i++) {
        uint8_t byte = ((const uint8_t *)data)[i];

        flash[offset + i] = or_instead_of_and ? byte : flash[offset + i] & byte;
    }
    return CMX_OK;
}

static cmx_err flash_erase(void *arg, uint32_t offset, size_t len)
{
    (void)arg;
    if (!inside(offset, len) || offset % CMX_FLASH_SECTOR || len % CMX_FLASH_SECTOR)
        return CMX_EINVAL;
    memset(flash + offset, 0xff, len);
    return CMX_OK;
}

static cmx_key_kind hw_key_kind(void *arg)
{
    (void)arg;
    return CMX_KEY_SOFTWARE;
}

static cmx_err hw_hmac(void *arg, const void *msg, size_t len, uint8_t out[32])
{
    struct cmx_hmac h;

    (void)arg;
    assert_int_equal(cmx_hmac_init(&h, key, sizeof key), CMX_OK);
    assert_int_equal(cmx_hmac_update(&h, msg, len), CMX_OK);
    return cmx_hmac_finish(&h, out);
}

static void say(const char *line)
{
    lines_failed += strncmp(line, "failed", 6) == 0;
    puts(line);
}

static const struct cmx_linux_device device = {
    .wakes = true,
    .flash_size = flash_size,
    .flash_read = flash_read,
    .flash_write = flash_write,
    .flash_erase = flash_erase,
    .hw_key_kind = hw_key_kind,
    .hw_hmac = hw_hmac,
};

static void test_linux_port_conforms(void **state)
{
    const struct cmx_conformance c = {say, 4 * CMX_FLASH_SECTOR, 2 * CMX_FLASH_SECTOR, key};

    (void)state;
    lines_failed = 0;
    cmx_linux_set_device(&device);
    assert_int_equal(cmx_port_conformance(&c), 0);
    assert_int_equal(lines_failed, 0);
    assert_int_equal(flash[0], 0); /* nothing outside the scratch area was changed */
}

static void test_a_port_without_devices_conforms(void **state)
{
    const struct cmx_linux_device none = {0};
    const struct cmx_conformance c = {say, 0, 0, NULL};

    (void)state;
    cmx_linux_set_device(&none);
    assert_int_equal(cmx_port_conformance(&c), 0);
}

static void test_broken_ports_are_told(void **state)
{
    const uint8_t wrong[32] = {9};
    struct cmx_conformance c = {say, 4 * CMX_FLASH_SECTOR, 2 * CMX_FLASH_SECTOR, key};

    (void)state;
    cmx_linux_set_device(&device);
    or_instead_of_and = true;
    assert_true(cmx_port_conformance(&c) > 0);
    or_instead_of_and = false;
    c.hw_key = wrong;
    assert_true(cmx_port_conformance(&c) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_linux_port_conforms),
        cmocka_unit_test(test_a_port_without_devices_conforms),
        cmocka_unit_test(test_broken_ports_are_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
