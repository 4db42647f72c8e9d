/* Uploads to a slot with old bytes: each sector of the new image, and each other sector with old bytes, is erased once.
 * This also holds if erased sectors do not read as 0xff, as with ESP-IDF's flash encryption. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cmxsafe/ota/upload.h"
#include "tests/support/ota_image.h"

enum { SECTOR = 4096, SECTORS = 16, IMAGE_SECTORS = 3, SLOT = SECTORS * SECTOR };

static struct {
    uint8_t bytes[SLOT];
    unsigned erased[SECTORS];
    bool encrypted; /* an erased byte reads as something other than 0xff */
    bool active;
} flash;

static cmx_err get_status(void *arg, struct cmx_slots_status *out)
{
    (void)arg;
    *out = (struct cmx_slots_status){.target = "ota_1", .target_size = SLOT};
    return CMX_OK;
}

static cmx_err begin(void *arg)
{
    (void)arg;
    return CMX_OK;
}

static cmx_err erase(void *arg, uint32_t offset, uint32_t len)
{
    (void)arg;
    assert_int_equal(offset % SECTOR, 0);
    assert_int_equal(len, SECTOR);
    assert_true(offset < SLOT);
    flash.erased[offset / SECTOR]++;
    for (uint32_t i = offset; i < offset + len; i++)
        flash.bytes[i] = flash.encrypted ? (uint8_t)(i * 37) : 0xff;
    return CMX_OK;
}

static cmx_err write(void *arg, uint32_t offset, const void *data, size_t len)
{
    (void)arg;
    assert_true(offset + len <= SLOT);
    memcpy(flash.bytes + offset, data, len);
    return CMX_OK;
}

static cmx_err read(void *arg, uint32_t offset, void *out, size_t len)
{
    (void)arg;
    assert_true(offset + len <= SLOT);
    memcpy(out, flash.bytes + offset, len);
    return CMX_OK;
}

static cmx_err activate(void *arg, const struct cmx_image *verified, struct cmx_why *why)
{
    (void)arg;
    (void)verified;
    (void)why;
    flash.active = true;
    return CMX_OK;
}

static const struct cmx_slots slots = {
    .status = get_status, .begin = begin, .erase = erase, .write = write, .read = read, .activate = activate};

static void blank(bool encrypted)
{
    memset(&flash, 0, sizeof flash);
    memset(flash.bytes, 0xff, sizeof flash.bytes);
    flash.encrypted = encrypted;
}

/* Uploads an image of IMAGE_SECTORS sectors. */
static void upload(void)
{
    const struct cmx_image_policy policy = {.chip_id = TEST_CHIP};
    struct test_image image = test_image_make("2.0", 9000, TEST_CHIP, 0);
    static struct cmx_upload u;

    assert_int_equal((image.len + SECTOR - 1) / SECTOR, IMAGE_SECTORS);
    assert_int_equal(cmx_upload_begin(&u, &slots, &policy), CMX_OK);
    assert_int_equal(cmx_upload_data(&u, image.data, image.len), CMX_OK);
    assert_int_equal(cmx_upload_verify(&u), CMX_OK);
    assert_int_equal(cmx_upload_activate(&u), CMX_OK);
    assert_true(flash.active);
    assert_memory_equal(flash.bytes, image.data, image.len);
    cmx_upload_abort(&u);
    test_image_free(&image);
}

static void an_old_image_is_erased_once(void **state)
{
    (void)state;
    for (int encrypted = 0; encrypted < 2; encrypted++) {
        blank(encrypted);
        memset(flash.bytes, 0x33, sizeof flash.bytes);
        upload();
        for (size_t i = 0; i < SECTORS; i++)
            assert_int_equal(flash.erased[i], 1);
    }
}

static void only_sectors_with_old_bytes_are_erased(void **state)
{
    (void)state;
    for (size_t at = 0; at < SECTOR; at += SECTOR - 1) { /* the first or the last byte of sector 7 */
        blank(true);
        flash.bytes[7 * SECTOR + at] = 0x7f;
        upload();
        for (size_t i = 0; i < SECTORS; i++)
            assert_int_equal(flash.erased[i], i < IMAGE_SECTORS || i == 7);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_old_image_is_erased_once),
        cmocka_unit_test(only_sectors_with_old_bytes_are_erased),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
